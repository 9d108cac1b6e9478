"""The quasi-recurrent network. B rows, I inputs, H units; gates in the order z, f, o."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.products.linear import linear_of_steps
from recurra.nn.kernels.scans.gated import qrnn_scan

__all__ = ["QRNNCell", "QRNNState"]


class QRNNState(NamedTuple):
    """The state of a QRNNCell: `c (B, H)` and the input before, `x (B, I)`."""

    c: Tensor
    x: Tensor


class QRNNCell(Cell):
    """A convolution over two inputs, and pooling with a forget gate and an output gate.

        z, f, o = W [x_before, x] + b, cut in three
        c' = sigmoid(f) * c + (1 - sigmoid(f)) * tanh(z)
        h = sigmoid(o) * c'

    and the output is `h`. The state is `c` and the input before, zeros at first. It goes
    through no matrix, so whole sequences are one product and a scan.

    Shapes: `x (B, I)`, state `c (B, H)`, `x (B, I)`, output `(B, H)`; `weight_ih (3H, 2I)`,
        the input before first, `bias_ih (3H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Bradbury et al. 2017, "Quasi-recurrent neural networks", equations 2 and 4:
        a masked convolution of width 2 and fo-pooling.

    Example:
        >>> cell = QRNNCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state.x.shape
        (torch.Size([2, 5]), torch.Size([2, 3]))
    """

    state_type = QRNNState
    recipes = ("weights", "biases")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, 2 * input_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.reset_parameters()

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of the input before: `(I,)`."""
        return {"x": (self.input_size,)}

    def forward(self, x: Tensor, state: QRNNState) -> tuple[Tensor, QRNNState]:
        """Take one step."""
        z, f, o = QRNNCell.gates(self, x, state).values()
        c = z + f * (state[0] - z)
        return o * c, QRNNState(c, x.clone())  # a caller may write the next input over x

    def gates(self, x: Tensor, state: QRNNState) -> dict[str, Tensor]:
        """Return the candidate z in (-1, 1) and the gates f, o in (0, 1), each `(B, H)`.

        c' = f * c + (1 - f) * z,  h = o * c'
        """
        check_step(self, x, state)
        window = torch.cat([state[1], x], dim=1)
        # Under autocast the product is narrow; what goes round and round is not.
        z, f, o = (F.linear(window, self.weight_ih).to(x.dtype) + self.bias_ih).chunk(3, dim=1)
        return {"z": torch.tanh(z), "f": torch.sigmoid(f), "o": torch.sigmoid(o)}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled scan."""

        def run(x: Tensor, state: QRNNState, lengths: Tensor | None) -> tuple[Tensor, QRNNState]:
            from_before = torch.cat([state.x.unsqueeze(1), x], dim=1)
            windows = torch.cat([from_before[:, :-1], x], dim=2)
            sums = linear_of_steps(windows, self.weight_ih)
            y, c = qrnn_scan(sums, self.bias_ih, state.c, lengths)
            if lengths is None:
                return y, QRNNState(c, x[:, -1].clone())
            rows = torch.arange(x.shape[0], device=x.device)
            return y, QRNNState(c, from_before[rows, lengths])

        return served(x) or Kernel("a compiled scan, gates and all", run)
