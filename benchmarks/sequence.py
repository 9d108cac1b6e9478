"""Time whole sequences, forward and backward, of each cell beside torch's and the plain loop.

All contestants take turns in one run, in float32, on the threads torch takes; times are of the
forward pass, the backward pass and all gradients: of the inputs and of every parameter. Ratios are
of two times of the same round. Kernels are compiled and memory is warm before the first round.

    python benchmarks/sequence.py [--rounds 15] [--out benchmarks/results/sequence.json]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from record import machine, spread, write
from recurra.errors import ConfigError
from recurra.machine import keep_freed_memory
from recurra.nn.cells import CELLS
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers import WRAPPERS
from recurra.nn.wrappers.base import Recurrence
from recurra.randomness import generator

SHAPES = [(20, 35, 200), (64, 100, 256)]
OURS = ["lstm", "gru", "layer_norm_gru", "peephole_lstm", "layer_norm_lstm", "zoneout_lstm"]
OURS += ["projected_lstm", "mgu"]
LSTM, GRU = "lstm", "gru"
WORST_OF_LSTM, LEAST_OF_GRU = 1.5, 3.0

Step = Callable[[], Tensor]


def made(name: str, H: int) -> Recurrence | None:
    """Return a recurrence of H units; None, with a line that says so, where there is none."""
    try:
        if name == "zoneout_lstm":
            cell = WRAPPERS["zoneout"](CELLS["lstm"](H, H), hidden=0.05, memory=0.5)
        else:
            cell = CELLS[name](H, H)
    except (ConfigError, ImportError) as error:
        print(f"{name} is left out: {error}")
        return None
    return cell.train()


def contestants(B: int, T: int, H: int) -> tuple[dict[str, Step], dict[str, str]]:
    """Return name -> a step of forward and backward, and the plans of ours."""
    draw = generator(1, "sequence")
    x = torch.randn(B, T, H, generator=draw)
    weight = torch.randn(B, T, H, generator=draw)

    def step(run: Callable[[Tensor], Tensor], module: nn.Module) -> Step:
        inputs = x.clone().requires_grad_()
        into = [inputs, *(p for p in module.parameters() if p.requires_grad)]

        def take() -> Tensor:
            return torch.autograd.grad((run(inputs) * weight).sum(), into)[0]

        return take

    steps: dict[str, Step] = {}
    plans: dict[str, str] = {}
    for vendor in (nn.LSTM, nn.GRU):
        module = vendor(H, H, batch_first=True)
        name = f"nn.{vendor.__name__}"
        steps[name] = step(lambda x, module=module: module(x)[0], module)  # type: ignore[misc]
    for name in OURS:
        cell = made(name, H)
        if cell is None:
            continue
        plans[name] = plan(cell)
        for label, loop in ((name, unroll), (f"{name}, loop", unroll_plain)):
            masks = generator(2, "sequence", label)
            steps[label] = step(
                lambda x, c=cell, loop=loop, masks=masks: loop(c, x, generator=masks)[0],  # type: ignore[misc]
                cell,
            )
    return steps, plans


def timed(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return name -> milliseconds of each round, all taking turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-2, rounds):
        for name, step in steps.items():
            # A loop takes so long that a third of the rounds tells enough.
            if name.endswith("loop") and number % 3:
                continue
            start = time.perf_counter()
            step()
            if number >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def compared(times: dict[str, list[float]]) -> dict[str, object]:
    """Return the spread of each, and how it stands to our LSTM and to nn.GRU."""
    result: dict[str, object] = {}
    for name, own in times.items():
        entry: dict[str, object] = {"ms": spread(own)}
        if not name.endswith("loop"):
            entry["times our LSTM"] = spread([a / b for a, b in zip(own, times[LSTM])])
            if name == GRU:
                entry["times faster than nn.GRU"] = spread(
                    [b / a for a, b in zip(own, times["nn.GRU"])]
                )
            loop = times.get(f"{name}, loop")
            if loop:
                entry["times faster than the loop"] = spread(
                    [b / a for a, b in zip(own[::3], loop)]
                )
        result[name] = entry
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--out", default="benchmarks/results/sequence.json")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    keep_freed_memory()
    result: dict[str, object] = {"machine": machine(), "rounds": given.rounds}
    for B, T, H in SHAPES:
        steps, plans = contestants(B, T, H)
        shape = f"B {B}, T {T}, H {H}"
        table = compared(timed(steps, given.rounds))
        result[shape] = {"plans": plans, "contestants": table}
        print(shape)
        for name, entry in table.items():
            print(f"  {name:24}", *(f"{key}: {value}" for key, value in entry.items()))  # type: ignore[attr-defined]
    result["asked for"] = {
        "times our LSTM, at most": WORST_OF_LSTM,
        "GRU, times faster than nn.GRU, at least": LEAST_OF_GRU,
    }
    write(given.out, result)


if __name__ == "__main__":
    main()
