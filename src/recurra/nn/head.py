"""Output heads. N targets, H units, V classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, ShapeError
from recurra.nn.kernels.linear_cross_entropy import linear_cross_entropy, native_bfloat16

__all__ = ["SoftmaxHead"]


class SoftmaxHead(nn.Module):
    """A linear layer and softmax over V classes, with its cross-entropy fused for training.

    Shapes: hidden `(..., H)`, log-probabilities `(..., V)`; `weight (V, H)`, `bias (V,)`.

    Args:
        hidden_size: H, units below.
        num_classes: V.
        weight: to be shared with an embedding `(V, H)`; its own by default.
        precision: of the matrix products of `loss` while gradients are taken: `"bfloat16"`,
            `"float32"`, or `"auto"` for bfloat16 where the processor has it. Everything else,
            every evaluation among it, is in the parameters' own precision.

    Raises:
        ConfigError: for another precision.
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
        precision: Literal["auto", "bfloat16", "float32"] = "auto",
    ) -> None:
        super().__init__()
        if precision not in ("auto", "bfloat16", "float32"):
            raise ConfigError(f"precision is auto, bfloat16 or float32, got {precision!r}")
        if weight is not None and weight.shape != (num_classes, hidden_size):
            raise ShapeError(
                f"SoftmaxHead: got a weight of shape {tuple(weight.shape)}, expected "
                f"{(num_classes, hidden_size)}"
            )
        own = nn.Parameter(torch.empty(num_classes, hidden_size)) if weight is None else weight
        self.weight = own
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.precision = precision
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
        """Return the mean cross-entropy in nats per target.

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
            self._dtype(hidden),
        )

    def _dtype(self, hidden: Tensor) -> torch.dtype:
        narrow = self.precision == "bfloat16" or (
            self.precision == "auto" and native_bfloat16(hidden.device)
        )
        if narrow and hidden.dtype == torch.float32 and torch.is_grad_enabled():
            return torch.bfloat16
        return hidden.dtype
