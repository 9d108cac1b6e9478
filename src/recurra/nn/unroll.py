"""The only loop over time, and the plan that picks a kernel in its place.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.cells.base import Cell, Kernel, kernel_of
from recurra.nn.state import State, flatten, where
from recurra.nn.wrappers.base import Masks, Recurrence, Starts, StepPass, Wrapper

__all__ = ["plan", "unroll", "unroll_plain"]


def unroll(
    cell: Recurrence,
    x: Tensor,
    state: State = None,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, State]:
    """Run a recurrence over whole sequences; returns its outputs, and its state at the end.

    Equal to calling `cell` step by step, on the fastest kernel there is for it: `plan` says
    which.

    Shapes: `x (B, T, I)`; returns `(B, T, O)` and a state of B rows.

    Args:
        cell: any cell or wrapper.
        x: the inputs, batch first.
        state: before the first step; the cell's initial state by default.
        lengths: `(B,)` integers in 0..T: outputs past a row's length are zero, and its state
            is the one at its length, whatever the padding holds.
        reset: `(B, T)` bool: before such a step the row's state becomes the initial one.
        generator: where dropout masks come from, needed in training mode.

    Raises:
        ShapeError: for shapes that do not fit the cell or each other.

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
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
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

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> from recurra.nn.wrappers.dropout import Dropout
        >>> print(plan(Dropout(LSTMCell(3, 5), state=0.5)))
        Dropout(3 -> 5): the plain loop: dropout of the state acts between steps
          LSTMCell(3 -> 5): one step at a time
    """
    if x is None:
        x = next(cell.parameters(), torch.empty(0))
    return "\n".join(_describe(cell, x, ""))


class _SequencePass:
    """The pass over whole sequences: wrappers as they are, cells on a kernel or in the loop."""

    def __init__(
        self,
        x: Tensor,
        lengths: Tensor | None,
        reset: Tensor | None,
        generator: torch.Generator | None,
        plain: bool = False,
    ) -> None:
        if x.dim() != 3:
            raise ShapeError(f"unroll takes x of shape (batch, time, input), got {tuple(x.shape)}")
        self.lengths = None if lengths is None else _checked_lengths(lengths, x)
        self.reset = None if reset is None else _checked_reset(reset, x)
        self.mirrored = None if self.reset is None else self._mirrored(self.reset)
        self.masks = Masks(generator, x.shape[1])
        self.starts = Starts()
        self.plain = plain

    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        if isinstance(inner, Wrapper) and not inner.stepwise():
            return inner.through(x, state, self)
        if self.plain or not x.shape[0] or not x.shape[1]:
            return self._loop(inner, x, state)
        kernel = _kernel(inner, x, self.masks)
        if isinstance(kernel, Kernel):
            return self._on_kernel(kernel, inner, x, state)
        return self._loop(inner, x, state)

    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over each row reversed within its length."""
        self.reset, self.mirrored = self.mirrored, self.reset
        y, state = self(inner, self._reversed(x), state)
        self.reset, self.mirrored = self.mirrored, self.reset
        return self._reversed(y), state

    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times the masks of all steps."""
        return x * self.masks.get(owner, place, x, p, shared)

    def starting(
        self, inner: Recurrence, x: Tensor, state: State, initial: State
    ) -> tuple[Tensor, State]:
        """Run `inner`, whose resets go back to `initial`."""
        return self(inner, x, self.starts.note(state, initial))

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
        initial = self.starts.of(inner, x, state)
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

    def _loop(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        outputs = [x.new_zeros(len(x), 0, inner.output_size)]
        known = self.reset is not None or self.starts.noted
        initial = self.starts.of(inner, x, state) if known else state
        # Cut at once: the gradient of each x[:, t] would be as large as x.
        for t, x_t in enumerate(x.unbind(1)):
            alive = self._alive(t)
            if self.reset is not None:
                state = where(self.reset[:, t] & alive, initial, state)
            step = StepPass(self.masks, t)
            before = step.starts.note(state, initial) if self.starts.noted else state
            y, after = step(inner, x_t, before)
            state = after if self.lengths is None else where(alive, after, state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, dim=1), state


def _unroll(cell: Recurrence, x: Tensor, state: State, run: _SequencePass) -> tuple[Tensor, State]:
    if x.shape[2] != cell.input_size:
        raise ShapeError(
            f"{type(cell).__name__} takes {cell.input_size} features, got x of shape "
            f"{tuple(x.shape)}, batch first"
        )
    initial = cell.initial_state(len(x), device=x.device, dtype=x.dtype)
    state = initial if state is None else _checked_state(state, initial)
    if not torch.is_autocast_enabled(x.device.type):
        _require_one_dtype(cell, x, state)
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
        return _fused(inner, x, masks, start) or inner.stepwise() or ""
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
    if isinstance(cell, Wrapper) and not cell.stepwise():
        lines = [f"{name}: around whole sequences"]
        for inner in map(cell.inner, range(len(cell.cells))):
            lines += _describe(inner, x, indent + "  ")
        return lines
    kernel = _kernel(cell, x)
    if isinstance(kernel, Kernel):
        inside = _inside(cell, "within it", indent + "  ")
        return [f"{name}: {kernel.name}, whole sequences at once", *inside]
    inside = _inside(cell, "one step at a time", indent + "  ")
    return [f"{name}: the plain loop: {kernel}", *inside]


def _inside(cell: Recurrence, how: str, indent: str) -> list[str]:
    lines = []
    for inner in map(cell.inner, range(len(cell.cells))) if isinstance(cell, Wrapper) else ():
        sizes = f"({inner.input_size} -> {inner.output_size})"
        lines.append(f"{indent}{type(inner).__name__}{sizes}: {how}")
        lines += _inside(inner, how, indent + "  ")
    return lines


def _checked_state(state: State, initial: State) -> State:
    # A kernel would read past the end of a state that is too small.
    got, expected = ({k: tuple(v.shape) for k, v in flatten(s).items()} for s in (state, initial))
    if got != expected:
        raise ShapeError(f"got the state {got}, expected {expected}")
    return state


def _require_one_dtype(cell: Recurrence, x: Tensor, state: State) -> None:
    # A kernel would read the bits of one kind of number as another's.
    weights = {p.dtype for p in cell.parameters() if p.is_floating_point()}
    states = {s.dtype for s in flatten(state).values() if s.is_floating_point()}
    if weights | states > {x.dtype} or (weights and x.dtype not in weights):
        found = ", ".join(sorted(str(kind) for kind in weights | states))
        raise ShapeError(
            f"{type(cell).__name__}: x is of {x.dtype}, its weights and state of {found}; "
            "make them one with .to(dtype)"
        )


def _checked_lengths(lengths: Tensor, x: Tensor) -> Tensor:
    B, T = x.shape[:2]
    if lengths.shape != (B,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ShapeError(
            f"lengths is one integer a row, shape ({B},), got {tuple(lengths.shape)} "
            f"{lengths.dtype}"
        )
    if B and not 0 <= int(lengths.min()) <= int(lengths.max()) <= T:
        raise ShapeError(
            f"lengths lie between 0 and {T}, the steps of x, got {int(lengths.min())} to "
            f"{int(lengths.max())}"
        )
    return lengths.to(x.device, torch.int64)


def _checked_reset(reset: Tensor, x: Tensor) -> Tensor:
    if reset.shape != x.shape[:2] or reset.dtype != torch.bool:
        raise ShapeError(
            f"reset is bool of shape {tuple(x.shape[:2])}, got {tuple(reset.shape)} {reset.dtype}"
        )
    return reset.to(x.device)
