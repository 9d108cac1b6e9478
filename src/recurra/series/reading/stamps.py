"""Dates and times as people write them; zones are turned into UTC, and never mixed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.reading.columns import Columns, to_number

__all__ = ["are_dates", "read_stamps"]

ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?)?)?"
)
QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])")
FORMATS = ("%Y/%m/%d", "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%b %Y", "%d %b %Y")
TIMES = ("", " %H:%M", " %H:%M:%S")
WANTED = "YYYY-MM-DD, and HH:MM:SS where there is a time"
YEARS = (1678, 2261)  # that 64 bits of nanoseconds can tell
COMPACT = (19_000_101, 22_001_231)  # numbers that are read as YYYYMMDD


class _BadStampError(Exception):
    """A cell, by its index, that is no date; and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index, self.why = index, why


def are_dates(cells: Sequence[str] | NDArray[Any]) -> bool:
    """Return whether the first cells of a column are dates that are not plain numbers.

    Args:
        cells: of the column.

    Example:
        >>> are_dates(["2020-01-01", "2020-01-02"]), are_dates(["1", "2"]), are_dates(["north"])
        (True, False, False)
    """
    if isinstance(cells, np.ndarray):
        return bool(cells.dtype.kind == "M")
    try:
        return _parse([cell.strip() for cell in cells[:20]])[0].dtype.kind == "M"
    except _BadStampError:
        return False


def read_stamps(columns: Columns, name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return a column as `datetime64[ns]` in UTC, or as float64 where it holds numbers; and notes.

    Whole numbers that can be nothing but YYYYMMDD are dates; so are years in a column that is
    named so. Nothing finer than a microsecond is kept of texts.

    Args:
        columns: of the file or frame.
        name: of the column.

    Raises:
        DataError: a cell is empty, is no date, is out of range, or zones are mixed.

    Example:
        >>> columns = Columns("data.csv", {"ds": ["2020-01-01T02:00+02:00"]}, np.array([1]))
        >>> stamps, notes = read_stamps(columns, "ds")
        >>> str(stamps[0])[:16], notes
        ('2020-01-01T00:00', ("stamps in column 'ds' are turned from +02:00 into UTC",))
    """
    cells = columns.cells[name]
    notes: tuple[str, ...] = ()
    try:
        if isinstance(cells, np.ndarray):
            stamps = cells
        else:
            stamps, zone = _parse([cell.strip() for cell in cells])
            if zone not in (None, "Z", "UTC", "+00:00", "+0000"):
                notes = (f"stamps in column {name!r} are turned from {zone} into UTC",)
        unknown = np.isnat(stamps) if stamps.dtype.kind == "M" else ~np.isfinite(stamps)
        if unknown.any():
            raise _BadStampError(int(np.flatnonzero(unknown)[0]), "is empty")
        if stamps.dtype.kind == "M":
            return _in_range(stamps), notes
    except _BadStampError as bad:
        raise DataError(
            f"{columns.place}, {columns.row(bad.index)}: the stamp in column {name!r} {bad.why}"
        ) from bad
    except _MixedZonesError as mixed:
        raise DataError(
            f"{columns.place}, {columns.row(*mixed.indices)}: column {name!r} mixes zones, "
            f"{mixed.zones[0]} and {mixed.zones[1]}; write all stamps in one, best in UTC"
        ) from mixed
    return _as_dates(stamps, name), notes


def _as_dates(numbers: NDArray[np.float64], name: str) -> NDArray[Any]:
    """Numbers that are dates in disguise as such; others as they are."""
    whole = bool((numbers == np.round(numbers)).all())
    low, high = float(numbers.min()), float(numbers.max())
    if whole and name.lower() == "year" and YEARS[0] <= low and high <= YEARS[1]:
        return numbers.astype(np.int64).astype(str).astype("datetime64[Y]").astype("datetime64[ns]")
    if whole and COMPACT[0] <= low and high <= COMPACT[1]:
        texts = [
            f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in numbers.astype(np.int64).astype(str)
        ]
        try:
            return np.array(texts, "datetime64[ns]")
        except ValueError:
            return numbers
    return numbers


class _MixedZonesError(Exception):
    """Two cells, by their indices, are of different zones."""

    def __init__(self, indices: tuple[int, int], zones: tuple[str, str]) -> None:
        super().__init__(zones)
        self.indices, self.zones = indices, zones


def _parse(texts: list[str]) -> tuple[NDArray[Any], str | None]:
    """The stamps, and the zone that they were all written in."""
    try:
        return np.array([to_number(text) for text in texts], np.float64), None
    except ValueError:
        pass
    if (missing := next((i for i, text in enumerate(texts) if not text), None)) is not None:
        raise _BadStampError(missing, "is empty")
    matches = [ISO.fullmatch(text) for text in texts]
    if not all(matches):
        return _parse_otherwise(texts, matches.index(None)), None
    zones = [match[1] if match else None for match in matches]
    other = next((i for i, zone in enumerate(zones) if zone != zones[0]), None)
    if other is not None:
        raise _MixedZonesError((0, other), (zones[0] or "none", zones[other] or "none"))
    zone = zones[0]
    if zone is None:
        return _to_microseconds(texts), None
    local = _to_microseconds([text[: -len(zone)].rstrip() for text in texts])
    if zone in ("Z", "UTC"):
        return local, zone
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return local - np.timedelta64(minutes if zone[0] == "+" else -minutes, "m"), zone


def _to_microseconds(texts: list[str]) -> NDArray[Any]:
    cut = [text[:26] for text in texts]
    try:
        return np.array(cut, "datetime64[us]")
    except ValueError:
        for index, text in enumerate(cut):
            try:
                np.datetime64(text, "us")
            except ValueError:
                raise _BadStampError(index, f"is {text!r}, which no calendar has") from None
        raise


def _parse_otherwise(texts: list[str], first_odd: int) -> NDArray[Any]:
    """Stamps that are all written in one of the other known ways."""
    quarters = [QUARTER.fullmatch(text) for text in texts]
    if all(quarters):
        return np.array(
            [f"{one[1]}-{3 * int(one[2]) - 2:02}" for one in quarters if one], "datetime64[us]"
        )
    found: list[NDArray[Any]] = []
    furthest, why = first_odd, ""
    for form in (date + time for date in FORMATS for time in TIMES):
        read, failed = _read_all(texts, form)
        if failed is None:
            found.append(np.array(read, "datetime64[us]"))
        elif failed >= furthest:
            furthest = failed
    if not found:
        raise _BadStampError(
            furthest, f"is {texts[furthest]!r}, neither a number nor a date as the others; {WANTED}"
        )
    differing = [one for one in found[1:] if (one != found[0]).any()]
    if differing:
        index = int(np.flatnonzero(differing[0] != found[0])[0])
        why = f"is {texts[index]!r}: its day and month cannot be told apart; write {WANTED}"
        raise _BadStampError(index, why)
    return found[0]


def _read_all(texts: list[str], form: str) -> tuple[list[datetime], int | None]:
    """The stamps read so far by a format, and the index of the one that it does not fit."""
    read: list[datetime] = []
    for index, text in enumerate(texts):
        try:
            read.append(datetime.strptime(text, form))
        except ValueError:
            return read, index
    return read, None


def _in_range(stamps: NDArray[Any]) -> NDArray[Any]:
    years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    if (beyond := np.flatnonzero((years < YEARS[0]) | (years > YEARS[1]))).size:
        index = int(beyond[0])
        raise _BadStampError(
            index, f"is in the year {years[index]}; it must be in {YEARS[0]} ... {YEARS[1]}"
        )
    return stamps.astype("datetime64[ns]")
