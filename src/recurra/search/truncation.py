"""What to draw the next id from, and the draw.

B rows, V ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["draw", "keep_min_p", "keep_top_k", "keep_top_p", "tempered"]


def tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities divided by a temperature, made to sum to one again.

    Args:
        log_probs: `(..., V)`; they need not sum to one.
        temperature: below 1 prefers what is likely; 0 leaves the likeliest, of equal ones the
            first.

    Example:
        >>> tempered(torch.tensor([0.5, 0.25, 0.25]).log(), 0.5).exp()
        tensor([0.6667, 0.1667, 0.1667])
    """
    if temperature:
        likeliest = log_probs.amax(-1, keepdim=True)
        return ((log_probs - likeliest) / temperature).log_softmax(-1)
    first = log_probs.argmax(-1, keepdim=True)
    return torch.full_like(log_probs, -math.inf).scatter(-1, first, 0.0)


def keep_top_k(log_probs: Tensor, k: int) -> Tensor:
    """Return the log-probabilities among the `k` likeliest, and those as likely as the last.

    Args:
        log_probs: `(..., V)`.
        k: 1 or more.

    Example:
        >>> keep_top_k(torch.tensor([0.5, 0.2, 0.3]).log(), 2).exp()
        tensor([0.6250, 0.0000, 0.3750])
    """
    least = log_probs.topk(min(k, log_probs.shape[-1])).values[..., -1:]
    return log_probs.masked_fill(log_probs < least, -math.inf).log_softmax(-1)


def keep_top_p(log_probs: Tensor, p: float) -> Tensor:
    """Return the log-probabilities among the fewest likeliest whose sum is at least `p`.

    Of equally likely ones those of lower id are kept first.

    Args:
        log_probs: `(..., V)`.
        p: in (0, 1].

    Example:
        >>> keep_top_p(torch.tensor([0.5, 0.2, 0.3]).log(), 0.7).exp()
        tensor([0.6250, 0.0000, 0.3750])
    """
    if p == 1:
        return log_probs
    ordered, order = log_probs.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.exp()
    before = probabilities.cumsum(-1) - probabilities
    out = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= p)
    return log_probs.masked_fill(out, -math.inf).log_softmax(-1)


def keep_min_p(log_probs: Tensor, p: float) -> Tensor:
    """Return the log-probabilities among what is at least `p` times as likely as the likeliest.

    Args:
        log_probs: `(..., V)`.
        p: in [0, 1].

    Example:
        >>> keep_min_p(torch.tensor([0.5, 0.2, 0.3]).log(), 0.5).exp()
        tensor([0.6250, 0.0000, 0.3750])
    """
    if p == 0:
        return log_probs
    least = log_probs.amax(-1, keepdim=True) + math.log(p)
    return log_probs.masked_fill(log_probs < least, -math.inf).log_softmax(-1)


def draw(log_probs: Tensor, streams: Sequence[torch.Generator]) -> list[int]:
    """Return an id for each row, drawn with one uniform number from the row's own stream.

    Args:
        log_probs: `(B, V)`.
        streams: one for each row.

    Example:
        >>> draw(torch.tensor([[0.0, 1.0, 0.0]]).log(), [torch.Generator()])
        [1]
    """
    uniform = [torch.rand(1, generator=stream, dtype=torch.float64) for stream in streams]
    cumulative = log_probs.double().exp().cumsum(-1)
    total = cumulative[:, -1:]
    found = torch.searchsorted(cumulative, torch.stack(uniform) * total, right=True).squeeze(1)
    last = (cumulative < total).sum(-1)  # of the tokens that have any probability
    chosen: list[int] = torch.minimum(found, last).tolist()
    return chosen
