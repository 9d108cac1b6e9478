"""Time a sweep on two workers beside one: the whole command, kernels compiled before.

    python benchmarks/sweeps.py --out benchmarks/results/sweeps.json

Eight runs of one thread each, in turns with one worker and with two, each round in an empty folder.
The tables must be equal, times aside. Nothing else may run beside: two cores are what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from record import machine, spread, write

WANTED = 1.7
COMMAND = [
    "sweep", "docstrings", "--data", "grammar", "--set", "network.cell=gru,lstm",
    "--set", "train.learning_rate=5,20", "--seeds", "2", "--out", "swept", "--json",
]  # fmt: skip


def swept(steps: int, workers: int) -> tuple[float, Any]:
    """Return how long the sweep takes, and its table, times aside."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*COMMAND, "--set", f"train.steps={steps}", "--workers", str(workers)]
        begun = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-m", "recurra", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - begun, timeless(json.loads(answer.stdout))


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key != "seconds"}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="benchmarks/results/sweeps.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    swept(2, 2)  # compiles, and encodes the text
    times: dict[int, list[float]] = {1: [], 2: []}
    tables = []
    busy = [os.getloadavg()[0]]
    for number in range(arguments.rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            seconds, table = swept(arguments.steps, workers)
            times[workers].append(seconds)
            tables.append(table)
            print(f"{workers} workers: {seconds:.1f} s", flush=True)
    ratio = statistics.median(times[1]) / statistics.median(times[2])
    same = all(table == tables[0] for table in tables)
    print(f"two workers are {ratio:.2f} times as fast as one; tables equal: {same}")
    write(
        arguments.out,
        {
            "machine": machine(),
            "load before": busy[0],
            "runs": 8,
            "steps": arguments.steps,
            "seconds": {str(workers): spread(each) for workers, each in times.items()},
            "ratio": round(ratio, 3),
            "wanted": WANTED,
            "tables equal": same,
        },
    )
    sys.exit(0 if same and ratio >= WANTED else 1)


if __name__ == "__main__":
    main()
