"""The simple recurrent network over whole sequences on the processor, forward and backward.

B rows, T steps, I inputs, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.loops.product_loop import ProductLoop
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import tanh

__all__ = ["rnn_sequence"]

SHAPES = Shapes(x="B T I", h="B H", weight_ih="H I", weight_hh="H H", bias_ih="H", bias_hh="H")


def rnn_sequence(
    x: Tensor,
    h: Tensor,
    weights: Sequence[Tensor],
    nonlinearity: str,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run an Elman network over sequences; returns the outputs, and `h` at the end.

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length repeat its last.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        h: hidden state before the first step.
        weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias_ih (H,)`, `bias_hh (H,)`.
        nonlinearity: `"tanh"` or `"relu"`.
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Elman 1990, "Finding structure in time".

    Example:
        >>> weights = torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1), torch.zeros(1)
        >>> rnn_sequence(torch.ones(1, 3, 1), torch.zeros(1, 1), weights, "relu")[0].flatten()
        tensor([1., 2., 3.])
    """
    SHAPES.check(x, h, *weights)
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    of_state = weight_hh[None, None], None
    is_relu = nonlinearity == "relu"
    y, (h,) = _rnn(x, (h,), (weight_ih, bias_ih + bias_hh), of_state, lengths, is_relu)
    return y, h


@compiled
def _step(kept: Any, before: Any, memory: Any, after: Any, option: float) -> None:
    nought = before.dtype.type(0)
    if option:
        for j in range(len(before)):
            kept[j] = nought if kept[j] < nought else kept[j]  # NaN passes, as in torch
    else:
        for j in range(len(before)):
            kept[j] = tanh(kept[j])
    for j in range(len(before)):
        after[j] = kept[j]


@compiled
def _back(kept: Any, before: Any, d_h: Any, d_memory: Any, d_sums: Any, option: float) -> None:
    one, nought = before.dtype.type(1), before.dtype.type(0)
    if option:
        for j in range(len(before)):
            d_sums[j] = nought if kept[j] <= nought else d_h[j]
    else:
        for j in range(len(before)):
            d_sums[j] = d_h[j] * (one - kept[j] * kept[j])
    for j in range(len(before)):
        d_h[j] = nought


def _plain(sums: Tensor, before: Tensor, memory: Tensor, option: float) -> tuple[Tensor, Tensor]:
    return torch.relu(sums) if option else torch.tanh(sums), memory


_rnn = ProductLoop("rnn_sequence", _step, _back, _plain, kept=1)
