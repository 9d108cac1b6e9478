"""Time training and loading beside another checkout of the package, as one of the version before.

Each takes its turn in processes of its own, with kernels compiled before; what is told is the
seconds of each and, round by round, this checkout's over the other's.

    python benchmarks/beside.py CHECKOUT [--rounds 5] [--out benchmarks/results/beside.json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from record import machine, spread, write

HERE = Path(__file__).resolve().parents[1]
TRAINED = {
    "docstrings": ["--set", "train.steps=200"],
    "vowels": ["--epochs", "4"],
    "airline": ["--set", "train.steps=100"],
}
LOADED = """
import statistics, sys, time
import recurra as rc
load = {"docstrings": rc.LanguageModel, "vowels": rc.Classifier, "airline": rc.Forecaster}
for name, kind in load.items():
    times = []
    for _ in range(12):
        begun = time.perf_counter()
        kind.from_pretrained(f"{sys.argv[1]}/{name}")
        times.append(time.perf_counter() - begun)
    print(name, statistics.median(times))
"""


def carried_out(tree: Path, words: list[str], folder: Path) -> str:
    """Return what Python prints that imports the package from a checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    env |= {"PYTHONPATH": str(tree / "src"), "RECURRA_CACHE": str(folder / tree.name / "cache")}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, check=True, text=True,
    )  # fmt: skip
    return done.stdout


def seconds(tree: Path, folder: Path) -> dict[str, float]:
    """Return how long a checkout's steps of each training, and loading its models, took."""
    found = {}
    for preset, shrunk in TRAINED.items():
        run = folder / tree.name / preset
        shutil.rmtree(run, ignore_errors=True)
        out = ["--json", "--out", str(run), "--threads", "2" if preset == "docstrings" else "1"]
        words = ["-m", "recurra", "train", preset, *shrunk, *out]
        found[f"train {preset}"] = float(
            json.loads(carried_out(tree, words, folder))["train_seconds"]
        )
    told = carried_out(tree, ["-c", LOADED, str(folder / tree.name)], folder)
    for line in told.splitlines():
        name, _, took = line.partition(" ")
        found[f"load {name}"] = float(took)
    return found


def main() -> None:
    """Measure, and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    trees = {"ours": HERE, "other": options.other.resolve()}
    times: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        for number in range(options.rounds + 1):
            for which, tree in trees.items():
                for what, took in seconds(tree, Path(place)).items():
                    if number:  # the first compiles
                        times.setdefault(what, {}).setdefault(which, []).append(took)
    found = {
        what: {which: spread(each) for which, each in both.items()}
        | {"ours over other": spread([a / b for a, b in zip(both["ours"], both["other"])])}
        for what, both in times.items()
    }
    for what, each in found.items():
        print(what, each["ours over other"])
    if options.out:
        write(options.out, {"machine": machine(), "rounds": options.rounds} | found)


if __name__ == "__main__":
    main()
