"""The softmax and its gradient in one pass over logits in bfloat16, the division left to others.

N targets, V classes. Dividing a row by its total is left to the matrix products that follow,
where rows are short.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import compiled, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.pointwise import exp

__all__ = ["exponentials", "exponentials_plain"]


def exponentials_plain(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return e, s and nats by torch's own functions: the reference.

    e = exp(z - max z), s = sum e, nats = log s - (z_target - max z); then e_target -= s, so that
    e / s is the gradient of nats. As e_target is the largest part of it by far, s is in the end
    what e_target has lost once it is rounded.

    Shapes: `z (N, V)`, `targets (N,)`; returns `(N, V)` in the dtype of z, and `(N,)`, `(N,)` in
    float32.

    Args:
        z: logits.
        targets: the right classes, int64.

    Source: Bishop 2006, "Pattern recognition and machine learning", equation 4.109.

    Example:
        >>> exponentials_plain(torch.zeros(1, 2), torch.tensor([1]))
        (tensor([[ 1., -1.]]), tensor([2.]), tensor([0.6931]))
    """
    away = z.float() - z.float().amax(dim=1, keepdim=True)
    e = away.exp()
    s = e.sum(dim=1)
    at = targets.unsqueeze(1)
    nats = s.log() - away.gather(1, at).squeeze(1)
    right = e.gather(1, at)
    slope = e.scatter(1, at, right - s.unsqueeze(1)).to(z.dtype)
    return slope, (right - slope.gather(1, at)).squeeze(1), nats


def exponentials(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `exponentials_plain` does, in place of `z`.

    Shapes: `z (N, V)`, `targets (N,)`; returns `(N, V)`, `(N,)`, `(N,)`.

    Args:
        z: logits, bfloat16 in one piece, on the processor; overwritten.
        targets: the right classes, int64.

    Source: Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", for what a
        pass over memory costs; Cody & Waite 1980 for the exponential.

    Differs: from its reference by rounding; below e^-87 all counts as e^-87.

    Example:
        >>> exponentials(torch.zeros(1, 2).bfloat16(), torch.tensor([1]))
        (tensor([[ 1., -1.]], dtype=torch.bfloat16), tensor([2.]), tensor([0.6931]))
    """
    s, nats = _in_place(z, targets)
    return z, s, nats


@torch.library.custom_op("recurra::exponentials", mutates_args=("z",))
def _in_place(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return s and nats, e left in `z`."""
    s, nats = torch.empty(len(z)), torch.empty(len(z))
    arrays = tuple(map(view, (z.view(torch.int16), targets, s, nats)))
    by_rows(_exponentials, arrays, len(z), 16)
    return s, nats


@_in_place.register_fake
def _(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty(len(z)), torch.empty(len(z))


@compiled
def _exponentials(z: Any, targets: Any, totals: Any, losses: Any, start: int, end: int) -> None:
    V = z.shape[1]
    for n in range(start, end):
        row = z[n]
        highest = np.int16(-(2**15))
        for v in range(V):
            # Bits in the order of the numbers, as a maximum of integers makes vectors.
            bits = np.int16(row[v])
            highest = max(highest, np.int16(bits ^ ((bits >> 15) & 0x7FFF)))
        top = _wide(np.int16(highest ^ ((highest >> 15) & 0x7FFF)))
        right = _wide(row[targets[n]]) - top
        total = np.float32(0.0)
        for v in range(V):
            e = exp(_wide(row[v]) - top)
            total += e
            row[v] = _narrow(e)
        row[targets[n]] = _narrow(exp(right) - total)
        totals[n] = exp(right) - _wide(row[targets[n]])
        losses[n] = np.log(total) - right


@compiled
def _wide(bits: Any) -> Any:
    """Return the float32 that a bfloat16 is the upper half of."""
    return np.int32(np.int32(bits) << 16).view(np.float32)


@compiled
def _narrow(x: Any) -> Any:
    """Return the nearest bfloat16, even where two are."""
    bits = np.float32(x).view(np.int32)
    return np.int16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
