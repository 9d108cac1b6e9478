"""The softmax for large vocabularies, coarser for rarer classes. N targets, H units, V classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.nn.head.base import ClassHead
from recurra.nn.kernels.losses.linear_cross_entropy import CHUNK, check_targets
from recurra.nn.kernels.rows import by_rows

__all__ = ["AdaptiveHead"]

NARROWING = 4.0
"""How many times fewer units the softmax of each next cluster has, as in torch."""


class AdaptiveHead(ClassHead):
    """A softmax over the most frequent classes and over clusters of the rarer ones.

    Of the most frequent classes the probability is that of one softmax, in which every
    cluster has one place too; of the others it is the cluster's times the one within it. Rarer
    clusters have fewer units. Training computes the clusters of its targets alone, so that a
    step costs a fraction of the full softmax's; its products are in the weights' dtype, whatever
    autocast says.

    Shapes: hidden `(..., H)`, log-probabilities `(..., V)`.

    Args:
        hidden_size: H, units below.
        num_classes: V; classes are numbered by frequency, the most frequent first.
        cutoffs: the first class of each cluster, increasing; at V / 10 and at V / 2.

    Raises:
        ConfigError: for cutoffs that do not increase between 1 and V - 1.
        ShapeError: for targets that are not one for each hidden.
        DataError: for a target outside 0..V-1.

    Source: Grave et al. 2017, "Efficient softmax approximation for GPUs";
        `torch.nn.AdaptiveLogSoftmaxWithLoss` does the work.

    Differs: from torch in fewer units only where H is small, so that every cluster has one.

    Example:
        >>> head = AdaptiveHead(8, 100, (10, 50))
        >>> head.log_probs(torch.zeros(2, 8)).exp().sum(-1).allclose(torch.ones(2))
        True
    """

    def __init__(
        self, hidden_size: int, num_classes: int, cutoffs: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        if cutoffs is None:
            cutoffs = sorted({max(1, num_classes // 10), max(1, num_classes // 2)})
        if not cutoffs or any(a >= b for a, b in pairwise((0, *cutoffs, num_classes))):
            raise ConfigError(
                f"AdaptiveHead: cutoffs increase between 1 and {num_classes - 1} for "
                f"{num_classes} classes, got {tuple(cutoffs)}"
            )
        narrowing = min(NARROWING, 0.999 * hidden_size ** (1 / len(cutoffs)))
        self.num_classes = num_classes
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(
            hidden_size, num_classes, cutoffs, max(1.0, narrowing), head_bias=True
        )

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Return the log-probability of every class, in nats."""
        flat: Tensor = self.softmax.log_prob(hidden.reshape(-1, hidden.shape[-1]))
        return flat.view(*hidden.shape[:-1], self.num_classes)

    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability `(N,)` of each target, in nats, by chunks of logits."""
        return by_rows(self._scores, CHUNK // self.num_classes, hidden, targets)

    def _loss(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])
        check_targets("AdaptiveHead", targets, len(flat), self.num_classes)
        return -self._scores(flat, targets).mean()

    def _scores(self, hidden: Tensor, targets: Tensor) -> Tensor:
        own = self.softmax.head.weight.dtype
        # Under autocast torch's module puts bfloat16 into a buffer of float32, and fails.
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.softmax(hidden.to(own), targets).output
        return scores
