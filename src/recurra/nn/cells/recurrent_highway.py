"""The recurrent highway network. B rows, I inputs, H units, L layers within a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.steps import loop_kernel, steps_over
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.highway import highway_sequence
from recurra.nn.state import State

__all__ = ["RecurrentHighwayCell", "RecurrentHighwayState"]


class RecurrentHighwayState(NamedTuple):
    """The state of a RecurrentHighwayCell: `h (B, H)`."""

    h: Tensor


class RecurrentHighwayCell(Cell):
    """The recurrent highway network: within each step, L layers that carry what they keep.

        for l = 1 ... L, from s_0 = h:
            n = tanh(W_in x + b_in + W_hn_l s + b_hn_l)
            t = sigmoid(W_it x + b_it + W_ht_l s + b_ht_l)
            s_l = t * n + (1 - t) * s
        h' = s_L

    with the terms of x in the first layer alone; the output is `h'`.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (2H, I)`,
        `weight_hh (L, 2H, H)`, `bias_ih (2H,)`, `bias_hh (L, 2H)`, rows in the order n, t.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        depth: L, layers within a step; the paper's best have 8 to 10.
        transform_bias: added to the biases of the gates t at initialisation; below zero, a
            fresh network carries.

    Raises:
        ConfigError: for a depth below 1.
        ShapeError: at a step, for an input or state of another shape.

    Source: Zilly et al. 2017, "Recurrent highway networks", equations 6-9, with the carry gate
        coupled to the transform gate as in its experiments, c = 1 - t.

    Example:
        >>> cell = RecurrentHighwayCell(3, 5, depth=4)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, cell.weight_hh.shape
        (torch.Size([2, 5]), torch.Size([4, 10, 5]))
    """

    state_type = RecurrentHighwayState
    state_is_output = True

    def __init__(
        self, input_size: int, hidden_size: int, depth: int = 3, transform_bias: float = -2.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        if depth < 1:
            raise ConfigError(f"RecurrentHighwayCell: depth is at least 1, got {depth}")
        self.hidden_size = hidden_size
        self.depth = depth
        self.transform_bias = transform_bias
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(depth, 2 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(2 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(depth, 2 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the bias of t."""
        super().reset_parameters(generator)
        with torch.no_grad():
            self.bias_hh[:, self.hidden_size :] += self.transform_bias

    def forward(
        self, x: Tensor, state: RecurrentHighwayState
    ) -> tuple[Tensor, RecurrentHighwayState]:
        """Take one step."""
        check_step(self, x, state)
        sums = F.linear(x, self.weight_ih, self.bias_ih)
        h = _layers(sums, state[0], self.weight_hh.unbind(), self.bias_hh.unbind())
        return h, RecurrentHighwayState(h)

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled network where it serves, else a loop behind one product."""
        if reason := served(x):
            return loop_kernel(reason, self._loop)
        return Kernel("the compiled recurrent highway", self._compiled)

    def _compiled(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        y, h = highway_sequence(x, state[0], weights, lengths)
        return y, RecurrentHighwayState(h)

    def _loop(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights, biases = self.weight_hh.unbind(), self.bias_hh.unbind()

        def step(sums: Tensor, state: State) -> tuple[Tensor, State]:
            h = _layers(sums, state[0], weights, biases)
            return h, RecurrentHighwayState(h)

        return steps_over(step, F.linear(x, self.weight_ih, self.bias_ih), state, lengths)


def _layers(sums: Tensor, s: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        both = F.linear(s, weight, bias)
        n, t = (both if layer else both + sums).chunk(2, dim=1)
        t = torch.sigmoid(t)
        s = t * torch.tanh(n) + (1 - t) * s
    return s
