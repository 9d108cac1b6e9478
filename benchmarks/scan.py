"""Time cells without a matrix in their recurrence on their scans, beside the plain loop.

Forward and backward over 8 rows of 2,048 steps and 256 units, our kernel and the plain loop in
turns; then the peak memory over as many steps and over twice as many, each in a process of its
own, so that what grows is seen to grow as the steps do.

    python benchmarks/scan.py [--rounds 7] [--out benchmarks/results/scan.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from record import machine, spread, write
from recurra.machine import keep_freed_memory
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.randomness import generator

B, T, H = 8, 2048, 256
NAMES = ("min_gru", "min_lstm", "lru", "sru", "qrnn", "ind_rnn", "rwkv")
WAYS: dict[str, Callable[..., Any]] = {"scan": unroll, "plain loop": unroll_plain}


def make(name: str) -> Cell:
    """Return a cell with seeded weights."""
    cell: Cell = CELLS[name](H, H)
    cell.reset_parameters(generator(1, "init"))
    if name == "ind_rnn":
        # Its units remember forever at 1; so many steps would make numbers that are not finite.
        with torch.no_grad():
            cell.get_parameter("weight_hh").mul_(0.99)
    return cell


def step(way: str, cell: Cell, x: torch.Tensor) -> None:
    """Go forward and backward once."""
    y, _ = WAYS[way](cell, x)
    y.backward(torch.ones_like(y))
    for parameter in cell.parameters():
        parameter.grad = None


def inputs(steps: int) -> torch.Tensor:
    """Return sequences of which no gradient is asked, which would cost the plain loop still more.

    Each step's would be as large as all of the inputs, and so their sum grow as the square of T.
    """
    return torch.randn(B, steps, H, generator=generator(1, "inputs"))


def timed(way: str, cell: Cell, x: torch.Tensor) -> float:
    """Return the milliseconds of a step."""
    begun = time.perf_counter()
    step(way, cell, x)
    return (time.perf_counter() - begun) * 1e3


def faster(name: str, rounds: int) -> dict[str, Any]:
    """Return the times of both ways, and how many times faster the scan is."""
    cell, x = make(name), inputs(T)
    for way in WAYS:
        step(way, cell, x)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, each in times.items():
            each.append(timed(way, cell, x))
    ratios = [b / a for a, b in zip(*times.values())]
    milliseconds = {way: spread(each) for way, each in times.items()}
    return {"plan": plan(cell, x), "ms": milliseconds, "times_faster": spread(ratios)}


def peak_megabytes() -> float:
    """Return the most resident memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth(name: str, way: str, steps: int) -> float:
    """Return by how many MB going forward and backward twice raises the peak."""
    cell = make(name)
    step(way, cell, inputs(8))  # what is compiled or loaded once
    x = inputs(steps)
    before = peak_megabytes()
    for _ in range(2):
        step(way, cell, x)
    return peak_megabytes() - before


def in_a_process(name: str, way: str, steps: int) -> float:
    """Return `growth`, measured in a process of its own."""
    command = [sys.executable, __file__, "--growth", name, way, str(steps)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(answer.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cells", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--out", default="benchmarks/results/scan.json")
    parser.add_argument("--growth", nargs=3, metavar=("CELL", "WAY", "STEPS"))
    arguments = parser.parse_args()
    if arguments.growth:
        name, way, steps = arguments.growth
        print(json.dumps(growth(name, way, int(steps))))
        return
    # First, as a process starts with the peak of the one that starts it.
    megabytes = {
        name: {
            way: {str(steps): round(in_a_process(name, way, steps), 1) for steps in (T, 2 * T)}
            for way in WAYS
        }
        for name in arguments.cells
    }
    keep_freed_memory()
    rows = {}
    for name in arguments.cells:
        row = rows[name] = faster(name, arguments.rounds) | {"megabytes": megabytes[name]}
        ms, memory = row["ms"], [*megabytes[name]["scan"].values()]
        print(
            f"{name:10} {ms['scan']['median']:7.1f} ms, plain loop "
            f"{ms['plain loop']['median']:7.1f} ms, {row['times_faster']['median']:5.1f} x; "
            f"{memory[0]:.0f} MB over {T} steps, {memory[1]:.0f} MB over {2 * T}",
            flush=True,
        )
    sizes = {"rows": B, "steps": T, "units": H}
    write(arguments.out, {"machine": machine(), **sizes, "rounds": arguments.rounds, "cells": rows})


if __name__ == "__main__":
    main()
