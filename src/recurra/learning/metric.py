"""What results are told in, and how each figure is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Direction", "Metric", "Metrics"]

Direction = Literal["lower", "higher"]
Metrics = Mapping[str, float | int | None]
"""Name -> figure; None where it could not be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure that a task is judged by or that stands beside it.

    Args:
        name: as in reports, `"log_loss"`.
        better: whether a lower or a higher one is better.
        title: over its column; the name in words.
        column: the least width of its column in the task's tables; none of its own.
        beside: the metric whose tables it stands in only where that one judges.
        places: digits after the point; by the size of the figure.
        share: whether it is a share of one, compared in points.
        overflows: whether a figure that is not there is one too large for a float.
    """

    name: str
    better: Direction = "lower"
    title: str = ""
    column: int | None = None
    beside: str | None = None
    places: int | None = None
    share: bool = False
    overflows: bool = False
