"""What a file or frame says before it is understood: named columns of cells, and their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.table import nearest

__all__ = ["MISSING", "Columns", "rows_in_words", "to_number"]

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


def rows_in_words(*numbers: int) -> str:
    """Return which rows are meant, for messages.

    Args:
        numbers: of the rows, from 1; a header is not counted.

    Example:
        >>> rows_in_words(3), rows_in_words(3, 9)
        ('data row 3', 'data rows 3 and 9')
    """
    return f"data row{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file or frame.

    Args:
        place: what they are from, for messages.
        cells: by name: texts as they stand in a file, or an array of float64 or `datetime64`.
        rows: the number of each row, from 1; a header is not counted.

    Example:
        >>> columns = Columns("data.csv", {"y": ["1", "x"]}, np.array([1, 2]))
        >>> columns.numbers("y")
        Traceback (most recent call last):
        recurra.errors.DataError: data.csv, data row 2: 'x' in column 'y' is no number; ...
    """

    place: str
    cells: Mapping[str, Sequence[str] | NDArray[Any]]
    rows: NDArray[np.int64]

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
            there = ", ".join(self.cells)
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
        if isinstance(cells, np.ndarray):
            if cells.dtype.kind == "M":
                raise DataError(f"{self.place}: column {name!r} holds dates, not numbers")
            numbers = cells.astype(np.float64)
        else:
            numbers = np.empty(len(cells))
            for index, cell in enumerate(cells):
                try:
                    numbers[index] = to_number(cell)
                except ValueError:
                    comma = " (the decimal sign is the point)" if "," in cell else ""
                    raise DataError(
                        f"{self.place}, {self.row(index)}: {cell!r} in column {name!r} is no "
                        f"number{comma}; write one, or leave the cell empty for a gap"
                    ) from None
        if (infinite := np.flatnonzero(np.isinf(numbers))).size:
            raise DataError(
                f"{self.place}, {self.row(int(infinite[0]))}: column {name!r} is infinite; "
                "write a number, or leave the cell empty for a gap"
            )
        return numbers

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers and gaps alone, and a number at least.

        Args:
            name: of a column that is there.
        """
        cells = self.cells[name]
        if isinstance(cells, np.ndarray):
            return bool(cells.dtype.kind == "f")
        try:
            said = [to_number(cell) for cell in cells if cell.strip().lower() not in MISSING]
        except ValueError:
            return False
        return bool(said)
