"""`recurra check` on every broken cell, every honest one, every cell and wrapper."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
MOST_SECONDS = 20


def run(seed: int) -> dict[str, Any]:
    """Check all of them; the seed is of the weights that wrappers are made with."""
    sys.path[:0] = [str(TESTS / "nn" / "contract")]
    import torch
    from broken_cells import BROKEN, Sound, WithKernel
    from honest_cells import HONEST
    from test_suite import around

    from recurra.nn.cells import CELLS
    from recurra.nn.contract.suite import check
    from recurra.nn.wrappers import WRAPPERS

    torch.manual_seed(seed)
    faults, slowest = [], 0.0
    for what, (kind, pattern) in BROKEN.items():
        found = check(kind)
        slowest = max(slowest, found.seconds)
        if found.ok or not re.search(pattern, found.failures[0].said):
            faults.append(f"{what}: {found.failures[:1]}")
        print(what, "|", *found.failures[:1], flush=True)
    sound = {made.__name__: made for made in (Sound, WithKernel, *HONEST)}
    sound |= {name: name for name in CELLS} | {name: around(name) for name in WRAPPERS}
    for name, made in sound.items():
        found = check(made)
        slowest = max(slowest, found.seconds)
        faults += [f"{name}: {failure.said}" for failure in found.failures]
        print(name, found.seconds, *found.failures, *found.limits, flush=True)
    faults += [f"{slowest} s for one cell"] if slowest > MOST_SECONDS else []
    return {
        "broken": len(BROKEN),
        "sound": len(sound),
        "slowest_seconds": slowest,
        "failed": len(faults),
        "faults": faults,
    }
