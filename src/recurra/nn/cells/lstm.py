"""The long short-term memory. B rows, I inputs, H units; gates in the order i, f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.machine import native_bfloat16
from recurra.nn.cells.activation import Activated, Activation, activate
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.vendor import lstm_sequence

__all__ = ["LSTMCell", "LSTMState"]


class LSTMState(NamedTuple):
    """The state of an LSTMCell: `h (B, H)`, `c (B, H)`."""

    h: Tensor
    c: Tensor


class LSTMCell(TwoBiases, ForgetGate, Activated, Cell):
    """The LSTM with a forget gate.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh, cut in four
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    and the output is `h'`. The gates read the input and the hidden state. Some texts (a
    widely read tutorial of 2017 among them) say in prose that the gates also read the cell
    state, which is the peephole LSTM of Gers & Schmidhuber 2000; the code beside that prose
    is the form above.

    Shapes: `x (B, I)`, state `h (B, H)`, `c (B, H)`, output `(B, H)`; `weight_ih (4H, I)`,
        `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        forget_bias: added to the forget gate's bias at initialisation, so that a fresh
            network remembers; learned from there.
        activation: of the candidate and of the memory on its way out, in the place of tanh: a
            name in ACTIVATIONS or a function of a tensor; kernels know tanh alone.
        recurrent_activation: of the gates, likewise, in the place of sigmoid.

    Raises:
        ConfigError: for an unknown activation, or one with parameters of its own.
        ShapeError: at a step, for an input or state of another shape.

    Source: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000, "Learning to
        forget", for the forget gate; Jozefowicz et al. 2015 for its bias of 1.

    Differs: from torch, whose forget bias starts like every other; `forget_bias=0` for that.

    Example:
        >>> cell = LSTMCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state._fields
        (torch.Size([2, 5]), ('h', 'c'))
    """

    state_type = LSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.forget_bias = forget_bias
        self.keep_activations(activation, recurrent_activation)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        super().reset_parameters(generator)
        self.add_forget_bias(self.forget_bias)

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Take one step."""
        i, f, g, o = LSTMCell.gates(self, x, state).values()
        c = f * state[1] + i * g
        h = o * activate(self.activation, c)
        return h, LSTMState(h, c)

    def gates(self, x: Tensor, state: LSTMState) -> dict[str, Tensor]:
        """Return the gates i, f, o in (0, 1) and the candidate g in (-1, 1), each `(B, H)`.

        c' = f * c + i * g,  h' = o * tanh(c')
        """
        check_step(self, x, state)
        sums = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(
            state[0], self.weight_hh, self.bias_hh
        )
        i, f, g, o = sums.chunk(4, dim=1)
        i, f, o = (activate(self.recurrent_activation, gate) for gate in (i, f, o))
        return {"i": i, "f": f, "g": activate(self.activation, g), "o": o}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the vendor's LSTM, which knows the usual activations."""
        if unusual := self.unusual():
            return f"no kernel has {unusual}"

        def run(x: Tensor, state: LSTMState, lengths: Tensor | None) -> tuple[Tensor, LSTMState]:
            weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
            y, h, c = lstm_sequence(x, *state, weights, lengths)
            return y, LSTMState(h, c)

        if x.is_cuda:
            return Kernel("cuDNN's LSTM", run)
        dtype = autocast_dtype(x)
        if not torch.backends.mkldnn.enabled:
            return Kernel("ATen's LSTM loop, as oneDNN is switched off", run)
        if dtype == torch.float32:
            return Kernel("oneDNN's LSTM", run)
        if dtype == torch.bfloat16 and native_bfloat16(x.device):
            return Kernel("oneDNN's LSTM in bfloat16", run)
        return Kernel(f"ATen's LSTM loop, as oneDNN has none in {dtype}", run)
