"""The recurrent highway network over whole sequences on the processor, forward and backward.

B rows, T steps, I inputs, H units, L layers within a step; sums in the order n, t.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.loops.product_loop import ProductLoop
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import sigmoid, tanh

__all__ = ["highway_sequence"]

SHAPES = Shapes(
    x="B T I", h="B H", weight_ih="2H I", weight_hh="L 2H H", bias_ih="2H", bias_hh="L 2H"
)


def highway_sequence(
    x: Tensor,
    h: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a recurrent highway network over sequences; returns the outputs, and `h` at the end.

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length repeat its last.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        h: hidden state before the first step.
        weights: `weight_ih (2H, I)`, `weight_hh (L, 2H, H)`, `bias_ih (2H,)`,
            `bias_hh (L, 2H)`.
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Zilly et al. 2017, "Recurrent highway networks", equations 6-9, carry 1 - t.

    Example:
        >>> weights = torch.zeros(4, 3), torch.zeros(2, 4, 2), torch.zeros(4), torch.zeros(2, 4)
        >>> highway_sequence(torch.ones(1, 2, 3), torch.ones(1, 2), weights)[0][0, :, 0]
        tensor([0.2500, 0.0625])
    """
    SHAPES.check(x, h, *weights)
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    of_state = weight_hh.unsqueeze(1), bias_hh[1:].unsqueeze(1)
    y, (h,) = _highway(x, (h,), (weight_ih, bias_ih + bias_hh[0]), of_state, lengths)
    return y, h


@compiled
def _step(kept: Any, before: Any, memory: Any, after: Any, option: float) -> None:
    H = len(before)
    n, t = kept[:H], kept[H:]
    for j in range(H):
        n[j] = tanh(n[j])
    for j in range(H):
        t[j] = sigmoid(t[j])
    for j in range(H):
        after[j] = before[j] + t[j] * (n[j] - before[j])


@compiled
def _back(kept: Any, before: Any, d_h: Any, d_memory: Any, d_sums: Any, option: float) -> None:
    H = len(before)
    one = before.dtype.type(1)
    n, t, d_n, d_t = kept[:H], kept[H:], d_sums[:H], d_sums[H:]
    for j in range(H):
        d_n[j] = d_h[j] * t[j] * (one - n[j] * n[j])
    for j in range(H):
        d_t[j] = d_h[j] * (n[j] - before[j]) * t[j] * (one - t[j])
    for j in range(H):
        d_h[j] *= one - t[j]


def _plain(sums: Tensor, before: Tensor, memory: Tensor, option: float) -> tuple[Tensor, Tensor]:
    n, t = sums.chunk(2, dim=2)
    return before + torch.sigmoid(t) * (torch.tanh(n) - before), memory


_highway = ProductLoop("highway_sequence", _step, _back, _plain, kept=2)
