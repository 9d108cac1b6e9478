"""Numbers as people write them: decimal points or commas, groups of thousands, marks of nothing."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "AmbiguousError", "Choice", "Notation", "Numbers", "is_number"]

MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "nan", "-nan", "null", "none", "nil", "nat", "<na>", "missing"}
    | {".", "..", "...", "-", "--", "---", "\u2013", "\u2014", "?", "*", ":"}
    | {"#n/a", "#n/a n/a", "#na", "#null!", "#num!", "#value!", "#ref!", "#div/0!", "#name?"}
)
"""What a cell that holds no value may say, in any case of letters."""

Mark = Literal["point", "comma"]

SPACES = " \u00a0\u2009\u202f'\u2019"  # that part thousands, as in French, Swedish, Swiss
PLAINER = str.maketrans({"\u2212": "-", **dict.fromkeys(SPACES, "'")})
GROUPED = r"[1-9]\d{0,2}(?:%s\d{3})+"
NUMBER = r"([+-]?)(%s|%s|\d*)(?:%s(\d*))?(?:[eE]([+-]?\d+))?"
FORMS = tuple(
    re.compile(NUMBER % (GROUPED % thousands, GROUPED % "'", decimal))
    for thousands, decimal in ((",", r"\."), (r"\.", ","))
)
ENOUGH = 3  # numbers below a thousand beside those that seem to have it parted
SURE = re.compile(rf"(?m)^(?=[^\n]*\.)(?![ \t]*[+-]?{GROUPED % r'[.]'}[ \t]*$)([^\n]*)$")
"""A cell whose point cannot part thousands."""


class _Readings(NamedTuple):
    """What a cell says with a decimal point, and with a comma; None where that is no number."""

    point: float | None
    comma: float | None


def _readings(cell: str) -> _Readings:
    text = cell.strip()
    if text.lower() in MISSING:
        return _Readings(np.nan, np.nan)
    text = text.translate(PLAINER)
    if not {".", ",", "'", "_"} & set(text):
        try:
            return _Readings(float(text), float(text))
        except ValueError:
            return _Readings(None, None)
    return _Readings(*(_reading(text, form) for form in FORMS))


def _reading(text: str, form: re.Pattern[str]) -> float | None:
    found = form.fullmatch(text)
    if found is None:
        return None
    sign, whole, rest, exponent = (part or "" for part in found.groups())
    whole = "".join(filter(str.isdigit, whole))
    return float(f"{sign}{whole}.{rest}e{exponent or 0}") if whole or rest else None


def is_number(cell: str) -> bool:
    """Return whether a cell says a number in any notation, or that there is none.

    Args:
        cell: as it stands in the file.

    Example:
        >>> [is_number(cell) for cell in ("1.5", "1.001,75", "#N/A", "1.2.3")]
        [True, True, True, False]
    """
    return _readings(cell) != (None, None)


class Notation:
    """How the numbers of a file are written; its columns, which share it, tell.

    Args:
        asked: the decimal mark, where it is said.
        separator: of the cells.

    Example:
        >>> notation = Notation(separator=";")
        >>> one, other = Numbers(notation), Numbers(notation)
        >>> one.feed(["1.234"])
        >>> other.feed(["0,5"])
        >>> one.array().tolist()
        [1234.0]
    """

    def __init__(self, asked: Mark | None = None, separator: str = ",") -> None:
        self.asked, self.separator = asked, separator
        self.columns: list[Numbers] = []

    def of(self, cell: str) -> Mark | None:
        """Return the decimal mark by which a cell is read that can be read by either; None if any.

        Args:
            cell: such a one, of a column that says nothing more of it.
        """
        sure = {one.mark for one in self.columns if one.odd is None} - {None}
        if len(sure) == 1:
            return sure.pop()
        return None if sure or self.separator != "," else "point"  # a comma parts cells there


class AmbiguousError(ValueError):
    """A cell, by its index, that says one number with a decimal point, and another with a comma."""

    def __init__(self, index: int, cell: str) -> None:
        super().__init__(cell)
        self.index, self.cell = index, cell


class Choice(NamedTuple):
    """A cell, by its place in the column, that no program would read so, and its number."""

    place: int
    cell: str
    number: float


class Numbers:
    """A column that holds numbers as far as is known; given piece by piece.

    Args:
        notation: of its file; its own by default.

    Example:
        >>> column = Numbers()
        >>> column.feed(["1", ""])
        >>> column.feed(["2", "north"])
        >>> column.odd
        (3, 'north')
    """

    def __init__(self, notation: Notation | None = None) -> None:
        self._notation = notation or Notation()
        self._notation.columns.append(self)
        self._numbers = array("d")
        self._places, self._others = array("q"), array("d")  # what a decimal comma makes others
        self._either: tuple[int, str] | None = None  # the first of these
        self._unusual: tuple[int, str] | None = None  # the first cell that a program would not read
        self.mark: Mark | None = self._notation.asked
        """The decimal mark, once it is sure."""
        self.odd: tuple[int, str] | None = None
        """The first cell that says no number, and its index; what there was, is forgotten then."""

    def feed(self, cells: Sequence[str]) -> None:
        """Take the cells that come next.

        Args:
            cells: as they stand in the file.
        """
        if self.odd is not None:
            return
        joined = "\n".join(cells)
        if self.mark == "comma":
            usual = joined.count("\n") == len(cells) - 1 and "." not in joined
            texts: Sequence[str] = joined.replace(",", ".").split("\n") if usual else ()
        else:
            usual, texts = True, cells
        try:
            if not usual or "_" in joined:  # that is Python's own notation, no one else's
                raise ValueError
            numbers = array("d", map(float, texts))
        except ValueError:
            self._feed_each(cells)
            return
        before = len(self._numbers)
        self._numbers.extend(numbers)
        if self.mark is None and "." in joined:
            if SURE.search(joined):
                self._settle("point")
            else:
                for index, cell in enumerate(cells, before):
                    self._compare(index, cell, _readings(cell))

    def _feed_each(self, cells: Sequence[str]) -> None:
        for cell in cells:
            index, readings = len(self._numbers), _readings(cell)
            number = readings.comma if self.mark == "comma" else readings.point
            if self.mark is None and readings.point is None:
                number = readings.comma
            if number is None:
                self.odd = index, cell
                self._numbers, self._places, self._others = array("d"), array("q"), array("d")
                return
            self._numbers.append(number)
            if (
                self._unusual is None
                and cell.strip().lower() not in MISSING
                and not _is_usual(cell)
            ):
                self._unusual = index, cell.strip()
            if self.mark is None:
                self._compare(index, cell, readings)

    def _compare(self, index: int, cell: str, readings: _Readings) -> None:
        """See what a cell tells of the decimal mark."""
        point, comma = readings
        if point is None or comma is None:
            self._settle("comma" if point is None else "point")
        elif point != comma and point == point:
            self._either = self._either or (index, cell.strip())
            self._places.append(index)
            self._others.append(comma)

    def _settle(self, mark: Mark) -> None:
        self.mark = mark
        if mark == "comma":
            numbers = np.frombuffer(self._numbers)
            numbers[np.frombuffer(self._places, np.int64)] = np.frombuffer(self._others)
            self._unusual = self._unusual or self._either
            del numbers
        self._places, self._others = array("q"), array("d")

    @property
    def any(self) -> bool:
        """Whether there is a number, and nothing else than numbers and gaps."""
        return self.odd is None and not np.isnan(np.frombuffer(self._numbers)).all()

    def array(self) -> NDArray[np.float64]:
        """Return the numbers, NaN where a cell is empty.

        Raises:
            AmbiguousError: they may be read with a decimal point or with a comma.
        """
        if self.mark is None and self._either is not None:
            mark = self._by_the_others() or self._notation.of(self._either[1])
            if mark is None:
                raise AmbiguousError(*self._either)
            self._unusual = self._unusual or self._either
            self._settle(mark)
        return np.frombuffer(self._numbers)

    def _by_the_others(self) -> Mark | None:
        """The decimal mark by cells that have none: thousands are parted in all, or in none."""
        assert self._either is not None
        numbers = np.frombuffer(self._numbers)
        others = np.abs(np.delete(numbers, np.frombuffer(self._places, np.int64)))
        others = others[(others > 0) & ~np.isnan(others)]
        here: Mark = "comma" if "," in self._either[1] else "point"
        if (others >= 1000).any():
            return here
        parted: Mark = "point" if here == "comma" else "comma"
        return parted if min(len(others), len(self._places)) >= ENOUGH else None

    @property
    def choice(self) -> Choice | None:
        """What was read by a notation that is not a program's, or might have been another."""
        if self._unusual is None:
            return None
        return Choice(*self._unusual, self._numbers[self._unusual[0]])


def _is_usual(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
