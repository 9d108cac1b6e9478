"""Train on cores that others keep busy, with the number of threads left open and with one.

Two programs that never rest run beside `recurra train vowels` and `ptb-quick`, both shrunk to some
steps; then the same on idle cores. What is told is the time that training took, each way in turn.

    python benchmarks/busy.py [PRESET ...] [--rounds 3] [--out benchmarks/results/busy.json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from record import machine, spread, write

RUNS = {
    "vowels": ["--epochs", "3"],
    "ptb-quick": ["--set", "train.steps=60"],
}
WAYS = {"left open": [], "one thread": ["--threads", "1"], "two threads": ["--threads", "2"]}
BUSY = 2


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep cores busy within the block."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def seconds(preset: str, words: list[str], folder: Path) -> float:
    """Return how long the steps of a training took."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    command = [sys.executable, "-m", "recurra", "train", preset, "--json", "--out", "run"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [*command, *words], cwd=folder, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout)["train_seconds"])


def main() -> None:
    """Measure, and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=list(RUNS), help="vowels, ptb-quick")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out")
    options = parser.parse_args()
    found: dict[str, object] = {"load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as place:
        for preset in options.presets:
            shrunk = RUNS[preset]
            for count in (BUSY, 0):
                times: dict[str, list[float]] = {way: [] for way in WAYS}
                with busy(count):
                    for number in range(options.rounds + 1):
                        for way, words in WAYS.items():
                            took = seconds(preset, [*shrunk, *words], Path(place))
                            if number:  # the first may compile
                                times[way].append(took)
                beside = f"{preset}, {count} busy programs"
                found[beside] = {way: spread(each) for way, each in times.items()}
                print(beside, {way: round(min(each), 2) for way, each in times.items()}, flush=True)
    if options.out:
        write(options.out, {"machine": machine()} | found)


if __name__ == "__main__":
    main()
