"""What a step of a language model is given: ids of tokens, and no words."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.errors import ShapeError

__all__ = ["token_ids"]


def token_ids(token: int | Tensor) -> Tensor:
    """Return what a step is given as a tensor.

    Args:
        token: an id, or `(B,)` ids.

    Raises:
        ShapeError: they are words, or anything else that no tensor can be made of.

    Example:
        >>> token_ids(3)
        tensor(3)
    """
    try:
        return torch.as_tensor(token)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(
            f"a step takes an id or (B,) ids, got {token!r:.80}; lm.vocabulary.encode gives those "
            "of words"
        ) from error
