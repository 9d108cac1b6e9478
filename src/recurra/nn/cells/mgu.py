"""The minimal gated unit. B rows, I inputs, H units; gates in the order f, n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.steps import loop_kernel, steps_over
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.mgu import mgu_sequence
from recurra.nn.state import State

__all__ = ["MGUCell", "MGUState"]


class MGUState(NamedTuple):
    """The state of an MGUCell: `h (B, H)`."""

    h: Tensor


class MGUCell(Cell):
    """The minimal gated unit: a GRU whose one gate both forgets and resets.

        f = sigmoid(W_if x + b_if + W_hf h + b_hf)
        n = tanh(W_in x + b_in + W_hn (f * h) + b_hn)
        h' = (1 - f) * h + f * n

    and the output is `h'`.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (2H, I)`,
        `weight_hh (2H, H)`, `bias_ih (2H,)`, `bias_hh (2H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Zhou et al. 2016, "Minimal gated unit for recurrent neural networks", equation 6.

    Differs: two biases for each sum, as torch's GRU has them, and no forget bias of 1.

    Example:
        >>> cell = MGUCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = MGUState
    recipes = ("weights", "biases")
    state_is_output = True

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(2 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def forward(self, x: Tensor, state: MGUState) -> tuple[Tensor, MGUState]:
        """Take one step."""
        f, n = MGUCell.gates(self, x, state).values()
        h = (1 - f) * state[0] + f * n
        return h, MGUState(h)

    def gates(self, x: Tensor, state: MGUState) -> dict[str, Tensor]:
        """Return the gate f in (0, 1) and the candidate n in (-1, 1), each `(B, H)`.

        h' = (1 - f) * h + f * n
        """
        check_step(self, x, state)
        sums = F.linear(x, self.weight_ih, self.bias_ih)
        f, n = _gates(sums, state[0], self.weight_hh.chunk(2), self.bias_hh.chunk(2))
        return {"f": f, "n": n}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled unit, where it serves, else a loop behind one product."""
        if reason := served(x):
            return loop_kernel(reason, self._loop)
        return Kernel("the compiled MGU", self._compiled)

    def _compiled(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights = (self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh)
        y, h = mgu_sequence(x, state[0], weights, lengths)
        return y, MGUState(h)

    def _loop(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights, biases = self.weight_hh.chunk(2), self.bias_hh.chunk(2)

        def step(sums: Tensor, state: State) -> tuple[Tensor, State]:
            f, n = _gates(sums, state[0], weights, biases)
            h = (1 - f) * state[0] + f * n
            return h, MGUState(h)

        return steps_over(step, F.linear(x, self.weight_ih, self.bias_ih), state, lengths)


def _gates(
    sums: Tensor, h: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    into_f, into_n = sums.chunk(2, dim=1)
    f = torch.sigmoid(into_f + F.linear(h, weights[0], biases[0]))
    return f, torch.tanh(into_n + F.linear(f * h, weights[1], biases[1]))
