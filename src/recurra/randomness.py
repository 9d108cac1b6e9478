"""Random streams derived from (seed, purpose, epoch, step), so that none needs saving."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["derive_seed", "generator"]


def derive_seed(seed: int, purpose: str, epoch: int = 0, step: int = 0) -> int:
    """Return the 63-bit seed of one stream; a pure function of its four names.

    Args:
        seed: the run's seed, any integer.
        purpose: what the stream is for, as `"dropout"` or `"order"`.
        epoch: pass over the data, from 0.
        step: position within the epoch, from 0.

    Example:
        >>> derive_seed(1, "dropout", 0, 3) == derive_seed(1, "dropout", 0, 3)
        True
        >>> derive_seed(1, "dropout", 0, 3) == derive_seed(1, "order", 0, 3)
        False
    """
    words = f"{seed}/{purpose}/{epoch}/{step}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1


def generator(
    seed: int,
    purpose: str,
    epoch: int = 0,
    step: int = 0,
    device: torch.device | str = "cpu",
) -> torch.Generator:
    """Return a torch generator at the start of the stream (seed, purpose, epoch, step).

    Args:
        seed: the run's seed, any integer.
        purpose: what the stream is for.
        epoch: pass over the data, from 0.
        step: position within the epoch, from 0.
        device: where the numbers will be drawn.

    Example:
        >>> a, b = generator(1, "init"), generator(1, "init")
        >>> bool((torch.rand(3, generator=a) == torch.rand(3, generator=b)).all())
        True
    """
    stream = torch.Generator(device=device)
    stream.manual_seed(derive_seed(seed, purpose, epoch, step))
    return stream
