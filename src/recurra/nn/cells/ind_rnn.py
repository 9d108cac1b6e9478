"""The independently recurrent network. B rows, I inputs, H units."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.products.linear import linear_of_steps
from recurra.nn.kernels.scans.elementwise import ind_rnn_sequence

__all__ = ["IndRNNCell", "IndRNNState"]


class IndRNNState(NamedTuple):
    """The state of an IndRNNCell: `h (B, H)`."""

    h: Tensor


class IndRNNCell(Cell):
    """The Elman network with one recurrent weight a unit: `h' = relu(W x + u * h + b)`.

    The output is `h'`. A unit remembers itself alone; layers above mix them.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (H, I)`, `weight_hh (H,)`,
        `bias_ih (H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Li et al. 2018, "Independently recurrent neural network (IndRNN): building a longer
        and deeper RNN", equation 2.

    Differs: from the source in that it bounds no recurrent weight, as a length known ahead
        would allow: |u| <= 2^(1/T).

    Example:
        >>> cell = IndRNNCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = IndRNNState
    state_is_output = True

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw as torch does, but recurrent weights from (0, 1), so that all spans are there."""
        super().reset_parameters(generator)
        nn.init.uniform_(self.weight_hh, 0, 1, generator=generator)

    def forward(self, x: Tensor, state: IndRNNState) -> tuple[Tensor, IndRNNState]:
        """Take one step."""
        check_step(self, x, state)
        # Under autocast the product is narrow; what goes round and round is not.
        sums = F.linear(x, self.weight_ih).to(x.dtype) + self.bias_ih
        h = torch.relu(sums + self.weight_hh * state[0])
        return h, IndRNNState(h)

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled loop over each unit's own sequence."""

        def run(
            x: Tensor, state: IndRNNState, lengths: Tensor | None
        ) -> tuple[Tensor, IndRNNState]:
            sums = linear_of_steps(x, self.weight_ih)
            y, h = ind_rnn_sequence(sums, self.bias_ih, self.weight_hh, state.h, lengths)
            return y, IndRNNState(h)

        return served(x) or Kernel("a compiled loop over each unit's own sequence", run)
