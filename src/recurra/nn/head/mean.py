"""The mean as what is forecast, by squared errors. N targets, H units, Q quantile levels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["MeanHead"]


class MeanHead(nn.Module):
    """A linear layer that gives the mean alone, learned by `(y - f)^2`.

    It tells no spread: every quantile is the mean, until what is left out of the training says how
    far off it is.

    Shapes: hidden `(..., H)`, parameters `(..., N, 1)`, quantiles `(..., N, Q)`.

    Args:
        hidden_size: H, units below.
        num_targets: N, targets that are forecast at once.
        levels: of the Q quantiles that are asked of it.

    Source: Gauss 1809, "Theoria motus", for the squares.

    Example:
        >>> import torch
        >>> head = MeanHead(4, 2, (0.1, 0.5, 0.9))
        >>> mean = head(torch.randn(3, 4))
        >>> mean.shape, head.loss(mean, torch.ones(3, 2)).sum().item()
        (torch.Size([3, 2, 1]), 6.0)
    """

    def __init__(self, hidden_size: int, num_targets: int, levels: Sequence[float]) -> None:
        super().__init__()
        self.num_levels = len(levels)
        self.linear = nn.Linear(hidden_size, num_targets)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start at a mean of 0."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the mean `(..., N, 1)`.

        Args:
            hidden: `(..., H)`.
        """
        mean: Tensor = self.linear(hidden).unsqueeze(-1)
        return mean

    def loss(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each target `(..., N)`.

        Args:
            parameters: as `forward` returned them.
            targets: `(..., N)`.
        """
        return (parameters.squeeze(-1) - targets) ** 2

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Return the quantiles `(..., N, Q)` that the parameters mean: the mean, each of them.

        Args:
            parameters: as `forward` returned them.
        """
        return parameters.expand(*parameters.shape[:-1], self.num_levels)
