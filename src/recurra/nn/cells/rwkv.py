"""The RWKV network's time mixing, step by step. B rows, T steps, I inputs, H units."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import NOTHING_YET, Cell, Kernel, check_step
from recurra.nn.cells.steps import loop_kernel, steps_over
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.logarithm import log_add
from recurra.nn.kernels.products.linear import Linear, linear_of_steps
from recurra.nn.kernels.scans.wkv import wkv_scan
from recurra.nn.state import State

__all__ = ["RWKVCell", "RWKVState"]


class RWKVState(NamedTuple):
    """The state of an RWKVCell: `x (B, I)`, the input before, and `c` and `m`, each `(B, H)`.

    `c` is the weighted mean of the values so far, `m` the logarithm of the sum of their weights.
    """

    x: Tensor
    c: Tensor
    m: Tensor


class RWKVCell(Cell):
    """The time mixing of RWKV-4: a mean of all values so far, weighted by key and age.

        r, k, v = W_r (a_r x + (1 - a_r) x_before), and so on with a_k, a_v
        wkv_t = sum over s < t of exp(k_s - (t - 1 - s) w) v_s + exp(u + k_t) v_t,
                divided by the sum of the same weights
        y = W_ho (sigmoid(r) * wkv)

    with a decay w = exp(decay) > 0 and a bonus u for the step at hand, each a number a unit.
    The sums are kept as the mean `c` and the logarithm `m` of its weight, so no key overflows:

        wkv = c + sigmoid(u + k - m) (v - c)
        m' = logaddexp(m - w, k),  c' = c + exp(k - m') (v - c)

    Shapes: `x (B, I)`, state `x (B, I)`, `c (B, H)`, `m (B, H)`, output `(B, H)`; `weight_ih
        (3H, I)` with rows r, k, v, `weight_ho (H, H)`, `mix (3, I)`, `decay (H,)`, `bonus (H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Peng et al. 2023, "RWKV: reinventing RNNs for the transformer era", equations 11-16,
        and 24-28 for the recurrent form.

    Differs: numerator, denominator and a running maximum of the exponents are kept there; the
        two tensors here give the same outputs.

    Example:
        >>> cell = RWKVCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state.x.shape
        (torch.Size([2, 5]), torch.Size([2, 3]))
    """

    state_type = RWKVState
    starts_at: ClassVar = {"m": NOTHING_YET}

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_ho = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.mix = nn.Parameter(torch.empty(3, input_size))
        self.decay = nn.Parameter(torch.empty(hidden_size))
        self.bonus = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights uniformly from (-1/sqrt(H), 1/sqrt(H)), all else from where it acts.

        The mixtures are drawn from (0, 1), half-lives from a step to a hundred, and the bonus
        starts at log 0.3.
        """
        bound = self.hidden_size**-0.5
        for weight in (self.weight_ih, self.weight_ho):
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.uniform_(self.mix, 0, 1, generator=generator)
        nn.init.uniform_(self.decay, -5, 0, generator=generator)
        nn.init.constant_(self.bonus, math.log(0.3))

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return that of the input before."""
        return {"x": (self.input_size,)}

    def forward(self, x: Tensor, state: RWKVState) -> tuple[Tensor, RWKVState]:
        """Take one step."""
        check_step(self, x, state)
        before, c, m = state
        r, k, v = self._parts(x, before)
        y, (c, m) = self._mean(torch.cat([r, k, v], dim=1), (c, m))
        # A caller may write the next input over x.
        return F.linear(y, self.weight_ho), RWKVState(x.clone(), c, m)

    def _parts(self, x: Tensor, before: Tensor, linear: Linear = F.linear) -> list[Tensor]:
        """Return r, k and v `(..., H)`."""
        news, weights = x - before, self.weight_ih.chunk(3)
        return [linear(before + a * news, W) for a, W in zip(self.mix.unbind(), weights)]

    def _mean(self, parts: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what the gate lets through of the mean, and the mean and weight to carry on."""
        r, k, v = parts.chunk(3, dim=1)
        c, m = state
        new = v - c
        wkv = c + torch.sigmoid(self.bonus + k - m) * new
        m = log_add(m - torch.exp(self.decay), k)
        return torch.sigmoid(r) * wkv, (c + torch.exp(k - m) * new, m)

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the products of all steps at once, around a scan or a loop that has none."""
        if reason := served(x):
            return loop_kernel(reason, self._sequences, "a loop of means")
        return Kernel("a compiled scan between products of all steps", self._sequences)

    def _sequences(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        before, c, m = state
        shifted = torch.cat([before.unsqueeze(1), x], dim=1)
        if served(x):
            parts = torch.cat(self._parts(x, shifted[:, :-1]), dim=2)
            y, (c, m) = steps_over(self._mean, parts, (c, m), lengths)
            y = F.linear(y, self.weight_ho).to(x.dtype)
        else:
            r, k, v = self._parts(x, shifted[:, :-1], linear_of_steps)
            weights = (torch.exp(self.decay), self.bonus)
            y, (c, m) = wkv_scan(r, k, v, weights, (c, m), lengths)
            y = linear_of_steps(y, self.weight_ho)
        rows = torch.arange(x.shape[0], device=x.device)
        last = x[:, -1].clone() if lengths is None else shifted[rows, lengths]
        return y, RWKVState(last, c, m)
