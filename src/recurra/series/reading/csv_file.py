"""CSV files, plain or packed by gzip, with a header or without."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from recurra.errors import DataError
from recurra.series.reading.columns import Columns, rows_in_words, to_number
from recurra.series.reading.stamps import are_dates

__all__ = ["parse_csv", "read_csv"]

LARGEST = 2 << 30  # bytes of text; they are read at once
NAMES = {1: ("y",), 2: ("ds", "y"), 3: ("unique_id", "ds", "y")}
"""What columns without a header are, by how many there are."""


def read_csv(path: Path) -> Columns:
    """Return the columns of a CSV file; `.gz` at the end of its name says that it is packed.

    Args:
        path: of the file.

    Raises:
        DataError: it cannot be read, is not UTF-8, is empty, or a row is too short or too long.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        told = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {told}") from error
    if len(content) > LARGEST:
        raise DataError(f"{path} has more than {LARGEST >> 30} GiB of text; give it as Parquet")
    return parse_csv(content, str(path))


def parse_csv(content: bytes, place: str) -> Columns:
    """Return the columns of a CSV text in UTF-8, separated by commas, semicolons or tabs.

    The first line is a header unless a cell of it is a number or a date; a first cell that is
    empty makes it one. Without a header one column is `y`, two are `ds, y`, three
    `unique_id, ds, y`. A blank line is a gap where there is one column; else it is passed over.

    Args:
        content: the text.
        place: what it is from, for messages.

    Raises:
        DataError: it is not UTF-8, is empty, or a row is too short or too long.

    Example:
        >>> parse_csv(b"ds;y\\n2020-01-01;3\\n", "text").cells
        {'ds': ('2020-01-01',), 'y': ('3',)}
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{place} is not UTF-8: byte {error.start}, in line {line}; save it as UTF-8"
        ) from error
    records = _records(text.strip("\r\n "), place)
    if not records or not any(records[0]):
        raise DataError(f"{place} is empty: there are no rows")
    headed = _is_header(records[0])
    names = _header(records[0], place) if headed else _no_header(records[0], place)
    body = records[1:] if headed else records
    rows = np.arange(1, len(body) + 1)
    if len(names) > 1:
        rows = rows[[bool(cells) for cells in body]]
    body = [body[number - 1] or [""] for number in rows] if [] in body else body
    widths = np.array([len(cells) for cells in body])
    if (odd := np.flatnonzero(widths != len(names))).size:
        index = int(odd[0])
        raise DataError(
            f"{place}, {rows_in_words(int(rows[index]))}: {widths[index]} cells, where there are "
            f"{len(names)} columns"
        )
    if not body:
        raise DataError(f"{place} is empty: there is a header, but no rows")
    return Columns(place, dict(zip(names, zip(*body))), rows)


def _records(text: str, place: str) -> list[list[str]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(f"{place}, line {reader.line_num}: not a CSV file: {error}") from error


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
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{place}: {count} columns are named {name!r}; give each its own name")
    return names


def _no_header(cells: list[str], place: str) -> list[str]:
    if len(cells) not in NAMES:
        raise DataError(
            f"{place} has {len(cells)} columns and no header; give the first line their names"
        )
    return list(NAMES[len(cells)])
