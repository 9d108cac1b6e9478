"""The one question that every door asks of numbers: are they all finite?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["MOST", "not_finite", "real_numbers"]

MOST = 1e30
"""Of what a network reads: what is larger overflows single precision once it is multiplied."""

KINDS = {"c": "complex numbers", "M": "dates", "m": "durations"}
"""What numpy would make numbers of, without a word or with a warning."""


def not_finite(
    values: Tensor | npt.NDArray[np.floating] | float, most: float = math.inf
) -> tuple[int, ...] | None:
    """Return where the first number is that is not finite; None where all of them are.

    Args:
        values: numbers of any shape.
        most: larger magnitudes, as those that a narrower type cannot hold, count as infinite.

    Example:
        >>> import torch
        >>> not_finite(torch.tensor([[1.0, 2.0], [3.0, float("nan")]]))
        (1, 1)
        >>> not_finite(np.array([1e300]), most=3e38)
        (0,)
        >>> not_finite(0.5) is None
        True
    """
    if isinstance(values, Tensor):
        if values.is_floating_point() and values.numel():
            low, high = torch.stack(values.detach().aminmax()).tolist()
            if -most < low and high < most:  # much quicker than asking each number
                return None
        sound = values.isfinite() if most == math.inf else values.abs() <= most
        return None if bool(sound.all()) else tuple((~sound).nonzero()[0].tolist())
    numbers = np.asarray(values)
    sound = np.isfinite(numbers) if most == math.inf else np.abs(numbers) <= most
    return None if sound.all() else tuple(np.argwhere(~sound)[0].tolist())


def real_numbers(given: Any) -> npt.NDArray[np.float64]:
    """Return what was given as an array of its own; None, where no number is, becomes NaN.

    Args:
        given: an array or nested lists of anything.

    Raises:
        ValueError: there is something else than numbers in it, or one has more digits than fit.

    Example:
        >>> real_numbers([1, 2.5]), real_numbers([1j])
        Traceback (most recent call last):
        ...
        ValueError: complex numbers
    """
    try:
        found = np.asarray(given)
        if found.dtype.kind in KINDS:
            raise ValueError(KINDS[found.dtype.kind])
        return np.array(found, np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
