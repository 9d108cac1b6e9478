"""A learned first state. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recurra.nn.cells.base import NOTHING_YET
from recurra.nn.state import State, map_tensors
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper
from recurra.nn.wrappers.inside import map_cells

__all__ = ["TrainableState"]


class TrainableState(Wrapper):
    """The state before the first step is learned: `s_0 = p`, the same for every row.

    It is also what resets go back to, those of `unroll` and those of `Reset`, whatever lies
    between; one outside of another stands for both. It starts where the wrapped recurrence's
    own initial state is. But a logarithm of no weight at all, the m of an sLSTM or RWKV, starts
    at 0, the weight of one step, as no gradient would reach it, nor what it is the weight of.
    What counts or marks is not learned: a clockwork's steps, the window of Attention.

    Shapes: those of the wrapped recurrence; `starts`: one parameter `(1, ...)` for each
        tensor of its state that is learned, in their order.

    Args:
        cell: what is wrapped.

    Source: Forcada & Carrasco 1995, "Learning the initial state of a second-order recurrent
        neural network during regular-language inference".

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> cell = TrainableState(LSTMCell(3, 5))
        >>> [tuple(start.shape) for start in cell.starts]
        [(1, 5), (1, 5)]
    """

    def __init__(self, cell: Recurrence) -> None:
        super().__init__([cell])
        self.starts = nn.ParameterList(map(nn.Parameter, self._first()))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Set the start to where it was at first; nothing is drawn.

        Args:
            generator: unused.
        """
        with torch.no_grad():
            for start, first in zip(self.starts, self._first(), strict=True):
                start.copy_(first)

    def _first(self) -> list[Tensor]:
        firsts: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            firsts.append(torch.where(tensor > NOTHING_YET, tensor, 0).detach().clone())
            return tensor

        self._map_learned(note, self.inner().initial_state())
        return firsts

    def _map_learned(self, function: Callable[[Tensor], Tensor], state: State) -> State:
        """Return the state, `function` applied to the tensors that are learned."""

        def learned(tensor: Tensor) -> Tensor:
            return function(tensor) if tensor.is_floating_point() else tensor

        def at(cell: Recurrence, _: str, state: State) -> State:
            names = getattr(state, "_fields", None)
            if names is None:
                return map_tensors(learned, state)
            marks = getattr(cell, "marks", ())
            parts = {n: map_tensors(learned, getattr(state, n)) for n in names if n not in marks}
            return state._replace(**parts)

        return map_cells(at, self.inner(), state)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the learned state, once for each row."""
        own = self.inner().initial_state(batch_size, device=device, dtype=dtype)
        starts = iter(self.starts)

        def learned(each: Tensor) -> Tensor:
            start: Tensor = next(starts).to(each.device, each.dtype)
            return start.expand_as(each).contiguous()

        return self._map_learned(learned, own)

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs and state."""
        initial = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        return run.starting(self.inner(), x, state, initial)
