"""Train Penn Treebank presets as one would, and note perplexities and times.

    python benchmarks/ptb.py kn5 ptb-seed:1,2,3 ptb-small [--out benchmarks/results/ptb.json]

A preset may be followed by seeds. Each run is the whole command in a process of its own, from an
empty directory to its report, the baseline included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import machine, write


def run(preset: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run one preset and return what it came to."""
    out = folder / f"{preset}-{seed}"
    command = [sys.executable, "-m", "recurra", "train", preset, "--seed", str(seed)]
    begun = time.perf_counter()
    answer = subprocess.run(
        [*command, "--out", str(out), "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    command_seconds = time.perf_counter() - begun
    report = json.loads(answer.stdout)
    return {
        "preset": preset,
        "seed": seed,
        "valid_perplexity": report["valid"]["perplexity"],
        "test_perplexity": report["test"]["perplexity"],
        "train_seconds": report["train_seconds"],
        "command_seconds": round(command_seconds, 1),
        "tokens_per_second": report["throughput"]["value"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET[:SEED,...]")
    parser.add_argument("--out", default="benchmarks/results/ptb.json")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for wanted in arguments.presets:
            preset, _, seeds = wanted.partition(":")
            for seed in seeds.split(",") if seeds else ["1"]:
                rows.append(run(preset, int(seed), Path(folder)))
                print(json.dumps(rows[-1]), flush=True)
                write(arguments.out, {"machine": machine(), "runs": rows})


if __name__ == "__main__":
    main()
