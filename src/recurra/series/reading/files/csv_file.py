"""CSV files, plain or packed by gzip, read in pieces of some rows."""

from __future__ import annotations

import csv
import io
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from recurra.errors import DataError
from recurra.series.reading.columns import Columns
from recurra.series.reading.files.heading import separator_of
from recurra.series.reading.files.pieces import pieces
from recurra.series.reading.files.rows import HEAD, MOST_COLUMNS, Plan, all_texts, columns_of
from recurra.storage.packed import utf8
from recurra.storage.reading import plain

__all__ = ["parse_csv", "read_csv"]


def read_csv(path: Path, plan: Plan = all_texts) -> Columns:
    """Return the columns of a CSV file, plain or packed, in UTF-8 or as its first bytes say.

    Args:
        path: of the file.
        plan: as `parse_csv` takes it.

    Raises:
        DataError: it cannot be read, is no text, is empty, or a row is too short or too long.
    """
    with plain(path) as file:
        return _read(file, str(path), plan)


def parse_csv(content: bytes, place: str, plan: Plan = all_texts) -> Columns:
    """Return the columns of a CSV text, separated by commas, semicolons, tabs or bars.

    A first line `sep=;`, as spreadsheets write, is no row. Columns without a name that hold
    nothing are left out, but for the first one. A blank line is a gap where there is one column;
    else it is passed over.

    Args:
        content: the text, in UTF-8, or in UTF-16 with a mark.
        place: what it is from, for messages.
        plan: is shown the first rows, and returns what takes the cells of each column that is to
            be kept; of the others their names remain. By default all are kept, as texts.

    Raises:
        DataError: it is no text, is empty, or a row is too short or too long.

    Example:
        >>> parse_csv(b"ds;y\\n2020-01-01;3\\n", "text").cells
        {'ds': ('2020-01-01',), 'y': ('3',)}
    """
    first, file = content[: utf8.HEAD], io.BytesIO(content)
    if encoding := utf8.marked_encoding(first):
        return _read(io.BufferedReader(utf8.Recoded(file, encoding, place)), place, plan)
    if told := utf8.no_text(first):
        raise DataError(f"{place} {told}")
    return _read(file, place, plan)


def _read(file: BinaryIO, place: str, plan: Plan) -> Columns:
    parts = pieces(file, place)
    first = next(parts, "")
    line, *_ = lines = list(islice(io.StringIO(first), HEAD)) or [""]
    separator, said = separator_of(lines)
    if (count := line.count(separator)) >= MOST_COLUMNS:
        raise DataError(
            f"{place} has {count + 1:,} columns, expected {MOST_COLUMNS:,} at most: a row is a "
            "step, and a column names the series that it is of"
        )
    texts = chain([first[len(line) :] if said else first], parts)
    reader = csv.reader(
        chain.from_iterable(io.StringIO(text, newline="") for text in texts),
        delimiter=separator,
        skipinitialspace=True,
    )
    try:
        return columns_of(reader, place, plan, separator)
    except csv.Error as error:
        raise DataError(f"{place}, line {reader.line_num}: not a CSV file: {error}") from error
