"""Time wrappers around an LSTM beside the LSTM alone, forward and backward, in turns in one run.

Each round gives every contestant a turn, so that what else the machine does falls on all alike;
a ratio is of two turns of one round. What reads from both ends is compared with two runs from one.

    python benchmarks/wrappers.py [--rounds 20] [--out benchmarks/results/wrappers.json]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from record import machine, spread, write
from recurra.machine import keep_freed_memory
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.unroll import plan, unroll
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.highway import Highway
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.projection import Projection
from recurra.nn.wrappers.reset import Reset
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.trainable_state import TrainableState
from recurra.nn.wrappers.weight_drop import WeightDrop
from recurra.nn.wrappers.zoneout import Zoneout
from recurra.randomness import generator

SIZES = ((20, 35, 200), (64, 100, 256))
"""B rows, T steps, H units and inputs."""

WARMUP = 3
PLAIN, TORCH = "LSTM", "nn.LSTM"
Step = Callable[[], None]
Wrap = Callable[[LSTMCell], Recurrence]

BOUND: dict[str, Wrap] = {
    "variational dropout": lambda cell: Dropout(cell, input=0.3, output=0.3, variational=True),
    "dropout at each step": lambda cell: Dropout(cell, input=0.3, output=0.3),
    "weight drop": lambda cell: WeightDrop(cell, 0.5),
    "residual": Residual,
}
"""At most 1.25 times the LSTM alone, as lengths are, and both directions each."""

OTHERS: dict[str, Wrap] = {
    "projection": lambda cell: Projection(cell, cell.hidden_size),
    "highway": Highway,
    "trainable state": TrainableState,
    "reset, asked for nowhere": Reset,
    "attention, window 15": Attention,
    "zoneout": lambda cell: Zoneout(cell, 0.05, 0.5),
    "mogrifier, 5 rounds": Mogrifier,
}
"""What does more arithmetic than the LSTM alone, or goes step by step: for the record."""


def ours(cell: Recurrence, B: int, T: int, **options: Tensor) -> Step:
    """Return forward and backward of a recurrence in training mode."""
    cell.train()
    x = torch.randn(B, T, cell.input_size, generator=generator(1, "wrappers inputs"))
    if isinstance(cell, Reset):
        x[:, :, -1] = 0
    x.requires_grad_()
    masks = generator(1, "wrappers masks")

    def step() -> None:
        y, _ = unroll(cell, x, generator=masks, **options)
        y.sum().backward()
        _forget(x, cell)

    return step


def theirs(B: int, T: int, H: int) -> Step:
    """Return forward and backward of `nn.LSTM`."""
    lstm = nn.LSTM(H, H, batch_first=True)
    x = torch.randn(B, T, H, generator=generator(1, "wrappers inputs")).requires_grad_()

    def step() -> None:
        y, _ = lstm(x)
        y.sum().backward()
        _forget(x, lstm)

    return step


def _forget(x: Tensor, module: nn.Module) -> None:
    x.grad = None
    module.zero_grad(set_to_none=True)


def cell_of(H: int) -> LSTMCell:
    """Return the LSTM that all of them wrap."""
    cell = LSTMCell(H, H)
    cell.reset_parameters(generator(1, "wrappers weights"))
    return cell


def contestants(B: int, T: int, H: int) -> tuple[dict[str, Step], dict[str, str]]:
    """Return name -> step, and name -> plan."""
    lengths = torch.linspace(1, T, B).long()
    both = Bidirectional(cell_of(H), cell_of(H))
    cells = {name: wrap(cell_of(H)) for name, wrap in (BOUND | OTHERS).items()}
    steps = {
        TORCH: theirs(B, T, H),
        PLAIN: ours(cell_of(H), B, T),
        "lengths": ours(cell_of(H), B, T, lengths=lengths),
        "bidirectional": ours(both, B, T),
        "bidirectional, lengths": ours(both, B, T, lengths=lengths),
        **{name: ours(cell, B, T) for name, cell in cells.items()},
    }
    return steps, {name: plan(cell) for name, cell in cells.items()}


def race(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each contestant's turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(WARMUP + rounds):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            times[name].append((time.perf_counter() - begun) * 1e3)
    return {name: each[WARMUP:] for name, each in times.items()}


def compared(name: str, times: dict[str, list[float]]) -> dict[str, Any]:
    """Return a contestant's milliseconds, and their ratio to the LSTM alone, per direction."""
    directions = 2 if name.startswith("bidirectional") else 1
    ratios = [a / b / directions for a, b in zip(times[name], times[PLAIN], strict=True)]
    return {"ms": spread(times[name]), "directions": directions, "times_the_lstm": spread(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", default="benchmarks/results/wrappers.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    sizes = []
    for B, T, H in SIZES:
        steps, plans = contestants(B, T, H)
        times = race(steps, arguments.rounds)
        rows = {name: compared(name, times) for name in steps}
        print(f"B {B}, T {T}, H {H}, {arguments.threads} threads")
        for name, row in rows.items():
            ms, ratio = row["ms"], row["times_the_lstm"]
            each = " each direction" if row["directions"] > 1 else ""
            print(
                f"  {name:26} {ms['median']:8.2f} ms ({ms['min']:.2f} to {ms['max']:.2f})"
                f"  {ratio['median']:5.2f} x{each}"
            )
        sizes.append({"B": B, "T": T, "H": H, "contestants": rows, "plans": plans})
    write(arguments.out, {"machine": machine(), "rounds": arguments.rounds, "sizes": sizes})


if __name__ == "__main__":
    main()
