"""Killed at random moments and continued by the same command, a sweep ends with the same table.

Two cells, three rates and three seeds; each time it is killed, stopped or interrupted, with one
worker or two. After each end no process of the sweep is left. What differs, times aside, is wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KILLS = 8
LIMIT = 900.0
"""Seconds that no sweep takes."""
GONE_SECONDS = 20.0
"""In which every process of a sweep that was killed has ended."""
CLOCK = ("seconds",)

COMMAND = [
    "sweep", "docstrings", "--data", "grammar", "--out", "swept", "--seeds", "3",
    "--set", "network.cell=gru,lstm", "--set", "train.learning_rate=2,10,20",
    "--set", "network.hidden_size=16", "--set", "train.steps=40", "--set", "train.save_seconds=0",
]  # fmt: skip


def run(seed: int) -> dict[str, Any]:
    """Kill a sweep again and again, and compare how it ends; `seed` chooses when, and how."""
    draws = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        begun = time.monotonic()
        code = begin(whole, [*COMMAND, "--workers", "2"]).wait(LIMIT)
        seconds = time.monotonic() - begun
        wrong = [f"undisturbed, exit {code}"] if code else []
        ends, resumed = [], 0
        for _ in range(KILLS):
            fault, end, part = kill(killed, draws, seconds)
            wrong += fault
            ends.append(end)
            resumed += part
            print(f"{end}: {fault or 'nothing left'}", flush=True)
        code = begin(killed, [*COMMAND, "--workers", "1"]).wait(LIMIT)
        wrong += [f"continued, exit {code}"] if code else []
        if not wrong and table(whole) != table(killed):
            wrong.append("the table differs")
    return {
        "runs": 18,
        "kills": len(ends),
        "ends": ends,
        "runs cut short": resumed,
        "wrong": wrong,
        "failed": len(wrong),
    }


def kill(place: Path, draws: random.Random, seconds: float) -> tuple[list[str], str, int]:
    """Begin the sweep and end it somewhere; return what is wrong, how it ended, runs cut short."""
    workers = draws.choice("12")
    process = begin(place, [*COMMAND, "--workers", workers])
    number = draws.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    moment = draws.uniform(1.0, max(2.0, 0.6 * seconds))
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    code = process.wait(LIMIT)
    until = time.monotonic() + GONE_SECONDS
    while (left := processes(place)) and time.monotonic() < until:
        time.sleep(0.05)
    wrong = [f"{len(left)} processes outlive the sweep"] if left else []
    runs = [run for run in (place / "swept").glob("*seed=*") if (run / "checkpoints").is_dir()]
    part = sum(not (run / "report.json").exists() for run in runs)
    end = f"{number.name} after {moment:.1f} s, {workers} workers, exit {code}, {len(runs)} runs"
    return wrong, end, part


def begin(place: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a sweep in a folder, in a group of processes of its own."""
    place.mkdir(exist_ok=True)
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "recurra", *command],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def processes(place: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == place.resolve():
                found.append(int(entry.name))
        except OSError:  # it ended, or is another user's
            continue
    return [number for number in found if number != os.getpid()]


def table(place: Path) -> Any:
    """Return the table of a sweep, times aside."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(each) for key, each in value.items() if key not in CLOCK}
        return [timeless(each) for each in value] if isinstance(value, list) else value

    return timeless(json.loads((place / "swept" / "results.json").read_text()))
