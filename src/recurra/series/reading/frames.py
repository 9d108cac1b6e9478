"""Frames of pandas, polars and the like, through narwhals; and Parquet files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.series.reading.columns import Coded, Columns, Zoned
from recurra.series.reading.stamps import are_dates
from recurra.storage.reading import SETTING, most_unpacked

__all__ = ["is_frame", "read_frame", "read_parquet"]

LEAST = 256 << 20  # bytes that any file may have, as these are not parsed
FIRST = 5  # rows that tell of dates; a cell of them may have as many bytes as the file
MOST_COLUMNS = 10_000
PIECE, LONGEST = 1024, 10_000  # cells that are texts at once, and bytes of one
AT_GREENWICH = re.compile(r"(tz)?utc(\(\))?|z|gmt|(UTC)?[+-]00:?00", re.IGNORECASE)
FIXED = re.compile(r"^(?:UTC)?([+-])(\d\d):?(\d\d)?$")
INSIDE = re.compile(r"zoneinfo/([A-Za-z_]+/[A-Za-z_/+-]+)")
"""The name of a zone where it is read from a file."""
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
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())[:100]
        raise DataError(f"{place}, a {type(data).__name__}, cannot be read: {told}") from error
    if isinstance(frame, narwhals.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, narwhals.Series):
        frame = frame.alias(frame.name or "y").to_frame()
    if not len(frame):
        raise DataError(f"{place} is empty: there are no rows")
    cells = {name: _cells(narwhals, frame.get_column(name)) for name in frame.columns}
    return Columns(place, cells, np.arange(1, len(frame) + 1, dtype=np.int32))


def _imported(module: str, what: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ConfigError(f"to read {what}, {package} is needed: {INSTALL}") from error


def _with_index(data: Any) -> Any:
    """A pandas frame whose columns are named by texts, its index among them where it says anything.

    Raises:
        ValueError: two columns have one name.
    """
    index = getattr(data, "index", None)
    if index is None or type(data).__module__.partition(".")[0] != "pandas":
        return data
    if hasattr(index, "to_timestamp"):
        data = data.set_axis(index.to_timestamp())
        index = data.index
    if getattr(data, "ndim", 1) == 2:
        data = data.set_axis([_name_of(column) for column in data.columns], axis=1)
    else:
        data = data.rename("y" if data.name is None else _name_of(data.name)).to_frame()
    names = _names_of_index(index)
    kept = [name for name in names if name is not None and name not in data.columns]
    if kept:
        levels = [name for name in names if name is not None]
        data = data.set_axis(index.set_names(names if len(names) > 1 else names[0]))
        lost = [name for name in levels if name not in kept]
        data = (data.reset_index(lost, drop=True) if lost else data).reset_index(kept)
    if len({*data.columns}) < len(data.columns):
        twice = next(name for name in data.columns if (data.columns == name).sum() > 1)
        raise ValueError(f"two columns are named {twice!r}; give each its own name")
    return data


def _name_of(column: Any) -> str:
    """A column's name as a text; the parts of several levels one after another."""
    return " ".join(map(str, column)) if isinstance(column, tuple) else str(column)


def _names_of_index(index: Any) -> list[str | None]:
    """What the levels of an index are called as columns; None of one that only counts rows."""
    if index.nlevels > 1:
        customary = ["unique_id", "ds"] if index.nlevels == 2 else [None] * index.nlevels
        return [name if name is not None else other for name, other in zip(index.names, customary)]
    if index.name is not None:
        return [str(index.name)]
    kind = getattr(index.dtype, "kind", "")
    if kind in "iu":
        whole = np.asarray(index)
        return ["year" if len(whole) > 1 and whole.min() >= 1678 and whole.max() <= 2261 else None]
    dated = kind == "M" or (kind not in "fb" and are_dates([_text(each) for each in index[:20]]))
    return ["ds" if dated else None]


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
        return _stamped(column.to_numpy(), zone)
    if kind == narwhals.Date:
        return np.asarray(column.cast(narwhals.Datetime("us")).to_numpy()).astype("datetime64[us]")
    native = column.to_native()
    zone = getattr(getattr(native, "dtype", None), "tz", None)
    if zone is not None:  # one with an underscore in it, or of another library
        name = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
        return _stamped(native.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), name)
    words = Coded()
    for start in range(0, len(column), PIECE):
        words.feed([_text(cell) for cell in column[start : start + PIECE].to_list()])
    return words


def _stamped(stamps: Any, zone: str | None) -> NDArray[Any] | Zoned:
    """Stamps, in UTC where they are of a zone; so many hours ahead of it are one as well."""
    found = np.asarray(stamps)
    if found.dtype != "datetime64[ns]":
        found = found.astype("datetime64[us]")
    if zone is None or AT_GREENWICH.fullmatch(zone):
        return found
    if fixed := FIXED.search(zone):
        ahead = int(fixed[1] + fixed[2])
        return found if fixed[3] not in (None, "00") else Zoned(found, f"Etc/GMT{-ahead:+d}")
    inside = INSIDE.search(zone)
    return Zoned(found, inside[1] if inside else zone)


def _text(cell: Any) -> str:
    """What a cell of no plain kind would say in a file."""
    if cell is None or cell != cell:
        return ""
    return str(cell.isoformat()) if hasattr(cell, "isoformat") else str(cell)
