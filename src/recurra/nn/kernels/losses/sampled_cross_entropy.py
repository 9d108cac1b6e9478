"""Cross-entropy whose normalising sum is estimated from a sample of the classes.

N targets, H units, V classes, C of them certain, S sampled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.kernels.losses.linear_cross_entropy import check_targets, linear_cross_entropy

__all__ = ["sampled_classes", "sampled_cross_entropy"]


def sampled_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    classes: tuple[Tensor, Tensor],
    dtype: torch.dtype = torch.float32,
    sparse: bool = False,
) -> Tensor:
    """Return the mean cross-entropy of a softmax over some of the classes, in nats per target.

        Z = sum over certain classes of exp(z_c)  +  R / S * sum over sampled ones of exp(z_c)

    with R the classes that are not certain: Z has the whole softmax's sum as its mean. The
    certain ones are those of the batch's own targets and the most frequent, which hold most of
    the sum, so that the estimate is close. Costs the share of the classes that takes part.

    Shapes: `hidden (N, H)`, `weight (V, H)`, `bias (V,)`, `targets (N,)`; returns a scalar.

    Args:
        hidden: what the network ended with.
        weight: of the linear layer.
        bias: of the linear layer.
        targets: the right classes, int64.
        classes: as `sampled_classes` returned them for these targets.
        dtype: of the matrix products; parameters, sums and gradients keep their own.
        sparse: whether the weight's gradient holds the rows of those classes alone.

    Source: Bengio & Senécal 2008, "Adaptive importance sampling to accelerate training of a
        neural probabilistic language model"; Jean et al. 2015, "On using very large target
        vocabulary for neural machine translation", section 3.

    Differs: from both, by the classes that are certain, whose share is not estimated.

    Example:
        >>> zero, targets = torch.zeros, torch.tensor([0, 3])
        >>> classes = sampled_classes(targets, 6, 1, 2, torch.Generator().manual_seed(0))
        >>> loss = sampled_cross_entropy(zero(2, 4), zero(6, 4), zero(6), targets, classes)
        >>> round(float(loss.exp()), 4)
        6.0
    """
    chosen, shift = classes
    place = chosen.new_full((len(weight),), -1)
    place[chosen] = torch.arange(len(chosen), device=chosen.device)
    rows = F.embedding(chosen, weight, sparse=sparse)
    return linear_cross_entropy(hidden, rows, bias[chosen] + shift, place[targets], dtype)


def sampled_classes(
    targets: Tensor, num_classes: int, certain: int, sampled: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return which classes take part `(C + S,)`, and what is added to their logits `(C + S,)`.

    Shapes: `targets (N,)`.

    Args:
        targets: the right classes, int64; each is certain.
        num_classes: V.
        certain: the classes 0 ... certain - 1 are certain; a vocabulary has the most frequent
            words first.
        sampled: S, drawn without repetition from the others; all of them where they are fewer.
        generator: where the draw comes from.

    Raises:
        ConfigError: nothing is to be sampled.
        ShapeError: there is no target.
        DataError: for a target outside 0..V-1.

    Source: as `sampled_cross_entropy`.

    Example:
        >>> targets = torch.tensor([0, 3])
        >>> chosen, shift = sampled_classes(targets, 6, 1, 2, torch.Generator().manual_seed(0))
        >>> chosen[:2].tolist(), shift.tolist()
        ([0, 3], [0.0, 0.0, 0.6931471824645996, 0.6931471824645996])
    """
    if sampled < 1:
        raise ConfigError(f"a sampled softmax samples at least one class, got {sampled}")
    check_targets("sampled_classes", targets, targets.numel(), num_classes)
    is_certain = torch.zeros(num_classes, dtype=torch.bool, device=targets.device)
    is_certain[:certain] = True
    is_certain[targets] = True
    sure, others = is_certain.nonzero().flatten(), (~is_certain).nonzero().flatten()
    order = torch.randperm(len(others), generator=generator, device=generator.device)
    drawn = others[order[:sampled].to(others.device)]
    shift = torch.zeros(len(sure) + len(drawn), device=targets.device)
    if len(drawn):
        shift[len(sure) :] = math.log(len(others) / len(drawn))
    return torch.cat([sure, drawn]), shift
