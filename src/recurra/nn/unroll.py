"""The only loop over time, and the plan that picks a kernel in its place.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra.errors import ShapeError
from recurra.nn.arguments import (
    checked_flags,
    checked_lengths,
    is_one_step,
    require_sequences,
)
from recurra.nn.cells.base import require_recurrence
from recurra.nn.cells.kernel import Kernel
from recurra.nn.graphed import ungraphed
from recurra.nn.present import Present, packed_like, padded, traces
from recurra.nn.sequences import SequencePass, kernel_for, over
from recurra.nn.state import State
from recurra.nn.wrappers.base import Recurrence, Wrapper, why_stepwise
from recurra.nn.wrappers.masks import Masks

__all__ = ["plan", "unroll", "unroll_plain"]

Lengths = Tensor | Sequence[int]
Flags = Tensor | Sequence[Sequence[bool]]


class Options(TypedDict, total=False):
    """What may be told of the steps of an unroll."""

    lengths: Lengths | None
    mask: Flags | None
    reset: Flags | None
    generator: torch.Generator | None


@overload
def unroll(
    cell: Recurrence,
    x: Tensor,
    state: State = None,
    *,
    states: Literal[False] = False,
    **options: Unpack[Options],
) -> tuple[Tensor, State]: ...
@overload
def unroll(
    cell: Recurrence,
    x: Tensor,
    state: State = None,
    *,
    states: Literal[True],
    **options: Unpack[Options],
) -> tuple[Tensor, State, State]: ...
@overload
def unroll(
    cell: Recurrence,
    x: PackedSequence,
    state: State = None,
    *,
    states: bool = False,
    **options: Unpack[Options],
) -> Any: ...


def unroll(
    cell: Recurrence,
    x: Tensor | PackedSequence,
    state: State = None,
    *,
    lengths: Lengths | None = None,
    mask: Flags | None = None,
    reset: Flags | None = None,
    states: bool = False,
    generator: torch.Generator | None = None,
) -> Any:
    """Run a recurrence over whole sequences; returns its outputs, and its state at the end.

    Equal to calling `cell` step by step, on the fastest kernel there is for it: `plan` says
    which.

    Shapes: `x (B, T, I)`; returns `(B, T, O)` and a state of B rows; with `states`, also one of
        tensors `(B, T, ...)`.

    Args:
        cell: any cell or wrapper.
        x: the inputs, batch first; or packed, and then so are the outputs.
        state: before the first step, of which plain tuples will do as well; the cell's initial
            state by default.
        lengths: `(B,)` integers in 0..T, a tensor or a list: outputs past a row's length are
            zero, and its state is the one at its length, whatever the padding holds.
        mask: `(B, T)` bool, a tensor or lists: a step where it is False is not there, wherever
            that is: its output is zero, and the state stays as it was.
        reset: `(B, T)` bool, a tensor or lists: before such a step the row's state becomes the
            initial one. A step that is not there resets nothing.
        states: whether to return the states after all steps too; by the loop where no kernel has
            them. Where steps are not there, they are the state as it was.
        generator: where dropout masks come from, needed in training mode.

    Raises:
        ConfigError: `cell` is no recurrence; of a module of torch, `from_torch` makes one.
        ShapeError: for shapes or dtypes that do not fit the cell or each other.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> y, state = unroll(LSTMCell(3, 5), torch.zeros(2, 7, 3), lengths=torch.tensor([7, 2]))
        >>> y.shape, state.h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
        >>> y, state, states = unroll(LSTMCell(3, 5), torch.zeros(2, 7, 3), states=True)
        >>> states.c.shape, torch.equal(states.c[:, -1], state.c)
        (torch.Size([2, 7, 5]), True)
    """
    whole = lengths is None and mask is None and reset is None and generator is None and not states
    if whole and isinstance(x, Tensor) and is_one_step(cell, x, state):
        try:  # a step by itself costs less than anything made for many, or asked before
            y, after = nn.Module.__call__(cell, x.squeeze(1), state)
            return torch.stack((y,), dim=1), after  # a copy, as every output is the caller's
        except (RuntimeError, ShapeError):
            pass  # what does not fit is said below
    options: Options = {"lengths": lengths, "mask": mask, "reset": reset, "generator": generator}
    if generator is not None and torch.compiler.is_compiling() and _draws(cell):
        from recurra.nn.uncompiled import drawing  # brings the whole compiler with it

        return drawing(_unroll, cell, x, state, options, states)
    return _unroll(cell, x, state, options, states)


def unroll_plain(
    cell: Recurrence,
    x: Tensor,
    state: State = None,
    *,
    states: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Do what `unroll` does by the plain loop alone: the reference of every kernel.

    Bidirectional recurrences, which no loop over single steps can run, have their two
    directions looped.

    Args:
        cell: any cell or wrapper.
        x: `(B, T, I)`, or packed.
        state: before the first step.
        states: whether to return the states after all steps too.
        options: `lengths`, `mask`, `reset` and `generator` of `unroll`.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> unroll_plain(GRUCell(3, 5), torch.zeros(2, 7, 3))[0].shape
        torch.Size([2, 7, 5])
    """
    return _unroll(cell, x, state, options, states, plain=True)


def plan(cell: Recurrence, x: Tensor | None = None) -> str:
    """Say in words what `unroll` would run for each part of `cell`, and why nothing faster.

    Args:
        cell: any cell or wrapper, in training or evaluation mode.
        x: the sequences, or anything of their device and dtype; the parameters' by default.

    Raises:
        ConfigError: `cell` is no recurrence; of a module of torch, `from_torch` makes one.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> from recurra.nn.wrappers.dropout import Dropout
        >>> print(plan(Dropout(LSTMCell(3, 5), state=0.5)))
        Dropout(3 -> 5): the plain loop: dropout of the state acts between steps
          LSTMCell(3 -> 5): one step at a time
    """
    require_recurrence(cell, "plan")
    if x is None:
        x = next(cell.parameters(), torch.empty(0))
    elif not isinstance(x, Tensor):
        raise ShapeError(f"plan takes x as a tensor, got {type(x).__name__}")
    if x.dim() == 3 and is_one_step(cell, x, cell.initial_state(x.shape[0])):
        sizes = f"({cell.input_size} -> {cell.output_size})"
        return f"{type(cell).__name__}{sizes}: one step, by the cell itself"
    return "\n".join(_describe(cell, x, ""))


def _unroll(
    cell: Recurrence,
    x: Tensor | PackedSequence,
    state: State,
    options: Options,
    states: bool,
    plain: bool = False,
) -> Any:
    if isinstance(x, PackedSequence):
        if options.get("lengths") is not None:
            raise ShapeError("packed sequences have their lengths with them: pass no lengths=")
        rows, sizes = padded(x)
        within: Options = {**options, "lengths": sizes}
        y, *rest = _unroll(cell, rows, state, within, states, plain)
        return packed_like(y, x), *rest
    require_sequences(x)
    lengths = checked_lengths(options.get("lengths"), x)
    mask = checked_flags(options.get("mask"), x, "mask")
    reset = checked_flags(options.get("reset"), x, "reset")
    present = None if mask is None else Present(mask, lengths)
    if present is not None:
        x, lengths = present.to_front(x), present.lengths
        reset = None if reset is None else present.to_front(reset)
    run = SequencePass(Masks(options.get("generator"), x.shape[1]), lengths, reset, states, plain)
    y, state = over(cell, x, state, run)
    y = y if present is None else present.back(y)
    return (y, *traces(state, lengths, present)) if states else (y, state)


def _draws(cell: Recurrence) -> bool:
    """Return whether masks may be drawn, as wrappers do in training mode."""
    parts = cell.modules() if isinstance(cell, nn.Module) else ()
    return any(part.training for part in parts if isinstance(part, Wrapper))


def _describe(cell: Recurrence, x: Tensor, indent: str) -> list[str]:
    name = f"{indent}{type(cell).__name__}({cell.input_size} -> {cell.output_size})"
    if isinstance(cell, Wrapper) and not why_stepwise(cell):
        lines = [f"{name}: around whole sequences"]
        for inner in map(cell.inner, range(len(cell.cells))):
            lines += _describe(inner, x, indent + "  ")
        return lines
    kernel = kernel_for(cell, x)
    run = kernel if isinstance(kernel, Kernel) else None
    why = run.name if run else kernel
    what, how = f"{why}, whole sequences at once", "within it"
    if (run is None or run.looped) and ungraphed(cell, x) is None:
        what = f"a CUDA graph of the loop, once shapes repeat: {why}"
    elif run is None:
        what, how = f"the plain loop: {why}", "one step at a time"
    return [f"{name}: {what}", *_inside(cell, how, indent + "  ")]


def _inside(cell: Recurrence, how: str, indent: str) -> list[str]:
    lines = []
    for inner in map(cell.inner, range(len(cell.cells))) if isinstance(cell, Wrapper) else ():
        sizes = f"({inner.input_size} -> {inner.output_size})"
        lines.append(f"{indent}{type(inner).__name__}{sizes}: {how}")
        lines += _inside(inner, how, indent + "  ")
    return lines
