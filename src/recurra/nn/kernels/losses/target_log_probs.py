"""The log-probability of each target under a linear layer and a softmax, without the logits.

N targets, H units, V classes, W of them to a panel. What is summed is in the cache: the logits of
some rows and classes, against the largest so far.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.compiler import team
from recurra.nn.kernels.compiler.compiled import compiled, served, view
from recurra.nn.kernels.losses.linear_cross_entropy import CHUNK, check_targets
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import exp
from recurra.nn.kernels.products.matmul import add_product, pack
from recurra.nn.kernels.rows import by_rows
from recurra.nn.kernels.vectors import add

__all__ = ["target_log_probs", "target_log_probs_plain"]

SHAPES = Shapes(hidden="N H", weight="V H", bias="V")

WORTH = 2**20
"""Fewest weights that the compiled pass is for: how many rows there are must not matter."""

ROWS, PANELS = 96, 8
"""Of a block of logits: 96 KB of them."""


def target_log_probs_plain(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Return them by torch's own functions, all logits in memory: the reference.

    Shapes: `hidden (N, H)`, `weight (V, H)`, `bias (V,)`, `targets (N,)`; returns `(N,)`.

    Args:
        hidden: what the network ended with.
        weight: of the linear layer.
        bias: of the linear layer.
        targets: the right classes, int64.

    Source: Bishop 2006, "Pattern recognition and machine learning", equation 4.104.

    Example:
        >>> zero = torch.zeros
        >>> target_log_probs_plain(zero(1, 2), zero(4, 2), zero(4), torch.tensor([3]))
        tensor([-1.3863])
    """
    return -F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="none")


def target_log_probs(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Return `log softmax(hidden weight^T + bias)` of each target, in nats.

    In float32 on a processor, where no gradient is asked for, it is a compiled pass that holds no
    logits, and what a row comes to does not depend on the rows beside it.

    Shapes: `hidden (N, H)`, `weight (V, H)`, `bias (V,)`, `targets (N,)`; returns `(N,)`.

    Args:
        hidden: what the network ended with.
        weight: of the linear layer.
        bias: of the linear layer.
        targets: the right classes, int64.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.
        DataError: for a target outside 0..V-1.

    Source: Milakov & Gimelshein 2018, "Online normalizer calculation for softmax".

    Example:
        >>> zero = torch.zeros
        >>> target_log_probs(zero(1, 2), zero(4, 2), zero(4), torch.tensor([3]))
        tensor([-1.3863])
    """
    N, V = len(hidden), len(weight)
    if N:
        check_targets("target_log_probs", targets, N, V)
    learning = torch.is_grad_enabled() and any(t.requires_grad for t in (hidden, weight, bias))
    narrow = autocast_dtype(hidden) != torch.float32
    if learning or narrow or weight.numel() < WORTH or served(hidden) is not None:

        def score(hidden: Tensor, targets: Tensor) -> Tensor:
            return target_log_probs_plain(hidden, weight, bias, targets)

        return by_rows(score, CHUNK // V, hidden, targets)
    SHAPES.check(hidden, weight, bias)
    log_probs: Tensor = _log_probs(hidden, weight, bias, targets)
    return log_probs


@torch.library.custom_op("recurra::target_log_probs", mutates_args=())
def _log_probs(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    out = hidden.new_empty(len(hidden))
    arrays = view(hidden), pack(weight), view(bias), view(targets), view(out)
    team.by_rows(_score, arrays, len(hidden), ROWS // 2)
    return out


@_log_probs.register_fake
def _like(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return hidden.new_empty(len(hidden))


@compiled
def _score(
    hidden: Any, packed: Any, bias: Any, targets: Any, out: Any, start: int, end: int
) -> None:
    V, width = len(bias), PANELS * packed.shape[2]
    block = np.empty((ROWS, width), np.float32)
    tops, totals = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    for a in range(start, end, ROWS):
        b = min(a + ROWS, end)
        tops[:] = -np.inf
        totals[:] = 0
        for left in range(0, V, width):
            first = left // packed.shape[2]
            right = min(left + width, V)
            block[:] = 0
            panels = packed[first : first + PANELS]
            add_product(hidden[a:b], panels, block[: b - a, : right - left])
            for n in range(b - a):
                z = block[n, : right - left]
                add(z, bias[left:right])  # last, as small sums are rounded less
                tops[n], totals[n] = _more(z, tops[n], totals[n])
                if left <= targets[a + n] < right:
                    out[a + n] = block[n, targets[a + n] - left]
        for n in range(b - a):
            out[a + n] -= tops[n] + np.log(totals[n])


@compiled
def _more(z: Any, top: Any, total: Any) -> Any:
    """Return the largest logit and the sum of exponentials by it, with some more logits."""
    bits = z.view(np.int32)
    highest = np.int32(-(2**31))
    for v in range(len(bits)):
        # Bits in the order of the numbers, as a maximum of integers makes vectors.
        one = bits[v]
        highest = max(highest, np.int32(one ^ ((one >> 31) & 0x7FFFFFFF)))
    largest = np.int32(highest ^ ((highest >> 31) & 0x7FFFFFFF)).view(np.float32)
    largest = top if largest <= top else largest  # NaN stays
    more = np.float32(0)
    for v in range(len(z)):
        more += exp(z[v] - largest)
    if top != -np.inf:  # else there was none before
        more += total * exp(top - largest)
    return largest, more
