"""The simple recurrent unit. B rows, I inputs, H units; candidate and gates n, f, r."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.products.linear import Linear, linear_of_steps
from recurra.nn.kernels.scans.elementwise import sru_sequence

__all__ = ["SRUCell", "SRUState"]


class SRUState(NamedTuple):
    """The state of an SRUCell: `c (B, H)`."""

    c: Tensor


class SRUCell(Cell):
    """Light recurrence, whose gates see one unit of the state each, and a highway past it.

        n = W_n x
        f = sigmoid(W_f x + v_f * c + b_f)
        r = sigmoid(W_r x + v_r * c + b_r)
        c' = f * c + (1 - f) * n
        h = r * c' + (1 - r) * a * x

    and the output is `h`. Where I is not H, the highway carries `W_x x`. Its scale
    `a = sqrt(1 + 2 exp(highway_bias))` keeps the variance through many layers.

    Shapes: `x (B, I)`, state `c (B, H)`, output `(B, H)`; `weight_ih (3H, I)`, or `(4H, I)`
        with W_x last, `weight_hh (2H,)`: v_f, v_r, `bias_ih (2H,)`: b_f, b_r.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        highway_bias: added to the bias of r at initialisation: below zero, a fresh network
            passes more of its input on.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Lei et al. 2018, "Simple recurrent units for highly parallelizable recurrence",
        equations 1-5, with the scaling correction of its section 3.2. The paper's x~ is n.

    Differs: from the source in its first weights, uniform over (-1/sqrt(H), 1/sqrt(H)).

    Example:
        >>> cell = SRUCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = SRUState

    def __init__(self, input_size: int, hidden_size: int, highway_bias: float = 0.0) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.highway_bias = highway_bias
        self.scale = math.sqrt(1 + 2 * math.exp(highway_bias))
        products = 3 if input_size == hidden_size else 4
        self.weight_ih = nn.Parameter(torch.empty(products * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw as torch does, then add the highway's bias."""
        super().reset_parameters(generator)
        with torch.no_grad():
            self.bias_ih[self.hidden_size :] += self.highway_bias

    def forward(self, x: Tensor, state: SRUState) -> tuple[Tensor, SRUState]:
        """Take one step."""
        n, f, r = SRUCell.gates(self, x, state).values()
        c = f * state[0] + (1 - f) * n
        return r * c + (1 - r) * self.scale * self._highway(x), SRUState(c)

    def gates(self, x: Tensor, state: SRUState) -> dict[str, Tensor]:
        """Return the candidate n and the gates f, r in (0, 1), each `(B, H)`.

        c' = f * c + (1 - f) * n
        """
        check_step(self, x, state)
        # Under autocast the product is narrow; what goes round and round is not.
        n, f, r = F.linear(x, self.weight_ih[: 3 * self.hidden_size]).to(x.dtype).chunk(3, dim=1)
        f, r = (
            torch.cat([f, r], dim=1) + self.weight_hh * state[0].repeat(1, 2) + self.bias_ih
        ).chunk(2, dim=1)
        return {"n": n, "f": torch.sigmoid(f), "r": torch.sigmoid(r)}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled loop over each unit's own sequence."""

        def run(x: Tensor, state: SRUState, lengths: Tensor | None) -> tuple[Tensor, SRUState]:
            products = linear_of_steps(x, self.weight_ih[: 3 * self.hidden_size])
            weights = (self.weight_hh, self.bias_ih)
            y, c = sru_sequence(
                products, self._highway(x, linear_of_steps), weights, state.c, lengths, self.scale
            )
            return y, SRUState(c)

        return served(x) or Kernel("a compiled loop over each unit's own sequence", run)

    def _highway(self, x: Tensor, linear: Linear = F.linear) -> Tensor:
        """Return what goes past the recurrence: x, or a product where its size is another."""
        if self.input_size == self.hidden_size:
            return x
        return linear(x, self.weight_ih[3 * self.hidden_size :]).to(x.dtype)
