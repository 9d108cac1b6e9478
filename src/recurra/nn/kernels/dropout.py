"""Dropout masks drawn from an explicit generator, sixteen random bits a unit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import is_transformed

__all__ = ["dropout_mask"]


def dropout_mask(
    shape: Sequence[int],
    probability: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return a mask that is 0 with the given probability and 1 / (1 - probability) elsewhere.

    On a CPU each unit takes 16 of the bits of a 64-bit draw, several times faster than
    `torch.bernoulli`; the probability is met to within 2^-16.

    Shapes: returns `shape`.

    Args:
        shape: of the mask.
        probability: of dropping a unit, in [0, 1).
        generator: where the bits come from; its device is the mask's.
        dtype: of the mask.

    Source: Srivastava et al. 2014, "Dropout", section 4, in its inverted form.

    Example:
        >>> mask = dropout_mask((2, 3), 0.5, torch.Generator().manual_seed(0))
        >>> mask.shape, sorted(set(mask.flatten().tolist()))
        (torch.Size([2, 3]), [0.0, 2.0])
    """
    scale = 1 / (1 - probability)
    if generator.device.type != "cpu":
        uniform = torch.rand(*shape, generator=generator, device=generator.device)
        return (uniform >= probability).to(dtype).mul_(scale)
    size = torch.Size(shape)
    count = -(-size.numel() // 4)
    threshold = min(round(probability * 2**16), 2**16 - 1) - 2**15
    if is_transformed():
        # vmap draws for each of its rows only what is not drawn in place. To a bit as below.
        words = torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator) - 2**63
        bits = words.view(torch.int16)[: size.numel()].view(size)
        return (bits >= threshold).to(dtype) * scale
    words = torch.empty(count, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[: size.numel()].view(size)
    return torch.ge(bits, threshold, out=torch.empty(size, dtype=dtype)).mul_(scale)
