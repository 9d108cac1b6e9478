"""A learned first state. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["TrainableState"]


class TrainableState(Wrapper):
    """The state before the first step is learned: `s_0 = p`, the same for every row.

    It is also what resets go back to, those of `unroll` and those of `Reset`. It starts where
    the wrapped recurrence's own initial state is.

    Shapes: those of the wrapped recurrence; `starts`: one parameter `(1, ...)` for each
        floating tensor of its state, in their order.

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
        super().__init__([cell], cell.input_size, cell.output_size)
        own = flatten(cell.initial_state()).values()
        self.starts = nn.ParameterList(
            nn.Parameter(each.detach().clone()) for each in own if each.is_floating_point()
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Set the start to the initial state of what is wrapped; nothing is drawn.

        Args:
            generator: unused.
        """
        own = flatten(self.inner().initial_state()).values()
        with torch.no_grad():
            for start, each in zip(self.starts, (e for e in own if e.is_floating_point())):
                start.copy_(each)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the learned state, once for each row.

        Args:
            batch_size: B, rows.
            device: where; the parameters' by default.
            dtype: of which kind; the parameters' by default.
        """
        own = self.inner().initial_state(batch_size, device=device, dtype=dtype)
        starts = iter(self.starts)

        def learned(each: Tensor) -> Tensor:
            if not each.is_floating_point():
                return each
            start: Tensor = next(starts).to(each.device, each.dtype)
            return start.expand_as(each).contiguous()

        return map_tensors(learned, own)

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs and state.

        Args:
            x: `(B, I)` in a step, `(B, T, I)` over sequences.
            state: the wrapped recurrence's.
            run: how to reach it.
        """
        initial = self.initial_state(len(x), device=x.device, dtype=x.dtype)
        return run.starting(self.inner(), x, state, initial)
