"""The long short-term memory. B rows, I inputs, H units; gates in the order i, f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional as F

from recurra.nn.cells.activation import Activated, Activation, activate
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.lstm import LSTMParts, lstm_family_sequence
from recurra.nn.kernels.onednn import has_onednn_lstm
from recurra.nn.kernels.vendor import lstm_sequence
from recurra.nn.state import State

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
    recipes = ("weights", "biases")

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
        """Return the vendor's LSTM, or the compiled one where it has none."""
        if unusual := self.unusual():
            return f"no kernel has {unusual}"
        if x.is_cuda:
            return Kernel("cuDNN's LSTM", self._vendors)
        dtype = autocast_dtype(x)
        if has_onednn_lstm(x.device, dtype):
            kind = "" if dtype == torch.float32 else " in bfloat16"
            return Kernel(f"oneDNN's LSTM{kind}", self._vendors)
        enabled = torch.backends.mkldnn.enabled
        why = f"oneDNN {f'has none in {dtype}' if enabled else 'is switched off'}"
        if dtype == x.dtype and not served(x):
            return Kernel(f"the compiled LSTM, as {why}", self._compiled)
        name = f"ATen's LSTM loop, as {why}"
        return (
            f"{name}, is not for torch.compile" if is_compiling() else Kernel(name, self._vendors)
        )

    def _vendors(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        y, h, c = lstm_sequence(x, state[0], state[1], weights, lengths)
        return y, LSTMState(h, c)

    def _compiled(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights = (self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh)
        h, c = state
        y, h, c = lstm_family_sequence(x, h, c, weights, LSTMParts(), lengths)
        return y, LSTMState(h, c)
