"""Dates and times as people write them; what is written with an offset is turned into UTC."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.zones import require_zone
from recurra.series.reading.columns import Coded, Columns, Numbers, Zoned, to_numbers
from recurra.storage.finite import not_finite

__all__ = ["StampColumn", "are_dates", "read_stamps"]

ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?)?)?"
)
QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])")
FORMATS = ("%Y/%m/%d", "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%b %Y", "%d %b %Y")
TIMES = ("", " %H:%M", " %H:%M:%S")
OTHERWISE = tuple(date + time for date in FORMATS for time in TIMES)
DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
ALIKE = {(10, ""): "%Y-%m-%d", (16, " "): "%Y-%m-%d %H:%M", (19, " "): "%Y-%m-%d %H:%M:%S"}
"""Which of these a stamp in ISO fits as well, by its length and what stands before the time."""
AT_GREENWICH = ("Z", "UTC", "+00:00", "+0000")
WANTED = "YYYY-MM-DD, and HH:MM:SS where there is a time"
YEARS = (1678, 2261)  # that 64 bits of nanoseconds can tell
FURTHEST = 2.0**63  # from 0: nanoseconds since 1970 reach as far
COMPACT = (19_000_101, 22_001_231)  # numbers that are read as YYYYMMDD


class _BadStampError(Exception):
    """A cell, by its index, that is no date; and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index, self.why = index, why


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


def read_stamps(columns: Columns, name: str) -> tuple[NDArray[Any], str | None, tuple[str, ...]]:
    """Return a column as `datetime64[ns]`, or as float64 where it holds numbers; its zone; notes.

    Stamps of a zone, or with offsets, are in UTC then.

    Whole numbers that can be nothing but YYYYMMDD are dates; so are years in a column that is
    named so. Nothing finer than a microsecond is kept of texts.

    Args:
        columns: of the file or frame.
        name: of the column.

    Raises:
        DataError: a cell is empty, is no date, is out of range, or zones are mixed.

    Example:
        >>> columns = Columns("data.csv", {"ds": ["2020-01-01T02:00+02:00"]}, np.array([1]))
        >>> stamps, zone, notes = read_stamps(columns, "ds")
        >>> str(stamps[0])[:16], notes
        ('2020-01-01T00:00', ("stamps in column 'ds' are turned from +02:00 into UTC",))
    """
    cells = columns.cells[name]
    notes: tuple[str, ...] = ()
    zone = cells.zone if isinstance(cells, Zoned) else None
    if zone is not None:
        require_zone(zone)
    try:
        if isinstance(cells, np.ndarray | Zoned):
            stamps = cells if isinstance(cells, np.ndarray) else cells.stamps
        else:
            stamps, offsets = _read(cells)
            if told := [each for each in offsets if each not in (None, *AT_GREENWICH)]:
                words = told[0] if len(offsets) == 1 else f"{len(offsets)} offsets"
                notes = (f"stamps in column {name!r} are turned from {words} into UTC",)
        unknown = np.isnat(stamps) if stamps.dtype.kind == "M" else np.isnan(stamps)
        if unknown.any():
            raise _BadStampError(int(np.flatnonzero(unknown)[0]), "is empty")
        if stamps.dtype.kind == "M":
            return _in_range(stamps), zone, notes
        if (place := not_finite(stamps, FURTHEST)) is not None:
            raise _BadStampError(
                place[0], f"is {stamps[place]:g}; give numbers of at most {FURTHEST:g}, or dates"
            )
    except _BadStampError as bad:
        raise DataError(
            f"{columns.place}, {columns.row(bad.index)}: the stamp in column {name!r} {bad.why}"
        ) from bad
    except _MixedZonesError as mixed:
        raise DataError(
            f"{columns.place}, {columns.row(*mixed.indices)}: in column {name!r} one stamp has no "
            "offset from UTC, and one has; write all stamps with one, or none"
        ) from mixed
    return _as_dates(stamps, name), None, notes


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
    """Of two cells, by their indices, one has an offset from UTC, and one has none."""

    def __init__(self, indices: tuple[int, int]) -> None:
        super().__init__(indices)
        self.indices = indices


class StampColumn:
    """A column of stamps that are all written in one way; its cells are given piece by piece.

    Example:
        >>> column = StampColumn()
        >>> column.feed(["2020-01-01", "2020-01-02"])
        >>> column.dated, len(column)
        (True, 2)
    """

    def __init__(self) -> None:
        self._count = 0
        self._first = ""  # cell
        self._numbers: array[float] | None = array("d")  # None where they are no numbers
        self._dates = {"iso": array("q")}  # by each way to write that fits so far, microseconds
        self._shapes: set[tuple[int, str]] = set()  # of those in ISO
        self._offsets: dict[str | None, int] = {}  # from UTC, and the first cell of each
        self._unclear: tuple[int, str] | None = None  # a cell, read differently in two ways
        self._bad: _BadStampError | _MixedZonesError | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def dated(self) -> bool:
        """Whether they are dates that are not plain numbers."""
        return self._bad is None and self._numbers is None and not self._is_unclear()

    def feed(self, cells: Sequence[str]) -> None:
        """Take the cells that come next; after one that is no stamp, none is looked at.

        Args:
            cells: as they stand in the file.
        """
        if self._bad is None and cells:
            try:
                self._feed(list(map(str.strip, cells)))
            except (_BadStampError, _MixedZonesError) as error:
                self._bad = error
            self._count += len(cells)

    def read(self) -> tuple[NDArray[Any], tuple[str | None, ...]]:
        """Return the stamps, and the offsets from UTC that they were written with."""
        if self._bad is not None:
            raise self._bad
        if self._numbers is not None:
            return np.frombuffer(self._numbers), ()
        if self._unclear and self._is_unclear():
            index, text = self._unclear
            why = f"is {text!r}: its day and month cannot be told apart; write {WANTED}"
            raise _BadStampError(index, why)
        found = next(iter(self._dates.values()))
        return np.frombuffer(found, "datetime64[us]"), tuple(self._offsets)

    def _is_unclear(self) -> bool:
        first, *others = self._dates.values()
        return any(other != first for other in others)

    def _feed(self, texts: list[str]) -> None:
        self._first = self._first if self._count else texts[0]
        if self._numbers is not None:
            try:
                self._numbers.extend(to_numbers(texts))
                return
            except ValueError:
                if empty := np.flatnonzero(np.isnan(self._numbers)).tolist():
                    raise _BadStampError(empty[0], "is empty") from None
                if self._count:
                    raise self._odd(0, self._first) from None
            self._numbers = None
        if "" in texts:
            raise _BadStampError(self._count + texts.index(""), "is empty")
        furthest = 0
        if "iso" in self._dates:
            if (odd := self._feed_iso(texts)) is None:
                return
            furthest, known = odd, self._dates.pop("iso")
            fitting = {ALIKE.get(shape, "") for shape in self._shapes}
            forms = ("quarter", *OTHERWISE) if not self._count else OTHERWISE
            self._dates = {
                form: array("q", known) for form in forms if not fitting or fitting == {form}
            }
        self._feed_otherwise(texts, furthest)

    def _odd(self, index: int, text: str) -> _BadStampError:
        return _BadStampError(
            index, f"is {text!r:.80}, neither a number nor a date as the others; {WANTED}"
        )

    def _feed_iso(self, texts: list[str]) -> int | None:
        """Take stamps in ISO; return the place of the first that is not, and take none then."""
        matches = list(map(ISO.fullmatch, texts[:1] if _are_alike(texts) else texts))
        if not all(matches):
            return matches.index(None)
        offsets = [match[1] if match else None for match in matches]
        for offset in dict.fromkeys(offsets):
            self._offsets.setdefault(offset, self._count + offsets.index(offset))
        if None in self._offsets and len(self._offsets) > 1:
            first, second, *_ = self._offsets.values()
            raise _MixedZonesError((first, second))
        if len(set(offsets)) == 1:  # of very many stamps, as a rule
            offset = offsets[0]
            local = texts if offset is None else [text[: -len(offset)].rstrip() for text in texts]
            ahead: Any = _minutes(offset)
        else:
            local = [text[: -len(each or "")].rstrip() for text, each in zip(texts, offsets)]
            ahead = np.array([_minutes(each) for each in offsets])
        stamps = _to_microseconds(local, self._count) - 60_000_000 * ahead
        self._dates["iso"].frombytes(stamps.tobytes())
        if len(self._shapes) < 2:
            self._shapes.update((len(text), text[10:11]) for text, _ in zip(texts, matches))
        return None

    def _feed_otherwise(self, texts: list[str], furthest: int) -> None:
        """Take stamps in each of the other ways that all fit so far."""
        for form in list(self._dates):
            found, failed = _read_all(texts, form)
            if failed is None:
                self._dates[form].extend(found)
            else:
                del self._dates[form]
                furthest = max(furthest, failed)
        if not self._dates:
            raise self._odd(self._count + furthest, texts[furthest])
        if self._unclear is None and len(self._dates) > 1:
            first, *others = [known[self._count :] for known in self._dates.values()]
            for other in others:
                if other != first and self._unclear is None:
                    index = next(i for i, two in enumerate(zip(first, other)) if two[0] != two[1])
                    self._unclear = self._count + index, texts[index]


def _minutes(offset: str | None) -> int:
    """The minutes by which a clock is ahead of UTC."""
    if offset is None or offset in ("Z", "UTC"):
        return 0
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return minutes if offset[0] == "+" else -minutes


def _are_alike(texts: list[str]) -> bool:
    """Whether texts differ in their digits alone, and not by the digits of a zone."""
    whole = "\n".join(texts).encode("utf-8", "surrogatepass").translate(DIGITS)
    first = whole.partition(b"\n")[0]
    same = len(whole) == (len(first) + 1) * len(texts) - 1
    return (
        same
        and b"+" not in first
        and first[10:].count(b"-") == 0
        and (whole == b"\n".join([first] * len(texts)))
    )


def _read(cells: Any) -> tuple[NDArray[Any], tuple[str | None, ...]]:
    """The stamps of a column, and the offsets from UTC that they were written with."""
    if isinstance(cells, Numbers):
        return cells.array(), ()
    if isinstance(cells, StampColumn):
        return cells.read()
    column = StampColumn()
    if not isinstance(cells, Coded):
        column.feed(cells)
        return column.read()
    column.feed(cells.words)
    codes = cells.codes
    try:
        stamps, offsets = column.read()
    except _BadStampError as bad:
        raise _BadStampError(int((codes == bad.index).argmax()), bad.why) from bad
    except _MixedZonesError as mixed:
        one, other = (int((codes == index).argmax()) for index in mixed.indices)
        raise _MixedZonesError((one, other)) from mixed
    return stamps[codes], offsets


def _to_microseconds(texts: list[str], before: int) -> NDArray[Any]:
    """Stamps in ISO, of no zone; `before` of their column come before them."""
    cut = [text[:26] for text in texts]
    try:
        return np.array(cut, "datetime64[us]")
    except ValueError:
        for index, text in enumerate(cut):
            try:
                np.datetime64(text, "us")
            except ValueError:
                raise _BadStampError(
                    before + index, f"is {text!r}, which no calendar has"
                ) from None
        raise


def _read_all(texts: list[str], form: str) -> tuple[array[int], int | None]:
    """Stamps in one way, as microseconds, and the place of the first that it does not fit."""
    known: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        try:
            stamp = _quarter(text) if form == "quarter" else datetime.strptime(text, form)
        except ValueError:
            return array("q"), texts.index(text)
        known[text] = int(np.datetime64(stamp, "us").astype(np.int64))
    return array("q", map(known.__getitem__, texts)), None


def _quarter(text: str) -> datetime:
    found = QUARTER.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return datetime(int(found[1]), 3 * int(found[2]) - 2, 1)


def _in_range(stamps: NDArray[Any]) -> NDArray[Any]:
    low, high = (np.datetime64(str(year), "Y") for year in (YEARS[0], YEARS[1] + 1))
    if stamps.min() < low or stamps.max() >= high:
        index = int(((stamps < low) | (stamps >= high)).argmax())
        year = int(stamps[index].astype("datetime64[Y]").astype(np.int64)) + 1970
        raise _BadStampError(
            index, f"is in the year {year}; it must be in {YEARS[0]} ... {YEARS[1]}"
        )
    return stamps.astype("datetime64[ns]")
