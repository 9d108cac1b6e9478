"""Columns become series: which column is what, and which rows belong together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.codes import code_of_numbers
from recurra.series.options import SeriesOptions
from recurra.series.reading.columns import Coded, Columns, rows_in_words
from recurra.series.reading.draft import Draft, Source
from recurra.series.reading.numbers import Notation, Numbers
from recurra.series.reading.stamps import COUNTS, are_dates, read_stamps
from recurra.series.reading.stamps.column import StampColumn
from recurra.table import first_of

__all__ = ["planned", "read_long_form"]

ID, TIME, TARGET = "unique_id", "ds", "y"
INDICES = {"", "index", "unnamed: 0", "level_0", "rownames", "row", "no", "nr", "#"}
"""Names of columns that may count rows, beside one of dates."""
OF_DATES = re.compile("date|time|datum|day|week|month|quarter|year|period|stamp|^ds$|^ts$|^dt$")
NAMELESS = {"", "n/a", "nan"}
"""What names no series, in any case of letters."""


def read_long_form(
    columns: Columns, options: SeriesOptions
) -> tuple[Source, list[Draft], list[str]]:
    """Return what the columns say: what is common to the series, the series, and notes.

    Columns are found by the names in the options, else by `unique_id`, `ds` and `y`; else the time
    is the first column of dates, or a numeric one that is named as time is, and what is forecast
    the only numeric column left. Without a column of names there is one series.

    Args:
        columns: of a file or frame; what was read of them is let go.
        options: which columns are what.

    Raises:
        DataError: a column is not there or not to be told from others, or a cell is no number,
            no date, or empty where it must not be.
    """
    roles = _Asked.of(columns, options)
    source, notes = _settled(columns, roles)
    stamps, rows = None, columns.rows
    if source.time is not None:
        stamps, zone, code, more = read_stamps(columns, source.time)
        source = replace(source, zone=zone, code=code)
        columns.let_go(str(source.time))
        notes += more
    if roles.wide:
        drafts = _side_by_side(columns, source, stamps)
        return replace(source, targets=(TARGET,)), drafts, [*notes, *columns.choices]
    single = source.targets[0] if len(source.targets) == 1 else "series"
    names, order, cuts = _groups(columns, roles.identity, single)
    if roles.identity is not None:
        columns.let_go(roles.identity)
    if order is not None and stamps is not None:
        stamps = stamps[order]
    values = _matrix(columns, source.targets, order)
    past, future = _matrix(columns, source.past, order), _matrix(columns, source.future, order)
    static = _matrix(columns, source.static, order)
    rows = rows if order is None else rows[order]
    drafts = []
    for name, start, stop in zip(names, cuts[:-1].tolist(), cuts[1:].tolist()):
        its = slice(start, stop)
        drafts.append(
            Draft(
                name,
                rows[its],
                values[its],
                None if stamps is None else stamps[its],
                past[its],
                future[its],
                _unchanging(source, name, rows[its], static[its]),
            )
        )
    return source, drafts, [*notes, *columns.choices]


def _side_by_side(columns: Columns, source: Source, stamps: NDArray[Any] | None) -> list[Draft]:
    """Each target as a series of its own, from its first value on."""
    past, future = _matrix(columns, source.past, None), _matrix(columns, source.future, None)
    drafts = []
    for name in source.targets:
        values = columns.numbers(name)
        its = slice(int((~np.isnan(values)).argmax()), None)
        drafts.append(
            Draft(
                name,
                columns.rows[its],
                values[its, None],
                None if stamps is None else stamps[its],
                past[its],
                future[its],
                np.empty(0),
            )
        )
        columns.let_go(name)
    return drafts


def planned(head: Columns, options: SeriesOptions) -> dict[str, Any]:
    """Return what is to take the cells of the columns that `read_long_form` will ask for.

    Args:
        head: the first rows.
        options: which columns are what.

    Raises:
        DataError: a column that is asked for is not there.

    Example:
        >>> head = Columns("data.csv", {"ds": ["1"], "y": ["2"], "z": ["3"]}, np.array([1]))
        >>> sorted(planned(head, SeriesOptions()))
        ['ds', 'y']
    """
    roles = _Asked.of(head, options)
    taken = {*roles.all, roles.time}
    left = [name for name in head.cells if name not in taken]
    numbers = [*roles.past, *roles.future, *roles.static, *roles.targets]
    if roles.time is None:
        numbers += [n for n in left if n.lower() in COUNTS or OF_DATES.search(n.lower())]
    if not roles.targets:
        numbers += [TARGET] if TARGET in left and not roles.wide else left
    notation = Notation(options.decimal, head.separator)
    kept: dict[str, Any] = {name: Numbers(notation) for name in numbers}
    if roles.time is not None:
        kept[roles.time] = StampColumn()
    if roles.identity is not None:
        kept[roles.identity] = Coded()
    return kept


def _names(option: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in option.split(",") if name.strip()) if option else ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options and the names of the columns say of them; the rest is for the cells to say.

    Args:
        all: the columns that have a role by that, the identity's among them.
        identity: the column that names the series.
        time: that of the stamps, where a name or dates tell it.
        targets: those to forecast; none where they are not named.
        past: covariates.
        future: covariates.
        static: numbers.
        wide: whether each target is a series.
    """

    all: frozenset[str | None]
    identity: str | None
    time: str | None
    targets: tuple[str, ...]
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]
    wide: bool

    @classmethod
    def of(cls, columns: Columns, options: SeriesOptions) -> _Asked:
        """Return what is asked of columns that are there."""
        past, future = _names(options.past_covariates), _names(options.future_covariates)
        static = _names(options.static_covariates)
        targets = _names(options.target)
        asked = [options.id_column, options.time_column, *past, *future, *static, *targets]
        for name in asked:
            if name is not None:
                columns.require(name)
        identity = options.id_column or (ID if ID in columns.cells and ID not in asked else None)
        wide = options.layout == "wide"
        if wide and (identity or static):
            raise DataError(
                f"{columns.place}: data.layout is wide, where a column is a series, but column "
                f"{identity or static[0]!r} is of series in long form"
            )
        taken = frozenset({*asked, identity})
        left = [name for name in columns.cells if name not in taken]
        time = options.time_column or _dated(columns, left)
        return cls(taken, identity, time, targets, past, future, static, wide)


def _settled(columns: Columns, roles: _Asked) -> tuple[Source, list[str]]:
    """What every column is, now that the cells are known; and notes."""
    left = [name for name in columns.cells if name not in roles.all]
    time = _counting(columns, left) if roles.time is None else roles.time
    left = [name for name in left if name != time]
    open_ones = [name for name in left if not (time and _counts_rows(columns, name))]
    if roles.wide and not roles.targets:
        targets = tuple(name for name in open_ones if columns.is_numeric(name))
        if not targets:
            raise DataError(f"{columns.place}: data.layout is wide, but no column is of numbers")
    else:
        targets = roles.targets or (_target(columns, open_ones or left),)
    notes = []
    if unused := [name for name in left if name not in targets]:
        notes.append(f"columns not used: {first_of(map(repr, unused))}")
    named = [roles.identity, time, *roles.past, *roles.future, *roles.static, *targets]
    counts = Counter(name for name in named if name)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise DataError(f"{columns.place}: column {twice!r} is asked to be two things at once")
    source = Source(columns.place, targets, roles.past, roles.future, roles.static, time)
    return source, notes


def _dated(columns: Columns, left: Sequence[str]) -> str | None:
    if TIME in left:
        return TIME
    return next((n for n in left if n != TARGET and are_dates(columns.cells[n])), None)


def _counting(columns: Columns, left: Sequence[str]) -> str | None:
    """The numeric column that counts time: by its name, or by the dates that its numbers are."""
    numeric = [name for name in left if columns.is_numeric(name)]
    coded = [name for name in numeric if _is_coded(columns, name)]
    counting = [name for name in numeric if name.lower() in COUNTS]
    return next(iter(coded + counting), None) if len(left) > 1 else None


def _is_coded(columns: Columns, name: str) -> bool:
    """Whether a column is named as dates are, and holds numbers that are dates in code."""
    if not OF_DATES.search(name.lower()):
        return False
    numbers = columns.numbers(name)
    return not np.isnan(numbers).any() and code_of_numbers(numbers) is not None


def _counts_rows(columns: Columns, name: str) -> bool:
    """Whether a column is the index that a program has written beside the others."""
    if name.lower() not in INDICES or not columns.is_numeric(name):
        return False
    numbers = columns.numbers(name)
    return bool((numbers == np.arange(len(numbers)) + numbers[0]).all() and numbers[0] in (0, 1))


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
        f"{columns.place}: which column is to be forecast? {first_of(map(repr, numeric))} are all "
        "numbers; name one or more with data.target, or set data.layout to wide if each is a series"
    )


def _matrix(
    columns: Columns, names: Sequence[str], order: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """The numbers of some columns, `(rows, names)`, in the order in which rows are wanted."""
    found = np.empty((len(columns.rows), len(names)))
    for place, name in enumerate(names):
        numbers = columns.numbers(name)
        if order is None and len(names) == 1:
            return numbers[:, None]
        found[:, place] = numbers if order is None else numbers[order]
        columns.let_go(name)
    return found


def _groups(
    columns: Columns, identity: str | None, single: str
) -> tuple[list[str], NDArray[np.int64] | None, NDArray[np.int64]]:
    """The series' names, in the order they come; the order of rows in which those of each stand
    together, None where they do; and where each begins and the last ends."""
    if identity is None:
        return [single], None, np.array([0, len(columns.rows)])
    cells = columns.cells[identity]
    if isinstance(cells, np.ndarray):
        whole = cells.dtype.kind in "iu" or (
            cells.dtype.kind == "f" and bool((cells == np.round(cells)).all())
        )
        cells = [str(int(cell) if whole else cell) for cell in cells]
    if not isinstance(cells, Coded):
        texts, cells = cells, Coded()
        cells.feed(texts)
    names, coded = cells.words, cells.codes
    for code, name in enumerate(names):
        if name.lower() in NAMELESS or name == "NaT":
            index = int((coded == code).argmax())
            raise DataError(f"{columns.place}, {columns.row(index)}: column {identity!r} is empty")
    cuts = np.append(0, np.cumsum(np.bincount(coded)))
    if (coded[1:] >= coded[:-1]).all():
        return names, None, cuts
    return names, np.argsort(coded, kind="stable"), cuts


def _unchanging(
    source: Source, name: str, rows: NDArray[np.integer], static: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The one number of each static column in a series."""
    found = []
    for column, values in zip(source.static, static.T):
        known = np.flatnonzero(~np.isnan(values))
        if not known.size:
            raise DataError(f"{source.place}: series {name!r} has no value in column {column!r}")
        other = known[values[known] != values[known[0]]]
        if other.size:
            both = rows_in_words(int(rows[known[0]]), int(rows[other[0]]))
            raise DataError(
                f"{source.place}, {both}: column {column!r} changes within series {name!r}; "
                "what changes is a past or future covariate"
            )
        found.append(values[known[0]])
    return np.array(found, np.float64)
