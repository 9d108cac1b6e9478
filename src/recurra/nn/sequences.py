"""The pass over whole sequences: wrappers as they are, cells on a kernel or in the loop.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.arguments import check_first_step, first_state
from recurra.nn.cells.base import Cell, kernel_of
from recurra.nn.cells.kernel import Kernel, is_watched
from recurra.nn.graphed import graphed
from recurra.nn.kernels.compiler.compiled import unserved
from recurra.nn.loop import looped
from recurra.nn.proven import is_foreign, knowing_no_autocast, prove
from recurra.nn.state import State, apart, map_tensors, step_of, where
from recurra.nn.wrappers.base import Pass, Recurrence, Starts, StepPass, Wrapper, why_stepwise
from recurra.nn.wrappers.masks import Masks

__all__ = ["SequencePass", "Traced", "kernel_for", "over"]


class Traced(NamedTuple):
    """A tensor of a state, and how it went: what stands in the place of one in a state.

    `end (B, ...)` after the last step that is read, `begin (B, ...)` before the first, `each
    (B, T, ...)` after the step at that place; `from_end`, whether the last one was read first.
    """

    end: Tensor
    begin: Tensor
    each: Tensor
    from_end: bool = False


class SequencePass(Pass):
    """The pass over whole sequences.

    Args:
        masks: the dropout masks of the unroll.
        lengths: `(B,)`, steps of each row; all of them for None.
        reset: `(B, T)`, before which steps rows are reset; none for None.
        traced: whether the states of all steps are asked for: each tensor of the state that is
            returned is Traced then, which wrappers hand on as they do tensors.
        plain: whether to loop over all steps, whatever kernels there are.
    """

    def __init__(
        self,
        masks: Masks,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        traced: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__(masks, Starts())
        self.lengths = lengths
        self.reset = reset
        self.mirrored = None if reset is None else self._mirrored(reset)
        self.traced = traced
        self.plain = plain

    def __call__(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over `x (B, T, I)` from `state`."""
        if isinstance(inner, Wrapper) and not why_stepwise(inner):
            return self.into(inner, x, state)
        if not x.shape[0] or not x.shape[1]:
            return self._nothing(inner, x, state)
        if self.traced:
            return self._trace(inner, x, state)
        if self.plain:
            return self.loop(inner, x, state)
        kernel = kernel_for(inner, x, self.masks)
        run = kernel if isinstance(kernel, Kernel) else None
        if run is not None:
            prove(inner, run, x)
        looped, find = run is None or run.looped, kernel_for if run else None
        if looped and (made := graphed(self, inner, x, state, find)) is not None:
            return made
        return self._on_kernel(run, inner, x, state) if run else self.loop(inner, x, state)

    def backwards(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over each row reversed within its length."""
        y, state = self._from_end(inner, x, state)
        return self.reversed(y), self._turned(state) if self.traced else state

    def from_end(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` over each row reversed within its length; outputs in that order too."""
        if self.reset is not None:
            raise ShapeError(
                "Reversed: its outputs come in the order of reading, where resets would part other "
                "steps; run it without reset="
            )
        return self._from_end(inner, x, state)

    def _from_end(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        turned = self._other(self.mirrored, self.reset, self.starts)
        return turned(inner, self.reversed(x), state)

    def reversed(self, x: Tensor) -> Tensor:
        """Return each row of `x (B, T, ...)` from its end to its start, within its length.

        Args:
            x: anything of all steps.
        """
        if self.lengths is None:
            return x.flip(1)
        steps = torch.arange(x.shape[1], device=x.device)
        mirrored = self.lengths.unsqueeze(1) - 1 - steps
        order = torch.where(mirrored >= 0, mirrored, steps)
        return x[torch.arange(x.shape[0], device=x.device).unsqueeze(1), order]

    def drop(self, owner: Wrapper, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return `x` times the masks of all steps."""
        return x * self.masks.get(owner, place, x, p, shared)

    def resetting(
        self, inner: Recurrence, x: Tensor, state: State, reset: Tensor
    ) -> tuple[Tensor, State]:
        """Run `inner`, reset where `reset (B, T)` says so as well."""
        mirrored = self._mirrored(reset)
        if self.reset is not None and self.mirrored is not None:
            reset, mirrored = self.reset | reset, self.mirrored | mirrored
        return self._other(reset, mirrored, self.starts)(inner, x, state)

    def from_starts(self, starts: Starts) -> SequencePass:
        """Return this pass, whose resets go elsewhere."""
        return self._other(self.reset, self.mirrored, starts)

    def _other(self, reset: Tensor | None, mirrored: Tensor | None, starts: Starts) -> SequencePass:
        # Another and not itself changed: a compiler forgets what is set on an object past a scan.
        other = SequencePass(self.masks, self.lengths, None, self.traced, self.plain)
        other.reset, other.mirrored, other.starts = reset, mirrored, starts
        return other

    def loop(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run `inner` step by step.

        Args:
            inner: a cell or wrapper.
            x: `(B, T, I)`.
            state: before the first step.
        """
        y, end, _ = self._steps(inner, x, state)
        return y, end

    def _steps(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State, State]:
        initial = state if self.reset is None else self.starts.of(inner, x)

        def step(t: Any, x_t: Tensor, state: State) -> tuple[Tensor, State]:
            alive = self._alive(t)
            if self.reset is not None:
                state = where(step_of(self.reset, t) & alive, initial, state)
            y, after = StepPass(self.masks, t, self.starts)(inner, x_t, state)
            if isinstance(t, int) and not t:
                check_first_step(inner, x_t, state, y, after)
            return y, after if self.lengths is None else where(alive, after, state)

        y, end, states = looped(step, x, state, self.traced)
        end = end if torch.compiler.is_compiling() else apart(end, state)
        return y.to(torch.promote_types(x.dtype, y.dtype)), end, states

    def _trace(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        kernel = None if self.plain else kernel_for(inner, x, self.masks)
        if isinstance(kernel, Kernel) and isinstance(inner, Cell) and _gives_states(inner):
            prove(inner, kernel, x)
            y, end = self._on_kernel(kernel, inner, x, state)
            if self.lengths is None:
                each = y.clone()  # a caller may write over y
            else:
                steps = torch.arange(x.shape[1], device=x.device)
                past = (steps >= self.lengths.unsqueeze(1)).unsqueeze(2)
                each = torch.where(past, end[0].unsqueeze(1), y)
            states = type(end)(each)
        else:
            y, end, states = self._steps(inner, x, state)
        return y, map_tensors(Traced, end, state, states)

    def _nothing(self, inner: Recurrence, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what no step gives."""

        def traced(tensor: Tensor) -> Traced:
            shape = (*x.shape[:2], *tensor.shape[1:])
            return Traced(tensor, tensor, tensor.new_empty(shape))

        y = x.new_zeros(*x.shape[:2], inner.output_size)
        state = map_tensors(Tensor.clone, state)  # a caller may write over what is given and got
        return y, map_tensors(traced, state) if self.traced else state

    def _turned(self, state: State) -> State:
        """Return a trace of what was read from the end, in the order of its steps."""
        if isinstance(state, Traced):
            each = self.reversed(state.each)
            return state._replace(each=each, from_end=not state.from_end)
        parts = [self._turned(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)

    def _mirrored(self, reset: Tensor) -> Tensor:
        """Return `reset` for reading backwards: what lay before step t lies before t - 1."""
        mirrored = self.reversed(reset).roll(1, dims=1)
        mirrored[:, :1] = False
        return mirrored

    def _on_kernel(
        self, kernel: Kernel, inner: Recurrence, x: Tensor, state: State
    ) -> tuple[Tensor, State]:
        if self.reset is None:
            return kernel.run(x, state, self.lengths)
        if torch.compiler.is_compiling() or hasattr(x, "fake_mode"):
            return self.loop(inner, x, state)  # where to cut, the numbers would say
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
            part = kernel_for(inner, piece, self.masks, start) if start else kernel
            assert isinstance(part, Kernel)
            y, state = part.run(piece, state, lengths)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def _alive(self, t: Any) -> Tensor:
        """Return `(B,)`, or one for all: whether the rows have a step `t`."""
        return torch.tensor(True) if self.lengths is None else self.lengths > t


def over(cell: Recurrence, x: Tensor, state: State, run: SequencePass) -> tuple[Tensor, State]:
    """Run a recurrence over sequences, once they and its state fit it.

    Args:
        cell: any cell or wrapper.
        x: `(B, T, I)`.
        state: as given; the cell's initial state for None.
        run: the pass.
    """
    state = first_state(cell, x, state)
    if run.lengths is None:
        return run(cell, x, state)
    steps = torch.arange(x.shape[1], device=x.device)
    past = (steps >= run.lengths.unsqueeze(1)).unsqueeze(2)
    # What padding holds, a NaN say, must reach neither a kernel nor a gradient.
    y, state = run(cell, x.masked_fill(past, 0), state)
    return y.masked_fill(past, 0), state


def kernel_for(
    inner: Recurrence, x: Tensor, masks: Masks | None = None, start: int = 0
) -> Kernel | str:
    """Return the kernel of a cell or stepwise wrapper, or why there is none.

    Args:
        inner: which.
        x: the sequences, or anything of their device and dtype.
        masks: of the whole unroll; None where `plan` asks.
        start: the first of the steps that it is to run.
    """

    def find(inner: Recurrence, x: Tensor) -> Kernel | str:
        if isinstance(inner, Wrapper):
            if is_watched(inner) or unserved(x):
                return unserved(x) or why_stepwise(inner) or ""
            return _fused(inner, x, masks, start) or why_stepwise(inner) or ""
        if not isinstance(inner, Cell):
            return "not a Cell of this package, so it has no kernel"
        return kernel_of(inner, x)

    return knowing_no_autocast(inner, x, find) if is_foreign(inner) else find(inner, x)


def _gives_states(cell: Cell) -> bool:
    """Return whether outputs are states, unless a subclass has changed what is said of the step."""
    for owner in type(cell).__mro__:
        if "state_is_output" in vars(owner):
            return cell.state_is_output
        if "forward" in vars(owner):
            break
    return False


def _fused(inner: Wrapper, x: Tensor, masks: Masks | None, start: int) -> Kernel | None:
    """Return the kernel of a wrapper, unless a subclass has changed what is done between steps."""
    for owner in type(inner).__mro__:
        if "fused" in vars(owner):
            return inner.fused(x, masks, start)
        if "through" in vars(owner):
            break
    return None
