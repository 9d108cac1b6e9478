"""Student's t as what is forecast. N targets, H units, Q quantile levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["StudentTHead"]


class StudentTHead(nn.Module):
    """A linear layer that gives location, scale and degrees of freedom of a Student's t.

    Shapes: hidden `(..., H)`, parameters `(..., N, 3)`, quantiles `(..., N, Q)`.

    Args:
        hidden_size: H, units below.
        num_targets: N, targets that are forecast at once.
        levels: of the Q quantiles that are asked of it.

    Source: Salinas et al. 2020, "DeepAR", section 3.1, with a Student's t as likelihood.

    Example:
        >>> head = StudentTHead(4, 2, (0.1, 0.5, 0.9))
        >>> head.quantiles(head(torch.randn(3, 4))).shape
        torch.Size([3, 2, 3])
    """

    def __init__(self, hidden_size: int, num_targets: int, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = np.asarray(levels, dtype=np.float64)
        self.num_targets = num_targets
        self.linear = nn.Linear(hidden_size, num_targets * 3)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start at a location of 0, a scale of 0.3 and 6 degrees of freedom."""
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor([0.0, -1.05, 4.0]).repeat(self.num_targets))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return location, scale and degrees of freedom `(..., N, 3)`.

        Args:
            hidden: `(..., H)`.
        """
        raw = self.linear(hidden).unflatten(-1, (self.num_targets, 3))
        location, scale, freedom = raw.unbind(-1)
        scale = F.softplus(scale) + 1e-4
        return torch.stack([location, scale, 2 + F.softplus(freedom)], dim=-1)

    def loss(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the negative log-likelihood of each target `(..., N)`, in nats.

        Args:
            parameters: as `forward` returned them.
            targets: `(..., N)`.
        """
        location, scale, freedom = parameters.unbind(-1)
        t = torch.distributions.StudentT(freedom, location, scale, validate_args=False)
        negative: Tensor = -t.log_prob(targets)  # type: ignore[no-untyped-call]
        return negative

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Return the quantiles `(..., N, Q)` that the parameters mean.

        Args:
            parameters: as `forward` returned them.
        """
        from scipy.special import stdtrit

        location, scale, freedom = parameters.detach().double().cpu().unbind(-1)
        units = torch.from_numpy(stdtrit(freedom.numpy()[..., None], self.levels))
        found = location.unsqueeze(-1) + scale.unsqueeze(-1) * units
        return found.to(parameters.device, parameters.dtype)
