"""Rows of cells become columns: which cells are of which, whatever stands beside the table."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.reading.columns import Columns, rows_in_words
from recurra.series.reading.files.heading import names_of_columns

__all__ = ["HEAD", "MOST_COLUMNS", "Plan", "all_texts", "columns_of"]

MOST_COLUMNS = 10_000
HEAD = 20  # rows that tell what the columns are
CELLS = 1 << 11  # of the rows that are read at once

Plan = Callable[[Columns], Mapping[str, Any]]
Rows = list[list[str]]


class _Texts(list[str]):
    feed = list.extend


def all_texts(head: Columns) -> dict[str, _Texts]:
    """Return what keeps every cell of every column as a text.

    Args:
        head: the first rows.
    """
    return {name: _Texts() for name in head.cells}


def columns_of(
    rows: Iterable[list[str]], place: str, plan: Plan = all_texts, separator: str = ","
) -> Columns:
    """Return the columns of a table, of which no more than some rows are held at once.

    Args:
        rows: their cells; a blank one has none, or blank ones.
        place: what they are from, for messages.
        plan: is shown the first rows, and returns what takes the cells of each column that is to
            be kept; of the others their names remain.
        separator: of the cells, where they came as a text.

    Raises:
        DataError: it is empty, or a row is too short or too long.

    Example:
        >>> columns_of([["ds", "y", ""], ["1", "2", ""]], "table").cells
        {'ds': ('1',), 'y': ('2',)}
    """
    return _Table(iter(rows), place, separator).columns(plan)


class _Table:
    """A table while it is read."""

    def __init__(self, reader: Iterator[list[str]], place: str, separator: str) -> None:
        self._reader, self.place, self.separator = reader, place, separator
        self._read = 0  # rows
        self._blank = array("q")  # the numbers of those that are passed over
        self._names: list[str] = []

    def columns(self, plan: Plan) -> Columns:
        """Read everything, and keep what the plan says."""
        kept: Mapping[str, Any] = {}
        names: list[str] | None = None
        for cells in self._columns():
            if names is None:
                names = [name for n, name in enumerate(self._names) if name or not n]
                head = dict(zip(names, cells))
                kept = plan(Columns(self.place, head, self._rows(), self.separator))
            for name, column in zip(names, cells):
                if name in kept:
                    kept[name].feed(column)
        if names is None:
            raise DataError(f"{self.place} is empty: there is a header, but no rows")
        found = {name: kept.get(name) for name in names}
        texts = {name: tuple(each) for name, each in found.items() if isinstance(each, _Texts)}
        return Columns(self.place, found | texts, self._rows(), self.separator)

    def _rows(self) -> NDArray[Any]:
        """The numbers of the rows that count."""
        rows = np.arange(1, self._read + 1, dtype=np.int32 if self._read < 2**31 - 1 else np.int64)
        return np.delete(rows, np.array(self._blank) - 1) if self._blank else rows

    def _begin(self) -> Rows:
        """Find the columns' names; return the rows that were read for it, but not a header."""
        rows = self._some(HEAD)
        full = [cells for cells in rows if any(cells)]
        if not full:
            raise DataError(f"{self.place} is empty: there are no rows")
        self._names, said = names_of_columns(full, self.place)
        return rows[rows.index(full[0]) + 1 :] if said else rows

    def _some(self, most: int) -> Rows:
        return list(islice(self._reader, most))

    def _columns(self) -> Iterator[tuple[tuple[str, ...], ...]]:
        """Yield the cells of some rows at a time, by columns that have a name."""
        begun = self._begin()
        width = len(self._names)
        nameless = [n for n, name in enumerate(self._names) if n and not name]
        held: Rows = []  # blank rows, of which those at the end count for nothing
        rows = [*begun, *self._some(max(HEAD, CELLS // width))]
        while rows:
            rows = held + rows
            held = _cut_blank_end(rows)
            before, self._read = self._read, self._read + len(rows)
            if {*map(len, rows)} - {width, 0}:
                rows = [self._fitted(cells, n) for n, cells in enumerate(rows, before + 1)]
            if width == 1:
                rows = [cells or [""] for cells in rows]
            elif not all(rows):
                self._blank.extend(n for n, cells in enumerate(rows, before + 1) if not cells)
                rows = list(filter(None, rows))
            if rows:
                cells = tuple(zip(*rows))
                for column in nameless:
                    self._require_blank(cells[column], before + 1)
                yield tuple(c for n, c in enumerate(cells) if n not in nameless)
            rows = self._some(max(HEAD, CELLS // width))

    def _fitted(self, cells: list[str], number: int) -> list[str]:
        """A row as wide as the header is; what it has more or less is blank."""
        width = len(self._names)
        named = width - self._names[::-1].index(next(filter(None, self._names[::-1]), ""))
        if not cells or len(cells) == width:
            return cells
        if named <= len(cells) < width:
            return cells + [""] * (width - len(cells))
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            return cells[:width]
        comma = " (quote cells that hold the separator)" if len(cells) > width else ""
        raise DataError(
            f"{self.place}, {rows_in_words(number)}: {len(cells):,} cells, where there "
            f"are {width:,} columns{comma}"
        )

    def _require_blank(self, cells: Sequence[str], first: int) -> None:
        """Refuse what stands below no name; of rows that were passed over none is counted."""
        for number, cell in enumerate(cells, first):
            if cell.strip():
                raise DataError(
                    f"{self.place}, {rows_in_words(number)}: {cell!r:.80} is in a column without a "
                    "name; give each column its name"
                )


def _cut_blank_end(rows: Rows) -> Rows:
    """Take the blank rows off the end, and return them."""
    end = len(rows)
    while end and not any(rows[end - 1]):
        end -= 1
    blank, rows[end:] = rows[end:], []
    return blank
