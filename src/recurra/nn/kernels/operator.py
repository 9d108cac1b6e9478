"""What our operators over sequences share: shapes that are checked, as loops follow them blindly,
the steps of each row, and one derivative only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.errors import RunError, ShapeError
from recurra.nn.kernels.compiler.compiled import view

__all__ = ["Shapes", "once_only", "steps_of_rows", "writable"]


class Shapes:
    """The shapes of an operator's tensors, which have one dtype.

    Args:
        given: name -> sizes, as `"B T I"` or `"3H I"`: a letter, which the first tensor that has
            it alone decides, a multiple of one from before, or a number.

    Example:
        >>> Shapes(h="B H", weight="3H H").check(torch.zeros(2, 4), torch.zeros(12, 5))
        Traceback (most recent call last):
        recurra.errors.ShapeError: weight is (3H, H) of torch.float32 where B = 2, H = 4, got ...
    """

    def __init__(self, **given: str) -> None:
        split = re.compile(r"(\d*)(\D*)").fullmatch
        self.sizes = {
            name: [(int(m[1] or 1), m[2]) for m in map(split, sizes.split()) if m]
            for name, sizes in given.items()
        }

    def check(self, *tensors: Tensor | None) -> None:
        """Refuse tensors that do not fit each other.

        Args:
            tensors: in the order of the names; None for one that is not there.

        Raises:
            ShapeError: for the first that has another shape than those before it leave it, or
                another dtype than the first.
        """
        known, dtype = {"": 1}, None
        for (name, sizes), tensor in zip(self.sizes.items(), tensors, strict=True):
            if tensor is None:
                continue
            shape, dtype = tensor.shape, dtype or tensor.dtype
            fits = len(shape) == len(sizes) and tensor.dtype == dtype
            for size, (times, letter) in zip(shape, sizes):
                fits = fits and size == times * known.setdefault(letter, size)
            if not fits:
                wanted = ", ".join(f"{times if times > 1 else ''}{s}" for times, s in sizes)
                where = ", ".join(f"{s} = {size}" for s, size in known.items() if s)
                raise ShapeError(
                    f"{name} is ({wanted}) of {dtype}{' where ' * bool(where)}{where}, got "
                    f"{tuple(shape)} of {tensor.dtype}"
                )


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
    if lengths.is_floating_point():
        raise ShapeError(f"lengths are integers, got {lengths.dtype}")
    steps = view(lengths.to(torch.int64))
    if steps.shape != (B,) or (B and not 0 <= steps.min() <= steps.max() <= T):
        raise ShapeError(f"lengths are {B} integers in 0 ... {T}, got {lengths.tolist()}")
    return steps


def writable(gradient: Tensor | None, like: Tensor) -> Tensor:
    """Return a copy of a gradient in C order, as it is written to through its view.

    Args:
        gradient: None for zeros.
        like: of its shape and kind.

    Shapes: any; returns the same.

    Source: the contract of `torch.autograd.Function.set_materialize_grads`.

    Example:
        >>> writable(None, torch.ones(2)), writable(torch.ones(2, 3).t(), torch.ones(3, 2)).stride()
        (tensor([0., 0.]), (2, 1))
    """
    if gradient is None:
        return torch.zeros_like(like, memory_format=torch.contiguous_format)
    return gradient.clone(memory_format=torch.contiguous_format)
