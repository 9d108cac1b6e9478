"""What a file or frame says before it is understood: named columns of cells, and their rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.table import first_of, nearest

__all__ = [
    "MISSING",
    "Coded",
    "Columns",
    "Numbers",
    "Zoned",
    "rows_in_words",
    "to_number",
    "to_numbers",
]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""What a cell that holds no value may say, in any case of letters."""


def to_number(cell: str) -> float:
    """Return the number that a cell says; NaN where it is one of `MISSING`.

    Args:
        cell: as it stands in the file.

    Raises:
        ValueError: it says something else.

    Example:
        >>> to_number(" 1e3"), to_number("NA")
        (1000.0, nan)
    """
    text = cell.strip()
    if text.lower() in MISSING:
        return float("nan")
    if "_" in text:  # Python's own notation, no one else's
        raise ValueError(text)
    return float(text)


def to_numbers(cells: Sequence[str]) -> array[float]:
    """Return the numbers that cells say, as `to_number` does.

    Args:
        cells: as they stand in the file.

    Raises:
        ValueError: one says something else.

    Example:
        >>> to_numbers(["1", "", "2.5"])
        array('d', [1.0, nan, 2.5])
    """
    try:
        numbers = array("d", map(float, cells))
    except ValueError:
        return array("d", map(to_number, cells))
    if "_" in "".join(cells):
        raise ValueError("_")
    return numbers


def rows_in_words(*numbers: int) -> str:
    """Return which rows are meant, for messages.

    Args:
        numbers: of the rows, from 1; a header is not counted.

    Example:
        >>> rows_in_words(3), rows_in_words(3, 9)
        ('data row 3', 'data rows 3 and 9')
    """
    return f"data row{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"


class Coded(Sequence[str]):
    """A column of words, each word once: what a cell is, is its place among them.

    Cells are stripped; they are given piece by piece.

    Example:
        >>> column = Coded()
        >>> column.feed(["north", "south ", "north"])
        >>> column.words, column.codes.tolist(), column[1]
        (['north', 'south'], [0, 1, 0], 'south')
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}  # of cells as they stand there
        self._words: dict[str, int] = {}
        self._codes = array("i")

    def feed(self, cells: Sequence[str]) -> None:
        """Take the cells that come next.

        Args:
            cells: as they stand in the file.
        """
        for cell in dict.fromkeys(cells):
            if cell not in self._places:
                self._places[cell] = self._words.setdefault(cell.strip(), len(self._words))
        self._codes.extend(map(self._places.__getitem__, cells))

    @property
    def words(self) -> list[str]:
        """Every different cell, in the order they come."""
        return list(self._words)

    @property
    def codes(self) -> NDArray[np.int32]:
        """The place of each cell among the words."""
        return np.frombuffer(self._codes, np.int32)

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[str]:
        return map(self.words.__getitem__, self._codes)

    def __getitem__(self, index: Any) -> Any:
        words = self.words
        if isinstance(index, slice):
            return [words[code] for code in self._codes[index]]
        return words[self._codes[index]]


class Numbers:
    """A column that holds numbers as far as is known; given piece by piece.

    Example:
        >>> column = Numbers()
        >>> column.feed(["1", ""])
        >>> column.feed(["2", "north"])
        >>> column.odd
        (3, 'north')
    """

    def __init__(self) -> None:
        self._numbers = array("d")
        self.odd: tuple[int, str] | None = None
        """The first cell that says no number, and its index; what there was, is forgotten then."""

    def feed(self, cells: Sequence[str]) -> None:
        """Take the cells that come next.

        Args:
            cells: as they stand in the file.
        """
        if self.odd is not None:
            return
        try:
            self._numbers.extend(to_numbers(cells))
        except ValueError:
            index, cell = next(each for each in enumerate(cells) if not _is_number(each[1]))
            self.odd = len(self._numbers) + index, cell
            self._numbers = array("d")

    def array(self) -> NDArray[np.float64]:
        """Return the numbers, NaN where a cell is empty."""
        return np.frombuffer(self._numbers)


class Zoned(NamedTuple):
    """A column of stamps of a zone.

    Args:
        stamps: `(T,)`, `datetime64` in UTC.
        zone: the name of the zone.
    """

    stamps: NDArray[Any]
    zone: str


def _is_number(cell: str) -> bool:
    try:
        to_number(cell)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file or frame.

    Args:
        place: what they are from, for messages.
        cells: by name: texts as they stand in a file, an array of float64 or `datetime64`, or
            stamps of a zone, or what was kept of a file while it was read; None where nothing was.
        rows: the number of each row, from 1; a header is not counted.

    Example:
        >>> columns = Columns("data.csv", {"y": ["1", "x"]}, np.array([1, 2]))
        >>> columns.numbers("y")
        Traceback (most recent call last):
        recurra.errors.DataError: data.csv, data row 2: 'x' in column 'y' is no number; ...
    """

    place: str
    cells: Mapping[str, Any]
    rows: NDArray[np.integer]

    def row(self, *indices: int) -> str:
        """Return in words which rows are meant, for messages.

        Args:
            indices: into the columns.
        """
        return rows_in_words(*self.rows[list(indices)].tolist())

    def require(self, name: str) -> str:
        """Return the name of a column once it is sure to be there.

        Args:
            name: written exactly as in the header.

        Raises:
            DataError: there is none of that name; the nearest is told.
        """
        if name not in self.cells:
            there = first_of(self.cells)
            alike = [other for other in self.cells if other.lower() == name.lower()]
            close = f" Did you mean {alike[0]!r}?" if alike else nearest(name, list(self.cells))
            raise DataError(f"{self.place}: no column is named {name!r}.{close} There are: {there}")
        return name

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as float64, NaN where a cell is empty.

        Args:
            name: of a column that is there.

        Raises:
            DataError: a cell says something else, or a number is infinite.
        """
        cells = self.cells[name]
        if isinstance(cells, np.ndarray | Zoned):
            if isinstance(cells, Zoned) or cells.dtype.kind == "M":
                raise DataError(f"{self.place}: column {name!r} holds dates, not numbers")
            numbers = cells.astype(np.float64, copy=False)
        else:
            read = cells
            if not isinstance(cells, Numbers):
                read = Numbers()
                read.feed(cells)
            if read.odd is not None:
                index, cell = read.odd
                comma = " (the decimal sign is the point)" if "," in cell else ""
                raise DataError(
                    f"{self.place}, {self.row(index)}: {cell!r:.80} in column {name!r} is no "
                    f"number{comma}; write one, or leave the cell empty for a gap"
                )
            numbers = read.array()
        if (infinite := np.flatnonzero(np.isinf(numbers))).size:
            raise DataError(
                f"{self.place}, {self.row(int(infinite[0]))}: column {name!r} is infinite; "
                "write a number, or leave the cell empty for a gap"
            )
        return numbers

    def let_go(self, name: str) -> None:
        """Forget the cells of a column that were read from a file and are not needed again.

        Args:
            name: of a column that is there.
        """
        if isinstance(self.cells, dict):
            self.cells[name] = None

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers and gaps alone, and a number at least.

        Args:
            name: of a column that is there.
        """
        cells = self.cells[name]
        if isinstance(cells, Numbers):
            return cells.odd is None and not np.isnan(cells.array()).all()
        if isinstance(cells, np.ndarray | Zoned):
            return isinstance(cells, np.ndarray) and bool(cells.dtype.kind == "f")
        try:
            return not np.isnan(to_numbers(cells)).all()
        except ValueError:
            return False
