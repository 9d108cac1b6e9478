"""Whether a recurrence has the form of one: its sizes, its first state, what a step returns.

B rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import RecurraError, ShapeError, in_one_line, with_place
from recurra.nn.cells.base import Cell, require_recurrence
from recurra.nn.cells.declared import shapes_note
from recurra.nn.contract.subject import (
    Subject,
    differing,
    generators,
    looks_ahead,
    loose,
    seeded,
    shown,
)
from recurra.nn.state import State, flatten
from recurra.nn.wrappers.base import Recurrence

__all__ = ["made", "starts", "steps"]

ROWS = (2, 1, 3, 5)


def made(subject: Subject) -> Iterator[str]:
    """It can be made, and all that it learns is registered.

    Args:
        subject: what is checked.
    """
    subject.doing = f"making {subject.name}"
    cell: Any = subject.fresh()
    require_recurrence(cell, "check")
    for size in ("input_size", "output_size"):
        value = getattr(cell, size)
        if not isinstance(value, int) or value < 1:
            yield f"its {size} is {value!r:.40}, expected a whole number from 1"
    for name, found, *_ in loose(cell):
        if isinstance(found, nn.Module) and next(found.parameters(), None) is not None:
            yield (
                f"self.{name} holds {type(found).__name__} where torch does not see it: its "
                "parameters are not in parameters() and state_dict(), so neither trained nor "
                "saved; use nn.ModuleList or nn.ModuleDict"
            )
        elif isinstance(found, Tensor) and found.requires_grad and found.is_leaf:
            yield (
                f"self.{name} is learned but not registered: it is not in parameters() and "
                "state_dict(), so neither trained nor saved; make it an nn.Parameter, several an "
                "nn.ParameterList"
            )
    if lazy := list(_lazy(cell)):
        yield from lazy
        return
    yield from _over_one_memory(cell if not isinstance(subject.make, nn.Module) else subject.make)
    if not isinstance(subject.make, nn.Module):
        yield from _made_apart(subject)
    if (twin := subject.again()) is not None:
        subject.doing = f"making {subject.name} a second time"
        if found := differing(_numbers(twin), _numbers(cell), 0.0):
            yield (
                f"made twice from one seed of torch, {found[0]} differs: the constructor draws "
                "from elsewhere than torch's generator, or leaves numbers as torch.empty has them"
            )


def _lazy(cell: nn.Module) -> Iterator[str]:
    for name, each in (*cell.named_parameters(), *cell.named_buffers()):
        if nn.parameter.is_lazy(each):
            kind = type(cell.get_submodule(name.rpartition(".")[0])).__name__
            yield (
                f"{name} has no shape before the first call ({kind}): it is drawn there, where no "
                "seed of a run reaches, and what was counted or given to an optimizer before "
                "lacks it; its sizes are known in __init__"
            )
            return


def _over_one_memory(cell: nn.Module) -> Iterator[str]:
    """Find two parameters over one memory; one parameter of two names is no fault."""
    places: list[tuple[int, int, int, str]] = []
    for name, each in cell.named_parameters():
        if nn.parameter.is_lazy(each) or not each.numel() or each.is_meta:
            continue
        long = 1 + sum(step * (size - 1) for step, size in zip(each.stride(), each.shape))
        begin = each.data_ptr()
        place = each.untyped_storage().data_ptr(), begin, begin + long * each.element_size(), name
        for storage, start, end, other in places:
            if storage == place[0] and begin < end and start < place[2]:
                yield (
                    f"its parameters {other} and {name} are two over one memory: an optimizer "
                    "moves it twice, and .to() or a copy parts them; give one nn.Parameter both "
                    "names"
                )
                return
        places.append(place)


def _made_apart(subject: Subject) -> Iterator[str]:
    """Find what several that are made have in common."""
    made, ends = [], []
    for seed in (1, 2):
        with seeded(seed):
            made.append(subject.make())
            ends.append(generators())
    known = {id(each) for each in made[0].parameters()}
    for name, each in made[1].named_parameters():
        if id(each) in known:
            yield (
                f"its parameter {name} is that of every other one too: who trains one trains all; "
                "make it in __init__"
            )
            return
    for name, end in ends[0].items():
        if end == ends[1][name]:
            yield (
                f"making it sets the seed of {name}'s global generator: two seeds give the same "
                "weights, and all that is drawn after it is the same too; draw from a "
                "torch.Generator of its own"
            )
            return


def _numbers(cell: nn.Module) -> dict[str, Tensor]:
    held = {name: found for name, found, *_ in loose(cell) if isinstance(found, Tensor)}
    return {**dict(cell.named_parameters()), **dict(cell.named_buffers()), **held}


def starts(subject: Subject) -> Iterator[str]:
    """Its first state is of the rows, the dtype and the device that are asked for.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh()
    subject.doing = "initial_state()"
    asked: list[tuple[str, Any, tuple[Any, ...], dict[str, Any]]] = [("", 1, (), {})]
    asked += [(str(rows), rows, (rows,), {}) for rows in ROWS]
    half, meta = torch.float16, torch.device("meta")
    asked += [
        ("2, dtype=torch.float16", 2, (2,), {"dtype": half}),
        ("2, device=torch.device('meta')", 2, (2,), {"device": meta}),
    ]
    first: dict[str, Tensor] = {}
    for words, rows, given, options in asked:
        subject.doing = f"initial_state({words})"
        try:
            state = cell.initial_state(*given, **options)
        except RecurraError as error:
            yield with_place(error)
            return
        try:
            parts = flatten(state)
        except ShapeError as error:
            yield f"{subject.doing} is no state: {error}"
            return
        first = first or parts
        fault = _unlike(parts, rows, options, first)
        if fault is not None:
            yield f"{subject.doing} {fault}"
            return
    yield from _other_start(subject)


def _other_start(subject: Subject) -> Iterator[str]:
    """Find a first state that hangs on the mode, on the row or on the call before."""
    cell, awake = subject.fresh(), subject.fresh(training=True)
    subject.doing = "initial_state(3)"
    with seeded(1), torch.no_grad():
        state, again = (flatten(cell.initial_state(3)) for _ in range(2))
        one, other = flatten(cell.initial_state(1)), flatten(awake.initial_state(3))
    if differing(again, state):
        return  # it is random, which is told where randomness is
    if found := differing(other, state):
        yield f"initial_state(3) gives another {shown(found[0])} in training mode ({found[1]})"
        return
    for name, part in state.items():
        if found := differing({name: part}, {name: part[:1].expand_as(part)}):
            yield f"initial_state(3) gives rows of {shown(name)} that differ ({found[1]})"
            return
        if found := differing({name: part[:1]}, {name: one[name]}):
            yield f"initial_state(3) gives another {shown(name)} than initial_state(1) ({found[1]})"
            return
    own = {each.untyped_storage().data_ptr() for each in (*cell.parameters(), *cell.buffers())}
    for name, part in state.items():
        place = part.untyped_storage().data_ptr()
        if place and place == again[name].untyped_storage().data_ptr() and place not in own:
            yield (
                f"initial_state(3) returns the same memory each time ({shown(name)}): who writes "
                "over one state changes those that come after"
            )
            return


def _unlike(
    parts: dict[str, Tensor], rows: int, options: dict[str, Any], first: dict[str, Tensor]
) -> str | None:
    if list(parts) != list(first):
        return f"has the parts {', '.join(parts)}, and initial_state() {', '.join(first)}"
    for name, tensor in parts.items():
        if tensor.dim() < 1 or tensor.shape[0] != rows:
            return (
                f"gives {shown(name)} of shape {tuple(tensor.shape)}, expected {rows} "
                f"row{'s' * (rows > 1)}: batch_size is not heeded"
            )
        if tensor.shape[1:] != first[name].shape[1:]:
            return (
                f"gives {shown(name)} of shape {tuple(tensor.shape)}, and initial_state() of "
                f"{tuple(first[name].shape)}"
            )
        dtype = options.get("dtype", torch.float32)
        if tensor.is_floating_point() and tensor.dtype != dtype:
            heeded = "dtype is not heeded" if "dtype" in options else "the weights are of float32"
            return f"gives {shown(name)} of {_kind(tensor.dtype)}: {heeded}"
        device = options.get("device", torch.device("cpu"))
        if tensor.device.type != device.type:
            return f"gives {shown(name)} on {tensor.device}: device is not heeded"
    return None


def steps(subject: Subject) -> Iterator[str]:
    """A step takes any batch and returns an output and a state like the one before it.

    Args:
        subject: what is checked.
    """
    if looks_ahead(subject.fresh()):
        return
    done, faults = [], {}
    for training in (False, True):
        for rows in ROWS:
            subject.doing = f"a step of B = {rows}"
            cell = subject.fresh(training=training)
            known = dict(cell.named_parameters())
            try:
                fault = _step(subject, cell, rows)
                new = [name for name, _ in cell.named_parameters() if name not in known]
                if new and fault is None:
                    yield (
                        f"its parameter {new[0]} is made by the first call: an optimizer that was "
                        "given parameters() before never moves it, and state_dict() lacks it; make "
                        "it in __init__"
                    )
                    return
            except Exception as error:  # a cell of the user's may raise anything
                fault = _raised(subject.doing, error)
            if fault is None:
                done.append(rows)
            elif rows not in faults:
                faults[rows] = f"{fault}{' in training mode' * training}"
        if faults:
            break
    for rows in faults:
        if not done and (note := _other_shapes(subject, rows, faults[rows])):
            yield f"{faults[rows]}{note}" if note.startswith(";") else note
            return
        passed = f"; batches of {' and '.join(map(str, done))} pass" if done else ""
        yield f"{faults[rows]}{passed}"
        return


def _other_shapes(subject: Subject, rows: int, fault: str) -> str:
    """Return what is wrong with what the class says of its state's shapes, where that is why."""
    cell: Any = subject.fresh()
    note = shapes_note(cell) if isinstance(cell, Cell) else ""
    shapes = dict(cell.state_shapes()) if note else {}
    names = getattr(cell.state_type, "_fields", ()) if note else ()
    said_of_shapes = any(word in fault for word in ("dimension", "shape", "size", "unpack"))
    if shapes and all(shapes.values()):
        cell.state_shapes = lambda: {name: tuple(shape[1:]) for name, shape in shapes.items()}
        try:
            if _step(subject, cell, rows) is None:
                return (
                    f"state_shapes() must be a dict of shapes without B, got {shapes}: of "
                    f"{cell.state_shapes()} a step runs"
                )
        except Exception:  # so that is not why
            pass
    return note if len(shapes) < len(names) and said_of_shapes else ""


def _raised(doing: str, error: Exception) -> str:
    said = in_one_line(error)
    for told in ("memory location", "in-place operation", "inplace operation"):
        if told in said:
            return (
                f"{doing} writes in place into its input or state, which it must not change, and "
                f"raises {said}"
            )
    return f"{doing} raises {said}"


def _step(subject: Subject, cell: Recurrence, rows: int) -> str | None:
    """Return what is wrong with two steps."""
    x = subject.x(rows, 2, cell, torch.float32)
    state = cell.initial_state(rows)
    before = flatten(state)
    with torch.no_grad():
        for t in range(2):
            result = subject.pair(cell, x[:, t], state)
            if type(result) is not tuple or len(result) != 2:
                return f"forward returns (y, state), got {type(result).__name__}"
            y, state = result
            fault = _wrong_output(y, cell, rows) or _wrong_state(state, before)
            if fault:
                return f"{subject.doing} returns {fault}"
    return None


def _wrong_output(y: Any, cell: Recurrence, rows: int) -> str | None:
    shape = (rows, cell.output_size)
    if not isinstance(y, Tensor):
        return f"an output of type {type(y).__name__}, expected a tensor of shape {shape}"
    if y.shape != shape:
        return (
            f"an output of shape {tuple(y.shape)}, expected {shape}, as output_size is "
            f"{cell.output_size}"
        )
    if y.dtype != torch.float32:
        return f"an output of {_kind(y.dtype)}, where its input and weights are of float32"
    if y.device.type != "cpu":
        return f"an output on {y.device}, where its input is on the processor"
    if not y.isfinite().all():
        return "an output that is not finite, for an input that is"
    return None


def _wrong_state(state: State, before: dict[str, Tensor]) -> str | None:
    try:
        parts = flatten(state)
    except ShapeError as error:
        return f"no state: {error}"
    if list(parts) != list(before):
        return (
            f"a state of the parts {', '.join(parts)}, expected {', '.join(before)}, as "
            "initial_state gives"
        )
    for name, like in before.items():
        got = parts[name]
        if got.shape != like.shape:
            return (
                f"{shown(name)} of shape {tuple(got.shape)}, expected {tuple(like.shape)}, as "
                "initial_state gives"
            )
        if got.dtype != like.dtype:
            return (
                f"{shown(name)} of {_kind(got.dtype)}, expected {_kind(like.dtype)}, as "
                "initial_state gives"
            )
        if got.device != like.device:
            return f"{shown(name)} on {got.device}, expected {like.device}"
    return None


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
