"""Files, frames and arrays of series become a panel; what is done to them is told in its notes.

Rows are counted from 1, a header not counted. A gap is an empty cell, or one that says `NA`,
`NaN`, `null` or the like; or a stamp that is missing on a regular grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import DataError
from recurra.series.calendar.frequency import Frequency
from recurra.series.calendar.seasons import infer_season
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel, Series, least_length
from recurra.series.reading.arrays import read_arrays
from recurra.series.reading.columns import Columns, rows_in_words
from recurra.series.reading.draft import Draft, Source
from recurra.series.reading.files.csv_file import parse_csv, read_csv
from recurra.series.reading.files.rows import columns_of
from recurra.series.reading.files.workbook import OTHERS, WORKBOOKS, rows_of_workbook
from recurra.series.reading.frames import is_frame, read_frame, read_parquet
from recurra.series.reading.gaps import constant, covered, gaps_told
from recurra.series.reading.long_form import planned, read_long_form
from recurra.series.reading.order import on_grid, sorted_once
from recurra.storage.finite import MOST, not_finite

__all__ = ["read_content", "read_data", "read_file"]


def read_file(path: Path, options: SeriesOptions, calendar: Frequency | None = None) -> Panel:
    """Return the series of a CSV file (plain or `.gz`), a Parquet file or a workbook (`.xlsx`).

    Args:
        path: of the file.
        options: which columns are what, and what a gap becomes.
        calendar: that stamps are laid on; found from them by default.

    Raises:
        ConfigError: it is Parquet or a workbook, and the library for it is not installed.
        DataError: it cannot be read, or not as series; the message names the rows.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "sales.csv"
        >>> _ = path.write_text("ds,y\\n2020-01-01,3\\n2020-01-02,\\n2020-01-04,5\\n")
        >>> panel = read_file(path, SeriesOptions())
        >>> panel.series[0].values[:, 0].tolist()
        [3.0, nan, nan, 5.0]
        >>> for note in panel.notes:
        ...     print(note)
        1 stamp is missing, the first after data row 2: added as gaps
        2 gaps, the first at data row 2: left as gaps
        frequency daily, season 7 (inferred)
    """
    end, plan = path.suffix.lower(), partial(planned, options=options)
    if end in OTHERS:
        raise DataError(f"{path} is a {end} file, which is not read: save it as CSV or Parquet")
    if end in WORKBOOKS:
        columns = columns_of(rows_of_workbook(path), str(path), plan)
    else:
        columns = (read_parquet if end in {".parquet", ".pq"} else read_csv)(path, plan)
    return _panel(*read_long_form(columns, options), options, calendar)


def read_content(content: bytes, place: str, options: SeriesOptions) -> Panel:
    """Return the series of a CSV text that was read already.

    Args:
        content: in UTF-8.
        place: what it is from, for messages.
        options: which columns are what, and what a gap becomes.

    Raises:
        DataError: as `read_file`.
    """
    plan = partial(planned, options=options)
    return _panel(*read_long_form(parse_csv(content, place, plan), options), options)


def read_data(data: Any, options: SeriesOptions, calendar: Frequency | None = None) -> Panel:
    """Return the series of something in memory.

    Args:
        data: a frame or a column of one (pandas, polars, pyarrow), a mapping from names to columns,
            an array `(T,)`, `(n, T)` or `(n, T, V)`, a list of arrays `(T,)` or `(T, V)`; a panel
            is returned as it is.
        options: which columns are what, and what a gap becomes.
        calendar: that stamps are laid on; found from them by default.

    Raises:
        ConfigError: it is a frame, and narwhals is not installed.
        DataError: it cannot be read as series; the message names the rows.

    Example:
        >>> [len(one) for one in read_data([[1, 2, 3], [4, 5]], SeriesOptions()).series]
        [3, 2]
    """
    if isinstance(data, Panel):
        return data
    if isinstance(data, Mapping):
        return _panel(*read_long_form(_mapped(data), options), options, calendar)
    if is_frame(data):
        return _panel(*read_long_form(read_frame(data), options), options, calendar)
    return _panel(*read_arrays(data, options), options, calendar)


def _mapped(data: Mapping[Any, Any]) -> Columns:
    cells: dict[str, Any] = {}
    for name, column in data.items():
        array = np.atleast_1d(np.asarray(column))
        if array.dtype.kind in "bf":
            cells[str(name)] = array.astype(np.float64)
        elif array.dtype.kind in "iuM":
            cells[str(name)] = array
        else:
            cells[str(name)] = ["" if cell is None else str(cell) for cell in array.tolist()]
    lengths = {name: len(column) for name, column in cells.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise DataError(f"the columns given are empty, or differ in length: {lengths}")
    return Columns("the data given", cells, np.arange(1, max(lengths.values()) + 1))


def _panel(
    source: Source,
    drafts: list[Draft],
    notes: list[str],
    options: SeriesOptions,
    calendar: Frequency | None = None,
) -> Panel:
    _require_numbers(source, drafts)
    drafts, moved = sorted_once(source, drafts, least=1 if calendar else 2)
    drafts, frequency, added = on_grid(source, drafts, options.frequency, calendar)
    drafts, gaps = gaps_told(source, drafts, options.fill)
    drafts, covariates = covered(source, drafts)
    shortest = least_length(len(one.values) for one in drafts)  # a test is a fifth at most unasked
    held = max(options.test or 0, options.horizon or 0) or shortest // 5
    frequency = _with_season(frequency, drafts, held)
    how = "inferred" if options.frequency is None else "as asked"
    told = f"frequency {frequency.name}, season {frequency.season} ({how})"
    series = tuple(
        Series(
            one.unique_id,
            one.values,
            None if one.stamps is None else one.stamps[: len(one.values)],
            one.past[: len(one.values)],
            one.future,
            one.static,
        )
        for one in drafts
    )
    return Panel(
        series,
        source.targets,
        frequency,
        source.past,
        source.future,
        source.static,
        (*notes, *moved, *added, *gaps, *covariates, *constant(drafts), told),
    )


def _require_numbers(source: Source, drafts: list[Draft]) -> None:
    """Refuse what is infinite or too large for a network; NaN is a gap."""
    for one in drafts:
        for names, values in (
            (source.targets, one.values),
            (source.past, one.past),
            (source.future, one.future),
            (source.static, one.static[None]),
        ):
            known = np.where(np.isnan(values), 0.0, values)
            if (place := not_finite(known, MOST)) is not None:
                row = rows_in_words(int(one.rows[place[0]]))
                raise DataError(
                    f"{source.place}, {row}: {names[place[1]]!r} of series {one.unique_id!r} is "
                    f"{values[place]:g}; give numbers of at most {MOST:g}, as by another unit"
                )


def _with_season(frequency: Frequency, drafts: list[Draft], held: int) -> Frequency:
    """The frequency with the season that the values show, where none is customary.

    The steps that are held for the test are not looked at.
    """
    if frequency.season > 1 or not frequency.regular:
        return frequency
    columns = [column[: max(0, len(column) - held)] for one in drafts for column in one.values.T]
    season = infer_season(columns)
    return replace(frequency, season=season, seasons=(season,))
