"""What a file or frame says before it is understood: named columns of cells, and their rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.reading.numbers import AmbiguousError, Numbers
from recurra.table import first_of, nearest

__all__ = ["Coded", "Columns", "Zoned", "rows_in_words"]


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


class Zoned(NamedTuple):
    """A column of stamps of a zone.

    Args:
        stamps: `(T,)`, `datetime64` in UTC.
        zone: the name of the zone.
    """

    stamps: NDArray[Any]
    zone: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file or frame.

    Args:
        place: what they are from, for messages.
        cells: by name: texts as they stand in a file, an array of float64 or `datetime64`, or
            stamps of a zone, or what was kept of a file while it was read; None where nothing was.
        rows: the number of each row, from 1; a header is not counted.
        separator: of the cells of a file.
        choices: in words, how numbers were read that a program would write otherwise.

    Example:
        >>> columns = Columns("data.csv", {"y": ["1", "x"]}, np.array([1, 2]))
        >>> columns.numbers("y")
        Traceback (most recent call last):
        recurra.errors.DataError: data.csv, data row 2: 'x' in column 'y' is no number; ...
    """

    place: str
    cells: Mapping[str, Any]
    rows: NDArray[np.integer]
    separator: str = ","
    choices: list[str] = field(default_factory=list)

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
            numbers = self._read(name)
        if (infinite := np.flatnonzero(np.isinf(numbers))).size:
            raise DataError(
                f"{self.place}, {self.row(int(infinite[0]))}: column {name!r} is infinite; "
                "write a number, or leave the cell empty for a gap"
            )
        return numbers

    def _read(self, name: str) -> NDArray[np.float64]:
        """The numbers of a column of texts; told is how they were read, if not as usual."""
        read = self.cells[name]
        if not isinstance(read, Numbers):
            read = Numbers()
            read.feed(self.cells[name])
        if read.odd is not None:
            index, cell = read.odd
            mark = f" with a decimal {read.mark}, as others of the column" if read.mark else ""
            raise DataError(
                f"{self.place}, {self.row(index)}: {cell!r:.80} in column {name!r} is no "
                f"number{mark}; write one, or leave the cell empty for a gap"
            )
        try:
            numbers = read.array()
        except AmbiguousError as error:
            raise DataError(
                f"{self.place}, {self.row(error.index)}: {error.cell!r:.80} in column {name!r} is "
                "one number with a decimal point and another with a comma: set data.decimal to "
                "point or comma"
            ) from error
        if (choice := read.choice) is not None:
            self.choices.append(
                f"numbers of column {name!r} are read with a decimal {read.mark}: "
                f"{choice.cell!r:.80} in {self.row(choice.place)} is {choice.number:.15g}"
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
        if cells is None:
            return False
        if isinstance(cells, np.ndarray | Zoned):
            return isinstance(cells, np.ndarray) and bool(cells.dtype.kind in "fiu")
        if not isinstance(cells, Numbers):
            numbers = Numbers()
            numbers.feed(cells)
            return numbers.any
        return cells.any
