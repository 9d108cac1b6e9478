"""Every cell, every wrapper around two, and drawn pairs of the rest, under all of torch's
transforms; and inductor on each."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

NN = Path(__file__).resolve().parents[1] / "nn"
PAIRS = 20
MOST_SECONDS = 900

ONE = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import torch, torch_transforms as transforms
from recurra.errors import RecurraError
try:
    transforms.meta(transforms.subject(sys.argv[2]))
except RecurraError:
    sys.exit("no such nest")
checks = {**transforms.TRANSFORMS, **transforms.BY_INDUCTOR}
for name in sys.argv[3:]:
    torch._dynamo.reset()
    try:
        checks[name](transforms.subject(sys.argv[2]))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        print(f"{name}\t{type(error).__name__}: {lines[0][:200]}")
    else:
        print(f"{name}\tok")
"""


def run(seed: int) -> dict[str, Any]:
    """Run each recurrence in a process of its own, two at a time."""
    sys.path.insert(0, str(NN))
    import torch_transforms as transforms

    from recurra.nn.cells import CELLS
    from recurra.nn.wrappers import WRAPPERS

    drawn = random.Random(seed)
    rest = [f"{w}({c})" for w in WRAPPERS for c in CELLS if c not in ("lstm", "gru")]
    names = [*transforms.SUBJECTS, *drawn.sample(rest, PAIRS)]
    checks = list(transforms.TRANSFORMS)
    work = [(name, checks) for name in names]
    work += [(name, ["inductor", "inductor, plain inputs"]) for name in transforms.SUBJECTS]
    work += [(name, ["any shape by inductor"]) for name in ("lstm", "gru", "rnn", "min_gru")]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(_outcomes, work))
    faults = [
        f"{name} under {check}: {said}"
        for (name, _), found in zip(work, results)
        for check, said in found.items()
        if said != "ok"
    ]
    done = sum(map(len, results))
    return {
        "recurrences": sum(map(bool, results[: len(names)])),
        "checks": done,
        "failed": len(faults),
        "share failed": round(len(faults) / max(1, done), 4),
        "faults": sorted(faults),
    }


def _outcomes(work: tuple[str, list[str]]) -> dict[str, str]:
    name, checks = work
    command = [sys.executable, "-c", ONE, str(NN), name, *checks]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MOST_SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        said, why = done.stdout, done.stderr.strip().splitlines()[-1:]
        if "no such nest" in why:
            return {}
    except subprocess.TimeoutExpired as error:
        said, why = (error.stdout or b"").decode(), [f"more than {MOST_SECONDS} s"]
    found = dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    print(name, {k: v for k, v in found.items() if v != "ok"} or "ok", flush=True)
    return {check: found.get(check, f"died: {why}") for check in checks}
