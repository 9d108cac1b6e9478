"""Output heads. N targets, H units, V classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ShapeError
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.linear_cross_entropy import linear_cross_entropy

__all__ = ["SoftmaxHead"]


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
