"""The LSTM with a narrow output. B rows, I inputs, P outputs, H memory cells; gates i, f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.biases import ForgetGate, TwoBiases
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.projected_lstm import projected_lstm_sequence

__all__ = ["ProjectedLSTMCell", "ProjectedLSTMState"]


class ProjectedLSTMState(NamedTuple):
    """The state of a ProjectedLSTMCell: `h (B, P)`, `c (B, H)`."""

    h: Tensor
    c: Tensor


class ProjectedLSTMCell(TwoBiases, ForgetGate, Cell):
    """The LSTM with a recurrent projection: many memory cells, a narrow hidden state.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh, cut in four
        c' = clip(sigmoid(f) * c + sigmoid(i) * tanh(g))
        h' = W_hr (sigmoid(o) * tanh(c'))

    and the output is `h'`. The weights are 4H (I + P) + H P instead of 4H (I + H).

    Shapes: `x (B, I)`, state `h (B, P)`, `c (B, H)`, output `(B, P)`; `weight_ih (4H, I)`,
        `weight_hh (4H, P)`, `bias_ih (4H,)`, `bias_hh (4H,)`, `weight_hr (P, H)`.

    Args:
        input_size: I, features of an input.
        hidden_size: P, the width of the hidden state, which is the output.
        memory_size: H, memory cells; twice as many as P by default.
        forget_bias: added to the forget gate's bias at initialisation.
        cell_clip: the memory is kept within -cell_clip and cell_clip; unbounded by default.

    Raises:
        ConfigError: for a clip that is not above 0.
        ShapeError: for no memory cells; at a step, for an input or state of another shape.

    Source: Sak et al. 2014, "Long short-term memory based recurrent neural network
        architectures for large scale acoustic modeling", section 2.2.

    Differs: from Sak et al., whose gates have peepholes too; from torch in names: its
        `nn.LSTM(I, H, proj_size=P)` calls the memory's width `hidden_size`.

    Example:
        >>> cell = ProjectedLSTMCell(3, 5, memory_size=20)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state.c.shape
        (torch.Size([2, 5]), torch.Size([2, 20]))
    """

    state_type = ProjectedLSTMState
    recipes = ("biases",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        memory_size: int | None = None,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        H = 2 * hidden_size if memory_size is None else memory_size
        if H < 1:
            raise ShapeError(f"ProjectedLSTMCell: memory_size is at least 1, got {memory_size}")
        if cell_clip is not None and not cell_clip > 0:
            raise ConfigError(f"ProjectedLSTMCell: cell_clip is above 0 or None, got {cell_clip}")
        self.hidden_size = hidden_size
        self.memory_size = H
        self.forget_bias = forget_bias
        self.cell_clip = cell_clip
        self.weight_ih = nn.Parameter(torch.empty(4 * H, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * H, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * H))
        self.bias_hh = nn.Parameter(torch.empty(4 * H))
        self.weight_hr = nn.Parameter(torch.empty(hidden_size, H))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        bound = self.memory_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.add_forget_bias(self.forget_bias)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of the state, a row's: `h` and `c` differ."""
        return {"h": (self.hidden_size,), "c": (self.memory_size,)}

    def forward(self, x: Tensor, state: ProjectedLSTMState) -> tuple[Tensor, ProjectedLSTMState]:
        """Take one step."""
        i, f, g, o = ProjectedLSTMCell.gates(self, x, state).values()
        c = f * state[1] + i * g
        if self.cell_clip is not None:
            c = c.clamp(-self.cell_clip, self.cell_clip)
        h = F.linear(o * torch.tanh(c), self.weight_hr)
        return h, ProjectedLSTMState(h, c)

    def gates(self, x: Tensor, state: ProjectedLSTMState) -> dict[str, Tensor]:
        """Return the gates i, f, o in (0, 1) and the candidate g in (-1, 1), each `(B, H)`.

        c' = clip(f * c + i * g),  h' = W_hr (o * tanh(c'))
        """
        check_step(self, x, state)
        sums = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(
            state[0], self.weight_hh, self.bias_hh
        )
        i, f, g, o = sums.chunk(4, dim=1)
        sigmoid = torch.sigmoid
        return {"i": sigmoid(i), "f": sigmoid(f), "g": torch.tanh(g), "o": sigmoid(o)}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled LSTM with a projection, on a processor."""

        def run(
            x: Tensor, state: ProjectedLSTMState, lengths: Tensor | None
        ) -> tuple[Tensor, ProjectedLSTMState]:
            bias = self.bias_ih + self.bias_hh
            weights = (self.weight_ih, self.weight_hh, bias, self.weight_hr)
            y, h, c = projected_lstm_sequence(x, state, weights, lengths, self.cell_clip)
            return y, ProjectedLSTMState(h, c)

        return served(x) or Kernel("the compiled LSTM with a projection", run)
