"""The tutorial's three programs: by hand beside its preset, its sine by seeds, its Iris.

RECURRA_DATA=DIR python benchmarks/by_hand.py --out benchmarks/results/by_hand.json
python benchmarks/by_hand.py sine iris --out ...     # without Penn Treebank
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from presets import run
from record import machine, write

sys.path.append(str(Path(__file__).parents[1] / "examples"))

SEEDS = (1, 2, 3)


def text(folder: Path) -> dict[str, Any]:
    """Train the tutorial's language model by hand, and by its preset, two epochs each."""
    import ptb_by_hand

    begun = time.perf_counter()
    by_hand = ptb_by_hand.main("ptb")
    seconds = time.perf_counter() - begun
    preset = run("ptb-seed", "", 1, folder)
    told = preset["test"]["perplexity"]
    return {
        "by hand": {"perplexity": round(by_hand, 2), "seconds": round(seconds, 1)},
        "preset": {
            "perplexity": round(told, 2),
            "train_seconds": round(preset["train_seconds"], 1),
            "command_seconds": preset["command_seconds"],
        },
        "apart": round(by_hand / told - 1, 4),
    }


def sine(folder: Path) -> dict[str, Any]:
    """Train `sine-2017` by several seeds, and by hand, as one step and as ten."""
    import sine_by_hand

    rows = [run("sine-2017", "", seed, folder) for seed in SEEDS]
    by_hand = {}
    for name, as_steps in (("one step of ten features", False), ("ten steps of one", True)):
        begun = time.perf_counter()
        rmse = sine_by_hand.main(str(folder / "sine.png"), as_steps=as_steps)
        by_hand[name] = {"rmse": rmse, "seconds": round(time.perf_counter() - begun, 1)}
    return {
        "sine-2017": [
            {
                "seed": row["seed"],
                "rmse": row["test"]["rmse"],
                "coverage_95": row["test"]["coverage_95"],
                "train_seconds": round(row["train_seconds"], 1),
                "command_seconds": row["command_seconds"],
            }
            for row in rows
        ],
        "baselines": rows[0]["baselines"],
        "by hand": by_hand,
    }


def iris(folder: Path) -> dict[str, Any]:
    """Fit Iris in a model directory, and again."""
    import iris as example

    found = []
    for _ in range(2):
        begun = time.perf_counter()
        taken, accuracy = example.main(folder / "iris")
        seconds = round(time.perf_counter() - begun, 2)
        found.append({"steps taken": taken, "accuracy": accuracy, "seconds": seconds})
    return {"first run": found[0], "second run": found[1]}


PARTS = {"text": text, "sine": sine, "iris": iris}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="text|sine|iris", help="all by default")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts or PARTS:
            found[name] = PARTS[name](Path(folder))
            print(name, found[name], flush=True)
            write(arguments.out, found)


if __name__ == "__main__":
    main()
