"""The only loop over time, and the plan that picks a kernel in its place.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.arguments import (
    check_first_step,
    checked_lengths,
    checked_reset,
    first_state,
    require_sequences,
)
from recurra.nn.cells.base import Cell, Kernel, is_watched, kernel_of, require_recurrence
from recurra.nn.graphed import graphed, ungraphed
from recurra.nn.state import State, where
from recurra.nn.wrappers.base import (
    Pass,
    Recurrence,
    Starts,
    StepPass,
    Wrapper,
    why_stepwise,
)
from recurra.nn.wrappers.masks import Masks

__all__ = ["plan", "unroll", "unroll_plain"]


def unroll(
    cell: Recurrence,
    x: Tensor,
    state: State = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    reset: Tensor | Sequence[Sequence[bool]] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, State]:
    """Run a recurrence over whole sequences; returns its outputs, and its state at the end.

    Equal to calling `cell` step by step, on the fastest kernel there is for it: `plan` says
    which.

    Shapes: `x (B, T, I)`; returns `(B, T, O)` and a state of B rows.

    Args:
        cell: any cell or wrapper.
        x: the inputs, batch first.
        state: before the first step, of which plain tuples will do as well; the cell's initial
            state by default.
        lengths: `(B,)` integers in 0..T, a tensor or a list: outputs past a row's length are
            zero, and its state is the one at its length, whatever the padding holds.
        reset: `(B, T)` bool, a tensor or lists: before such a step the row's state becomes the
            initial one.
        generator: where dropout masks come from, needed in training mode.

    Raises:
        ConfigError: `cell` is no recurrence; of a module of torch, `from_torch` makes one.
        ShapeError: for shapes or dtypes that do not fit the cell or each other.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> y, state = unroll(LSTMCell(3, 5), torch.zeros(2, 7, 3), lengths=torch.tensor([7, 2]))
        >>> y.shape, state.h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """
    return _unroll(cell, x, state, _SequencePass(x, lengths, reset, generator))


def unroll_plain(
    cell: Recurrence,
    x: Tensor,
    state: State = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    reset: Tensor | Sequence[Sequence[bool]] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, State]:
    """Do what `unroll` does by the plain loop alone: the reference of every kernel.

    Bidirectional recurrences, which no loop over single steps can run, have their two
    directions looped.

    Args:
        cell: any cell or wrapper.
        x: `(B, T, I)`.
        state: before the first step.
        lengths: `(B,)` integers.
        reset: `(B, T)` bool.
        generator: where dropout masks come from.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> unroll_plain(GRUCell(3, 5), torch.zeros(2, 7, 3))[0].shape
        torch.Size([2, 7, 5])
    """
    return _unroll(cell, x, state, _SequencePass(x, lengths, reset, generator, plain=True))


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
    return "\n".join(_describe(cell, x, ""))


class _SequencePass(Pass):
    """The pass over whole sequences: wrappers as they are, cells on a kernel or in the loop."""

    def __init__(
        self,
        x: Tensor,
        lengths: Tensor | Sequence[int] | None,
        reset: Tensor | Sequence[Sequence[bool]] | None,
        generator: torch.Generator | None,
        plain: bool = False,
    ) -> None:
        require_sequences(x)
        self.lengths = None if lengths is None else checked_lengths(lengths, x)
        self.reset = None if reset is None else checked_reset(reset, x)
        self.mirrored = None if self.reset is None else self._mirrored(self.reset)
        super().__init__(Masks(generator, x.shape[1]), Starts())
        self.plain = plain

    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        if isinstance(inner, Wrapper) and not why_stepwise(inner):
            return self.into(inner, x, state)
        if self.plain or not x.shape[0] or not x.shape[1]:
            return self.loop(inner, x, state)
        kernel = _kernel(inner, x, self.masks)
        run = kernel if isinstance(kernel, Kernel) else None
        looped, find = run is None or run.looped, _kernel if run else None
        if looped and (made := graphed(self, inner, x, state, find)) is not None:
            return made
        return self._on_kernel(run, inner, x, state) if run else self.loop(inner, x, state)

    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over each row reversed within its length."""
        self.reset, self.mirrored = self.mirrored, self.reset
        y, state = self(inner, self._reversed(x), state)
        self.reset, self.mirrored = self.mirrored, self.reset
        return self._reversed(y), state

    def turned(self, y: Tensor) -> Tensor:
        """Return each row of `y` reversed within its length."""
        if self.reset is not None:
            raise ShapeError(
                "Reversed: its outputs come in the order of reading, where resets would part other "
                "steps; run it without reset="
            )
        return self._reversed(y)

    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times the masks of all steps."""
        return x * self.masks.get(owner, place, x, p, shared)

    def resetting(
        self, inner: Recurrence, x: Tensor, state: State, reset: Tensor
    ) -> tuple[Tensor, State]:
        """Run `inner`, reset where `reset (B, T)` says so as well."""
        outer = self.reset, self.mirrored
        mirrored = self._mirrored(reset)
        self.reset = reset if self.reset is None else self.reset | reset
        self.mirrored = mirrored if self.mirrored is None else self.mirrored | mirrored
        y, state = self(inner, x, state)
        self.reset, self.mirrored = outer
        return y, state

    def _reversed(self, x: Tensor) -> Tensor:
        if self.lengths is None:
            return x.flip(1)
        steps = torch.arange(x.shape[1], device=x.device)
        mirrored = self.lengths.unsqueeze(1) - 1 - steps
        order = torch.where(mirrored >= 0, mirrored, steps)
        return x[torch.arange(len(x), device=x.device).unsqueeze(1), order]

    def _mirrored(self, reset: Tensor) -> Tensor:
        """Return `reset` for reading backwards: what lay before step t lies before t - 1."""
        mirrored = self._reversed(reset).roll(1, dims=1)
        mirrored[:, :1] = False
        return mirrored

    def _on_kernel(
        self, kernel: Kernel, inner: Recurrence, x: Tensor, state: State
    ) -> tuple[Tensor, State]:
        if self.reset is None:
            return kernel.run(x, state, self.lengths)
        initial = self.starts.of(inner, x)
        cuts = self.reset.any(dim=0).nonzero().flatten().tolist()
        outputs = []
        for start, end in zip([0, *cuts], [*cuts, x.shape[1]]):
            if start == end:
                continue
            state = where(self.reset[:, start] & self._alive(start), initial, state)
            lengths = self.lengths
            if lengths is not None:
                lengths = (lengths - start).clamp(0, end - start)
            piece = x[:, start:end]
            part = _kernel(inner, piece, self.masks, start) if start else kernel
            assert isinstance(part, Kernel)
            y, state = part.run(piece, state, lengths)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def _alive(self, t: int) -> Tensor:
        """Return `(B,)`, or one for all: whether the rows have a step `t`."""
        return torch.tensor(True) if self.lengths is None else self.lengths > t

    def loop(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` step by step."""
        outputs = [x.new_zeros(len(x), 0, inner.output_size)]
        initial = state if self.reset is None else self.starts.of(inner, x)
        # Cut at once: the gradient of each x[:, t] would be as large as x.
        for t, x_t in enumerate(x.unbind(1)):
            alive = self._alive(t)
            if self.reset is not None:
                state = where(self.reset[:, t] & alive, initial, state)
            y, after = StepPass(self.masks, t, self.starts)(inner, x_t, state)
            if not t:
                check_first_step(inner, x_t, state, y, after)
            state = after if self.lengths is None else where(alive, after, state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, dim=1), state


def _unroll(cell: Recurrence, x: Tensor, state: State, run: _SequencePass) -> tuple[Tensor, State]:
    state = first_state(cell, x, state)
    if run.lengths is None:
        return run(cell, x, state)
    steps = torch.arange(x.shape[1], device=x.device)
    past = (steps >= run.lengths.unsqueeze(1)).unsqueeze(2)
    # What padding holds, a NaN say, must reach neither a kernel nor a gradient.
    y, state = run(cell, x.masked_fill(past, 0), state)
    return y.masked_fill(past, 0), state


def _kernel(
    inner: Recurrence, x: Tensor, masks: Masks | None = None, start: int = 0
) -> Kernel | str:
    """Return the kernel of a cell or stepwise wrapper, or why there is none."""
    if isinstance(inner, Wrapper):
        fused = None if is_watched(inner) else _fused(inner, x, masks, start)
        return fused or why_stepwise(inner) or ""
    if not isinstance(inner, Cell):
        return "not a Cell of this package, so it has no kernel"
    return kernel_of(inner, x)


def _fused(inner: Wrapper, x: Tensor, masks: Masks | None, start: int) -> Kernel | None:
    """Return the kernel of a wrapper, unless a subclass has changed what is done between steps."""
    for owner in type(inner).__mro__:
        if "fused" in vars(owner):
            return inner.fused(x, masks, start)
        if "through" in vars(owner):
            break
    return None


def _describe(cell: Recurrence, x: Tensor, indent: str) -> list[str]:
    name = f"{indent}{type(cell).__name__}({cell.input_size} -> {cell.output_size})"
    if isinstance(cell, Wrapper) and not why_stepwise(cell):
        lines = [f"{name}: around whole sequences"]
        for inner in map(cell.inner, range(len(cell.cells))):
            lines += _describe(inner, x, indent + "  ")
        return lines
    kernel = _kernel(cell, x)
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
