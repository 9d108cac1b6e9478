"""Labelled examples of one's own: sequences as `.ts` or ARFF, and tables with a row each."""

from __future__ import annotations

import re
from pathlib import Path

from recurra.errors import ConfigError, DataError
from recurra.labels.datasets.base import LabelSource
from recurra.labels.options import LabelOptions
from recurra.labels.reading.arff_file import read_arff
from recurra.labels.reading.examples import NamedExamples
from recurra.labels.reading.table import Form, form_of, read_table, read_unlabelled
from recurra.labels.reading.ts_file import read_ts
from recurra.labels.sequences import require_numbers

__all__ = ["LabelFiles", "read_examples", "read_sequences"]

TRAIN = re.compile(r"_(TRAIN|train)(?=\.[\w.]+$|$)")
TABLES = (".csv", ".tsv", ".txt")


class LabelFiles(LabelSource):
    """A file of examples, packed (`.gz`) or not; `NAME_TRAIN` has its `NAME_TEST` beside it.

    Args:
        options: `dataset` is the file, `label_column` the column of a table's labels, `rows` what
            its other columns are.

    Raises:
        ConfigError: a column of labels is named for a file that says itself where they are.

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
        kind = _kind(self._path)
        for name in ("label_column", "rows"):
            value = getattr(options, name)
            if value is not None and (kind == ".ts" or (kind, name) == (".arff", "label_column")):
                raise ConfigError(
                    f"data.{name}={value}, but {self._path} is a {kind} file, which says so itself"
                )

    def parts(self) -> dict[str, NamedExamples]:
        """Return `train`, and `test` where it is a file of its own."""
        column, rows = self.options.label_column, self.options.rows
        form = form_of(self._path, column, rows) if _kind(self._path) in TABLES else None
        found = {"train": _read(self._path, form, rows)}
        test = _beside(self._path)
        if test is not None:  # of the form that the first has
            found["test"] = _read(test, form, rows)
        return found

    def found(self) -> str:
        """Return the path."""
        return str(self._path)


def read_examples(
    path: Path, label_column: str | None = None, rows: str | None = None
) -> NamedExamples:
    """Return the labelled examples of a file, by its name's ending.

    Args:
        path: a `.ts` or ARFF file, a table, or one of these with `.gz` behind it.
        label_column: of a table.
        rows: whether the other numbers of a table's row are `"steps"` or `"features"`.

    Raises:
        DataError: it is something else, cannot be read, or is not as its format wants it.
    """
    form = form_of(path, label_column, rows) if _kind(path) in TABLES else None
    return _read(path, form, rows)


def _read(path: Path, form: Form | None, rows: str | None) -> NamedExamples:
    if form is not None:
        return read_table(path, form)
    if _kind(path) == ".ts":
        return read_ts(path)
    return read_arff(path, None if rows is None else rows == "steps")


def read_sequences(
    path: Path, num_features: int, classes: tuple[str, ...] = (), steps: int | None = None
) -> NamedExamples:
    """Return the sequences of a file, labelled or not, whose labels are passed over.

    Args:
        path: as `read_examples` takes it. A table has the features' columns, or the steps' where
            one feature was learned, and at most one more of labels.
        num_features: F, what the classifier reads.
        classes: what it tells apart.
        steps: T, what it reads; None for any number.

    Raises:
        DataError: it cannot be read, or its sequences have another number of features.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("1,2\\n3,4\\n")
        >>> [sequence.tolist() for sequence in read_sequences(path, 2).sequences]
        [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    kind = _kind(path)
    if kind == ".ts":
        found = read_ts(path, False)
    elif kind == ".arff":
        found = read_arff(path, num_features == 1 or None, labelled=False)
    else:
        found = read_unlabelled(path, num_features, classes, steps)
    for number, sequence in enumerate(found.sequences, start=1):
        if sequence.shape[1] != num_features:
            raise DataError(
                f"{path}, example {number} has {sequence.shape[1]} features, the classifier "
                f"learned {num_features}"
            )
        require_numbers(sequence, f"{path}, example {number}")
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


def _kind(path: Path) -> str:
    """Return what a file is by its name: its ending in small letters, `.txt` where it has none."""
    if path.is_dir():
        raise DataError(f"{path} is a directory: give a NAME_TRAIN.ts or a CSV file in it")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(("_train", "_test")):
        return ".txt"
    ending = Path(name).suffix
    if ending not in (".ts", ".arff", *TABLES):
        raise DataError(f"{path}: expected a file named .ts, .arff or .csv (or with .gz behind it)")
    return ending
