"""The clock on the wall of a zone, and the instant that it shows."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

__all__ = ["instants", "on_the_wall", "require_zone", "zone_of"]

SECOND = 10**9
FIRST_YEAR, LAST_YEAR = 1900, 2100
"""Between which a zone's changes are known; before and after, the nearest holds."""

KNOWN = (
    *("Europe/Berlin", "America/New_York", "Europe/London", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "Europe/Athens", "Australia/Sydney", "America/Halifax"),
    *("Pacific/Auckland", "America/Anchorage", "America/Sao_Paulo", "America/Santiago"),
    *("Europe/Lisbon", "Australia/Adelaide", "America/St_Johns", "Asia/Jerusalem", "Africa/Cairo"),
    *("Asia/Beirut", "America/Havana", "America/Asuncion", "Atlantic/Azores", "Asia/Tehran"),
)
"""Zones that change their clocks, those of most people first; others changed as one of these."""

Whole = NDArray[np.int64]


def require_zone(name: str) -> None:
    """Refuse a zone that this machine does not know.

    Args:
        name: as `"Europe/Berlin"`.

    Raises:
        DataError: there is none of that name.

    Example:
        >>> require_zone("Europe/Atlantis")
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: no time zone is named 'Europe/Atlantis'; on a machine without ...
    """
    _changes(name)


def on_the_wall(stamps: Whole, zone: str) -> Whole:
    """Return what the clock shows at some instants, `(T,)` in nanoseconds since 1970.

    Args:
        stamps: `(T,)`, nanoseconds since 1970 in UTC.
        zone: where the clock hangs.

    Example:
        >>> noon = np.array(["2023-07-01T12:00"], "datetime64[ns]").astype(np.int64)
        >>> on_the_wall(noon, "Europe/Berlin").astype("datetime64[ns]").astype("datetime64[h]")
        array(['2023-07-01T14'], dtype='datetime64[h]')
    """
    begins, offsets = _changes(zone)
    return np.asarray(stamps + offsets[np.searchsorted(begins, stamps, side="right")])


def instants(shown: Whole, zone: str) -> Whole:
    """Return the instants at which a clock shows something, `(T,)` in nanoseconds since 1970.

    Of an hour that comes twice the first is meant; one that is left out means as long after the
    clock was put forward.

    Args:
        shown: `(T,)`.
        zone: where the clock hangs.

    Example:
        >>> night = np.array(["2023-03-26T02:30"], "datetime64[ns]").astype(np.int64)
        >>> instants(night, "Europe/Berlin").astype("datetime64[ns]").astype("datetime64[m]")
        array(['2023-03-26T01:30'], dtype='datetime64[m]')
    """
    begins, offsets = _changes(zone)
    # until what the later clock shows at a change, the offset before it holds
    on_clock = begins + np.maximum(offsets[:-1], offsets[1:])
    return np.asarray(shown - offsets[np.searchsorted(on_clock, shown, side="right")])


def zone_of(stamps: NDArray[np.datetime64], ahead: NDArray[np.integer]) -> str | None:
    """Return a zone whose clock was ahead of UTC as was written with each stamp; None without one.

    Args:
        stamps: `(T,)`, in UTC.
        ahead: `(T,)`, in minutes.

    Example:
        >>> zone_of(np.array(["2023-01-01", "2023-07-01"], "datetime64[us]"), np.array([60, 120]))
        'Europe/Berlin'
    """
    whole = stamps.astype("datetime64[ns]").astype(np.int64)
    wanted = ahead.astype(np.int64) * 60 * SECOND
    some = [(int(whole[place]) // SECOND, int(ahead[place])) for place in (0, -1, len(whole) // 2)]
    for name in KNOWN:
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
        told = (_at(second).astimezone(zone).utcoffset() for second, _ in some)
        alike = all(one == timedelta(minutes=minutes) for one, (_, minutes) in zip(told, some))
        if alike and (on_the_wall(whole, name) - whole == wanted).all():
            return name
    return None


@cache
def _changes(name: str) -> tuple[Whole, Whole]:
    """When a zone's offset from UTC changes, and the offsets before, between and after, in ns."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"no time zone is named {name!r:.80}; on a machine without a database of them, "
            "`pip install tzdata` brings one"
        ) from error

    def offset(second: int) -> int:
        return int(_at(second).astimezone(zone).utcoffset().total_seconds())  # type: ignore[union-attr]

    step = 4 * 86_400  # no zone has changed twice within
    begin = int(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    begins, offsets = list[int](), [offset(begin)]
    for second in range(begin, end, step):
        if (after := offset(second + step)) != offsets[-1]:
            change = bisect_right(
                range(second, second + step), False, key=lambda s: offset(s) == after
            )
            begins.append(second + change)
            offsets.append(after)
    return np.array(begins, np.int64) * SECOND, np.array(offsets, np.int64) * SECOND


def _at(second: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
