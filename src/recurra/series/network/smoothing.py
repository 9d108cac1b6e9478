"""What a network corrects: the seasons it sees, averaged with weights that are learned.

B windows, L observations seen, K seasons of S, H steps ahead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Smoothing"]

MOST_SEASONS = 16
GAIN = 5.0
"""Weights move this much faster than the network's."""


class Smoothing(nn.Module):
    """The level and the shape of the last seasons, each a weighted mean, gone on with.

    With m_k the mean of the k-th season back and s_k what it is beside its mean,

        level = sum_k v_k m_k,  shape = sum_k w_k s_k,  v = softmax(a), w = softmax(b)

    and the forecast repeats level + shape. At the start the last season counts nearly alone, so it
    is seasonal naive; with seasons of one step it is the last value, and learns to be exponential
    smoothing.

    Shapes: values `(B, L)`; returns `(B, H)`.

    Args:
        context: L.
        season: S, at most L.

    Source: Gardner 1985, "Exponential smoothing: the state of the art", for level and season
        smoothed apart. Differs: the weights are free, not a geometric row.

    Example:
        >>> values = torch.tensor([[1.0, 5.0, 1.0, 5.0]])
        >>> Smoothing(4, 2)(values, 3).round().tolist()
        [[1.0, 5.0, 1.0]]
    """

    def __init__(self, context: int, season: int) -> None:
        super().__init__()
        self.season = season
        self.count = min(context // season, MOST_SEASONS)
        self.level = nn.Parameter(torch.empty(self.count))
        self.shape = nn.Parameter(torch.empty(self.count))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin with 98% of the level, and 78% of the shape, of the last season."""
        back = torch.arange(self.count)
        with torch.no_grad():
            self.level.copy_(-4.0 * back / GAIN)
            self.shape.copy_(-1.5 * back / GAIN)

    def forward(self, values: Tensor, horizon: int) -> Tensor:
        """Return what follows by the weighted seasons alone.

        Args:
            values: `(B, L)`.
            horizon: H.
        """
        K, S = self.count, self.season
        seasons = values[:, -K * S :].reshape(-1, K, S).flip(1)
        means = seasons.mean(2)
        level = means @ torch.softmax(GAIN * self.level, 0)
        shape = torch.softmax(GAIN * self.shape, 0) @ (seasons - means.unsqueeze(2))
        ahead = level.unsqueeze(1) + shape
        return ahead.repeat(1, -(-horizon // S))[:, :horizon]
