"""The widths that something is made of, as those that its heads divide, and the nearest of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Widths"]

Made = TypeVar("Made")

WIDEST = 65_536
REFUSED = 512
"""Widths in a row that may be refused, as those that its heads do not divide."""


class Widths(Generic[Made]):
    """What comes of each width; one that is refused, in whatever words, is passed over.

    Args:
        make: returns what comes of a width, or raises.

    Example:
        >>> from recurra.nn.cells.mlstm import MLSTMCell
        >>> widths = Widths(lambda width: MLSTMCell(3, width, num_heads=4).output_size)
        >>> widths.at(6), widths.taken(5), widths.nearest(lambda width: width * width, 130)
        (None, 8, 12)
    """

    def __init__(self, make: Callable[[int], Made]) -> None:
        self._make = make
        self._made: dict[int, Made] = {}
        self._refused: dict[int, Exception] = {}

    def at(self, width: int) -> Made | None:
        """Return what comes of a width; None where it is refused.

        Args:
            width: at least 1.
        """
        if width not in self._made and width not in self._refused:
            try:
                self._made[width] = self._make(width)
            except Exception as error:  # a cell of one's own may refuse it in any words
                self._refused[width] = error
        return self._made.get(width)

    def taken(self, width: int) -> int | None:
        """Return the next width that is taken; None where none of the next ones is.

        Args:
            width: the first that is tried.
        """
        end = min(width + REFUSED, WIDEST + 1)
        return next((each for each in range(width, end) if self.at(each) is not None), None)

    def refusal(self) -> str:
        """Return which widths were tried, where none was taken, and why the first was refused."""
        first, last = min(self._refused), max(self._refused)
        error = self._refused[first]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"none of the widths {first} to {last} is taken: {said:.300}"

    def nearest(self, count: Callable[[Made], int], wanted: float) -> int | None:
        """Return the width whose number is nearest, of two the narrower; None if none is taken.

        Args:
            count: returns the number of what came of a width, which grows with it.
            wanted: the number.
        """

        def of(width: int) -> int:
            return count(self._made[width])

        first = self.taken(1)
        if first is None or of(first) >= wanted:
            return first
        low, high = first, first + 1
        while (width := self.taken(high)) is not None and of(width) <= wanted:
            low, high = width, 2 * width
        top = width  # too wide, or None: none so wide is taken
        while high - low > 1:
            middle = (low + high) // 2
            width = self.taken(middle)
            if width is not None and width < high and of(width) <= wanted:
                low = width
            else:
                high, top = middle, width or top
        if top is None or wanted - of(low) <= of(top) - wanted:
            return low
        return top
