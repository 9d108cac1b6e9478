"""A mixture of softmaxes over classes. N targets, H units, K experts, L latent units, V classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.head.base import ClassHead
from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.losses.linear_cross_entropy import CHUNK, mixture_cross_entropy
from recurra.nn.kernels.rows import by_rows
from recurra.nn.wrappers.masks import Masks

__all__ = ["MixtureOfSoftmaxesHead"]


class MixtureOfSoftmaxesHead(ClassHead):
    """K softmaxes over V classes, weighed by the context; their log-probabilities have full rank.

        p(v) = sum_k pi_k softmax(W h_k + b)_v,   pi = softmax(W_pi h),   h_k = tanh(W_k h + b_k)

    Training holds a chunk of the N K V logits at a time, and takes the gradient with it.

    Shapes: hidden `(..., H)`, log-probabilities `(..., V)`; `weight (V, L)`, `bias (V,)`,
        `latent.weight (K L, H)`, `latent.bias (K L,)`, `prior.weight (K, H)`.

    Args:
        hidden_size: H, units below.
        num_classes: V.
        experts: K, softmaxes.
        latent_size: L, units of each `h_k`; H by default.
        weight: to be shared with an embedding `(V, L)`; its own by default.
        dropout: probability of dropping a unit of the `h_k` in training.
        variational: whether one mask serves all the steps of a `(B, T, H)` hidden.

    Raises:
        ShapeError: for a weight of another shape, or targets that are not one for each hidden.
        ConfigError: for a probability outside [0, 1), or less than one expert.
        RunError: for dropout in training mode without a generator.

    Source: Yang et al. 2018, "Breaking the softmax bottleneck", section 2.4; dropout of `h_k` as
        in their program.

    Example:
        >>> head = MixtureOfSoftmaxesHead(4, 3, experts=2)
        >>> head.log_probs(torch.zeros(2, 4)).exp().sum(-1).round(decimals=4).tolist()
        [1.0, 1.0]
    """

    def __init__(
        self,
        hidden_size: int,
        num_classes: int,
        experts: int = 10,
        latent_size: int | None = None,
        weight: nn.Parameter | None = None,
        dropout: float = 0.0,
        variational: bool = False,
    ) -> None:
        super().__init__()
        L = hidden_size if latent_size is None else latent_size
        self.weight = self._own_or_shared(weight, num_classes, L)
        if not 0 <= dropout < 1 or experts < 1:
            raise ConfigError(
                "MixtureOfSoftmaxesHead: expected a probability in [0, 1) and at least 1 expert, "
                f"got dropout {dropout} and {experts} experts"
            )
        self.experts = experts
        self.dropout = dropout
        self.variational = variational
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.latent = nn.Linear(hidden_size, experts * L)
        self.prior = nn.Linear(hidden_size, experts, bias=False)
        if weight is None:
            nn.init.uniform_(self.weight, -(L**-0.5), L**-0.5)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Return the log-probability of every class, in nats, an expert at a time."""
        log_priors, latent = self._experts(hidden)
        total: Tensor | None = None
        for prior, units in zip(log_priors.unbind(-1), latent.unbind(-2)):
            own = torch.log_softmax(F.linear(units, self.weight, self.bias), dim=-1)
            joint = own + prior.unsqueeze(-1)
            total = joint if total is None else torch.logaddexp(total, joint)
        assert total is not None
        return total

    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability `(N,)` of each target, in nats, by chunks of logits."""

        def score(hidden: Tensor, targets: Tensor) -> Tensor:
            log_priors, latent = self._experts(hidden)
            logits = F.linear(latent.flatten(0, 1), self.weight, self.bias)
            each = targets.repeat_interleave(self.experts)
            nats = F.cross_entropy(logits, each, reduction="none")
            return torch.logsumexp(log_priors - nats.view(log_priors.shape), dim=1)

        return by_rows(score, CHUNK // (len(self.bias) * self.experts), hidden, targets)

    def _loss(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        log_priors, latent = self._experts(hidden)
        if self.training and self.dropout:
            latent = self._drop(latent, generator)
        return mixture_cross_entropy(
            log_priors.reshape(-1, self.experts),
            latent.reshape(-1, *latent.shape[-2:]),
            self.weight,
            self.bias,
            targets,
            autocast_dtype(hidden),
        )

    def _experts(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return `log pi (..., K)` and the latent units `(..., K, L)`."""
        log_priors = torch.log_softmax(self.prior(hidden), dim=-1)
        shape = (*log_priors.shape, self.weight.shape[1])
        return log_priors, torch.tanh(self.latent(hidden)).view(shape)

    def _drop(self, latent: Tensor, generator: torch.Generator | None) -> Tensor:
        shape = list(latent.shape)
        if self.variational and latent.dim() == 4:
            shape[1] = 1
        return latent * Masks(generator, 1).draw(shape, self.dropout, latent)
