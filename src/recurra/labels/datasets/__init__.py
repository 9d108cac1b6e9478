"""The labelled sequences that can be asked for by name, and the door to all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from recurra.errors import DataError
from recurra.labels.datasets.base import LabelSource
from recurra.labels.datasets.files import LabelFiles
from recurra.labels.datasets.given import Given
from recurra.labels.options import LabelOptions
from recurra.labels.reading.examples import NamedExamples
from recurra.labels.sequences import LabelledSequences, digest_arrays, shuffled_classes
from recurra.table import Table, first_of, located

__all__ = ["DATASETS", "LabelData", "label", "open_labels", "open_source"]

DATASETS = Table(
    "dataset",
    {
        "iris": "recurra.labels.datasets.iris:Iris",
        "vowels": "recurra.labels.datasets.vowels:Vowels",
    },
    base="recurra.labels.datasets.base:LabelSource",
)

HELD_OUT = 0
"""The seed of what is held out: the same examples in every run, so that runs can be compared."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelData:
    """Labelled sequences in splits, all of the same classes.

    Args:
        splits: `train`, `test`, and `valid` where there is one.
        published: whether the test split is the data's own, not held out here.
        notes: what was chosen in reading them, in words.
    """

    splits: dict[str, LabelledSequences]
    published: bool
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.splits["train"].classes

    @property
    def lengths(self) -> tuple[int, int]:
        """The steps of the shortest and of the longest sequence of any split."""
        lengths = [data.lengths for data in self.splits.values()]
        return min(least for least, _ in lengths), max(most for _, most in lengths)

    @property
    def steps(self) -> int | None:
        """The steps of every sequence; None where they differ."""
        least, most = self.lengths
        return least if least == most else None

    def split(self, name: str) -> LabelledSequences:
        """Return one split.

        Args:
            name: `"train"`, `"valid"` or `"test"`.

        Raises:
            DataError: there is no such split.
        """
        if name not in self.splits:
            raise DataError(f"the data have no {name} split, only {', '.join(self.splits)}")
        return self.splits[name]

    def fingerprint(self) -> str:
        """Return a SHA-256 that changes whenever any split does."""
        return digest_arrays(
            [], "\n".join(f"{name} {data.fingerprint()}" for name, data in self.splits.items())
        )


def open_source(options: LabelOptions, given: object = None) -> LabelSource:
    """Return the dataset that `options.dataset` names: a name, a file or module:Name.

    Args:
        options: handed on to it.
        given: sequences and their labels, where they were handed over in Python.

    Raises:
        ConfigError: nothing is named so.
        DataError: what is given are not sequences and labels.

    Example:
        >>> open_source(LabelOptions(dataset="iris")).found()
        "part of this package's dependencies"
    """
    if given is not None:
        return Given(options, given)
    name = options.dataset
    if name not in DATASETS.places and located(name) is not None:
        return LabelFiles(options)
    source: LabelSource = DATASETS[name](options)
    return source


def open_labels(options: LabelOptions, given: object = None) -> LabelData:
    """Return the dataset that the options name, in splits.

    Where no test part is published, a stratified `test_fraction` of the examples is held out:
    the same ones in every run, whatever its seed. So is `valid_fraction` of the rest.

    Args:
        options: the dataset, and what is held out.
        given: sequences and their labels, where they were handed over in Python.

    Raises:
        ConfigError: nothing is named so.
        DataError: the data cannot be used: among others there is a single class, or one of which
            there is nothing to learn from; gives the counts.

    Example:
        >>> data = open_labels(LabelOptions(dataset="iris"))
        >>> {split: len(examples) for split, examples in data.splits.items()}
        {'train': 120, 'test': 30}
    """
    parts = open_source(options, given).parts()
    classes = _classes(parts)
    splits = {name: label(part, classes) for name, part in parts.items()}
    _require_classes(splits, options.dataset)
    for name, fraction in (("test", options.test_fraction), ("valid", options.valid_fraction)):
        if name not in splits and fraction:
            splits["train"], splits[name] = _hold_out(splits["train"], fraction, name)
    notes = dict.fromkeys(note for part in parts.values() for note in part.notes)
    return LabelData(splits, published="test" in parts, notes=tuple(notes))


def label(part: NamedExamples, classes: tuple[str, ...]) -> LabelledSequences:
    """Return examples whose labels are places in `classes`.

    Args:
        part: as a file holds them.
        classes: the names that a label may have.

    Raises:
        DataError: a label is not among them; gives the counts of those that are not.

    Example:
        >>> part = NamedExamples((np.zeros((1, 1)),), ("b",), (), "here")
        >>> label(part, ("a", "b")).labels
        array([1])
    """
    places = {name: place for place, name in enumerate(classes)}
    unknown = Counter(name for name in part.names if name not in places)
    if unknown:
        raise DataError(
            f"{part.place}: no example of {_counted(unknown.items())} was there to learn from; "
            f"the classes are {first_of(classes)}"
        )
    labels = np.array([places[name] for name in part.names], np.int64)
    return LabelledSequences(part.sequences, labels, classes)


def _classes(parts: dict[str, NamedExamples]) -> tuple[str, ...]:
    """Return the classes that there are, in the declared order or else by name."""
    there = {name for part in parts.values() for name in part.names}
    declared = [name for name in parts["train"].classes if name in there]
    others = there.difference(declared)
    try:
        return (*declared, *sorted(others, key=float))
    except ValueError:
        return (*declared, *sorted(others))


def _require_classes(splits: dict[str, LabelledSequences], dataset: str) -> None:
    """Refuse a single class, and one that can be judged but not learned."""
    counts = splits["train"].counts()
    if sum(count > 0 for count in counts.values()) < 2:
        raise DataError(
            f"{dataset} has a single class to learn from, {_counted(counts.items())}; expected "
            "two at least"
        )
    missing = [name for name, count in counts.items() if not count]
    if missing:
        there = {
            name: sum(data.counts()[name] for part, data in splits.items() if part != "train")
            for name in missing
        }
        raise DataError(
            f"{dataset}: the training part has no example of {_counted(there.items())} elsewhere; "
            f"it has {_counted(counts.items())}"
        )


def _hold_out(
    data: LabelledSequences, fraction: float, name: str
) -> tuple[LabelledSequences, LabelledSequences]:
    """Return what is left and what is held out, a share of every class."""
    fewest = min(data.counts().values())
    if fewest < 2:
        raise DataError(
            f"of every class two examples are needed, one to learn from and one for the {name} "
            f"split; there are {_counted(data.counts().items())}"
        )
    held: list[int] = []
    for rows in shuffled_classes(data.labels, HELD_OUT, name):
        held += rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)].tolist()
    left = np.delete(np.arange(len(data)), held)
    return data.take(left), data.take(sorted(held))


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    return first_of(f"{name!r:.80} ({count:,})" for name, count in counts)
