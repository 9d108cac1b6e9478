"""The simple recurrent network. B rows, I inputs, H units."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.activation import Activated, Activation, activate, checked_activation
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import TwoBiases
from recurra.nn.kernels.vendor import rnn_sequence, why_not_compiled

__all__ = ["RNNCell", "RNNState"]


class RNNState(NamedTuple):
    """The state of an RNNCell: `h (B, H)`."""

    h: Tensor


class RNNCell(TwoBiases, Activated, Cell):
    """The Elman network: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, and the output is `h'`.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (H, I)`,
        `weight_hh (H, H)`, `bias_ih (H,)`, `bias_hh (H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        nonlinearity: `"tanh"` or `"relu"`; another name in ACTIVATIONS or a function of a tensor
            runs in the plain loop.

    Raises:
        ConfigError: for an unknown nonlinearity, or one with parameters of its own.
        ShapeError: at a step, for an input or state of another shape.

    Source: Elman 1990, "Finding structure in time".

    Example:
        >>> cell = RNNCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = RNNState
    recipes = ("weights", "biases")
    state_is_output = True
    usual: ClassVar = {"nonlinearity": ("tanh", "relu")}

    def __init__(
        self, input_size: int, hidden_size: int, nonlinearity: Activation = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.nonlinearity = checked_activation("RNNCell", "nonlinearity", nonlinearity)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def forward(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Take one step."""
        check_step(self, x, state)
        (h,) = state
        sums = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        h = activate(self.nonlinearity, sums)
        return h, RNNState(h)

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the vendor's RNN, which knows tanh and relu."""
        if unusual := self.unusual():
            return f"no kernel has {unusual}"
        if reason := why_not_compiled(x):
            return reason

        def run(x: Tensor, state: RNNState, lengths: Tensor | None) -> tuple[Tensor, RNNState]:
            weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
            y, h = rnn_sequence(x, state.h, weights, str(self.nonlinearity), lengths)
            return y, RNNState(h)

        return Kernel("cuDNN's RNN" if x.is_cuda else "ATen's RNN loop", run)
