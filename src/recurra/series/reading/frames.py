"""Frames of pandas, polars and the like, through narwhals; and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.series.reading.columns import Columns

__all__ = ["is_frame", "read_frame", "read_parquet"]

INSTALL = "pip install 'recurra[frames]'"


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


def read_parquet(path: Path) -> Columns:
    """Return the columns of a Parquet file.

    Args:
        path: of the file.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: the file cannot be read.
    """
    pyarrow = _imported("pyarrow", "Parquet files")
    parquet = _imported("pyarrow.parquet", "Parquet files")
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as Parquet: {told}") from error
    return read_frame(table, str(path))


def read_frame(data: Any, place: str = "the frame") -> Columns:
    """Return the columns of a frame, or of one column of a frame.

    A pandas index that holds dates, or has a name, is a column as the others, named `ds` where it
    has no name. Lazy frames are collected. Stamps with a zone are turned into UTC.

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
    return Columns(place, cells, np.arange(1, len(frame) + 1))


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


def _cells(narwhals: ModuleType, column: Any) -> Sequence[str] | NDArray[Any]:
    kind = column.dtype
    if kind.is_numeric() or kind == narwhals.Boolean:
        numbers = column.cast(narwhals.Float64).to_numpy()
        return np.asarray(numbers, np.float64)
    if isinstance(kind, narwhals.Datetime):
        if kind.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return np.asarray(column.to_numpy()).astype("datetime64[us]")
    if kind == narwhals.Date:
        return np.asarray(column.cast(narwhals.Datetime("us")).to_numpy()).astype("datetime64[us]")
    return [_text(cell) for cell in column.to_list()]


def _text(cell: Any) -> str:
    """What a cell of no plain kind would say in a file."""
    if cell is None or cell != cell:
        return ""
    return str(cell.isoformat()) if hasattr(cell, "isoformat") else str(cell)
