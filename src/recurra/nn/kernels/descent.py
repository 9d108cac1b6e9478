"""A step of gradient descent that is drawn back to where it started. R rows, C columns, n ranks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Gradient", "Rate", "descend", "descend_plain"]

BLOCK = 2**17
"""Weights updated at once: half a megabyte, which stays in a processor's cache."""


class Gradient(NamedTuple):
    """A gradient as a sum of what is there: `dense (R, ...)`, `left (R, n)` times `right (n, C)`,
    and `values (m, C)` at the `rows (m,)`."""

    dense: Tensor | None = None
    left: Tensor | None = None
    right: Tensor | None = None
    rows: Tensor | None = None
    values: Tensor | None = None


class Rate(NamedTuple):
    """How fast a weight moves, `learning` times its gradient, and which share of the way back it
    goes, `decay`: numbers, or tensors of the weight's shape."""

    learning: float | Tensor
    decay: float | Tensor


def descend_plain(weight: Tensor, trained: Tensor, gradient: Gradient, rate: Rate) -> Tensor:
    """Return `w - learning g + decay (w_0 - w)`, the gradient written out: the reference.

    Shapes: `weight (R, ...)`, `trained (R, ...)`; returns `(R, ...)`.

    Args:
        weight: w.
        trained: w_0, what it is drawn back to.
        gradient: g.
        rate: the learning rate and the decay.

    Source: Krause et al. 2018, "Dynamic evaluation of neural sequence models", equation 9.

    Example:
        >>> one = torch.ones(2)
        >>> descend_plain(one, 0 * one, Gradient(dense=one), Rate(0.5, 0.25))
        tensor([0.2500, 0.2500])
    """
    total = torch.zeros_like(weight)
    if gradient.dense is not None:
        total += gradient.dense
    if gradient.left is not None and gradient.right is not None:
        total += gradient.left @ gradient.right
    if gradient.rows is not None and gradient.values is not None:
        total.index_add_(0, gradient.rows, gradient.values)
    return weight - rate.learning * total + rate.decay * (trained - weight)


def descend(weight: Tensor, trained: Tensor, gradient: Gradient, rate: Rate) -> None:
    """Do what `descend_plain` does in place, by blocks of rows, no gradient being written out.

    Shapes: `weight (R, ...)`, `trained (R, ...)`.

    Args:
        weight: w, which is changed.
        trained: w_0, what it is drawn back to.
        gradient: g.
        rate: the learning rate and the decay.

    Source: Krause et al. 2018, "Dynamic evaluation of neural sequence models", equation 9.

    Example:
        >>> one = torch.ones(2)
        >>> descend(one, torch.zeros(2), Gradient(dense=torch.ones(2)), Rate(0.5, 0.25))
        >>> one
        tensor([0.2500, 0.2500])
    """
    dense, left, right, rows, values = gradient
    learning, decay = rate
    height = max(1, BLOCK // max(1, math.prod(weight.shape[1:])))
    buffer = None
    if left is not None and isinstance(learning, Tensor):
        buffer = torch.empty_like(weight[:height])
    for start in range(0, len(weight), height):
        at = slice(start, start + height)
        w = weight[at]
        if isinstance(decay, Tensor):
            w.lerp_(trained[at], decay[at])
        elif decay:
            w.lerp_(trained[at], decay)
        if dense is not None:
            _add(w, dense[at], learning, at)
        if left is not None and right is not None:
            if not isinstance(learning, Tensor):
                w.addmm_(left[at], right, alpha=-learning)
            elif buffer is not None:
                _add(w, torch.mm(left[at], right, out=buffer[: len(w)]), learning, at)
    if rows is not None and values is not None:
        own = learning[rows] if isinstance(learning, Tensor) else learning
        weight.index_add_(0, rows, values * own, alpha=-1)


def _add(weight: Tensor, gradient: Tensor, learning: float | Tensor, at: slice) -> None:
    if isinstance(learning, Tensor):
        weight.addcmul_(gradient, learning[at], value=-1)
    else:
        weight.add_(gradient, alpha=-learning)
