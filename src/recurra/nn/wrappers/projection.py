"""Outputs mapped to another width. B rows, T steps, I inputs, O outputs of what is wrapped."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ShapeError
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Projection"]


class Projection(Wrapper):
    """A linear map of the outputs: `y = W f(x) + b`.

    The state stays as wide as it is, and whole sequences are mapped at once.

    Shapes: `x (B, I)`, output `(B, P)`; `weight (P, O)`, `bias (P,)`; state: the wrapped
        recurrence's.

    Args:
        cell: what is wrapped.
        output_size: P, features of an output.
        bias: whether b is learned, or there is none.

    Raises:
        ShapeError: for an output size below 1.

    Source: Elman 1990, "Finding structure in time", its output layer.

    Differs: from the projected LSTM of Sak et al. 2014, whose projection is what the next step
        reads: `projected_lstm` among the cells.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> cell = Projection(GRUCell(3, 8), 2)
        >>> cell(torch.zeros(1, 3), cell.initial_state())[0].shape
        torch.Size([1, 2])
    """

    def __init__(self, cell: Recurrence, output_size: int, bias: bool = True) -> None:
        if not isinstance(output_size, int) or output_size < 1:
            raise ShapeError(f"Projection: output_size is at least 1, got {output_size!r}")
        super().__init__([cell], output_size=output_size)
        self.weight = nn.Parameter(torch.empty(output_size, cell.output_size))
        self.bias = nn.Parameter(torch.empty(output_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw W and b, which alone are the wrapper's, uniformly from (-1/sqrt(O), 1/sqrt(O)).

        Args:
            generator: where the numbers come from.
        """
        bound = self.inner().output_size ** -0.5
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs, mapped, and its state."""
        y, state = run(self.inner(), x, state)
        return F.linear(y, self.weight, self.bias).to(y.dtype), state
