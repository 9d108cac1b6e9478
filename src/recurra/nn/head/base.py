"""What the heads over classes share. N targets, H units, V classes."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from recurra.errors import ShapeError

__all__ = ["ClassHead"]


class ClassHead(nn.Module):
    """Probabilities of V classes; a subclass says which.

    Shapes: hidden `(..., H)`, log-probabilities `(..., V)`.
    """

    @abstractmethod
    def log_probs(self, hidden: Tensor) -> Tensor:
        """Return the log-probability of every class, in nats.

        Args:
            hidden: `(..., H)`.
        """

    @abstractmethod
    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability `(N,)` of each target, in nats, by chunks of logits.

        Args:
            hidden: `(N, H)`.
            targets: `(N,)`, classes, int64.
        """

    def loss(
        self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean cross-entropy in nats per target, its products in autocast's dtype.

        Args:
            hidden: `(..., H)`.
            targets: `(...)`, classes, int64.
            generator: where a head that draws, as it says, draws from.

        Raises:
            ShapeError: for targets that are not one for each hidden.
        """
        if targets.shape != hidden.shape[:-1]:
            raise ShapeError(
                f"{type(self).__name__}: targets of shape {tuple(targets.shape)} for hidden of "
                f"shape {tuple(hidden.shape)}, expected one target for each"
            )
        return self._loss(hidden, targets.reshape(-1), generator)

    @abstractmethod
    def _loss(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the mean cross-entropy of all targets, which come in one row."""

    def _own_or_shared(
        self, weight: nn.Parameter | None, num_classes: int, size: int
    ) -> nn.Parameter:
        """Return the weight that is to be shared with an embedding, else an empty one."""
        if weight is None:
            return nn.Parameter(torch.empty(num_classes, size))
        if weight.shape != (num_classes, size):
            raise ShapeError(
                f"{type(self).__name__}: got a weight of shape {tuple(weight.shape)}, expected "
                f"{(num_classes, size)}"
            )
        return weight
