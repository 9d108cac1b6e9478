"""Output heads. N targets, H units, V classes, Q quantile levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, ShapeError
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.linear_cross_entropy import linear_cross_entropy

__all__ = ["QuantileHead", "SoftmaxHead", "StudentTHead", "pinball"]


class SoftmaxHead(nn.Module):
    """A linear layer and softmax over V classes, with its cross-entropy fused for training.

    Shapes: hidden `(..., H)`, log-probabilities `(..., V)`; `weight (V, H)`, `bias (V,)`.

    Args:
        hidden_size: H, units below.
        num_classes: V.
        weight: to be shared with an embedding `(V, H)`; its own by default.

    Raises:
        ShapeError: for a weight of another shape, or targets that are not one for each hidden.

    Source: Press & Wolf 2017, "Using the output embedding", for shared weights.

    Example:
        >>> head = SoftmaxHead(4, 3)
        >>> head.log_probs(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        hidden_size: int,
        num_classes: int,
        weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        if weight is not None and weight.shape != (num_classes, hidden_size):
            raise ShapeError(
                f"SoftmaxHead: got a weight of shape {tuple(weight.shape)}, expected "
                f"{(num_classes, hidden_size)}"
            )
        own = nn.Parameter(torch.empty(num_classes, hidden_size)) if weight is None else weight
        self.weight = own
        self.bias = nn.Parameter(torch.zeros(num_classes))
        if weight is None:
            nn.init.uniform_(own, -(hidden_size**-0.5), hidden_size**-0.5)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Return `log softmax(hidden weight^T + bias)`, in nats.

        Args:
            hidden: `(..., H)`.
        """
        logits = F.linear(hidden, self.weight, self.bias)
        return torch.log_softmax(logits, dim=-1)

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per target, its products in autocast's dtype.

        Args:
            hidden: `(..., H)`.
            targets: `(...)`, classes, int64.
        """
        if targets.shape != hidden.shape[:-1]:
            raise ShapeError(
                f"SoftmaxHead: targets of shape {tuple(targets.shape)} for hidden of shape "
                f"{tuple(hidden.shape)}, expected one target for each"
            )
        return linear_cross_entropy(
            hidden.reshape(-1, hidden.shape[-1]),
            self.weight,
            self.bias,
            targets.reshape(-1),
            autocast_dtype(hidden),
        )


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
