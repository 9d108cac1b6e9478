"""Train presets as one would, and note what they came to, beside their baselines, and the times.

    python benchmarks/presets.py kn5 ptb-seed:1,2,3 ptb-small --out benchmarks/results/ptb.json
    python benchmarks/presets.py sine sine-steps sine-free airline sunspots m4-hourly etth1
        --out benchmarks/results/series.json
    python benchmarks/presets.py iris vowels:1,2,3 --out benchmarks/results/labels.json

A preset may be followed by seeds. Each run is the whole command in a process of its own, from an
empty directory to its report, the baselines included.
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
    metric = report["judged"]["metric"]
    kept = ("valid", "test", "folds", "free_running", "verdict", "steps", "train_seconds")
    return {
        "preset": preset,
        "seed": seed,
        **{name: report[name] for name in kept if name in report},
        "baselines": {name: row[metric] for name, row in report["baselines"].items()},
        "command_seconds": round(command_seconds, 1),
        "throughput": report["throughput"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET[:SEED,...]")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for wanted in arguments.presets:
            preset, _, seeds = wanted.partition(":")
            for seed in seeds.split(",") if seeds else ["1"]:
                rows.append(run(preset, int(seed), Path(folder)))
                print(f"{preset} {seed}: {rows[-1]['verdict']}", flush=True)
                write(arguments.out, {"machine": machine(), "runs": rows})


if __name__ == "__main__":
    main()
