"""How an LSTM begins, by sweeps alone: forget bias 0 against 1, and chrono against both.

What was published: a forget bias of 1 is better than 0 (Jozefowicz, Zaremba & Sutskever 2015), and
biases drawn for the range of times that a task spans are better than a constant where it is long
(Tallec & Ollivier 2018). Here: which of four marks came first, said after 20 and 200 steps of
noise, by labels; and 300 steps of Penn Treebank, by words. Three seeds of each.

    python benchmarks/starts.py [--only labels] [--out benchmarks/results/starts.json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recurra as rc
from record import machine, write

HERE = Path(__file__).resolve().parent
ROWS = {"TRAIN": 1024, "TEST": 1024}
MARKS = (-2.0, -1.0, 1.0, 2.0)
LABELS = [
    *("network.bidirectional=false", "network.pooling=last", "network.standardize=false"),
    *("network.hidden_size=32", "network.noise=0", "network.members=1", "network.dropout=0"),
    *("data.valid_fraction=0.2", "train.epochs=80", "train.learning_rate=0.005", "train.keep=best"),
]
WORDS = ["train.steps=300", "network.hidden_size=200", "network.dropout=0"]


class Chrono(rc.LSTMCell):
    """An LSTM whose forget gates begin with memories of 1 to `longest` steps.

    Source: Tallec & Ollivier 2018, "Can recurrent neural networks warp time?", equation 16.
    """

    def __init__(self, input_size: int, hidden_size: int, longest: int = 200) -> None:
        super().__init__(input_size, hidden_size)
        forget = torch.log(1 + (longest - 2) * torch.rand(hidden_size))
        with torch.no_grad():
            self.bias_ih.zero_()
            self.bias_hh.zero_()
            self.bias_ih[:hidden_size] = -forget
            self.bias_ih[hidden_size : 2 * hidden_size] = forget


def written(folder: Path, steps: int) -> Path:
    """Write which of four marks came first, before so many steps of noise."""
    for split, rows in ROWS.items():
        draws = np.random.default_rng([steps, rows, len(split)])
        kinds = draws.integers(len(MARKS), size=rows)
        x = draws.normal(0, 0.3, (rows, steps))
        x[:, 0] = np.take(MARKS, kinds)
        lines = ["@classLabel true a b c d", "@data"]
        lines += [f"{','.join(f'{v:.4f}' for v in row)}:{'abcd'[k]}" for row, k in zip(x, kinds)]
        (folder / f"recall{steps}_{split}.ts").write_text("\n".join(lines) + "\n")
    return folder / f"recall{steps}_TRAIN.ts"


def swept(folder: Path, preset: str, cells: list[str], *words: str) -> Any:
    """Sweep over cells and three seeds, and return what the command says."""
    axes = ",".join(cells)
    command = [sys.executable, "-m", "recurra", "sweep", preset, *words, "--seeds", "3"]
    command += ["--set", f"network.cell={axes}", "--out", str(folder / "sweep"), "--json"]
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, check=True)
    rows = json.loads(done.stdout)["rows"]
    return [{name: each for name, each in row.items() if name != "runs"} for row in rows]


def main() -> None:
    """Measure, and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["labels", "words"])
    parser.add_argument("--out")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    settings = [word for each in LABELS for word in ("--set", each)]
    for steps in () if options.only == "words" else (20, 200):
        with tempfile.TemporaryDirectory() as name:
            data = str(written(Path(name), steps))
            cells = [
                "lstm(forget_bias=0)",
                "lstm(forget_bias=1)",
                f"starts:Chrono(longest={steps})",
            ]
            said = swept(Path(name), "labels", cells, "--data", data, *settings)
        found[f"recall after {steps} steps"] = said
        print(steps, said, flush=True)
    if options.only != "labels":
        settings = [word for each in WORDS for word in ("--set", each)]
        with tempfile.TemporaryDirectory() as name:
            more = ["--set", "network.forget_bias=0,1"]
            said = swept(Path(name), "words", ["lstm"], "--data", "ptb", *settings, *more)
        found["Penn Treebank"] = said
        print(said, flush=True)
    if options.out:
        write(options.out, {"machine": machine(), **found})


if __name__ == "__main__":
    main()
