"""The sLSTM over whole sequences on the processor, forward and backward.

B rows, T steps, I inputs, H units in N heads; sums in the order i, f, z, o. For the backward pass
stand in their place the share of the new, 1 - F, tanh(z) and sigmoid(o), and behind them the
cell as it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.logarithm import log_add
from recurra.nn.kernels.loops.product_loop import ProductLoop
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import log1p_exp, sigmoid, tanh

__all__ = ["slstm_sequence"]

SHAPES = Shapes(x="B T I", h="B H", c="B H", m="B H", weight_ih="4H I", weight_hh="4H D", bias="4H")


def slstm_sequence(
    x: Tensor,
    state: tuple[Tensor, ...],
    weights: tuple[Tensor, Tensor, Tensor],
    is_exponential: bool = False,
    lengths: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run an sLSTM over whole sequences; returns the outputs, and the state at the end.

    Shapes: `x (B, T, I)`; a state's tensors `(B, H)`; `lengths (B,)`; returns `(B, T, H)` and
    three `(B, H)`. Outputs past a row's length repeat its last.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        state: `h`, `c` and `m` before the first step.
        weights: `weight_ih (4H, I)`, `weight_hh (4H, H / N)` and one bias `(4H,)`.
        is_exponential: whether the forget gate is exp(f), else it is sigmoid(f).
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Beck et al. 2024, "xLSTM: extended long short-term memory", equations 8-17.

    Example:
        >>> weights = torch.zeros(8, 3), torch.zeros(8, 1), torch.zeros(8)
        >>> one, none = torch.ones(1, 2), torch.zeros(1, 2)
        >>> _, (h, c, m) = slstm_sequence(torch.ones(1, 1, 3), (one, one, none), weights, True)
        >>> h, m
        (tensor([[0.2500, 0.2500]]), tensor([[0.6931, 0.6931]]))
    """
    SHAPES.check(x, *state, *weights)
    weight_ih, weight_hh, bias = weights
    H, D = state[0].shape[1], weight_hh.shape[1]

    def by_head(rows: Tensor) -> Tensor:
        """Return rows that stand by gates, then heads, by heads, then gates."""
        by_gate = rows.reshape(4, H // D, D, -1)
        return by_gate.transpose(0, 1).reshape(rows.shape) if D < H else rows

    of_inputs = by_head(weight_ih), by_head(bias)
    weight = by_head(weight_hh).view(1, H // D, 4 * D, D)
    return _slstm(x, state, of_inputs, (weight, None), lengths, is_exponential)


@compiled
def _step(kept: Any, before: Any, memory: Any, after: Any, option: float) -> None:
    D = len(before)
    nought = before.dtype.type(0)
    i, f, z, o = kept[:D], kept[D : 2 * D], kept[2 * D : 3 * D], kept[3 * D : 4 * D]
    c, m, old = memory[0], memory[1], kept[4 * D :]
    if option:
        for j in range(D):
            m[j] += f[j]
        for j in range(D):
            f[j] = 1
    else:
        for j in range(D):
            m[j] += min(f[j], nought) - log1p_exp(-abs(f[j]))
        for j in range(D):
            f[j] = sigmoid(-f[j])
    for j in range(D):
        after[j] = i[j] - m[j]
    for j in range(D):
        m[j] = max(i[j], m[j]) + log1p_exp(-abs(after[j]))
    for j in range(D):
        i[j] = sigmoid(after[j])
    for j in range(D):
        z[j] = tanh(z[j])
    for j in range(D):
        o[j] = sigmoid(o[j])
    for j in range(D):
        old[j] = c[j]
    for j in range(D):
        c[j] += i[j] * (z[j] - c[j])
    for j in range(D):
        after[j] = o[j] * c[j]


@compiled
def _back(kept: Any, before: Any, d_h: Any, d_memory: Any, d_sums: Any, option: float) -> None:
    D = len(before)
    one, nought = before.dtype.type(1), before.dtype.type(0)
    i, f, z, o = kept[:D], kept[D : 2 * D], kept[2 * D : 3 * D], kept[3 * D : 4 * D]
    d_i, d_f, d_z, d_o = d_sums[:D], d_sums[D : 2 * D], d_sums[2 * D : 3 * D], d_sums[3 * D :]
    d_c, d_m, old = d_memory[0], d_memory[1], kept[4 * D :]
    for j in range(D):
        c = old[j] + i[j] * (z[j] - old[j])
        d_o[j] = d_h[j] * c * o[j] * (one - o[j])
    for j in range(D):
        d_c[j] += d_h[j] * o[j]
    for j in range(D):
        d_z[j] = d_c[j] * i[j] * (one - z[j] * z[j])
    for j in range(D):  # through the share of the new, and through what is added up
        d_i[j] = i[j] * (d_c[j] * (z[j] - old[j]) * (one - i[j]) + d_m[j])
    for j in range(D):
        d_m[j] -= d_i[j]
    for j in range(D):
        d_f[j] = d_m[j] * f[j]
    for j in range(D):
        d_c[j] *= one - i[j]
    for j in range(D):
        d_h[j] = nought


def _plain(sums: Tensor, before: Tensor, memory: Tensor, option: float) -> tuple[Tensor, Tensor]:
    i, f, z, o = sums.chunk(4, dim=2)
    c, m = memory.unbind(2)
    m = log_add(m + (f if option else F.logsigmoid(f)), i)
    c = c + torch.exp(i - m) * (torch.tanh(z) - c)
    return torch.sigmoid(o) * c, torch.stack([c, m], dim=2)


_slstm = ProductLoop("slstm_sequence", _step, _back, _plain, kept=5)
