"""The LSTM whose gates look at the memory. B rows, I inputs, H units; gates i, f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.cells.relatives import relative_kernel
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights

__all__ = ["PeepholeLSTMCell", "PeepholeLSTMState"]


class PeepholeLSTMState(NamedTuple):
    """The state of a PeepholeLSTMCell: `h (B, H)`, `c (B, H)`."""

    h: Tensor
    c: Tensor


class PeepholeLSTMCell(TwoBiases, ForgetGate, Cell):
    """The LSTM with peepholes.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh, cut in four
        i' = sigmoid(i + p_i * c),  f' = sigmoid(f + p_f * c)
        c' = clip(f' * c + i' * tanh(g))
        h' = sigmoid(o + p_o * c') * tanh(c')

    and the output is `h'`. The input and forget gates see the memory before the step, the
    output gate that after it.

    Shapes: `x (B, I)`, state `h (B, H)`, `c (B, H)`, output `(B, H)`; `weight_ih (4H, I)`,
        `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`, `peephole_i (H,)`,
        `peephole_f (H,)`, `peephole_o (H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        forget_bias: added to the forget gate's bias at initialisation.
        cell_clip: the memory is kept within -cell_clip and cell_clip; unbounded by default.

    Raises:
        ConfigError: for a clip that is not above 0.
        ShapeError: at a step, for an input or state of another shape.

    Source: Gers & Schmidhuber 2000, "Recurrent nets that time and count"; in this form Graves
        2013, "Generating sequences with recurrent neural networks", equations 7-11. The clip:
        Sak et al. 2014.

    Differs: from Gers & Schmidhuber, whose memory cells share their block's gates and whose
        peepholes pass no gradient; from Graves by the forget bias.

    Example:
        >>> cell = PeepholeLSTMCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state._fields
        (torch.Size([2, 5]), ('h', 'c'))
    """

    state_type = PeepholeLSTMState
    recipes = ("biases",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if cell_clip is not None and not cell_clip > 0:
            raise ConfigError(f"PeepholeLSTMCell: cell_clip is above 0 or None, got {cell_clip}")
        self.hidden_size = hidden_size
        self.forget_bias = forget_bias
        self.cell_clip = cell_clip
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        self.peephole_i = nn.Parameter(torch.empty(hidden_size))
        self.peephole_f = nn.Parameter(torch.empty(hidden_size))
        self.peephole_o = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        super().reset_parameters(generator)
        self.add_forget_bias(self.forget_bias)

    def forward(self, x: Tensor, state: PeepholeLSTMState) -> tuple[Tensor, PeepholeLSTMState]:
        """Take one step."""
        _, _, _, o, c = PeepholeLSTMCell._step(self, x, state)
        h = o * torch.tanh(c)
        return h, PeepholeLSTMState(h, c)

    def gates(self, x: Tensor, state: PeepholeLSTMState) -> dict[str, Tensor]:
        """Return the gates i, f, o in (0, 1) and the candidate g in (-1, 1), each `(B, H)`.

        c' = clip(f * c + i * g),  h' = o * tanh(c')
        """
        i, f, g, o, _ = PeepholeLSTMCell._step(self, x, state)
        return {"i": i, "f": f, "g": g, "o": o}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the loop of the LSTM's relatives that is for the device."""
        clip = [] if self.cell_clip is None else ["clip"]
        return relative_kernel(self, x, "peepholes", "peephole", *clip)

    def family(self) -> tuple[LSTMWeights, LSTMParts]:
        """Return the weights and the parts by which the compiled loop knows this cell."""
        peephole = torch.stack([self.peephole_i, self.peephole_f, self.peephole_o])
        weights = (self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh)
        return weights, LSTMParts(peephole=peephole, clip=self.cell_clip)

    def _step(self, x: Tensor, state: PeepholeLSTMState) -> tuple[Tensor, ...]:
        """Return i, f, g, o and the memory after the step, which o has seen."""
        check_step(self, x, state)
        h, c = state
        sums = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = sums.chunk(4, dim=1)
        i = torch.sigmoid(i + self.peephole_i * c)
        f = torch.sigmoid(f + self.peephole_f * c)
        g = torch.tanh(g)
        c = f * c + i * g
        if self.cell_clip is not None:
            c = c.clamp(-self.cell_clip, self.cell_clip)
        return i, f, g, torch.sigmoid(o + self.peephole_o * c), c
