"""Stamps as people read them: a whole column in one way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recurra.series.calendar.codes import encoded
from recurra.series.calendar.frequency import Points
from recurra.series.calendar.lattice import DAY
from recurra.series.calendar.zones import on_the_wall

__all__ = ["AS_THEY_COME", "written"]

SECOND = 10**9  # nanoseconds
AS_THEY_COME = Points()
"""Dates, of no zone and in no code."""


def written(stamps: NDArray[Any], points: Points = AS_THEY_COME) -> Iterator[str | int | float]:
    """Yield stamps as JSON and CSV hold them, all in one way: numbers, days, or days and times.

    Args:
        stamps: `(T,)`, dates or numbers.
        points: the zone by whose clock dates, in UTC then, are told, with its offset from UTC; and
            the code that they are told in.

    Example:
        >>> night = np.array(["2023-03-31T23", "2023-04-01T00"], "datetime64[ns]")
        >>> list(written(night))
        ['2023-03-31 23:00:00', '2023-04-01 00:00:00']
        >>> next(written(night, Points(zone="America/New_York")))
        '2023-03-31 19:00:00-04:00'
        >>> next(written(night, Points(code="%Y%m")))
        202303
    """
    if stamps.dtype.kind != "M":
        yield from (int(each) if float(each).is_integer() else float(each) for each in stamps)
        return
    zone = points.zone
    whole = stamps.astype("datetime64[ns]").astype(np.int64)
    shown = on_the_wall(whole, zone) if zone else whole
    if points.code:
        yield from encoded(shown.astype("datetime64[ns]"), points.code)
        return
    if not zone and not (shown % DAY).any():
        yield from np.datetime_as_string(shown.astype("datetime64[ns]"), unit="D").tolist()
        return
    unit: Literal["s", "ns"] = "ns" if (shown % SECOND).any() else "s"
    texts = np.datetime_as_string(shown.astype("datetime64[ns]"), unit=unit).tolist()
    for text, ahead in zip(texts, ((shown - whole) // (60 * SECOND)).tolist()):
        yield text.replace("T", " ") + (_offset(ahead) if zone else "")


def _offset(minutes: int) -> str:
    sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"
