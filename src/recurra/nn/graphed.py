"""Loops over steps as CUDA graphs: what a loop reads, gathered so that a graph of it holds.

Tensors are a graph's inputs: sequences, states, lengths, resets, dropout masks (all drawn before
the loop, as its first step asks for them), parameters and buffers. All else that a step can
depend on tells one graph from another, and where something changes that no graph can follow,
there is none. B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recurra.nn.cells.base import Kernel, is_watched
from recurra.nn.kernels.device.graphs import Graphs
from recurra.nn.kernels.device.recorder import OnCuda, RecordingError
from recurra.nn.state import State, flatten, map_tensors, unflatten
from recurra.nn.wrappers.base import Recurrence, Starts, StepPass
from recurra.nn.wrappers.masks import Masks

__all__ = ["GRAPHS", "Looping", "graphed", "ungraphed"]

GRAPHS = Graphs(OnCuda())
"""Of all recurrences."""

PLAIN = (bool, int, float, str, type(None), torch.dtype)
OWN = set(vars(nn.Module()))


class Looping(Protocol):
    """The pass over whole sequences, as far as a loop over steps reads it."""

    lengths: Tensor | None
    reset: Tensor | None
    masks: Masks
    starts: Starts

    def loop(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` step by step."""
        ...


def ungraphed(inner: Recurrence, like: Tensor) -> str | None:
    """Return why a loop over the steps of a recurrence is no CUDA graph; None where it can be.

    Args:
        inner: whose steps they are.
        like: the sequences, or anything of their device.
    """
    if reason := GRAPHS.missing(_owner(inner), like):
        return reason
    for name, part in inner.named_modules():
        if is_watched(part):
            return "hooks act at its steps"
        for key, value in vars(part).items():
            if key not in OWN and isinstance(value, Tensor | list | dict | set):
                return f"{name}.{key}".lstrip(".") + " could change without being noticed"
    return None


def graphed(
    run: Looping, inner: Recurrence, x: Tensor, state: State, kernel: Kernel | None
) -> tuple[Tensor, State] | None:
    """Return what a loop over steps does, by replaying its graph; None where it is to be run.

    Args:
        run: the pass that comes to `inner`.
        inner: whose steps they are.
        x: `(B, T, I)`.
        state: before the first step.
        kernel: what takes the steps where there are no resets; the plain loop.
    """
    if ungraphed(inner, x):
        return None
    masks = _masks(run, inner, x, state)
    if masks is None:
        return None
    inputs = {"x": x, **flatten(state)}
    start = run.starts.start
    inputs |= {} if start is None else flatten(start, "start")
    inputs |= {} if run.lengths is None else {"lengths": run.lengths}
    inputs |= {} if run.reset is None else {"reset": run.reset}
    inputs |= {f"mask {n}": mask for n, mask in enumerate(masks.values())}
    own = {**dict(inner.named_parameters()), **dict(inner.named_buffers())}
    inputs |= {f"own {name}": tensor for name, tensor in own.items()}

    def function(*tensors: Tensor) -> list[Tensor]:
        named = dict(zip(inputs, tensors, strict=True))
        part = copy.copy(run)
        part.lengths, part.reset = named.get("lengths"), named.get("reset")
        part.masks = Masks(None, run.masks.steps)
        part.masks.made = {key: named[f"mask {n}"] for n, key in enumerate(masks)}
        if start is not None:
            part.starts = Starts(unflatten(named, start, "start"), run.starts.owner)
        begin = unflatten(named, state)
        with _holding(inner, own, [named[f"own {name}"] for name in own]):
            if kernel and part.reset is None:
                y, end = kernel.run(named["x"], begin, part.lengths)
            else:
                y, end = part.loop(inner, named["x"], begin)
        return [y, *flatten(end).values()]

    kind = (run.masks.steps, tuple(inputs), tuple(masks), id(run.starts.owner), _kind(inner))
    made = GRAPHS(_owner(inner), kind, function, list(inputs.values()))
    if made is None:
        return None
    parts = iter(made[1:])
    return made[0], map_tensors(lambda _: next(parts), state)


def _owner(inner: Recurrence) -> object:
    """Return what holds the graphs: of a twin made for one unroll, the original."""
    return vars(inner).get("twin_of", inner)


def _masks(run: Looping, inner: Recurrence, x: Tensor, state: State) -> dict[Any, Tensor] | None:
    """Return the masks that a loop will ask for; None where it draws more than tensors."""
    owners = {id(part) for part in inner.modules()}
    if run.masks.generator is not None and inner.training:
        StepPass(run.masks, 0, run.starts)(inner, x[:, 0], state)
    found = {key: made for key, made in run.masks.made.items() if key[0] in owners}
    return found if all(isinstance(made, Tensor) for made in found.values()) else None


def _kind(inner: Recurrence) -> Hashable:
    """Return what the steps depend on beside tensors, as far as modules say it."""
    return tuple(
        (type(part), key, value if isinstance(value, PLAIN) else (id(value), type(value)))
        for part in inner.modules()
        for key, value in vars(part).items()
        if key not in OWN or key == "training"
    )


@contextmanager
def _holding(
    inner: Recurrence, own: dict[str, Tensor], tensors: Sequence[Tensor]
) -> Iterator[None]:
    """Put other tensors in the place of parameters and buffers for a while."""
    instead = {id(mine): tensor for mine, tensor in zip(own.values(), tensors, strict=True)}
    places: list[tuple[dict[str, Any], str, Tensor]] = [
        (table, key, held)
        for part in inner.modules()
        for table in (part._parameters, part._buffers)
        for key, held in table.items()
        if held is not None
    ]
    for table, key, held in places:
        table[key] = instead[id(held)]
    try:
        yield
        for table, key, held in places:
            if table[key] is not instead[id(held)]:
                raise RecordingError(f"its step puts another tensor in the place of {key}")
    finally:
        for table, key, held in places:
            table[key] = held
