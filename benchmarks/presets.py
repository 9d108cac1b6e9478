"""Train presets as one would, and note what they came to, beside their baselines, and the times.

    python benchmarks/presets.py kn5 ptb-seed:1,2,3 ptb-small --out benchmarks/results/ptb.json
    python benchmarks/presets.py sine sine-steps sine-free airline sunspots m4-hourly etth1
        --out benchmarks/results/series.json
    python benchmarks/presets.py iris vowels:1,2,3 --out benchmarks/results/labels.json
    python benchmarks/presets.py ptb-quick ptb-tied@10 ptb-tied --runs runs
        --out benchmarks/results/language.json

A preset may be followed by minutes and by seeds. Each run is the whole command in a process of its
own, from an empty directory to its report, the baselines included. With --runs they are kept, and
those that are finished there already are read.
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


def run(preset: str, minutes: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run one preset and return what it came to."""
    out = folder / "-".join([part for part in (preset, minutes) if part] + [str(seed)])
    command = [sys.executable, "-m", "recurra", "train", preset, "--seed", str(seed)]
    command += ["--minutes", minutes] if minutes else []
    finished = (out / "report.json").exists()
    begun = time.perf_counter()
    answer = subprocess.run(
        [*command, "--out", str(out), "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    command_seconds = time.perf_counter() - begun
    report = json.loads(answer.stdout)
    if finished:
        command_seconds = report["seconds"]
    metric = report["judged"]["metric"]
    kept = ("valid", "test", "mixture", "folds", "free_running")
    kept += ("verdict", "steps", "train_seconds")
    return {
        "preset": preset,
        **({"minutes": float(minutes)} if minutes else {}),
        "seed": seed,
        **{name: report[name] for name in kept if name in report},
        "baselines": {name: row[metric] for name, row in report["baselines"].items()},
        "command_seconds": round(command_seconds, 1),
        "throughput": report["throughput"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET[@MINUTES][:SEED,...]")
    parser.add_argument("--out", required=True)
    parser.add_argument("--runs", type=Path, help="where runs are kept; nowhere by default")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.runs or Path(temporary)
        for wanted in arguments.presets:
            name, _, seeds = wanted.partition(":")
            preset, _, minutes = name.partition("@")
            for seed in seeds.split(",") if seeds else ["1"]:
                rows.append(run(preset, minutes, int(seed), folder))
                print(f"{name} {seed}: {rows[-1]['verdict']}", flush=True)
                write(arguments.out, {"machine": machine(), "runs": rows})


if __name__ == "__main__":
    main()
