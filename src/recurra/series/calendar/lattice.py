"""The points in time that a calendar holds, numbered: from a stamp to its place, and back.

T stamps, as nanoseconds of the wall's clock since 1970.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.series.calendar.months import MonthDay

__all__ = ["DAY", "WEEK", "Every", "Lattice", "Months", "Spans"]

DAY, WEEK = 86_400 * 10**9, 604_800 * 10**9  # nanoseconds
MONDAY = 4 * DAY  # the first one since 1970

Whole = NDArray[np.int64]


class Lattice(ABC):
    """Points in time in their order, each with a number."""

    @abstractmethod
    def at(self, places: Whole) -> Whole:
        """Return the points of some numbers, `(T,)`.

        Args:
            places: `(T,)`.
        """

    @abstractmethod
    def nearest(self, stamps: Whole) -> Whole:
        """Return the number of the point that is nearest to each stamp, `(T,)`.

        Args:
            stamps: `(T,)`.
        """


class Spans(Lattice):
    """A point every so many nanoseconds; or of those in a week some alone.

    Args:
        count: nanoseconds.
        anchor: one of the points.
        slots: of the spans of a week, Monday's first is 0, those that are points; all where none
            are named.

    Example:
        >>> weekdays = Spans(DAY, 0, tuple(range(5)))  # 1970-01-01 was a Thursday
        >>> (weekdays.at(weekdays.nearest(np.array([0])) + np.arange(4)) // DAY).tolist()
        [0, 1, 4, 5]
    """

    def __init__(self, count: int, anchor: int, slots: Sequence[int] = ()) -> None:
        self._count = count
        self._slots = np.array(slots, np.int64) * count
        self._begin = (anchor - MONDAY) % count + MONDAY if slots else anchor

    def at(self, places: Whole) -> Whole:
        """Return the points of some numbers, `(T,)`."""
        if not len(self._slots):
            return self._begin + places * self._count
        weeks, slots = np.divmod(places, len(self._slots))
        return np.asarray(self._begin + weeks * WEEK + self._slots[slots])

    def nearest(self, stamps: Whole) -> Whole:
        """Return the number of the point that is nearest to each stamp, `(T,)`."""
        since = stamps - self._begin
        if not len(self._slots):
            return np.asarray((since + self._count // 2) // self._count)
        weeks, rest = np.divmod(since, WEEK)
        around = np.concatenate([self._slots[-1:] - WEEK, self._slots, self._slots[:1] + WEEK])
        slots = np.searchsorted((around[1:] + around[:-1]) // 2, rest, side="right") - 1
        return np.asarray(weeks * len(self._slots) + slots)


class Every(Lattice):
    """Every so-many-th point of another lattice.

    Args:
        count: which.
        anchor: one of the points.
        of: the other one.

    Example:
        >>> second = Every(2, 0, Spans(DAY, 0, tuple(range(5))))
        >>> (second.at(second.nearest(np.array([0])) + np.arange(3)) // DAY).tolist()
        [0, 4, 6]
    """

    def __init__(self, count: int, anchor: int, of: Lattice) -> None:
        self._count, self._of = count, of
        self._phase = int(of.nearest(np.array([anchor]))[0]) % count

    def at(self, places: Whole) -> Whole:
        """Return the points of some numbers, `(T,)`."""
        return self._of.at(places * self._count + self._phase)

    def nearest(self, stamps: Whole) -> Whole:
        """Return the number of the point that is nearest to each stamp, `(T,)`."""
        inner = self._of.nearest(stamps) - self._phase
        return np.asarray((inner + self._count // 2) // self._count)


class Months(Lattice):
    """Days of every so many months, at one time of the day.

    Args:
        count: months.
        anchor: one of the points.
        days: those of a month, in their order.

    Example:
        >>> ends = Months(1, 30 * DAY, [MonthDay("last day")])
        >>> (ends.at(ends.nearest(np.array([30 * DAY])) + np.arange(3)) // DAY).tolist()
        [30, 58, 89]
    """

    def __init__(self, count: int, anchor: int, days: Sequence[MonthDay]) -> None:
        self._count, self._days = count, days
        self._time = anchor % DAY
        self._phase = int(_month_of(np.array([anchor]))[0]) % count

    def at(self, places: Whole) -> Whole:
        """Return the points of some numbers, `(T,)`."""
        several = len(self._days)
        periods, which = np.divmod(places, several) if several > 1 else (places, None)
        months = (periods * self._count + self._phase).astype("datetime64[M]")
        found = self._days[0].of(months)
        for number, day in enumerate(self._days[1:], start=1):
            found = np.where(which == number, day.of(months), found)
        return np.asarray(found.astype(np.int64) * DAY + self._time)

    def nearest(self, stamps: Whole) -> Whole:
        """Return the number of the point that is nearest to each stamp, `(T,)`."""
        several = len(self._days)
        found = (_month_of(stamps) - self._phase) // self._count * several
        off = np.abs(self.at(found) - stamps)
        if not off.any():
            return found
        begin = found - 1
        for step in range(several + 2):
            other = begin + step
            nearer = np.abs(self.at(other) - stamps)
            found, off = np.where(nearer < off, other, found), np.minimum(nearer, off)
        return found


def _month_of(stamps: Whole) -> Whole:
    return stamps.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
