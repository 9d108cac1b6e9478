"""Loops over steps as CUDA graphs: what a loop reads, gathered so that a graph of it holds.

Tensors are a graph's inputs: sequences, states, lengths, resets, dropout masks (all drawn before
the loop, as its first step asks for them), parameters and buffers. What else modules hold tells
one graph from another, and where it could change unnoticed, there is none. What nobody watches
stands in a graph as it was: globals, attributes of classes, and what functions read of these.
B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from numbers import Number
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recurra.nn.cells.kernel import Kernel, is_watched
from recurra.nn.kernels.device.graphs import Graphs
from recurra.nn.kernels.device.recorder import OnCuda, RecordingError
from recurra.nn.state import State, flatten, map_tensors, unflatten
from recurra.nn.wrappers.base import Recurrence, Starts, StepPass, Wrapper
from recurra.nn.wrappers.masks import Masks

__all__ = ["GRAPHS", "Looping", "graphed", "ungraphed"]

GRAPHS = Graphs(OnCuda())
"""Of all recurrences."""

PLAIN = (Number, str, type(None), torch.dtype, torch.device)
OWN = {*vars(nn.Module()), "twin_of"}


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
    if parametrize._cache_enabled:
        return "weights made of others are kept for a while"
    for name, part in inner.named_modules():
        if is_watched(part):
            return "hooks act at its steps"
        new: Any = type(part).__new__
        if new is not object.__new__:
            return f"a {type(part).__name__} may hold more than attributes"
        for key, value in vars(part).items():
            if key not in OWN and _fixed(value) is None:
                return f"{name}.{key}".lstrip(".") + " could change without being noticed"
    return None


def graphed(
    run: Looping,
    inner: Recurrence,
    x: Tensor,
    state: State,
    kernel: Callable[[Recurrence, Tensor, Masks], Kernel | str] | None,
) -> tuple[Tensor, State] | None:
    """Return what a loop over steps does, by replaying its graph; None where it is to be run.

    Args:
        run: the pass that comes to `inner`.
        inner: whose steps they are.
        x: `(B, T, I)`.
        state: before the first step.
        kernel: finds what takes the steps where there are no resets; the plain loop.
    """
    if ungraphed(inner, x):
        return None
    masks = _masks(run, inner, x, state)
    if masks is None:
        return None
    start = run.starts.part(inner)
    own = {**dict(inner.named_parameters()), **dict(inner.named_buffers())}
    inputs = _inputs(run, inner, x, state, start)
    inputs |= {f"mask {place}": mask for place, mask in masks.items()}
    # As it is now: a derivative of the derivative may come to it when it has changed.
    still = _twins(inner, {id(tensor): tensor for tensor in own.values()})[0]

    def function(*tensors: Tensor) -> list[Tensor]:
        named = dict(zip(inputs, tensors, strict=True))
        instead = {id(tensor): named[f"own {name}"] for name, tensor in own.items()}
        twins = _twins(still, instead)
        held, twin = _held(twins), cast("Recurrence", twins[0])
        part = copy.copy(run)
        part.lengths, part.reset = named.get("lengths"), named.get("reset")
        part.masks = Masks(None, run.masks.steps)
        made = {(id(twins[n]), place): named[f"mask {(n, place)}"] for n, place in masks}
        part.masks.made.update(made)
        part.starts = Starts(None if start is None else unflatten(named, start, "start"))
        begin = unflatten(named, state)
        found = kernel(twin, named["x"], part.masks) if kernel and part.reset is None else None
        if isinstance(found, Kernel):
            y, end = found.run(named["x"], begin, part.lengths)
        else:
            y, end = part.loop(twin, named["x"], begin)
        for key, *_ in held ^ _held(twins):
            raise RecordingError(f"its step sets {key}")
        return [y, *flatten(end).values()]

    kind = (run.masks.steps, tuple(inputs), _kind(inner))
    made = GRAPHS(_owner(inner), kind, function, list(inputs.values()))
    if made is None:
        return None
    parts = iter(made[1:])
    return made[0], map_tensors(lambda _: next(parts), state)


def _owner(inner: nn.Module) -> object:
    """Return what holds the graphs: of a twin made for one unroll, the original."""
    return vars(inner).get("twin_of", inner)


def _inputs(
    run: Looping, inner: Recurrence, x: Tensor, state: State, start: State
) -> dict[str, Tensor]:
    """Return by names the tensors that a loop reads, but masks."""
    inputs = {"x": x, **flatten(state), **({} if start is None else flatten(start, "start"))}
    inputs |= {f"own {name}": tensor for name, tensor in inner.named_parameters()}
    loose = {"lengths": run.lengths, "reset": run.reset}
    loose |= {f"own {name}": tensor for name, tensor in inner.named_buffers()}
    # The loop keeps none of these for the backward pass, so until then they may change.
    grads = torch.is_grad_enabled()
    found = {name: tensor for name, tensor in loose.items() if tensor is not None}
    return inputs | {name: tensor.clone() if grads else tensor for name, tensor in found.items()}


def _masks(
    run: Looping, inner: Recurrence, x: Tensor, state: State
) -> dict[tuple[int, Any], Tensor] | None:
    """Return the masks that a loop will ask for, by the number of the part whose they are.

    None where it draws more than tensors.
    """
    parts = list(inner.modules())
    drawing = any(isinstance(part, Wrapper) and part.training for part in parts)
    if run.masks.generator is not None and drawing:
        StepPass(run.masks, 0, run.starts)(inner, x[:, 0], state)
    numbers = {id(part): n for n, part in enumerate(parts)}
    masks = run.masks.made.items()
    found = {(numbers[of], place): made for (of, place), made in masks if of in numbers}
    return found if all(isinstance(made, Tensor) for made in found.values()) else None


def _kind(inner: Recurrence) -> Hashable:
    """Return what the steps depend on beside tensors, as far as modules say it."""
    return tuple(
        (type(part), key, _fixed(value))
        for part in inner.modules()
        for key, value in vars(part).items()
        if key not in OWN or key == "training"
    )


def _fixed(value: object) -> Hashable | None:
    """Return what tells a value from all others, and keeps it alive; None where it may change."""
    if isinstance(value, PLAIN):
        return type(value), repr(value)  # as 0.0 == -0.0, and 1 == True
    if isinstance(value, tuple):
        parts = tuple(map(_fixed, value))
        return None if any(part is None for part in parts) else (type(value), parts)
    if isinstance(value, FunctionType):
        within = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        plain = all(isinstance(part, PLAIN) for part in within)
        return value if plain and not value.__closure__ and not vars(value) else None
    if isinstance(value, BuiltinFunctionType):
        return value if isinstance(value.__self__, type | ModuleType | None) else None
    return value if isinstance(value, type) else None


def _twins(inner: nn.Module, instead: Mapping[int, Tensor]) -> list[nn.Module]:
    """Return shallow twins of all parts, the whole first, that hold other tensors.

    Args:
        inner: the whole.
        instead: for the id of a parameter or buffer, what stands in its place.
    """
    twins: dict[int, nn.Module] = {id(part): object.__new__(type(part)) for part in inner.modules()}
    for part in inner.modules():
        vars(twins[id(part)]).update(
            vars(part),
            _parameters={key: instead.get(id(held)) for key, held in part._parameters.items()},
            _buffers={key: instead.get(id(held)) for key, held in part._buffers.items()},
            _modules={key: twins.get(id(held)) for key, held in part._modules.items()},
            twin_of=_owner(part),
        )
    return list(twins.values())


def _held(parts: list[nn.Module]) -> set[tuple[str, int, int]]:
    """Return what modules hold: its name, whose it is, and which object."""
    return {
        (key, n, id(held))
        for n, part in enumerate(parts)
        for table in (vars(part), part._parameters, part._buffers, part._modules)
        for key, held in table.items()
    }
