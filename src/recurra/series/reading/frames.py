"""Frames of pandas, polars and the like, through narwhals; and Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.series.reading.columns import Coded, Columns, Zoned
from recurra.storage.reading import SETTING, most_unpacked

__all__ = ["is_frame", "read_frame", "read_parquet"]

LEAST = 256 << 20  # bytes that any file may have, as these are not parsed
FIRST = 5  # rows that tell of dates; a cell of them may have as many bytes as the file
MOST_COLUMNS = 10_000
PIECE, LONGEST = 1024, 10_000  # cells that are texts at once, and bytes of one
INSTALL = "pip install narwhals pyarrow"


def is_frame(data: object) -> bool:
    """Return whether an object looks like a frame, or like one column of one.

    Args:
        data: of any kind.

    Example:
        >>> is_frame([1.0, 2.0]), is_frame(np.zeros(3))
        (False, False)
    """
    made_by = type(data).__module__.partition(".")[0]
    return made_by in {"pandas", "polars", "pyarrow", "narwhals", "modin", "cudf", "duckdb"}


def read_parquet(path: Path, plan: Callable[[Columns], Mapping[str, Any]]) -> Columns:
    """Return the columns of a Parquet file.

    Args:
        path: of the file.
        plan: is shown the first rows, and returns which columns are to be read; of the others
            their names remain.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: the file cannot be read, or is much larger in memory than on disk.
    """
    pyarrow = _imported("pyarrow", "Parquet files")
    parquet = _imported("pyarrow.parquet", "Parquet files")
    try:
        if not path.is_file():  # of a pipe no size is known
            raise OSError("it is not there, or no regular file")
        with parquet.ParquetFile(path) as file:
            _require_bounded(path, file.metadata, [])
            words = [field.name for field in file.schema_arrow if _holds_words(pyarrow, field.type)]
        with parquet.ParquetFile(path, read_dictionary=words) as file:
            first = next(file.iter_batches(FIRST), None)
            head = read_frame(pyarrow.Table.from_batches([first] if first else []), str(path))
            wanted = list(plan(head))
            _require_bounded(path, file.metadata, wanted)
            table = file.read(columns=wanted)
            _require_short(pyarrow, path, table)
            found = read_frame(table, str(path))
    except (OSError, pyarrow.ArrowException) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as Parquet: {told}") from error
    cells = {name: found.cells.get(name) for name in head.cells}
    return Columns(str(path), cells, found.rows)


def _holds_words(pyarrow: ModuleType, kind: Any) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _require_bounded(path: Path, facts: Any, wanted: Sequence[str]) -> None:
    """Refuse a file by what it says of its sizes, before any of it is unpacked."""
    groups = [facts.row_group(n) for n in range(facts.num_row_groups)]
    packed = sum(
        group.column(n).total_uncompressed_size
        for group in groups
        for n in range(group.num_columns)
    )
    size = max(packed, 8 * len(wanted) * sum(group.num_rows for group in groups))
    most = most_unpacked(path.stat().st_size, LEAST)
    if facts.num_columns > MOST_COLUMNS:
        raise DataError(
            f"{path} has {facts.num_columns:,} columns, expected {MOST_COLUMNS:,} at most"
        )
    if size > most:
        raise DataError(
            f"{path} unpacks to {size >> 20:,} MiB, more than {most >> 20:,}; if you trust it, set "
            f"{SETTING} to the megabytes that it may have"
        )


def _require_short(pyarrow: ModuleType, path: Path, table: Any) -> None:
    """Refuse words that would take as much memory as a table, again in every row."""
    compute = _imported("pyarrow.compute", "Parquet files")
    for name in table.column_names:
        for chunk in table[name].chunks:
            if pyarrow.types.is_dictionary(chunk.type):
                longest = compute.max(compute.binary_length(chunk.dictionary)).as_py() or 0
                if longest > LONGEST:
                    raise DataError(
                        f"{path}: a cell of column {name!r:.80} has {longest:,} bytes, expected "
                        f"{LONGEST:,} at most"
                    )


def read_frame(data: Any, place: str = "the frame") -> Columns:
    """Return the columns of a frame, or of one column of a frame.

    A pandas index that holds dates, or has a name, is a column as the others, named `ds` where it
    has no name. Lazy frames are collected.

    Args:
        data: of pandas, polars, pyarrow, or anything else that narwhals knows.
        place: what it is, for messages.

    Raises:
        ConfigError: narwhals is not installed.
        DataError: it is no frame, or is empty.
    """
    narwhals = _imported("narwhals", "frames")
    try:
        frame = narwhals.from_native(_with_index(data), allow_series=True)
    except TypeError as error:
        raise DataError(f"{place} is a {type(data).__name__}, which cannot be read") from error
    if isinstance(frame, narwhals.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, narwhals.Series):
        frame = frame.alias(frame.name or "y").to_frame()
    if not len(frame):
        raise DataError(f"{place} is empty: there are no rows")
    cells = {str(name): _cells(narwhals, frame[name]) for name in frame.columns}
    return Columns(place, cells, np.arange(1, len(frame) + 1, dtype=np.int32))


def _imported(module: str, what: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ConfigError(f"to read {what}, {package} is needed: {INSTALL}") from error


def _with_index(data: Any) -> Any:
    """A pandas frame whose index is among its columns, where it says anything."""
    index = getattr(data, "index", None)
    if index is None or type(data).__module__.partition(".")[0] != "pandas":
        return data
    if hasattr(index, "to_timestamp"):
        data = data.set_axis(index.to_timestamp())
        index = data.index
    named = [name for name in index.names if name is not None]
    dated = getattr(index.dtype, "kind", "") == "M"
    if not named and not dated:
        return data
    if not named:
        data = data.rename_axis("ds")
    if getattr(data, "ndim", 2) == 1 and data.name is None:
        data = data.rename("y")
    return data.reset_index()


def _cells(narwhals: ModuleType, column: Any) -> Sequence[str] | NDArray[Any] | Zoned:
    kind = column.dtype
    if kind.is_numeric() or kind == narwhals.Boolean:
        if kind.is_integer() and not column.null_count():
            return np.asarray(column.to_numpy())  # as names of series they may have 64 bits
        numbers = column.cast(narwhals.Float64).to_numpy()
        return np.asarray(numbers, np.float64)
    if isinstance(kind, narwhals.Datetime):
        zone = kind.time_zone
        if zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        stamps = np.asarray(column.to_numpy()).astype("datetime64[us]")
        return stamps if zone in (None, "UTC") else Zoned(stamps, str(zone))
    if kind == narwhals.Date:
        return np.asarray(column.cast(narwhals.Datetime("us")).to_numpy()).astype("datetime64[us]")
    native = column.to_native()
    if (
        zone := getattr(getattr(native, "dtype", None), "tz", None)
    ) is not None:  # one with an underscore in it
        stamps = native.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return Zoned(stamps.astype("datetime64[us]"), str(zone))
    words = Coded()
    for start in range(0, len(column), PIECE):
        words.feed([_text(cell) for cell in column[start : start + PIECE].to_list()])
    return words


def _text(cell: Any) -> str:
    """What a cell of no plain kind would say in a file."""
    if cell is None or cell != cell:
        return ""
    return str(cell.isoformat()) if hasattr(cell, "isoformat") else str(cell)
