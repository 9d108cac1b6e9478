"""The days of a month that a calendar goes by: by number, by the last, by business day, by weekday.

N months.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAST_DAY", "MonthDay", "likely"]

LAST_DAY = 31  # of any month, however short
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NTH = ("first", "second", "third", "fourth", "fifth")
FORM = re.compile(rf"(?:(last|{'|'.join(NTH)}) (day|business day|{'|'.join(WEEKDAYS)})|day (\d+))")
MONDAY = 3  # 1970-01-01 was a Thursday

Days = NDArray[np.datetime64]


class MonthDay:
    """One day of every month, by a rule in words.

    Args:
        words: `"day 15"` (the last where a month is shorter), `"last day"`, `"first business day"`,
            `"last business day"`, `"third Friday"`, `"last Friday"`.

    Raises:
        ValueError: they say no such rule.

    Example:
        >>> months = np.array(["2018-01", "2018-02"], "datetime64[M]")
        >>> MonthDay("last business day").of(months).tolist()
        [datetime.date(2018, 1, 31), datetime.date(2018, 2, 28)]
        >>> MonthDay("third Friday").of(months).tolist()
        [datetime.date(2018, 1, 19), datetime.date(2018, 2, 16)]
    """

    def __init__(self, words: str) -> None:
        found = FORM.fullmatch(words)
        if found is None or not 1 <= int(found[3] or 1) <= LAST_DAY:
            raise ValueError(f"{words!r:.80} is no day of a month")
        self.words = words
        self._nth, self._kind, self._day = found[1], found[2], int(found[3] or 0)

    def of(self, months: NDArray[np.datetime64]) -> Days:
        """Return the day in each month, `(N,)` as `datetime64[D]`.

        Args:
            months: `(N,)` as `datetime64[M]`.
        """
        first = months.astype("datetime64[D]")
        last: Days = np.asarray((months + 1).astype("datetime64[D]") - 1, "datetime64[D]")
        if self._day:
            return np.asarray(np.minimum(first + np.timedelta64(self._day - 1, "D"), last))
        if self._kind == "day":
            if self._nth == "last":
                return last
            return np.asarray(first + np.timedelta64(NTH.index(self._nth), "D"), "datetime64[D]")
        if self._nth == "last":
            return np.busday_offset(last, 0, "backward", weekmask=self._mask)
        return np.busday_offset(first, NTH.index(self._nth), "forward", weekmask=self._mask)

    @cached_property
    def _mask(self) -> list[bool]:
        business = self._kind == "business day"
        return [
            number < 5 if business else name == self._kind for number, name in enumerate(WEEKDAYS)
        ]


def likely(days: Days) -> list[str]:
    """Return the rules that may place most of some days, one a month, the plainest first.

    Args:
        days: `(N,)` as `datetime64[D]`.

    Example:
        >>> likely(np.array(["2018-01-31", "2018-02-28", "2018-03-30"], "datetime64[D]"))[:2]
        ['last day', 'day 28']
    """
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64)
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(
        np.int64
    )
    weekday = WEEKDAYS[_most(_weekdays(days))]
    nth, ends = NTH[_most(of_month // 7)], of_month + 1 == length
    by_number = [f"day {_most(of_month) + 1}", f"day {int(of_month.max()) + 1}"]
    plain = ["last day", *by_number] if ends.any() else by_number
    return [
        *plain,
        "last business day",
        "first business day",
        f"{nth} {weekday}",
        f"last {weekday}",
    ]


def _weekdays(days: Days) -> NDArray[np.int64]:
    """0 is Monday."""
    return np.asarray((days.astype(np.int64) + MONDAY) % 7)


def _most(numbers: NDArray[np.integer[Any]]) -> int:
    """The number that is there most often; the least of several such."""
    return int(np.bincount(numbers).argmax())
