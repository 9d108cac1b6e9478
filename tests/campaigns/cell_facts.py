"""What the page of cells says that only running them tells: streams, compiles, is exported."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

NN = Path(__file__).resolve().parents[1] / "nn"
SIZE = 64
"""Inputs and units of the cell that is counted."""
ROWS, STEPS = 3, 40


def run(seed: int) -> dict[str, Any]:
    """Run every cell; the seed is of weights and inputs."""
    from recurra.nn.cells import CELLS

    warnings.simplefilter("ignore")  # torch's own, of what it traces
    cells = {}
    for name in CELLS:
        cells[name] = facts(name, seed)
        print(name, cells[name], flush=True)
    faults = [
        f"{name} under {what}: {found[what]}"
        for name, found in cells.items()
        for what in ("compile", "export")
        if found[what] != "ok"
    ]
    return {"failed": len(faults), "faults": faults, "cells": cells}


def facts(name: str, seed: int) -> dict[str, Any]:
    """Return all that is found of a cell."""
    return {
        **quick(name, seed),
        **{what: transformed(name, what) for what in ("compile", "export")},
    }


def quick(name: str, seed: int) -> dict[str, Any]:
    """Return its numbers: of parameters, of a row's state, and how far a stream is off.

    That is the most that outputs one step at a time differ from those of whole sequences, over the
    largest of them, rounded up to a power of ten; 0 where they are the same.
    """
    import torch

    from recurra.nn.cells import CELLS
    from recurra.nn.state import flatten
    from recurra.nn.unroll import unroll

    torch.manual_seed(seed)
    cell = CELLS[name](SIZE, SIZE).eval()
    x = torch.randn(ROWS, STEPS, SIZE)
    with torch.no_grad():
        y, _ = unroll(cell, x)
        state, off = cell.initial_state(ROWS), 0.0
        for t in range(STEPS):
            out, state = cell(x[:, t], state)
            off = max(off, float((out - y[:, t]).abs().max()))
    off /= float(y.abs().max())
    parts = flatten(cell.initial_state(1)).values()
    return {
        "parameters": sum(each.numel() for each in cell.parameters()),
        "state_numbers": sum(each.numel() * (1 + each.is_complex()) for each in parts),
        "streams": power_above(off),
    }


def power_above(value: float) -> float:
    """Return the least power of ten that is not below a number; 0 of 0."""
    import math

    return 10.0 ** math.ceil(math.log10(value)) if value else 0.0


def transformed(name: str, what: str) -> str:
    """Return `"ok"`, or in torch's words why a cell is not compiled or exported."""
    sys.path.append(str(NN))
    import torch
    import torch_transforms as transforms

    torch._dynamo.reset()
    check: Callable[[Any], None] = transforms.TRANSFORMS[what]
    try:
        check(transforms.subject(name))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0][:200]}"
    return "ok"
