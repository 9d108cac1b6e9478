"""Labelled examples of one's own: `.ts` files of sequences, and CSV tables of single rows."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.labels.datasets.base import LabelSource
from recurra.labels.options import LabelOptions
from recurra.labels.sequences import Rows
from recurra.labels.ts_file import MOST_FEATURES, NamedExamples, is_number, read_lines, read_ts
from recurra.table import first_of, nearest

__all__ = ["LabelFiles", "read_examples", "read_sequences", "read_table"]

LONGEST_ROW = 4 << 20  # bytes
TRAIN = re.compile(r"_(TRAIN|train)(?=\.[\w.]+$)")


class LabelFiles(LabelSource):
    """A `.ts` or CSV file, packed (`.gz`) or not; `NAME_TRAIN` has its `NAME_TEST` beside it.

    Args:
        options: `dataset` is the file, `label_column` the column of a CSV table's labels.

    Raises:
        ConfigError: a column of labels is named for a `.ts` file.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for part in ("TRAIN", "TEST"):
        ...     _ = (folder / f"signs_{part}.csv").write_text("x,label\\n1,plus\\n-1,minus\\n")
        >>> source = LabelFiles(LabelOptions(dataset=str(folder / "signs_TRAIN.csv")))
        >>> {part: examples.names for part, examples in source.parts().items()}
        {'train': ('plus', 'minus'), 'test': ('plus', 'minus')}
    """

    def __init__(self, options: LabelOptions) -> None:
        super().__init__(options)
        self._path = Path(options.dataset).expanduser()
        if options.label_column is not None and _is_ts(self._path):
            raise ConfigError(
                f"data.label_column={options.label_column}, but {self._path} is a .ts file, "
                "whose labels stand at the end of each line"
            )

    def parts(self) -> dict[str, NamedExamples]:
        """Return `train`, and `test` where it is a file of its own."""
        column = self.options.label_column
        found = {"train": read_examples(self._path, column)}
        test = _beside(self._path)
        if test is not None:
            found["test"] = read_examples(test, column)
        return found

    def found(self) -> str:
        """Return the path."""
        return str(self._path)


def read_examples(path: Path, label_column: str | None = None) -> NamedExamples:
    """Return the labelled examples of a file, by its name's ending.

    Args:
        path: a `.ts` or CSV file, or one of these with `.gz` behind it.
        label_column: of a CSV table.

    Raises:
        DataError: it is something else, cannot be read, or is not as its format wants it.
    """
    _require_kind(path)
    return read_ts(path) if _is_ts(path) else read_table(path, label_column)


def read_table(path: Path, label_column: str | None = None) -> NamedExamples:
    """Return a CSV table's rows, each as a sequence of one step, with the labels of one column.

    All other columns are numbers. A first row with a number in a place other than the label's
    is no header; the label is then last. Cells are divided by commas, semicolons or tabs.

    Args:
        path: the file.
        label_column: the labels' column; `label`, or else the last one.

    Raises:
        DataError: a row has too few cells, or a cell is no number; names the row, counted
            from 1 below the header, and the column.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "signs.csv"
        >>> _ = path.write_text("label,x,y\\nplus,1,2\\nminus,-1,-2\\n")
        >>> found = read_table(path)
        >>> found.names, found.sequences[1].tolist()
        (('plus', 'minus'), [[-1.0, -2.0]])
    """
    names, rows = _begun(path, lambda first: any(map(is_number, first[:-1])))
    place = _label_place(path, names, label_column)
    values, labels = _numbers(path, names, rows if len(names) > 1 else iter([]), place)
    if not labels:
        count = sum(1 for _ in rows)
        raise DataError(
            f"{path}: expected rows with a label and at least one number, got {count} rows of "
            f"{len(names)} columns"
        )
    return NamedExamples(Rows(values), tuple(labels), (), str(path))


def read_sequences(path: Path, num_features: int) -> Sequence[NDArray[np.float64]]:
    """Return the sequences of a file, labelled or not, whose labels are passed over.

    Args:
        path: a `.ts` or CSV file, or one of these with `.gz` behind it. A table has the
            features' columns and at most one more, which is then taken for the labels'.
        num_features: F, what the classifier reads.

    Raises:
        DataError: it cannot be read, or its sequences have another number of features.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("1,2\\n3,4\\n")
        >>> [sequence.tolist() for sequence in read_sequences(path, 2)]
        [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    _require_kind(path)
    found = read_ts(path, False).sequences if _is_ts(path) else _rows_of(path, num_features)
    for number, sequence in enumerate(found, start=1):
        if sequence.shape[1] != num_features:
            raise DataError(
                f"{path}, example {number} has {sequence.shape[1]} features, the classifier "
                f"learned {num_features}"
            )
        if not np.isfinite(sequence).all():
            raise DataError(f"{path}, example {number} holds what is no finite number")
    return found


def _rows_of(path: Path, num_features: int) -> Rows:
    """Return a table's rows as sequences of one step, without the labels' column if it has one."""

    def is_bare(first: list[str]) -> bool:
        return any(map(is_number, first if len(first) == num_features else first[:-1]))

    names, rows = _begun(path, is_bare)
    if len(names) == num_features:
        return Rows(_numbers(path, names, rows, None)[0])
    if len(names) != num_features + 1:
        raise DataError(
            f"{path} has {len(names)} columns, expected {num_features} of numbers, and at most "
            "one of labels"
        )
    first = next(rows, [])
    words = [place for place, cell in enumerate(first) if not is_number(cell)]
    place = words[0] if len(words) == 1 else _label_place(path, names, None)
    return Rows(_numbers(path, names, chain([first] if first else [], rows), place)[0])


def _begun(
    path: Path, is_bare: Callable[[list[str]], bool]
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the columns' names, and the rows below them; bare rows have only numbered ones."""
    rows = _read_rows(path)
    first = next(rows)
    if is_bare(first):
        return [f"column {number}" for number in range(1, len(first) + 1)], chain([first], rows)
    return first, rows


def _read_rows(path: Path) -> Iterator[list[str]]:
    lines = (line for _, line in read_lines(path, LONGEST_ROW))
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is empty")
    delimiter = max(",;\t", key=first.count)
    if (count := first.count(delimiter)) > MOST_FEATURES:
        raise DataError(
            f"{path} has {count + 1:,} columns, expected {MOST_FEATURES:,} features at most and "
            "a label; give sequences of several steps as .ts"
        )
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


def _numbers(
    path: Path, names: list[str], rows: Iterator[list[str]], place: int | None
) -> tuple[NDArray[np.float64], list[str]]:
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


def _beside(path: Path) -> Path | None:
    """Return the `NAME_TEST` file beside a `NAME_TRAIN` one, packed or not."""
    match = TRAIN.search(path.name)
    if match is None:
        return None
    test = "_TEST" if match[1] == "TRAIN" else "_test"
    plain = path.with_name(TRAIN.sub(test, path.name).removesuffix(".gz"))
    places = (plain, plain.with_name(plain.name + ".gz"))
    return next((place for place in places if place.is_file()), None)


def _require_kind(path: Path) -> None:
    """Refuse what by its name is no file of examples."""
    if path.is_dir():
        raise DataError(f"{path} is a directory: give a NAME_TRAIN.ts or a CSV file in it")
    if not path.name.removesuffix(".gz").lower().endswith((".ts", ".csv", ".tsv", ".txt")):
        raise DataError(f"{path}: expected a file named .ts or .csv (or with .gz behind it)")


def _is_ts(path: Path) -> bool:
    return path.name.removesuffix(".gz").lower().endswith(".ts")
