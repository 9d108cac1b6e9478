"""Quantiles that never cross. N targets, H units, Q quantile levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError

__all__ = ["QuantileHead", "pinball"]


def pinball(quantiles: Tensor, targets: Tensor, levels: Tensor) -> Tensor:
    """Return the quantile loss `max(q (y - f), (q - 1) (y - f))` of every quantile `(..., Q)`.

    Args:
        quantiles: f, `(..., Q)`.
        targets: y, `(...)`.
        levels: q, `(Q,)`.

    Source: Koenker & Bassett 1978, "Regression quantiles".

    Example:
        >>> pinball(torch.tensor([[0.0, 1.0]]), torch.tensor([3.0]), torch.tensor([0.5, 0.9]))
        tensor([[1.5000, 1.8000]])
    """
    error = targets.unsqueeze(-1) - quantiles
    return torch.maximum(levels * error, (levels - 1) * error)


class QuantileHead(nn.Module):
    """A linear layer whose outputs are quantiles that never cross.

    The middle one is free; each next one outward lies a softplus farther. At the start all of them
    are what `reset_parameters` says, whatever the input: a median of 0 and a narrow spread.

    Shapes: hidden `(..., H)`, parameters and quantiles `(..., N, Q)`.

    Args:
        hidden_size: H, units below.
        num_targets: N, targets that are forecast at once.
        levels: of the Q quantiles, increasing, 0.5 among them.

    Raises:
        ConfigError: for levels that do not increase, or lack 0.5.

    Source: Wen et al. 2017, "A multi-horizon quantile recurrent forecaster", for all at once.

    Example:
        >>> head = QuantileHead(4, 2, (0.1, 0.5, 0.9))
        >>> quantiles = head(torch.randn(3, 4))
        >>> quantiles.shape, bool((quantiles.diff(dim=-1) > 0).all())
        (torch.Size([3, 2, 3]), True)
    """

    def __init__(self, hidden_size: int, num_targets: int, levels: Sequence[float]) -> None:
        super().__init__()
        if list(levels) != sorted(set(levels)) or 0.5 not in levels:
            raise ConfigError(f"levels increase and hold 0.5, got {tuple(levels)}")
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.middle = list(levels).index(0.5)
        self.outward: Tensor
        self.register_buffer("outward", self._outward(len(levels)), persistent=False)
        self.num_targets = num_targets
        self.linear = nn.Linear(hidden_size, num_targets * len(levels))
        self.reset_parameters()

    def _outward(self, count: int) -> Tensor:
        """Return `(Q, Q)`: which steps outward from the middle lead to which quantile, signed."""
        step = torch.arange(count).unsqueeze(1)
        place = torch.arange(count)
        above = (step > self.middle) & (step <= place)
        below = (step < self.middle) & (step >= place)
        return above.float() - below.float()

    def reset_parameters(self) -> None:
        """Start at a median of 0, with the quantiles a tenth apart."""
        nn.init.zeros_(self.linear.weight)
        bias = torch.full((self.num_targets, len(self.levels)), -2.25)  # softplus(-2.25) = 0.1
        bias[:, self.middle] = 0.0
        with torch.no_grad():
            self.linear.bias.copy_(bias.flatten())

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the quantiles `(..., N, Q)`.

        Args:
            hidden: `(..., H)`.
        """
        raw = self.linear(hidden).unflatten(-1, (self.num_targets, len(self.levels)))
        quantiles: Tensor = raw[..., self.middle : self.middle + 1] + F.softplus(raw) @ self.outward
        return quantiles

    def loss(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the quantile loss of each target `(..., N)`, the mean over the levels.

        Args:
            parameters: as `forward` returned them.
            targets: `(..., N)`.
        """
        return pinball(parameters, targets, self.levels).mean(-1)

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Return the quantiles `(..., N, Q)` that the parameters mean: themselves.

        Args:
            parameters: as `forward` returned them.
        """
        return parameters
