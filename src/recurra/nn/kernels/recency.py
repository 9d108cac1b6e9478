"""How often, and how lately, the words of a text stood in it before. N words, V in all."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["recency", "recency_plain"]


def recency_plain(words: Tensor, half_life: float) -> Tensor:
    """Return each word's share of the decayed count of those before it, one by one: the reference.

    Shapes: `words (N,)`; returns `(N - 1,)` float64, for all words but the first.

    Args:
        words: ids.
        half_life: words after which a word counts half.

    Source: Clarkson & Robinson 1997, "Language model adaptation using mixtures and an
        exponentially decaying cache", section 4.

    Example:
        >>> recency_plain(torch.tensor([5, 6, 5, 5]), 1.0)
        tensor([0.0000, 0.3333, 0.7143], dtype=torch.float64)
    """
    shares = []
    for at in range(1, len(words)):
        ages = torch.arange(at, 0, -1, dtype=torch.float64)
        weights = 0.5 ** (ages / half_life)
        shares.append(weights[words[:at] == words[at]].sum() / weights.sum())
    return torch.stack(shares)


def recency(words: Tensor, half_life: float) -> Tensor:
    """Return what `recency_plain` does, for all words at once.

    Shapes: `words (N,)`; returns `(N - 1,)` float64, for all words but the first.

    Args:
        words: ids, at least one.
        half_life: words after which a word counts half.

    Source: Clarkson & Robinson 1997, "Language model adaptation using mixtures and an
        exponentially decaying cache", section 4; Hillis & Steele 1986, "Data parallel
        algorithms", for the scan.

    Example:
        >>> recency(torch.tensor([5, 6, 5, 5]), 1.0)
        tensor([0.0000, 0.3333, 0.7143], dtype=torch.float64)
    """
    order = torch.argsort(words, stable=True)
    same = words[order].diff() == 0
    # From one word to another the gap is negative, and its power may overflow.
    gaps = order.diff().double() * same
    # A word's count right after it stood is carry * (the count after it stood before) + 1: a scan,
    # whose carries are multiplied out over twice the length each time.
    carry = torch.cat([gaps.new_zeros(1), 0.5 ** (gaps / half_life) * same])
    count = torch.ones_like(carry)
    reach = 1
    while reach < len(count) and bool(carry.any()):
        count = torch.cat([count[:reach], count[reach:] + carry[reach:] * count[:-reach]])
        carry = torch.cat([carry[:reach], carry[reach:] * carry[:-reach]])
        reach *= 2
    before = torch.zeros_like(count)
    before[order[1:]] = count[:-1] * 0.5 ** ((gaps - 1) / half_life) * same
    rate = -torch.log(torch.tensor(2.0, dtype=torch.float64)) / half_life
    steps = torch.arange(1, len(words), device=words.device, dtype=torch.float64)
    return before[1:] * (torch.expm1(rate) / torch.expm1(rate * steps)).to(before.device)
