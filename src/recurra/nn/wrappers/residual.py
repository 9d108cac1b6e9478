"""The input added to the output. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Residual"]


class Residual(Wrapper):
    """The input added to the output: `y = x + f(x)`.

    Shapes: `x (B, I)`, output `(B, I)`; the wrapped recurrence has as many outputs as inputs.

    Args:
        cell: what is wrapped.

    Raises:
        ShapeError: where its output size is not its input size.

    Source: He et al. 2016, "Deep residual learning"; between recurrent layers Wu et al. 2016,
        "Google's neural machine translation system", equation 6.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.gru import GRUCell
        >>> cell = Residual(GRUCell(4, 4))
        >>> cell(torch.zeros(1, 4), cell.initial_state())[0].shape
        torch.Size([1, 4])
    """

    def __init__(self, cell: Recurrence) -> None:
        super().__init__([cell])
        if cell.input_size != cell.output_size:
            raise ShapeError(
                f"Residual: adds input to output, got {cell.input_size} inputs and "
                f"{cell.output_size} outputs"
            )

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs plus the inputs, and its state."""
        y, state = run(self.inner(), x, state)
        return x + y, state
