"""A recurrence that reads from the end. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

from torch import Tensor

from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Reversed"]


class Reversed(Wrapper):
    """A recurrence that reads each row from its end: `y_1 ... y_T = f(x_T ... x_1)`.

    Each row is read from its own length. The outputs come in the order of reading, so the last
    of them has read all, and that of the row's last input is the first. A single step raises:
    it has no future.

    Shapes: `x (B, T, I)` by `unroll` alone; output `(B, T, O)`; state: the wrapped recurrence's.

    Args:
        cell: what is wrapped.

    Raises:
        ShapeError: at a single step, and where `unroll` is given resets, which would part other
            steps of the outputs than of the inputs.

    Source: Sutskever et al. 2014, "Sequence to sequence learning with neural networks", section
        3.3; `go_backwards=True` in Keras.

    Differs: from the backward half of `Bidirectional`, whose outputs stand where their inputs do.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.gru import GRUCell
        >>> from recurra.nn.unroll import unroll
        >>> cell, x = GRUCell(3, 4), torch.ones(2, 7, 3).cumsum(1)
        >>> torch.equal(unroll(Reversed(cell), x)[0], unroll(cell, x.flip(1))[0])
        True
    """

    looks_ahead = True

    def __init__(self, cell: Recurrence) -> None:
        super().__init__([cell])

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs in the order of reading, and its state."""
        return run.from_end(self.inner(), x, state)
