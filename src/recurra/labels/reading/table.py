"""Tables of labelled examples, a row each: features of one step, or steps of one feature."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.labels.reading.examples import (
    MOST_FEATURES,
    Gaps,
    NamedExamples,
    is_missing,
    is_number,
    plain_label,
    read_lines,
    read_numbers,
)
from recurra.labels.sequences import Rows
from recurra.table import first_of, nearest

__all__ = ["Form", "form_of", "read_table", "read_unlabelled"]

LONGEST_ROW = 4 << 20  # bytes
LOOKED_AT = 10_000
"""Rows by which a table without a header is told."""
FEW = 10
"""Whole numbers that may be labels however few rows there are."""
ARCHIVE = re.compile(r"_(TRAIN|TEST)(\.|$)", re.I)
"""What the names of the UCR archive's files have."""

Floats = NDArray[np.float64]


class Form(NamedTuple):
    """How a table is read.

    Args:
        label: the labels' column by name; of a table without a header `column 1` and so on; None
            for `label`, or else the last.
        steps: whether the numbers of a row are steps of one feature; or features of one step.
        bare: whether it has no header.
    """

    label: str | None
    steps: bool
    bare: bool


def form_of(path: Path, label_column: str | None = None, rows: str | None = None) -> Form:
    """Return how a table is read: as asked, or by what it looks like.

    Without a header the UCR archive has labels first and steps behind them; other tables have
    features, and labels last.

    Args:
        path: the file.
        label_column: the labels' column.
        rows: `"steps"` or `"features"`.

    Raises:
        DataError: it has no header, and neither its first nor its last column looks like labels.
    """
    first, others = _begun(path)
    bare = any(map(is_number, first[:-1])) or any(map(is_number, first[1:]))
    if not bare:
        return Form(label_column, rows == "steps", False)
    last = f"column {len(first)}"
    if label_column is None:
        looked = [first, *islice(others, LOOKED_AT)]
        before, after = ([row[end] for row in looked if row] for end in (0, -1))
        label_column = _looks(before, after, ARCHIVE.search(path.name) is not None)
        if label_column is None:
            raise DataError(
                f"{path} has no header, and neither its first nor its last column looks like "
                f"labels: name theirs by data.label_column, as 'column 1' or '{last}'"
            )
        label_column = label_column or last
    steps = rows == "steps" or (rows is None and label_column == "column 1")
    return Form(label_column, steps, True)


def _looks(first: list[str], last: list[str], archive: bool) -> str | None:
    """Return `column 1`, an empty text for the last column, or None where neither is labels."""
    words = [
        not all(is_number(cell) or is_missing(cell) for cell in each) for each in (first, last)
    ]
    if any(words):
        return "" if words[1] else "column 1"
    likely = [_are_few(each) for each in (first, last)]
    if not any(likely):
        return None
    return "column 1" if likely[0] and (archive or not likely[1]) else ""


def _are_few(cells: list[str]) -> bool:
    """Return whether all cells are whole numbers, and few of them."""
    if not all(is_number(cell) and float(cell).is_integer() for cell in set(cells)):
        return False
    return len(set(cells)) <= max(FEW, len(cells) // 2)


def read_table(path: Path, form: Form) -> NamedExamples:
    """Return a table's rows as sequences, with the labels of one column.

    All other columns are numbers. Cells are divided by commas, semicolons, tabs, or blanks.

    Args:
        path: the file.
        form: as `form_of` tells it.

    Raises:
        DataError: a row has too few cells, or a cell is no number; names the row, counted
            from 1 below the header, and the column.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "signs.csv"
        >>> _ = path.write_text("label,x,y\\nplus,1,2\\nminus,-1,-2\\n")
        >>> found = read_table(path, form_of(path))
        >>> found.names, found.sequences[1].tolist()
        (('plus', 'minus'), [[-1.0, -2.0]])
    """
    first, rows = _begun(path)
    names, rows = _headed(first, rows, form.bare)
    place = _label_place(path, names, form.label)
    notes: tuple[str, ...] = ()
    if form.steps:
        sequences, labels, notes = _sequences(path, rows, place)
        labels = list(map(plain_label, labels)) if all(map(is_number, labels)) else labels
    else:
        values, labels = _numbers(path, names, rows if len(names) > 1 else iter([]), place)
        sequences = Rows(values)
    if not labels:
        count = sum(1 for _ in rows)
        raise DataError(
            f"{path}: expected rows with a label and at least one number, got {count} rows of "
            f"{len(names)} columns"
        )
    if form.bare:
        told = "steps of one feature" if form.steps else "features of one step"
        which = "first" if place == 0 else "last" if place == len(names) - 1 else names[place]
        notes = (*notes, f"without a header: labels in the {which} column, the others are {told}")
    return NamedExamples(sequences, tuple(labels), (), str(path), notes)


def read_unlabelled(
    path: Path, num_features: int, classes: Collection[str], steps: int | None
) -> NamedExamples:
    """Return a table's rows as a classifier reads them, without the labels' column if it has one.

    Args:
        path: the file.
        num_features: F, that it learned.
        classes: that it learned.
        steps: T, that it learned; None for any number.

    Raises:
        DataError: it has other columns, or cells that are no numbers.
    """
    first, rows = _begun(path)
    if num_features > 1 or steps == 1 or len(first) <= 2:
        return NamedExamples(_rows_of(path, num_features), (), (), str(path))
    bare = any(map(is_number, first[1:]))
    names, _ = _headed(first, rows, bare)
    place = names.index("label") if "label" in names else _place_of(path, bare, classes)
    _, rows = _headed(*_begun(path), bare)
    sequences, _, notes = _sequences(path, rows, place)
    return NamedExamples(sequences, (), (), str(path), notes)


def _place_of(path: Path, bare: bool, classes: Collection[str]) -> int | None:
    """Return the column, of the first and the last, whose every cell is a class; None for none."""
    known = set(classes)
    may = [True, True]
    for row in _headed(*_begun(path), bare)[1]:
        may = [ok and plain_label(row[end]) in known for ok, end in zip(may, (0, -1))]
        if not any(may):
            return None
    return 0 if may[0] else -1


def _rows_of(path: Path, num_features: int) -> Rows:
    """Return a table's rows as sequences of one step, without the labels' column if it has one."""
    first, rows = _begun(path)
    bare = any(map(is_number, first if len(first) == num_features else first[:-1]))
    names, rows = _headed(first, rows, bare)
    if len(names) == num_features:
        return Rows(_numbers(path, names, rows, None)[0])
    if len(names) != num_features + 1:
        raise DataError(
            f"{path} has {len(names)} columns, expected {num_features} of numbers, and at most "
            "one of labels"
        )
    one = next(rows, [])
    words = [place for place, cell in enumerate(one) if not is_number(cell)]
    place = words[0] if len(words) == 1 else _label_place(path, names, None)
    return Rows(_numbers(path, names, chain([one] if one else [], rows), place)[0])


def _begun(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """Return the first row and those below it."""
    rows = _read_rows(path)
    return next(rows), rows


def _headed(
    first: list[str], rows: Iterator[list[str]], bare: bool
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the columns' names, and the rows below them; bare rows have only numbered ones."""
    if bare:
        return [f"column {number}" for number in range(1, len(first) + 1)], chain([first], rows)
    return first, rows


def _read_rows(path: Path) -> Iterator[list[str]]:
    lines = (line for _, line in read_lines(path, LONGEST_ROW))
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is empty")
    delimiter = max(",;\t", key=first.count)
    blanks = delimiter not in first and any(map(is_number, first.split()[1:]))
    count = len(first.split()) - 1 if blanks else first.count(delimiter)
    if count > MOST_FEATURES:
        raise DataError(
            f"{path} has {count + 1:,} columns, expected {MOST_FEATURES:,} features at most and "
            "a label; give sequences of several steps as .ts"
        )
    if blanks:
        yield from map(str.split, chain([first], lines))
        return
    rows = csv.reader(chain([first], lines), delimiter=delimiter)
    try:
        for row in rows:
            yield list(map(str.strip, row))
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num} is not of a CSV file: {error}") from error


def _label_place(path: Path, names: list[str], wanted: str | None) -> int:
    if wanted is None:
        return names.index("label") if "label" in names else len(names) - 1
    if wanted not in names:
        raise DataError(
            f"{path} has no column {wanted!r}.{nearest(wanted, names)} There are: {first_of(names)}"
        )
    return names.index(wanted)


def _sequences(
    path: Path, rows: Iterator[list[str]], place: int | None
) -> tuple[Sequence[Floats], list[str], tuple[str, ...]]:
    """Return rows as sequences `(T_i, 1)`, the labels, and notes; what is missing is filled."""
    gaps, found, labels = Gaps(), list[Floats](), list[str]()
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        if place is not None:
            label = row.pop(place) if row else ""
            if not label:
                raise DataError(f"{where}: the label is empty")
            labels.append(label)
        if not row:
            raise DataError(f"{where}: no step stands beside the label")
        steps = read_numbers(",".join(row), where)[:, None]
        found.append(gaps.filled(gaps.shortened(steps), where))
    return found, labels, gaps.notes()


def _numbers(
    path: Path, names: list[str], rows: Iterator[list[str]], place: int | None
) -> tuple[Floats, list[str]]:
    """Return the numbers of rows, `(n, F)`, and what stands in the label's place."""
    values, labels = array("d"), []
    known: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise DataError(f"{path}, row {number}: expected {len(names)} cells, found {len(row)}")
        if place is not None:
            label = row.pop(place)
            if not label:
                raise DataError(f"{path}, row {number}: the label, {names[place]!r:.80}, is empty")
            labels.append(known.setdefault(label, label))
        try:
            values.extend(map(float, row))
        except ValueError:
            odd = next(column for column, cell in enumerate(row) if not is_number(cell))
            name = names[odd if place is None or odd < place else odd + 1]
            raise DataError(
                f"{path}, row {number}: {name!r:.80} is {row[odd]!r:.40}, which is no number; "
                "fill it, leave the row out, or name the labels by data.label_column"
            ) from None
    features = len(names) - (place is not None)
    return np.frombuffer(values).reshape(-1, max(features, 1)), labels
