"""CSV files, plain or packed by gzip, with a header or without, read in pieces of some rows."""

from __future__ import annotations

import csv
import io
from array import array
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.reading.columns import Columns, rows_in_words, to_number
from recurra.series.reading.stamps import are_dates
from recurra.storage.reading import unpacked

__all__ = ["parse_csv", "read_csv"]

READ = 1 << 20  # bytes at once
LONGEST_LINE = 1 << 20  # bytes
MOST_COLUMNS = 10_000
CELLS = 1 << 11  # of the rows that are read at once
SPACE = b"\r\n "
NAMES = {1: ("y",), 2: ("ds", "y"), 3: ("unique_id", "ds", "y")}
"""What columns without a header are, by how many there are."""


Plan = Callable[[Columns], Mapping[str, Any]]


class _Texts(list[str]):
    feed = list.extend


def _all_texts(head: Columns) -> dict[str, _Texts]:
    return {name: _Texts() for name in head.cells}


def read_csv(path: Path, plan: Plan = _all_texts) -> Columns:
    """Return the columns of a CSV file; `.gz` at the end of its name says that it is packed.

    Args:
        path: of the file.
        plan: as `parse_csv` takes it.

    Raises:
        DataError: it cannot be read, is not UTF-8, is empty, or a row is too short or too long.
    """
    with unpacked(path) as file:
        return _Table(file, str(path)).columns(plan)


def parse_csv(content: bytes, place: str, plan: Plan = _all_texts) -> Columns:
    """Return the columns of a CSV text in UTF-8, separated by commas, semicolons or tabs.

    The first line is a header unless a cell of it is a number or a date; a first cell that is
    empty makes it one. Without a header one column is `y`, two are `ds, y`, three
    `unique_id, ds, y`. A blank line is a gap where there is one column; else it is passed over.

    Args:
        content: the text.
        place: what it is from, for messages.
        plan: is shown the first rows, and returns what takes the cells of each column that is to
            be kept; of the others their names remain. By default all are kept, as texts.

    Raises:
        DataError: it is not UTF-8, is empty, or a row is too short or too long.

    Example:
        >>> parse_csv(b"ds;y\\n2020-01-01;3\\n", "text").cells
        {'ds': ('2020-01-01',), 'y': ('3',)}
    """
    return _Table(io.BytesIO(content), place).columns(plan)


class _Table:
    """A CSV text while it is read; no more than some of its rows are held at once."""

    def __init__(self, file: BinaryIO, place: str) -> None:
        self.place = place
        pieces = _pieces(file, place)
        first = next(pieces, "")
        line = first.partition("\n")[0]
        delimiter = max(",;\t", key=line.count)
        if (count := line.count(delimiter)) >= MOST_COLUMNS:
            raise DataError(
                f"{place} has {count + 1:,} columns, expected {MOST_COLUMNS:,} at most: a row is a "
                "step, and a column names the series that it is of"
            )
        lines = chain.from_iterable(
            io.StringIO(text, newline="") for text in chain([first], pieces)
        )
        self._reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        self._read = 0  # rows
        self._blank = array("q")  # the numbers of those that are passed over

    def columns(self, plan: Plan) -> Columns:
        """Read everything, and keep what the plan says."""
        names, body = self._begin()
        kept: Mapping[str, Any] = {}
        first = True
        for cells in self._columns(names, body):
            if first:
                head = dict(zip(names, cells))
                kept = plan(Columns(self.place, head, self._rows()))
                first = False
            for name, column in zip(names, cells):
                if name in kept:
                    kept[name].feed(column)
        if first:
            raise DataError(f"{self.place} is empty: there is a header, but no rows")
        found = {name: kept.get(name) for name in names}
        texts = {name: tuple(each) for name, each in found.items() if isinstance(each, _Texts)}
        return Columns(self.place, found | texts, self._rows())

    def _rows(self) -> NDArray[Any]:
        """The numbers of the rows that count."""
        rows = np.arange(1, self._read + 1, dtype=np.int32 if self._read < 2**31 - 1 else np.int64)
        return np.delete(rows, np.array(self._blank) - 1) if self._blank else rows

    def _begin(self) -> tuple[list[str], Iterable[list[str]]]:
        """Return the columns' names, and what was read of the rows to find them."""
        first = next(iter(self._some(1)), [])
        if not any(first):
            raise DataError(f"{self.place} is empty: there are no rows")
        if _is_header(first):
            return _header(first, self.place), []
        return _no_header(first, self.place), [first]

    def _some(self, most: int) -> list[list[str]]:
        try:
            return list(islice(self._reader, most))
        except csv.Error as error:
            raise DataError(
                f"{self.place}, line {self._reader.line_num}: not a CSV file: {error}"
            ) from error

    def _columns(
        self, names: list[str], begun: Iterable[list[str]]
    ) -> Iterator[tuple[tuple[str, ...], ...]]:
        """Yield the cells of some rows at a time, by columns."""
        width = len(names)
        rows = [*begun, *self._some(max(20, CELLS // width))]
        while rows:
            before, self._read = self._read, self._read + len(rows)
            widths = {*map(len, rows)}
            if odd := widths - {width, 0}:
                number, cells = next(
                    each for each in enumerate(rows, before + 1) if len(each[1]) in odd
                )
                raise DataError(
                    f"{self.place}, {rows_in_words(number)}: {len(cells):,} cells, where there "
                    f"are {width:,} columns"
                )
            if 0 in widths and width == 1:
                rows = [cells or [""] for cells in rows]
            elif 0 in widths:
                self._blank.extend(n for n, cells in enumerate(rows, before + 1) if not cells)
                rows = list(filter(None, rows))
            if rows:
                yield tuple(zip(*rows))
            rows = self._some(max(20, CELLS // width))


def _pieces(file: BinaryIO, place: str) -> Iterator[str]:
    """Yield a text in pieces that end where a line does, without what is blank at its ends."""
    rest, offset, line = b"", 0, 1
    begun = False

    def decoded(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            at = line + data.count(b"\n", 0, error.start)
            raise DataError(
                f"{place} is not UTF-8: byte {offset + error.start}, in line {at}; save it as UTF-8"
            ) from error

    while block := file.read(READ):
        data = rest + block
        if not begun:
            found = data.removeprefix(BOM_UTF8).lstrip(SPACE)
            offset += len(data) - len(found)
            line += data.count(b"\n", 0, len(data) - len(found))
            data, begun = found, bool(found)
        last = data.rstrip(SPACE)
        cut = last.rfind(b"\n") + 1 or last.rfind(b"\r", 0, -1) + 1
        if cut:
            yield decoded(data[:cut])
            offset, line = offset + cut, line + data.count(b"\n", 0, cut)
        rest = data[cut:]
        if len(rest) > LONGEST_LINE:
            raise DataError(
                f"{place}, line {line} is longer than {LONGEST_LINE:,} bytes, or only space; "
                "expected a line for each row, of numbers and words"
            )
    if rest := rest.rstrip(SPACE):
        yield decoded(rest)


def _is_header(cells: list[str]) -> bool:
    if len(cells) > 1 and not cells[0].strip():
        return True  # as an index without a name is written
    for cell in filter(str.strip, cells):
        try:
            to_number(cell)
            return False
        except ValueError:
            if are_dates([cell]):
                return False
    return True


def _header(cells: list[str], place: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"{place}: {count} columns are named {name!r:.80}; give each its own name")
    return names


def _no_header(cells: list[str], place: str) -> list[str]:
    if len(cells) not in NAMES:
        raise DataError(
            f"{place} has {len(cells):,} columns and no header; give the first line their names"
        )
    return list(NAMES[len(cells)])
