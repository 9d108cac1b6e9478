"""What our operators over sequences share: the steps of each row, and one derivative only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.errors import RunError, ShapeError
from recurra.nn.kernels.compiled import view

__all__ = ["once_only", "steps_of_rows"]


def once_only(name: str) -> Callable[..., Any]:
    """Return what stands as the derivative of an operator's derivative: a refusal.

    Args:
        name: of the operator.

    Example:
        >>> once_only("scan")(None)
        Traceback (most recent call last):
        recurra.errors.RunError: recurra::scan cannot be differentiated twice; ...
    """

    def refuse(ctx: Any, *gradients: Tensor | None) -> Any:
        raise RunError(
            f"recurra::{name} cannot be differentiated twice; recurra.nn.unroll.unroll_plain can"
        )

    return refuse


def steps_of_rows(shape: Sequence[int], lengths: Tensor | None) -> np.ndarray[Any, Any]:
    """Return how many steps each row has, as compiled loops read it.

    Args:
        shape: of the sequences, (B, T, ...).
        lengths: `(B,)`; None for all steps of every row.

    Raises:
        ShapeError: a row's length lies outside the sequence, where a loop would follow it.

    Example:
        >>> steps_of_rows((2, 3), None), steps_of_rows((2, 3), torch.tensor([0, 2]))
        (array([3, 3]), array([0, 2]))
    """
    B, T = shape[:2]
    if lengths is None:
        return np.full(B, T, np.int64)
    steps = view(lengths.to(torch.int64))
    if steps.shape != (B,) or (B and not 0 <= steps.min() <= steps.max() <= T):
        raise ShapeError(f"lengths are {B} integers in 0 ... {T}, got {lengths.tolist()}")
    return steps
