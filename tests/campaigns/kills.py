"""Killed at random moments on a fresh cache of kernels, a run ends with an undisturbed one's bits.

Every run begins without a compiled kernel, is killed, and goes on with what had been compiled and
kept till then. Every cell, wrapper, loss and task has its turn, on one thread or on two. Half of
the kills wait for a save to begin; how many were inside one is counted, and must be a fifth.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLS = 4
"""Of each run."""
STEPS = 24
LIMIT = 900.0
"""Seconds that no run takes."""
CLOCK = ("seconds", "train_seconds", "throughput", "run", "command")

COMMON = {"train.save_seconds": 0, "train.steps": STEPS, "network.hidden_size": 16}
TEXT = COMMON | {"data.chunk_length": 10, "train.batch_size": 100, "train.validate_epochs": 0.2}
LOSSES: dict[str, dict[str, Any]] = {
    "sampled": {"network.sampled": 64, "network.tied": "true"},
    "mixture": {"network.softmax": "mixture", "network.experts": 3},
    "adaptive": {
        "network.softmax": "adaptive",
        "network.cutoffs": "20/60",
        "network.tied": "false",
    },
    "bfloat16": {"network.precision": "bfloat16"},
}
WRAPPERS: dict[str, dict[str, Any]] = {
    "dropped": {"network.dropout": 0.3, "network.weight_dropout": 0.3},
    "variational": {"network.dropout": 0.3, "network.variational": "true"},
    "residual": {"network.residual": "true", "network.num_layers": 3},
    "averaged": {"train.average": "ema", "train.keep": "best", "train.optimizer": "adamw"},
}


def commands() -> dict[str, list[str]]:
    """Return what is trained, by name."""
    from recurra.nn.cells import CELLS

    texts = {name: {"network.cell": name} for name in CELLS} | LOSSES | WRAPPERS
    found = {
        f"text, {name}": ["docstrings", "--data", "grammar", *_set(TEXT | changes)]
        for name, changes in texts.items()
    }
    found["series"] = ["airline", *_set(COMMON)]
    found["series of steps"] = ["sine-steps", *_set(COMMON)]
    found["labels"] = ["iris", *_set({"train.save_seconds": 0, "train.steps": STEPS})]
    return found


def _set(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def run(seed: int) -> dict[str, Any]:
    """Kill runs, and compare how they end; `seed` chooses when, and on how many threads."""
    draws = random.Random(seed)
    names = list(commands())
    draws.shuffle(names)
    wrong, inside, done = [], 0, 0
    for number, name in enumerate(names):
        threads = 1 + number % 2
        command = ["train", *commands()[name], "--threads", str(threads), "--out", "run"]
        with tempfile.TemporaryDirectory() as folder:
            fault, cuts = _killed(Path(folder), command, draws)
        wrong += [f"{name}, {threads} threads: {fault}"] if fault else []
        inside, done = inside + sum(cuts), done + len(cuts)
        print(f"{done} kills, {inside} in a save: {name}, {threads} threads: {fault}", flush=True)
    few = inside < done / 5
    return {
        "runs": len(names),
        "kills": done,
        "inside a save": inside,
        "wrong": wrong,
        "failed": len(wrong) + few,
    }


def _killed(
    folder: Path, command: list[str], draws: random.Random
) -> tuple[str | None, list[bool]]:
    """Return what differs between a run that was killed and one that was not, if anything does.

    Also whether each kill was within a save.
    """
    pid = begin(folder / "undisturbed", command)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        return f"undisturbed, exit {code}", []
    place, cuts = folder / "killed", []
    for number, moment in enumerate(sorted(draws.sample(range(1, STEPS), KILLS))):
        pid = begin(place, command)
        until(lambda: _steps(place) >= moment or _ended(pid))  # noqa: B023
        if number % 2:
            until(lambda: bool(_unfinished(place)) or _ended(pid))  # noqa: B023
        else:
            time.sleep(draws.uniform(0, 0.05))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        cuts.append(bool(_unfinished(place)))
    pid = begin(place, command)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        return f"resumed, exit {code}", cuts
    expected, found = outcome(folder / "undisturbed" / "run"), outcome(place / "run")
    different = [name for name in {*expected, *found} if expected.get(name) != found.get(name)]
    return (", ".join(sorted(different)) or None), cuts


def begin(place: Path, command: list[str]) -> int:
    """Start a trainer with a cache of its own in a folder; return its process."""
    from recurra.cli import main

    place.mkdir(exist_ok=True)
    if pid := os.fork():
        return pid
    code = 70
    try:
        os.environ.pop("NUMBA_CACHE_DIR", None)
        os.environ["RECURRA_CACHE"] = str(place / "cache")
        os.chdir(place)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["recurra", *command]
        code = main(command)
    finally:
        os._exit(code)


def _ended(pid: int) -> bool:
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def until(holds: Callable[[], bool]) -> None:
    """Wait for something, but not for ever."""
    limit = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > limit:
            raise TimeoutError("a run neither came so far nor ended")
        time.sleep(0.0005)


def _steps(place: Path) -> int:
    folder = place / "run" / "checkpoints"
    numbers = [p.name.removeprefix("step-") for p in folder.iterdir()] if folder.is_dir() else []
    return max([int(number) for number in numbers if number.isdecimal()], default=0)


def _unfinished(place: Path) -> list[Path]:
    return list((place / "run" / "checkpoints").glob("*.tmp-*"))


def outcome(run: Path) -> dict[str, Any]:
    """Return all that training determines: last weights, model, metrics, report but for times."""
    last = max((run / "checkpoints").glob("step-*"))
    files = [*last.glob("*.safetensors"), *(run / "model").rglob("*"), run / "metrics.jsonl"]
    found: dict[str, Any] = {
        path.relative_to(run).as_posix(): path.read_bytes() for path in files if path.is_file()
    }
    report = json.loads((run / "report.json").read_text())
    return found | {"report.json": {k: v for k, v in report.items() if k not in CLOCK}}
