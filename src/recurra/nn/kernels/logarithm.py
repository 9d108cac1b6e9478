"""The logarithm of a sum of exponentials, which can be differentiated as often as one likes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["log_add"]


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """Return `log(exp(a) + exp(b))`.

    Shapes: any that broadcast; returns the same.

    Args:
        a: finite.
        b: finite, as far from `a` as one likes.

    Source: Blanchard, Higham & Higham 2021, "Accurately computing the log-sum-exp and softmax
        functions", equation 1.3.

    Differs: from `torch.logaddexp`, whose second derivative is not a number where the two are
        far apart: 0 times infinity.

    Example:
        >>> log_add(torch.tensor([0.0, -1e4]), torch.tensor([0.0, 1.0]))
        tensor([0.6931, 1.0000])
    """
    return torch.where(a > b, a + F.softplus(b - a), b + F.softplus(a - b))
