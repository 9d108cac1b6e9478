"""Attention that points at what followed like moments before. n rows, m keys, H units."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["pointer", "pointer_plain"]


def pointer_plain(hidden: Tensor, keys: Tensor, match: Tensor, theta: float, window: int) -> Tensor:
    """Return the share of attention that falls on what matches, row by row: the reference.

    Shapes: `hidden (n, H)`, `keys (m, H)`, `match (n, m)` bool; returns `(n,)`.

    Args:
        hidden: the last n of the keys.
        keys: n of them or more.
        match: which keys count.
        theta: times the product of two vectors.
        window: how many keys before its own a row sees.

    Source: Grave, Joulin & Usunier 2017, "Improving neural language models with a continuous
        cache", equation 2.

    Example:
        >>> keys = torch.tensor([[0.0], [1.0], [2.0]])
        >>> match = torch.tensor([[False, True, False]])
        >>> pointer_plain(keys[2:], keys, match, 0.5, 2)
        tensor([0.7311])
    """
    shares = []
    for row, h in enumerate(hidden):
        end = len(keys) - len(hidden) + row
        seen = slice(max(0, end - window), end)
        attention = torch.softmax(theta * (keys[seen] @ h), dim=0)
        shares.append(attention[match[row, seen]].sum())
    return torch.stack(shares)


def pointer(scores: Tensor, match: Tensor, theta: float, window: int) -> Tensor:
    """Return what `pointer_plain` does for all rows at once, the products being known.

    A row that sees no key gets 0.

    Shapes: `scores (n, m)`, `match (n, m)` bool; returns `(n,)`.

    Args:
        scores: `hidden keys^T`; the last n keys are those of the rows themselves.
        match: which keys count.
        theta: times the scores.
        window: how many keys before its own a row sees.

    Source: Grave, Joulin & Usunier 2017, "Improving neural language models with a continuous
        cache", equation 2.

    Example:
        >>> pointer(torch.tensor([[0.0, 2.0, 4.0]]), torch.tensor([[False, True, False]]), 0.5, 2)
        tensor([0.7311])
    """
    n, m = scores.shape
    age = torch.arange(m - n, m, device=scores.device).unsqueeze(1)
    age = age - torch.arange(m, device=scores.device)
    unseen = (age < 1) | (age > window)
    attention = torch.softmax((theta * scores).masked_fill_(unseen, -math.inf), dim=1)
    # A row that sees nothing has no softmax but NaN, nowhere else can a NaN stand.
    return attention.masked_fill_(unseen | ~match, 0).sum(dim=1)
