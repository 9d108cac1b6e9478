"""Labelled examples of one's own: `.ts` files of sequences, and CSV tables of single rows."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.labels.datasets.base import LabelSource
from recurra.labels.options import LabelOptions
from recurra.labels.sequences import require_numbers
from recurra.labels.ts_file import NamedExamples, is_number, read_lines, read_ts
from recurra.table import nearest

__all__ = ["LabelFiles", "read_examples", "read_sequences", "read_table"]

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
    rows = _read_rows(path)
    names, rows = _with_header(rows, any(map(is_number, rows[0][:-1])))
    place = _label_place(path, names, label_column)
    if len(names) < 2 or not rows:
        raise DataError(
            f"{path}: expected rows with a label and at least one number, got {len(rows)} rows "
            f"of {len(names)} columns"
        )
    sequences = tuple(_sequences(path, names, rows, place))
    labels = tuple(row[place] for row in rows)
    if "" in labels:
        number = labels.index("") + 1
        raise DataError(f"{path}, row {number}: the label, {names[place]!r}, is empty")
    return NamedExamples(sequences, labels, (), str(path))


def read_sequences(path: Path, num_features: int) -> list[NDArray[np.float64]]:
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
    found = list(read_ts(path, False).sequences) if _is_ts(path) else _rows_of(path, num_features)
    for number, sequence in enumerate(found, start=1):
        if sequence.shape[1] != num_features:
            raise DataError(
                f"{path}, example {number} has {sequence.shape[1]} features, the classifier "
                f"learned {num_features}"
            )
        require_numbers(sequence, f"{path}, example {number}")
    return found


def _rows_of(path: Path, num_features: int) -> list[NDArray[np.float64]]:
    """Return a table's rows as sequences of one step, without the labels' column if it has one."""
    rows = _read_rows(path)
    if len(rows[0]) == num_features:
        names, rows = _with_header(rows, any(map(is_number, rows[0])))
        return _sequences(path, names, rows, None)
    names, rows = _with_header(rows, any(map(is_number, rows[0][:-1])))
    if len(names) != num_features + 1:
        raise DataError(
            f"{path} has {len(names)} columns, expected {num_features} of numbers, and at most "
            "one of labels"
        )
    words = [place for place, cell in enumerate(rows[0] if rows else []) if not is_number(cell)]
    place = words[0] if len(words) == 1 else _label_place(path, names, None)
    return _sequences(path, names, rows, place)


def _read_rows(path: Path) -> list[list[str]]:
    lines = [line for _, line in read_lines(path)]
    if not lines:
        raise DataError(f"{path} is empty")
    delimiter = max(",;\t", key=lines[0].count)
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]


def _with_header(rows: list[list[str]], bare: bool) -> tuple[list[str], list[list[str]]]:
    """Return the columns' names, and the rows below them; `bare` rows have only numbered ones."""
    if bare:
        return [f"column {number}" for number in range(1, len(rows[0]) + 1)], rows
    return rows[0], rows[1:]


def _label_place(path: Path, names: list[str], wanted: str | None) -> int:
    if wanted is None:
        return names.index("label") if "label" in names else len(names) - 1
    if wanted not in names:
        raise DataError(
            f"{path} has no column {wanted!r}.{nearest(wanted, names)} There are: "
            f"{', '.join(names)}"
        )
    return names.index(wanted)


def _sequences(
    path: Path, names: list[str], rows: list[list[str]], place: int | None
) -> list[NDArray[np.float64]]:
    """Return rows as sequences of one step, without the label's place."""
    found = []
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise DataError(f"{path}, row {number}: expected {len(names)} cells, found {len(row)}")
        columns = [column for column in range(len(row)) if column != place]
        odd = next((column for column in columns if not is_number(row[column])), None)
        if odd is not None:
            raise DataError(
                f"{path}, row {number}: {names[odd]!r} is {row[odd]!r:.40}, which is no number; "
                "fill it, leave the row out, or name the labels by data.label_column"
            )
        found.append(np.array([[float(row[column]) for column in columns]]))
    return found


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
