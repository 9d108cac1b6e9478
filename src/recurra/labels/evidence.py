"""What pictures of a classifier are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelEvidence"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelEvidence:
    """Which classes were taken for which.

    Args:
        classes: their C names.
        confusion: `(C, C)` counts, rows are the true classes, columns the predicted ones.
        split: which part of the data was counted.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    split: str = "test"
