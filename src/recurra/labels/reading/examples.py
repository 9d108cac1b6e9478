"""What every file of labelled sequences is made of: lines, numbers, and what is missing of them."""

from __future__ import annotations

from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.storage.reading import numbered_lines, unpacked

__all__ = [
    "MOST_FEATURES",
    "Gaps",
    "NamedExamples",
    "is_missing",
    "is_number",
    "plain_label",
    "read_bytes",
    "read_lines",
    "read_numbers",
]

LARGEST = 64 << 20  # bytes of a file that is read whole
LONGEST_LINE = 64 << 20  # bytes
MOST_FEATURES = 100_000
PIECE = 1 << 16  # characters of a line that become numbers at once

MISSING = {"", "?", "nan", "na", "n/a", "#n/a", "null", "none", "-nan"}
"""What stands for a number that is not there, in small letters."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NamedExamples:
    """What a file of labelled sequences holds.

    Args:
        sequences: n arrays `(T_i, F)`.
        names: n labels, as they are written; none where a file has none.
        classes: the labels that the file declares, in its order; empty where it declares none.
        place: where they come from, in words.
        notes: what was chosen in reading them, in words.
    """

    sequences: Sequence[Floats]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    place: str
    notes: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """Return what a small file holds, unpacked where it is packed.

    Args:
        path: the file.

    Raises:
        DataError: it is not there, cannot be read, is damaged, or has more than 64 MiB.
    """
    with unpacked(path) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DataError(f"{path} has more than the {LARGEST >> 20} MiB that it could have")
    return data


def read_lines(
    path: Path, longest: int = LONGEST_LINE, comments: str = ""
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not empty, stripped, with their numbers from 1.

    Args:
        path: a file in UTF-8, packed or not.
        longest: bytes that a line may have.
        comments: what a line begins with that is passed over, each a character.

    Raises:
        DataError: it cannot be read, is not UTF-8, or a line is longer; names the line.
    """
    number, marks = 0, tuple(mark.encode() for mark in comments)
    for _, whole in numbered_lines(path, longest):
        if not number and whole.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path} is UTF-16; save it as UTF-8")
        for line in whole.splitlines():  # a lone CR ends one too
            number += 1
            bare = line.removeprefix(BOM_UTF8 if number == 1 else b"").strip()
            if marks and bare.startswith(marks):
                continue
            try:
                text = bare.decode().strip()
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number} is not UTF-8: {error.reason}") from error
            if text:
                yield number, text


def read_numbers(text: str, place: str) -> Floats:
    """Return the numbers between commas, NaN where one is missing.

    Args:
        text: the cells.
        place: where they stand, for messages.

    Raises:
        DataError: a cell is something else; names its step.

    Example:
        >>> read_numbers("1,?,3", "here")
        array([ 1., nan,  3.])
    """
    numbers = array("d")
    for cells in _pieces(text):
        before = len(numbers)
        try:
            numbers.extend(map(float, cells))
        except ValueError:
            del numbers[before:]
            for step, cell in enumerate(cells, before + 1):
                if not (is_number(cell) or is_missing(cell)):
                    raise DataError(
                        f"{place}: step {step} is {cell.strip()!r:.40}, which is no number"
                    ) from None
                numbers.append(np.nan if is_missing(cell) else float(cell))
    return np.frombuffer(numbers)


def _pieces(text: str) -> Iterator[list[str]]:
    """Yield the cells between commas, no more of them at once than is good for memory."""
    start = 0
    while (end := text.find(",", start + PIECE)) >= 0:
        yield text[start:end].split(",")
        start = end + 1
    yield text[start:].split(",")


def is_number(text: str) -> bool:
    """Return whether a cell says a number.

    Args:
        text: of the cell.
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_missing(text: str) -> bool:
    """Return whether a cell says that its number is not there.

    Args:
        text: of the cell.
    """
    return text.strip().lower() in MISSING


def plain_label(name: str) -> str:
    """Return a label as it is meant: a whole number without what a program writes behind it.

    Args:
        name: as it is written.

    Example:
        >>> plain_label("1.0000000e+00"), plain_label("-1"), plain_label("1.5"), plain_label("a")
        ('1', '-1', '1.5', 'a')
    """
    if is_number(name) and float(name).is_integer() and abs(float(name)) < 1e15:
        return str(int(float(name)))
    return name


class Gaps:
    """Fills what is missing of sequences, and counts it for a note.

    A gap becomes a line between its neighbours, or the nearest number at an end.

    Example:
        >>> gaps = Gaps()
        >>> gaps.filled(np.array([[1.0], [np.nan], [3.0]]), "line 1").tolist(), gaps.notes()
        ([[1.0], [2.0], [3.0]], ('1 missing value of 1 example is filled from its neighbours',))
    """

    def __init__(self) -> None:
        self._values = self._examples = self._shorter = 0

    def shortened(self, sequence: Floats) -> Floats:
        """Return a sequence without the steps at its end of which nothing is there.

        Args:
            sequence: `(T, F)`.
        """
        there = np.flatnonzero(~np.isnan(sequence).all(axis=1))
        end = int(there[-1]) + 1 if len(there) else len(sequence)
        self._shorter += end < len(sequence)
        return sequence[:end]

    def filled(self, sequence: Floats, place: str) -> Floats:
        """Return a sequence without gaps.

        Args:
            sequence: `(T, F)`.
            place: where it stands, for messages.

        Raises:
            DataError: of a dimension nothing is there.
        """
        missing = np.isnan(sequence)
        if not missing.any():
            return sequence
        if (empty := np.flatnonzero(missing.all(axis=0))).size:
            raise DataError(
                f"{place}: dimension {int(empty[0]) + 1} has no number at all; leave it out"
            )
        self._values += int(missing.sum())
        self._examples += 1
        found, steps = sequence.copy(), np.arange(len(sequence))
        for column, gaps in zip(found.T, missing.T):
            column[gaps] = np.interp(steps[gaps], steps[~gaps], column[~gaps])
        return found

    def notes(self) -> tuple[str, ...]:
        """Return in words what was done."""
        found = []
        if self._values:
            values = "value" if self._values == 1 else "values"
            one = self._examples == 1
            found.append(
                f"{self._values:,} missing {values} of {self._examples:,} "
                f"example{'' if one else 's'} {'is' if self._values == 1 else 'are'} filled from "
                f"{'its' if self._values == 1 else 'their'} neighbours"
            )
        if self._shorter:
            found.append(
                f"{self._shorter:,} of the examples end before the others, where all is missing"
            )
        return tuple(found)
