"""A column of stamps while it is read, piece by piece, in every way that fits so far."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.series.calendar.codes import code_of_period
from recurra.series.reading.numbers import MISSING
from recurra.series.reading.stamps.forms import MONTH_OR_NUMBER, PERIOD, forms_of, read_as

__all__ = ["WANTED", "BadStampError", "MixedZonesError", "StampColumn"]

ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?\s?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?)?"
)
DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
ALIKE = {(10, ""): "%Y-%m-%d", (16, " "): "%Y-%m-%d %H:%M", (19, " "): "%Y-%m-%d %H:%M:%S"}
"""Which of these a stamp in ISO fits as well, by its length and what stands before the time."""
WANTED = "YYYY-MM-DD, and HH:MM:SS where there is a time"


class BadStampError(Exception):
    """A cell, by its index, that is no date; and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index, self.why = index, why

    def among(self, codes: NDArray[np.integer]) -> BadStampError:
        """Return the same of a column that holds each cell by its code.

        Args:
            codes: of the cells, `(T,)`.
        """
        return BadStampError(int((codes == self.index).argmax()), self.why)


class MixedZonesError(Exception):
    """Of two cells, by their indices, one has an offset from UTC, and one has none."""

    def __init__(self, indices: tuple[int, int]) -> None:
        super().__init__(indices)
        self.indices = indices

    def among(self, codes: NDArray[np.integer]) -> MixedZonesError:
        """Return the same of a column that holds each cell by its code.

        Args:
            codes: of the cells, `(T,)`.
        """
        one, other = (int((codes == index).argmax()) for index in self.indices)
        return MixedZonesError((one, other))


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
        self._ahead = array("h")  # the minutes of each stamp that has one
        self._bad: BadStampError | MixedZonesError | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def dated(self) -> bool:
        """Whether they are dates that are not plain numbers."""
        return self._bad is None and self._numbers is None

    def feed(self, cells: Sequence[str]) -> None:
        """Take the cells that come next; after one that is no stamp, none is looked at.

        Args:
            cells: as they stand in the file.
        """
        if self._bad is None and cells:
            try:
                self._feed(list(map(str.strip, cells)))
            except (BadStampError, MixedZonesError) as error:
                self._bad = error
            self._count += len(cells)

    def read(self) -> tuple[dict[str, NDArray[Any]], tuple[str | None, ...]]:
        """Return the stamps by each way to write that fits; and the offsets that stand with them.

        Ways in which they are the same stamps count as one. Numbers are of the way `""`.
        """
        if self._bad is not None:
            raise self._bad
        if self._numbers is not None:
            return {"": np.frombuffer(self._numbers)}, ()
        found: dict[str, NDArray[Any]] = {}
        for form, known in self._dates.items():
            stamps = np.frombuffer(known, "datetime64[us]")
            if not any((stamps == other).all() for other in found.values()):
                found[form] = stamps
        return found, tuple(self._offsets)

    @property
    def code(self) -> str | None:
        """The code that quarters or weeks are in; None where they are dates."""
        return code_of_period(self._first) if next(iter(self._dates)) == PERIOD else None

    @property
    def ahead(self) -> NDArray[np.int16]:
        """The minutes by which each clock was ahead of UTC; none where offsets are not written."""
        return np.frombuffer(self._ahead, np.int16)

    def _feed(self, texts: list[str]) -> None:
        self._first = self._first if self._count else texts[0]
        if self._numbers is not None and (
            self._count or not all(map(MONTH_OR_NUMBER.fullmatch, texts))
        ):
            try:
                self._numbers.extend(_plain_numbers(texts))
                return
            except ValueError:
                if empty := np.flatnonzero(np.isnan(self._numbers)).tolist():
                    raise BadStampError(empty[0], "is empty") from None
                if self._count:
                    raise self._odd(0, self._first) from None
        self._numbers = None
        if "" in texts:
            raise BadStampError(self._count + texts.index(""), "is empty")
        furthest = 0
        if "iso" in self._dates:
            if (odd := self._feed_iso(texts)) is None:
                return
            furthest, known = odd, self._dates.pop("iso")
            fitting = {ALIKE.get(shape, "") for shape in self._shapes}
            forms = forms_of(texts[odd])
            self._dates = {
                form: array("q", known) for form in forms if not fitting or fitting == {form}
            }
        self._feed_otherwise(texts, furthest)

    def _odd(self, index: int, text: str) -> BadStampError:
        return BadStampError(
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
            other = next(place for offset, place in self._offsets.items() if offset)
            first, second = sorted((self._offsets[None], other))
            raise MixedZonesError((first, second))
        if len(set(offsets)) == 1:  # of very many stamps, as a rule
            offset = offsets[0]
            local = texts if offset is None else [text[: -len(offset)].rstrip() for text in texts]
            ahead: Any = _minutes(offset)
        else:
            local = [text[: -len(each or "")].rstrip() for text, each in zip(texts, offsets)]
            ahead = np.array([_minutes(each) for each in offsets])
        if None not in self._offsets:
            self._ahead.extend(np.broadcast_to(ahead, len(texts)).tolist())
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


def _minutes(offset: str | None) -> int:
    """The minutes by which a clock is ahead of UTC."""
    if offset is None or offset in ("Z", "UTC"):
        return 0
    minutes = int(offset[1:3]) * 60 + int(offset[3:].lstrip(":") or 0)
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
                raise BadStampError(before + index, f"is {text!r}, which no calendar has") from None
        raise


def _read_all(texts: list[str], form: str) -> tuple[array[int], int | None]:
    """Stamps in one way, as microseconds, and the place of the first that it does not fit."""
    known: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        try:
            known[text] = read_as(text, form)
        except ValueError:
            return array("q"), texts.index(text)
    return array("q", map(known.__getitem__, texts)), None


def _plain_numbers(texts: Sequence[str]) -> array[float]:
    """Numbers as programs write them; NaN where a cell is empty."""
    if "_" in "".join(texts):
        raise ValueError("_")
    try:
        return array("d", map(float, texts))
    except ValueError:
        return array("d", (np.nan if t.lower() in MISSING else float(t) for t in texts))
