"""The softmax over classes. N targets, H units, V classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import RunError
from recurra.nn.head.base import ClassHead
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.losses.linear_cross_entropy import linear_cross_entropy
from recurra.nn.kernels.losses.sampled_cross_entropy import sampled_classes, sampled_cross_entropy
from recurra.nn.kernels.losses.target_log_probs import target_log_probs

__all__ = ["SoftmaxHead"]

CERTAIN = 1000
"""Classes, the most frequent, that a sampled softmax always takes in."""


class SoftmaxHead(ClassHead):
    """A linear layer and softmax over V classes, with its cross-entropy fused for training.

    Shapes: hidden `(..., H)`, log-probabilities `(..., V)`; `weight (V, H)`, `bias (V,)`.

    Args:
        hidden_size: H, units below.
        num_classes: V.
        weight: to be shared with an embedding `(V, H)`; its own by default.
        sampled: in training mode, how many classes stand for all but the targets and the most
            frequent, of which `sampled_cross_entropy` says more; none: every class takes part.
        sparse: whether the gradient of a sampled weight holds the rows of those classes alone.

    Raises:
        ShapeError: for a weight of another shape, or targets that are not one for each hidden.
        RunError: classes are to be sampled, and the loss is given no generator.

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
        sampled: int | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.sampled = sampled
        self.sparse = sparse
        self.weight = self._own_or_shared(weight, num_classes, hidden_size)
        self.bias = nn.Parameter(torch.zeros(num_classes))
        if weight is None:
            nn.init.uniform_(self.weight, -(hidden_size**-0.5), hidden_size**-0.5)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Return `log softmax(hidden weight^T + bias)`, in nats."""
        logits = F.linear(hidden, self.weight, self.bias)
        return torch.log_softmax(logits, dim=-1)

    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability `(N,)` of each target, in nats, by chunks of logits."""
        return target_log_probs(hidden, self.weight, self.bias, targets)

    def _loss(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        flat, dtype = hidden.reshape(-1, hidden.shape[-1]), autocast_dtype(hidden)
        if not self.training or self.sampled is None:
            return linear_cross_entropy(flat, self.weight, self.bias, targets, dtype)
        if generator is None:
            raise RunError("a sampled softmax draws classes from a generator: pass one, or .eval()")
        classes = sampled_classes(targets, len(self.bias), CERTAIN, self.sampled, generator)
        return sampled_cross_entropy(
            flat, self.weight, self.bias, targets, classes, dtype, self.sparse
        )
