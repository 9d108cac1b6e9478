"""Columns become series: which column is what, and which rows belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.options import SeriesOptions
from recurra.series.reading.columns import MISSING, Columns
from recurra.series.reading.draft import Draft, Source
from recurra.series.reading.stamps import are_dates, read_stamps

__all__ = ["read_long_form"]

ID, TIME, TARGET = "unique_id", "ds", "y"
COUNTS = {"", "index", "step", "t", "time", "year"}
"""Names, in any case of letters, of numeric columns that count time."""


def read_long_form(
    columns: Columns, options: SeriesOptions
) -> tuple[Source, list[Draft], list[str]]:
    """Return what the columns say: what is common to the series, the series, and notes.

    Columns are found by the names in the options, else by `unique_id`, `ds` and `y`; else the time
    is the first column of dates, or a numeric one that is named as time is, and what is forecast
    the only numeric column left. Without a column of names there is one series.

    Args:
        columns: of a file or frame.
        options: which columns are what.

    Raises:
        DataError: a column is not there or not to be told from others, or a cell is no number,
            no date, or empty where it must not be.
    """
    source, identity, notes = _roles(columns, options)
    stamps = None
    if source.time is not None:
        stamps, more = read_stamps(columns, source.time)
        notes += more
    values = _matrix(columns, source.targets)
    past, future = _matrix(columns, source.past), _matrix(columns, source.future)
    static = _matrix(columns, source.static)
    single = source.targets[0] if len(source.targets) == 1 else "series"
    drafts = []
    for name, chosen in _groups(columns, identity, single):
        drafts.append(
            Draft(
                name,
                columns.rows[chosen],
                values[chosen],
                None if stamps is None else stamps[chosen],
                past[chosen],
                future[chosen],
                _unchanging(columns, source, name, chosen, static),
            )
        )
    return source, drafts, notes


def _names(option: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in option.split(",") if name.strip()) if option else ()


def _roles(columns: Columns, options: SeriesOptions) -> tuple[Source, str | None, list[str]]:
    past, future = _names(options.past_covariates), _names(options.future_covariates)
    static = _names(options.static_covariates)
    targets = _names(options.target)
    asked = [options.id_column, options.time_column, *past, *future, *static, *targets]
    for name in asked:
        if name is not None:
            columns.require(name)
    identity = options.id_column or (ID if ID in columns.cells and ID not in asked else None)
    taken = {*asked, identity}
    time = options.time_column or _time(columns, [n for n in columns.cells if n not in taken])
    left = [name for name in columns.cells if name not in {*taken, time}]
    notes = []
    if not targets:
        targets = (_target(columns, left),)
    if unused := [name for name in left if name not in targets]:
        notes.append(f"columns not used: {', '.join(map(repr, unused))}")
    roles = [name for name in (identity, time, *past, *future, *static, *targets) if name]
    if twice := next((name for name in roles if roles.count(name) > 1), None):
        raise DataError(f"{columns.place}: column {twice!r} is asked to be two things at once")
    source = Source(columns.place, targets, past, future, static, time)
    return source, identity, notes


def _time(columns: Columns, left: Sequence[str]) -> str | None:
    if TIME in left:
        return TIME
    for name in left:
        if name != TARGET and are_dates(columns.cells[name]):
            return name
    counting = [name for name in left if name.lower() in COUNTS and columns.is_numeric(name)]
    others = [name for name in left if name not in counting]
    return counting[0] if counting and others else None


def _target(columns: Columns, left: Sequence[str]) -> str:
    if TARGET in left:
        return TARGET
    numeric = [name for name in left if columns.is_numeric(name)]
    if len(numeric) == 1:
        return numeric[0]
    if not numeric:
        if len(left) == 1:
            columns.numbers(left[0])  # tells the row that is no number
        columns.require(TARGET)
    raise DataError(
        f"{columns.place}: which column is to be forecast? {', '.join(map(repr, numeric))} are all "
        "numbers; name one or more with data.target"
    )


def _matrix(columns: Columns, names: Sequence[str]) -> NDArray[np.float64]:
    arrays = [columns.numbers(name) for name in names]
    return np.stack(arrays, 1) if arrays else np.empty((len(columns.rows), 0))


def _groups(
    columns: Columns, identity: str | None, single: str
) -> list[tuple[str, NDArray[np.int64]]]:
    """The series' names, in the order they come, and the indices of their rows."""
    if identity is None:
        return [(single, np.arange(len(columns.rows)))]
    cells = columns.cells[identity]
    if isinstance(cells, np.ndarray):
        whole = cells.dtype.kind == "f" and bool((cells == np.round(cells)).all())
        cells = [str(int(cell) if whole else cell) for cell in cells]
    codes: dict[str, int] = {}
    coded = np.array([codes.setdefault(str(cell).strip(), len(codes)) for cell in cells])
    for name, code in codes.items():
        if name.lower() in MISSING - {"na", "none", "null"} or name == "NaT":
            index = int(np.flatnonzero(coded == code)[0])
            raise DataError(f"{columns.place}, {columns.row(index)}: column {identity!r} is empty")
    order = np.argsort(coded, kind="stable")
    cuts = np.searchsorted(coded[order], np.arange(1, len(codes)))
    return list(zip(codes, np.split(order, cuts)))


def _unchanging(
    columns: Columns,
    source: Source,
    name: str,
    chosen: NDArray[np.int64],
    static: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The one number of each static column in a series."""
    found = []
    for column, values in zip(source.static, static[chosen].T):
        known = np.flatnonzero(~np.isnan(values))
        if not known.size:
            raise DataError(f"{columns.place}: series {name!r} has no value in column {column!r}")
        other = known[values[known] != values[known[0]]]
        if other.size:
            rows = columns.row(int(chosen[known[0]]), int(chosen[other[0]]))
            raise DataError(
                f"{columns.place}, {rows}: column {column!r} changes within series {name!r}; "
                "what changes is a past or future covariate"
            )
        found.append(values[known[0]])
    return np.array(found, np.float64)
