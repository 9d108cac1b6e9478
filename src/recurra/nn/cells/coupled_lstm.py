"""The LSTM that forgets as much as it takes in. B rows, I inputs, H units; gates f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.cells.relatives import relative_kernel
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights

__all__ = ["CoupledLSTMCell", "CoupledLSTMState"]


class CoupledLSTMState(NamedTuple):
    """The state of a CoupledLSTMCell: `h (B, H)`, `c (B, H)`."""

    h: Tensor
    c: Tensor


class CoupledLSTMCell(TwoBiases, ForgetGate, Cell):
    """The LSTM with one gate for input and forgetting: i = 1 - f.

        f, g, o = W_ih x + b_ih + W_hh h + b_hh, cut in three
        c' = sigmoid(f) * c + (1 - sigmoid(f)) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    and the output is `h'`. It has three quarters of an LSTM's parameters, and its memory stays
    within -1 and 1 once it is there.

    Shapes: `x (B, I)`, state `h (B, H)`, `c (B, H)`, output `(B, H)`; `weight_ih (3H, I)`,
        `weight_hh (3H, H)`, `bias_ih (3H,)`, `bias_hh (3H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        forget_bias: added to the forget gate's bias at initialisation.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Greff et al. 2017, "LSTM: a search space odyssey", variant CIFG.

    Differs: from Greff et al., whose variants all have peepholes; from them by the forget bias.

    Example:
        >>> cell = CoupledLSTMCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state._fields
        (torch.Size([2, 5]), ('h', 'c'))
    """

    state_type = CoupledLSTMState
    recipes = ("biases",)
    gate_order = "fgo"

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.forget_bias = forget_bias
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        super().reset_parameters(generator)
        self.add_forget_bias(self.forget_bias)

    def forward(self, x: Tensor, state: CoupledLSTMState) -> tuple[Tensor, CoupledLSTMState]:
        """Take one step."""
        f, g, o = CoupledLSTMCell.gates(self, x, state).values()
        c = f * state[1] + (1 - f) * g
        h = o * torch.tanh(c)
        return h, CoupledLSTMState(h, c)

    def gates(self, x: Tensor, state: CoupledLSTMState) -> dict[str, Tensor]:
        """Return the gates f, o in (0, 1) and the candidate g in (-1, 1), each `(B, H)`.

        c' = f * c + (1 - f) * g,  h' = o * tanh(c')
        """
        check_step(self, x, state)
        sums = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(
            state[0], self.weight_hh, self.bias_hh
        )
        f, g, o = sums.chunk(3, dim=1)
        return {"f": torch.sigmoid(f), "g": torch.tanh(g), "o": torch.sigmoid(o)}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the loop of the LSTM's relatives that is for the device."""
        return relative_kernel(self, x, "coupled gates", "coupled")

    def family(self) -> tuple[LSTMWeights, LSTMParts]:
        """Return the weights and the parts by which the compiled loop knows this cell."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh)
        return weights, LSTMParts(coupled=True)
