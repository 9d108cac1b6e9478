"""Parts of steps in torch, which can be differentiated as often as one likes.

B rows, H units, G sums: the gates i, f, g, o side by side, or f, g, o where i = 1 - f.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["lstm_step", "normalised"]


def lstm_step(
    sums: Tensor, c: Tensor, peephole: Tensor, norm: Tensor, clip: float, eps: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return h and c after a step.

    Shapes: `sums (B, G)`, `c (B, H)`, `peephole (3, H)`, `norm (2, H)`; returns two `(B, H)`.

    Args:
        sums: from the input, the hidden state and the biases.
        c: the memory before the step.
        peephole: of i, f and o; no rows where there is none.
        norm: gain and bias of the memory as the output reads it; no rows where there is none.
        clip: bound of the memory, or infinity.
        eps: added to the variance of the memory.

    Source: as `lstm_family_sequence`.

    Example:
        >>> none = torch.empty(0)
        >>> lstm_step(torch.zeros(1, 8), torch.ones(1, 2), none, none, float("inf"))[1]
        tensor([[0.5000, 0.5000]])
    """
    *i, f, g, o = sums.chunk(sums.shape[1] // c.shape[1], dim=1)
    peeps = peephole.shape[0] > 0
    f = torch.sigmoid(f + peephole[1] * c if peeps else f)
    entered = 1 - f if not i else torch.sigmoid(i[0] + peephole[0] * c if peeps else i[0])
    c = (f * c + entered * torch.tanh(g)).clamp(-clip, clip)
    o = torch.sigmoid(o + peephole[2] * c if peeps else o)
    read = norm[1] + normalised(c, norm[0], eps) if norm.shape[0] else c
    return o * torch.tanh(read), c


def normalised(v: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Return `gain` times rows of mean 0 and variance 1.

    Shapes: `v (B, N)`, `gain (N,)`; returns `(B, N)`.

    Args:
        v: the rows.
        gain: of each column.
        eps: added to the variance.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", equation 4.

    Differs: from `torch.layer_norm`, of which torch 2.13 has a third derivative that is wrong.

    Example:
        >>> normalised(torch.tensor([[1.0, 3.0]]), torch.ones(2), 0.0)
        tensor([[-1.,  1.]])
    """
    off = v - v.mean(dim=1, keepdim=True)
    return gain * off * torch.rsqrt(off.square().mean(dim=1, keepdim=True) + eps)
