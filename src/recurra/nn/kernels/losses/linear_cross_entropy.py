"""Linear layer, softmax and cross-entropy in one, the gradient taken in the forward pass.

N targets, H units, V classes, K softmaxes in a mixture; C is H and the bias columns, rounded up
to what the matrix units of a processor like. No buffer is larger than one chunk of CHUNK logits.
In bfloat16 on a processor softmax, loss and gradient are one compiled pass over the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recurra.errors import DataError, ShapeError
from recurra.nn.kernels.compiler.compiled import missing
from recurra.nn.kernels.losses.exponentials import exponentials

__all__ = [
    "check_targets",
    "linear_cross_entropy",
    "linear_cross_entropy_plain",
    "mixture_cross_entropy",
    "mixture_cross_entropy_plain",
]

CHUNK = 2**23
"""Most logits held at once: 16 MB in bfloat16."""

COLUMNS = 32
"""Width in columns that the matrix units work in: a multiple of it halves the time of 200."""

WORTH = 2**20
"""Fewest logits for which numba is worth its import."""


def linear_cross_entropy_plain(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
) -> Tensor:
    """Return the mean cross-entropy as two torch calls, all logits in memory: the reference.

    Shapes: `hidden (N, H)`, `weight (V, H)`, `bias (V,)`, `targets (N,)`; returns a scalar.

    Args:
        hidden: what the network ended with.
        weight: of the linear layer.
        bias: of the linear layer.
        targets: the right classes, int64.

    Source: Bishop 2006, "Pattern recognition and machine learning", section 4.3.4.

    Example:
        >>> zero = torch.zeros
        >>> linear_cross_entropy_plain(zero(2, 3), zero(4, 3), zero(4), zero(2).long())
        tensor(1.3863)
    """
    return F.cross_entropy(F.linear(hidden, weight, bias), targets)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the mean cross-entropy of `softmax(hidden weight^T + bias)` in nats per target.

    The gradient is taken in the forward pass, while a chunk's probabilities are at hand:
    p - onehot(target), times `weight` and times `hidden`. It cannot be differentiated twice.

    Shapes: `hidden (N, H)`, `weight (V, H)`, `bias (V,)`, `targets (N,)`; returns a scalar.

    Args:
        hidden: what the network ended with.
        weight: of the linear layer.
        bias: of the linear layer.
        targets: the right classes, int64.
        dtype: of the matrix products; parameters, sums and gradients keep their own.

    Raises:
        ShapeError: unless there is one target for each of at least one hidden vector; for a
            weight or bias that fits neither.
        DataError: for a target outside 0..V-1.

    Source: Wijmans et al. 2024, "Cut your losses in large-vocabulary language models", for
        the loss by chunks; the gradient in the forward pass as in Hsu et al. 2024, "Liger
        kernel".

    Differs: from `cross_entropy`, by rounding only: in bfloat16 the loss by some 1e-3.

    Example:
        >>> zero = torch.zeros
        >>> linear_cross_entropy(zero(2, 3), zero(4, 3), zero(4), zero(2).long())
        tensor(1.3863)
    """
    check_targets("linear_cross_entropy", targets, len(hidden), len(weight))
    _check_shapes("linear_cross_entropy", hidden, weight, bias)
    learning = any(tensor.requires_grad for tensor in (hidden, weight, bias))
    loss: Callable[..., Tensor] = _loss_alone
    if learning and torch.is_grad_enabled():
        loss = _LinearCrossEntropy.apply
    with torch.autocast(hidden.device.type, enabled=False):
        return loss(hidden, weight, bias, targets, dtype)


def mixture_cross_entropy_plain(
    log_priors: Tensor, latent: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
) -> Tensor:
    """Return the mean cross-entropy of a mixture of softmaxes as its equation: the reference.

    Shapes: `log_priors (N, K)`, `latent (N, K, H)`, `weight (V, H)`, `bias (V,)`,
    `targets (N,)`; returns a scalar.

    Args:
        log_priors: the logarithm of each softmax's weight.
        latent: what each softmax sees.
        weight: of the linear layer, one for all softmaxes.
        bias: of the linear layer.
        targets: the right classes, int64.

    Source: Yang et al. 2018, "Breaking the softmax bottleneck", section 2.4.

    Example:
        >>> zero = torch.zeros
        >>> half = torch.full((2, 2), 0.5).log()
        >>> mixture_cross_entropy_plain(half, zero(2, 2, 3), zero(4, 3), zero(4), zero(2).long())
        tensor(1.3863)
    """
    each = torch.softmax(F.linear(latent, weight, bias), dim=-1)
    p = (log_priors.exp().unsqueeze(-1) * each).sum(dim=1)
    return -p[torch.arange(len(targets), device=p.device), targets].log().mean()


def mixture_cross_entropy(
    log_priors: Tensor,
    latent: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the mean cross-entropy of `sum_k pi_k softmax(latent_k weight^T + bias)`, in nats.

    The gradient is taken in the forward pass: each softmax's is that of a softmax alone, times
    the share r_k of the target's probability that it gives. It cannot be differentiated twice.

    Shapes: `log_priors (N, K)`, `latent (N, K, H)`, `weight (V, H)`, `bias (V,)`,
    `targets (N,)`; returns a scalar.

    Args:
        log_priors: the logarithm of each softmax's weight.
        latent: what each softmax sees.
        weight: of the linear layer, one for all softmaxes.
        bias: of the linear layer.
        targets: the right classes, int64.
        dtype: of the matrix products; parameters, sums and gradients keep their own.

    Raises:
        ShapeError: unless there is one target for each of at least one row; for a weight or
            bias that fits neither.
        DataError: for a target outside 0..V-1.

    Source: Yang et al. 2018, "Breaking the softmax bottleneck", section 2.4.

    Differs: from its equation, by rounding only: in bfloat16 the loss by some 1e-3.

    Example:
        >>> zero = torch.zeros
        >>> half = torch.full((2, 2), 0.5).log()
        >>> mixture_cross_entropy(half, zero(2, 2, 3), zero(4, 3), zero(4), zero(2).long())
        tensor(1.3863)
    """
    check_targets("mixture_cross_entropy", targets, len(latent), len(weight))
    _check_shapes("mixture_cross_entropy", latent, weight, bias)
    learning = any(tensor.requires_grad for tensor in (log_priors, latent, weight, bias))
    loss: Callable[..., Tensor] = _mixture_alone
    if learning and torch.is_grad_enabled():
        loss = _MixtureCrossEntropy.apply
    with torch.autocast(latent.device.type, enabled=False):
        return loss(log_priors, latent, weight, bias, targets, dtype)


def _check_shapes(name: str, hidden: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Refuse a weight or bias that fits neither the rest nor each other."""
    V, H = len(weight), hidden.shape[-1]
    if weight.shape != (V, H) or bias.shape != (V,):
        raise ShapeError(
            f"{name}: hidden of {H} units, weight of shape {tuple(weight.shape)}, bias of "
            f"{tuple(bias.shape)}; expected (classes, {H}) and (classes,)"
        )


def check_targets(name: str, targets: Tensor, count: int, num_classes: int) -> None:
    """Raise unless `targets` is one class for each of at least one row.

    Args:
        name: of who asks.
        targets: `(N,)`, int64.
        count: N, rows.
        num_classes: V.

    Raises:
        ShapeError: unless there is one target for each of at least one row.
        DataError: for a target outside 0..V-1.

    Shapes: `targets (N,)`.

    Source: the contract of `torch.nn.functional.cross_entropy`.

    Example:
        >>> check_targets("mine", torch.tensor([0, 2]), 2, 3)
    """
    if targets.shape != (count,) or not count:
        raise ShapeError(
            f"{name}: {count} hidden vectors, targets of shape {tuple(targets.shape)}; "
            "expected one target for each, and at least one"
        )
    low, high = (int(extreme) for extreme in targets.aminmax())
    if low < 0 or high >= num_classes:
        raise DataError(f"{name}: targets are classes 0 to {num_classes - 1}, got {low} to {high}")


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        N, (V, H) = len(hidden), weight.shape
        h, W = _factors(hidden, weight, bias, dtype)
        gradients = d_hidden, d_weight, d_bias = [*map(torch.empty_like, (hidden, weight, bias))]
        losses = []
        for at in _chunks(N, V):
            slope, share, nats = _slope(h[at] @ W.t(), targets[at], N * V)
            losses.append(nats.sum())
            # The mean's 1 / N goes in here, where the matrices are small.
            share = share.to(hidden.dtype) / N
            d_hidden[at] = (slope @ W)[:, :H] * share.unsqueeze(-1)
            d_W = slope.t() @ _widened(hidden[at] * share.unsqueeze(-1), dtype, share, 0)
            store = Tensor.add_ if at.start else Tensor.copy_
            store(d_weight, d_W[:, :H])
            store(d_bias, d_W[:, H])
        ctx.save_for_backward(*gradients)
        return torch.stack(losses).sum() / N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        gradients = ctx.saved_tensors
        if upstream != 1:
            gradients = tuple(gradient * upstream for gradient in gradients)
        return (*gradients, None, None)


class _MixtureCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        log_priors: Tensor,
        latent: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        (N, K, H), V = latent.shape, len(weight)
        rows = latent.reshape(N * K, H)
        h, W = _factors(rows, weight, bias, dtype)
        d_priors, d_rows = torch.empty_like(log_priors), torch.empty_like(rows)
        d_weight, d_bias = torch.empty_like(weight), torch.empty_like(bias)
        losses = []
        for at in _chunks(N, K * V):
            each = slice(at.start * K, at.stop * K)
            z = h[each] @ W.t()
            targeted = torch.arange(len(z), device=z.device) * V
            targeted += targets[at].repeat_interleave(K)
            p, nats = _softmax(z, targeted)
            flat = p.view(-1)
            log_joint = log_priors[at] - nats.view(-1, K)
            losses.append(-torch.logsumexp(log_joint, dim=1).sum())
            share = torch.softmax(log_joint, dim=1) / N
            d_priors[at] = -share
            flat.index_copy_(0, targeted, flat[targeted] - 1)
            share = share.view(-1, 1)
            d_rows[each] = (p @ W)[:, :H] * share
            d_W = p.t() @ (h[each] * share).to(dtype)
            store = Tensor.add_ if at.start else Tensor.copy_
            store(d_weight, d_W[:, :H])
            store(d_bias, d_W[:, H])
        ctx.save_for_backward(d_priors, d_rows.view(N, K, H), d_weight, d_bias)
        return torch.stack(losses).sum() / N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return (*(gradient * upstream for gradient in ctx.saved_tensors), None, None)


def _slope(z: Tensor, targets: Tensor, logits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of the nats by `z` but for a factor, that factor and the nats `(n,)`.

    The factor is `(n,)`, or one for all; `z` is overwritten. `logits` are those of all chunks.
    """
    compilable = z.device.type == "cpu" and z.dtype == torch.bfloat16
    if compilable and logits >= WORTH and not missing():
        e, total, nats = exponentials(z, targets)
        return e, 1 / total, nats
    targeted = torch.arange(len(z), device=z.device) * z.shape[1] + targets
    p, nats = _softmax(z, targeted)
    flat = p.view(-1)
    flat.index_copy_(0, targeted, flat[targeted] - 1)
    return p, p.new_ones(()), nats


def _chunks(N: int, V: int) -> list[slice]:
    rows = max(1, CHUNK // V)
    return [slice(start, min(start + rows, N)) for start in range(0, N, rows)]


def _factors(
    hidden: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return `(N, C)` and `(V, C)` whose product is the logits, bias included.

    The bias takes two columns, its value and what rounding took from it, so that in bfloat16
    it stays exact to some 16 bits.
    """
    return _widened(hidden, dtype, 1, 1), _widened(weight, dtype, bias, bias - bias.to(dtype))


def _widened(matrix: Tensor, dtype: torch.dtype, *columns: Tensor | float) -> Tensor:
    """Return `(rows, C)`: the matrix, then the columns, then zeros."""
    rows, H = matrix.shape
    filled = H + len(columns)
    width = _width(matrix.device, dtype)
    wide = matrix.new_empty(rows, -(-filled // width) * width, dtype=dtype)
    wide[:, :H] = matrix
    for place, column in enumerate(columns, start=H):
        wide[:, place] = column
    wide[:, filled:] = 0
    return wide


def _width(device: torch.device, dtype: torch.dtype) -> int:
    """Return what the matrices' columns are a multiple of: pairs suffice for AVX-512's bfloat16."""
    pairs = device.type == "cpu" and dtype == torch.bfloat16
    return 2 if pairs and not torch.cpu._is_amx_tile_supported() else COLUMNS


def _softmax(z: Tensor, targeted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities, in place of the logits, and the nats of those at flat places.

    What a target's probability underflows to tells nothing; that of the likeliest class does not.
    """
    wide = torch.promote_types(z.dtype, torch.float32)
    top, z_target = z.amax(dim=1).to(wide), z.view(-1)[targeted].to(wide)
    p = torch.softmax(z, dim=1, out=z)
    return p, top - z_target - p.amax(dim=1).to(wide).log()


def _loss_alone(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
) -> Tensor:
    N, V = len(hidden), len(weight)
    h, W = _factors(hidden, weight, bias, dtype)
    parts = [F.cross_entropy(h[at] @ W.t(), targets[at], reduction="sum") for at in _chunks(N, V)]
    return torch.stack(parts).sum() / N


def _mixture_alone(
    log_priors: Tensor,
    latent: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    (N, K, _), V = latent.shape, len(weight)
    h, W = _factors(latent.reshape(N * K, -1), weight, bias, dtype)
    losses = []
    for at in _chunks(N, K * V):
        z = h[at.start * K : at.stop * K] @ W.t()
        nats = F.cross_entropy(z, targets[at].repeat_interleave(K), reduction="none")
        losses.append(-torch.logsumexp(log_priors[at] - nats.view(-1, K), dim=1).sum())
    return torch.stack(losses).sum() / N
