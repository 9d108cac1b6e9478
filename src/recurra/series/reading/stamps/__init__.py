"""Dates and times as people write them; what is written with an offset is turned into UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.codes import code_of_numbers, from_code
from recurra.series.calendar.found import infer
from recurra.series.calendar.zones import require_zone, zone_of
from recurra.series.reading.columns import Coded, Columns, Zoned
from recurra.series.reading.numbers import Numbers
from recurra.series.reading.stamps.column import (
    WANTED,
    BadStampError,
    MixedZonesError,
    StampColumn,
)
from recurra.series.reading.stamps.forms import TWO_DIGITS
from recurra.storage.finite import not_finite

__all__ = ["COUNTS", "Stamps", "are_dates", "read_stamps"]

COUNTS = {"", "index", "step", "t", "time", "year"}
"""Names, in any case of letters, of numeric columns that count time."""
YEARS = (1678, 2261)  # that 64 bits of nanoseconds can tell
FURTHEST = 2.0**63  # from 0: nanoseconds since 1970 reach as far
AT_GREENWICH = ("Z", "UTC", "+00:00", "+0000")


class Stamps(NamedTuple):
    """A column of stamps.

    Args:
        stamps: `(T,)`, `datetime64[ns]`, or float64 where they are numbers.
        zone: by whose clock days begin, where they, in UTC then, are of one.
        code: that they are written in, where it is none of dates.
        notes: what was chosen, in words.
    """

    stamps: NDArray[Any]
    zone: str | None = None
    code: str | None = None
    notes: tuple[str, ...] = ()


def are_dates(cells: Any) -> bool:
    """Return whether the first cells of a column are dates that are not plain numbers.

    Args:
        cells: of the column.

    Example:
        >>> are_dates(["2020-01-01", "2020-01-02"]), are_dates(["1", "2"]), are_dates(["north"])
        (True, False, False)
    """
    if isinstance(cells, np.ndarray | Zoned):
        return isinstance(cells, Zoned) or bool(cells.dtype.kind == "M")
    if not isinstance(cells, Sequence):
        return isinstance(cells, StampColumn)  # of a file, whose first cells were asked before
    column = StampColumn()
    column.feed(cells[:20])
    return column.dated


def read_stamps(columns: Columns, name: str) -> Stamps:
    """Return a column as `datetime64[ns]`, or as float64 where it holds numbers.

    Stamps of a zone, or with offsets, are in UTC then. Numbers that can be nothing but dates in
    code, as `201401`, are dates; so are years in a column that is named so. Nothing finer than a
    microsecond is kept of texts. Where day and month cannot be told apart, the reading is taken
    that follows a calendar, if one alone does.

    Args:
        columns: of the file or frame.
        name: of the column.

    Raises:
        DataError: a cell is empty, is no date, is out of range, or zones are mixed.

    Example:
        >>> columns = Columns("data.csv", {"ds": ["2020-01-01T02:00+02:00"]}, np.array([1]))
        >>> found = read_stamps(columns, "ds")
        >>> str(found.stamps[0])[:16], found.notes
        ('2020-01-01T00:00', ("stamps in column 'ds' are turned from +02:00 into UTC",))
    """
    cells = columns.cells[name]
    try:
        if isinstance(cells, Zoned):
            require_zone(cells.zone)
            found = Stamps(cells.stamps, cells.zone)
        elif isinstance(cells, np.ndarray):
            found = Stamps(cells)
        else:
            found = _read(cells, name)
        stamps = found.stamps
        if stamps.dtype.kind != "M":
            stamps = stamps.astype(np.float64, copy=False)
        unknown = np.isnat(stamps) if stamps.dtype.kind == "M" else np.isnan(stamps)
        if unknown.any():
            raise BadStampError(int(np.flatnonzero(unknown)[0]), "is empty")
        if stamps.dtype.kind != "M":
            return _of_numbers(stamps, name)
        return found._replace(stamps=_in_range(stamps))
    except BadStampError as bad:
        raise DataError(
            f"{columns.place}, {columns.row(bad.index)}: the stamp in column {name!r} {bad.why}"
        ) from bad
    except MixedZonesError as mixed:
        raise DataError(
            f"{columns.place}, {columns.row(*mixed.indices)}: in column {name!r} one stamp has no "
            "offset from UTC, and one has; write all stamps with one, or none"
        ) from mixed


def _of_numbers(numbers: NDArray[np.float64], name: str) -> Stamps:
    """Numbers that are dates in code as such; others as they are."""
    if (place := not_finite(numbers, FURTHEST)) is not None:
        why = f"is {numbers[place]:g}; give numbers of at most {FURTHEST:g}, or dates"
        raise BadStampError(place[0], why)
    whole = bool((numbers == np.round(numbers)).all())
    low, high = float(numbers.min()), float(numbers.max())
    if whole and name.lower() == "year" and YEARS[0] <= low and high <= YEARS[1]:
        years = (numbers.astype(np.int64) - 1970).astype("datetime64[Y]")
        return Stamps(years.astype("datetime64[ns]"), code="%Y")
    code = None if name.lower() in COUNTS - {"time"} else code_of_numbers(numbers)
    if code is None:
        return Stamps(numbers)
    stamps = from_code(numbers, code)
    words = code.replace("%q", "quarter").replace("%", "") if "%" in code else code
    told = str(stamps[0]).removesuffix(".000000000").replace("T", " ").removesuffix(" 00:00:00")
    note = f"numbers in column {name!r} are read as {words}: {numbers[0]:.15g} is {told}"
    return Stamps(stamps, code=code, notes=(note,))


def _read(cells: Any, name: str) -> Stamps:
    """The stamps of a column of texts, or of what was kept of it."""
    if isinstance(cells, Numbers):
        return Stamps(cells.array())
    codes = None
    column = cells
    if not isinstance(cells, StampColumn):
        column = StampColumn()
        column.feed(cells.words if isinstance(cells, Coded) else cells)
        codes = cells.codes if isinstance(cells, Coded) else None
    try:
        readings, offsets = column.read()
        if codes is not None:
            readings = {form: stamps[codes] for form, stamps in readings.items()}
        form, notes = _one_of(readings, name)
    except (BadStampError, MixedZonesError) as error:
        raise error if codes is None else error.among(codes) from error
    zone = None
    if told := [each for each in offsets if each not in (None, *AT_GREENWICH)]:
        ahead = column.ahead if codes is None else column.ahead[codes]
        zone = zone_of(readings[form], ahead) if len(offsets) > 1 else None
        words = told[0] if len(offsets) == 1 else f"{len(offsets)} offsets"
        where = f"taken for the clock of {zone}, as" if zone else "turned from"
        into = f"{words} are those that it has had" if zone else f"{words} into UTC"
        notes.append(f"stamps in column {name!r} are {where} {into}")
    if "%y" in form:
        notes.append(f"in column {name!r} {TWO_DIGITS}")
    return Stamps(readings[form], zone, column.code, tuple(notes))


def _one_of(readings: Mapping[str, NDArray[Any]], name: str) -> tuple[str, list[str]]:
    """The way in which stamps are written, of those that fit, and what is to be told of that."""
    forms = list(readings)
    if len(forms) == 1:
        return forms[0], []
    calendars, whole = dict[str, str](), list[str]()
    for form, stamps in readings.items():
        several = np.unique(stamps)
        found = infer(several) if len(several) > 2 else None
        if found and found.regular:
            calendars[form] = found.name
            whole += [form] if int(found.laid(several)[0][-1]) + 1 == len(several) else []
    regular = whole if len(whole) == 1 else list(calendars)
    if len(regular) == 1:
        words = regular[0].replace("%", "")
        calendar = calendars[regular[0]]
        return regular[0], [
            f"stamps in column {name!r} are read as {words}: so they are {calendar}"
        ]
    first, second, *_ = readings.values()
    index = int((first != second).argmax())
    told = [str(each[index])[:10] for each in (first, second)]
    why = f"may be {told[0]} or {told[1]}: its day and month cannot be told apart; write {WANTED}"
    raise BadStampError(index, why)


def _in_range(stamps: NDArray[Any]) -> NDArray[Any]:
    low, high = (np.datetime64(str(year), "Y") for year in (YEARS[0], YEARS[1] + 1))
    if stamps.min() < low or stamps.max() >= high:
        index = int(((stamps < low) | (stamps >= high)).argmax())
        year = int(stamps[index].astype("datetime64[Y]").astype(np.int64)) + 1970
        raise BadStampError(
            index, f"is in the year {year}; it must be in {YEARS[0]} ... {YEARS[1]}"
        )
    return stamps.astype("datetime64[ns]")
