"""The LSTM with layer normalisation. B rows, I inputs, H units; gates in the order i, f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.cells.relatives import relative_kernel
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights

__all__ = ["LayerNormLSTMCell", "LayerNormLSTMState"]


class LayerNormLSTMState(NamedTuple):
    """The state of a LayerNormLSTMCell: `h (B, H)`, `c (B, H)`."""

    h: Tensor
    c: Tensor


class LayerNormLSTMCell(TwoBiases, ForgetGate, Cell):
    """The LSTM with its sums and its memory's way out normalised.

        LN(z; a, b) = a * (z - mean(z)) / sqrt(var(z) + eps) + b
        i, f, g, o = LN(W_ih x; a_ih, b_ih) + LN(W_hh h; a_hh, b_hh), cut in four
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(LN(c'; a_c, b_c))

    and the output is `h'`. Normalised are, each by its own mean and variance: the 4H sums that
    come from the input, taken together; the 4H sums that come from the hidden state, taken
    together; and the H units of the memory where the output reads it. The memory that is kept
    is not normalised.

    Shapes: `x (B, I)`, state `h (B, H)`, `c (B, H)`, output `(B, H)`; `weight_ih (4H, I)`,
        `weight_hh (4H, H)`, `gain_ih`, `gain_hh`, `bias_ih`, `bias_hh` `(4H,)`, `gain_c`,
        `bias_c` `(H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        forget_bias: added to the forget gate's bias at initialisation.
        eps: added to each variance.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", equations 20-22 of the supplement.

    Differs: from the paper, whose further bias beside the two of the sums says nothing new;
        from TensorFlow's `LayerNormBasicLSTMCell`, which normalises each gate by itself and
        keeps the normalised memory.

    Example:
        >>> cell = LayerNormLSTMCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state._fields
        (torch.Size([2, 5]), ('h', 'c'))
    """

    state_type = LayerNormLSTMState
    recipes = ("biases",)

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 1.0, eps: float = 1e-5
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.forget_bias = forget_bias
        self.eps = eps
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.gain_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_c = nn.Parameter(torch.empty(hidden_size))
        self.bias_c = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights uniformly from (-1/sqrt(H), 1/sqrt(H)); gains are 1, biases 0.

        The forget bias is added to that of the forget gate.
        """
        super().reset_parameters(generator)
        for gain in (self.gain_ih, self.gain_hh, self.gain_c):
            nn.init.ones_(gain)
        for bias in (self.bias_ih, self.bias_hh, self.bias_c):
            nn.init.zeros_(bias)
        self.add_forget_bias(self.forget_bias)

    def forward(self, x: Tensor, state: LayerNormLSTMState) -> tuple[Tensor, LayerNormLSTMState]:
        """Take one step."""
        i, f, g, o = LayerNormLSTMCell.gates(self, x, state).values()
        c = f * state[1] + i * g
        read = F.layer_norm(c, (self.hidden_size,), self.gain_c, self.bias_c, self.eps)
        h = o * torch.tanh(read)
        return h, LayerNormLSTMState(h, c)

    def gates(self, x: Tensor, state: LayerNormLSTMState) -> dict[str, Tensor]:
        """Return the gates i, f, o in (0, 1) and the candidate g in (-1, 1), each `(B, H)`.

        c' = f * c + i * g,  h' = o * tanh(LN(c'))
        """
        check_step(self, x, state)
        shape = (4 * self.hidden_size,)
        from_x = F.linear(x, self.weight_ih)
        from_h = F.linear(state[0], self.weight_hh)
        sums = F.layer_norm(from_x, shape, self.gain_ih, self.bias_ih, self.eps) + F.layer_norm(
            from_h, shape, self.gain_hh, self.bias_hh, self.eps
        )
        i, f, g, o = sums.chunk(4, dim=1)
        sigmoid = torch.sigmoid
        return {"i": sigmoid(i), "f": sigmoid(f), "g": torch.tanh(g), "o": sigmoid(o)}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the loop of the LSTM's relatives that is for the device."""
        return relative_kernel(self, x, "layer normalisation", "norm")

    def family(self) -> tuple[LSTMWeights, LSTMParts]:
        """Return the weights and the parts by which the compiled loop knows this cell."""
        gains = torch.stack([self.gain_ih, self.gain_hh])
        norm = torch.stack([self.gain_c, self.bias_c])
        weights = (self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh)
        return weights, LSTMParts(gains=gains, norm=norm, eps=self.eps)
