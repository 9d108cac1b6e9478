"""The `.ts` format: a labelled sequence of several dimensions a line.

`1.0,2.0:3.0,4.0:yes` is two dimensions (features) of two steps each, and the label `yes`. Before
`@data` stand settings, as `@classLabel true yes no`; lines that begin with `#` are comments.
"""

from __future__ import annotations

import sys
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.storage.reading import numbered_lines, unpacked
from recurra.table import first_of

__all__ = ["NamedExamples", "is_number", "read_bytes", "read_lines", "read_ts"]


LARGEST = 64 << 20  # bytes of a file that is read whole
LONGEST_LINE = 64 << 20  # bytes
LONGEST_SETTING, MOST_SETTINGS = 1 << 20, 1_000  # characters of one, and how many
MOST_FEATURES = 100_000
PIECE = 1 << 16  # characters of a line that become numbers at once


@dataclass(frozen=True, slots=True, eq=False)
class NamedExamples:
    """What a file of labelled sequences holds.

    Args:
        sequences: n arrays `(T_i, F)`.
        names: n labels, as they are written.
        classes: the labels that the file declares, in its order; empty where it declares none.
        place: where they come from, in words.
    """

    sequences: Sequence[NDArray[np.float64]]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    place: str


def read_bytes(path: Path) -> bytes:
    """Return what a small file holds, unpacked where its name ends in `.gz`.

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


def read_lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not empty, stripped, with their numbers from 1.

    Args:
        path: a file in UTF-8, unpacked where its name ends in `.gz`.
        longest: bytes that a line may have.

    Raises:
        DataError: it cannot be read, is not UTF-8, or a line is longer; names the line.
    """
    number = 0
    for _, whole in numbered_lines(path, longest):
        for line in whole.splitlines():  # a lone CR ends one too
            number += 1
            try:
                text = line.removeprefix(BOM_UTF8 if number == 1 else b"").decode().strip()
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number} is not UTF-8: {error.reason}") from error
            if text:
                yield number, text


def read_ts(path: Path, labelled: bool = True) -> NamedExamples:
    """Return the labelled sequences of a `.ts` or `.ts.gz` file.

    Args:
        path: the file.
        labelled: whether there must be labels, of those that are declared; where not, what
            there is of them is passed over.

    Raises:
        DataError: it cannot be read, has no labels, or a line is not as the format wants it;
            names the line.

    Source: the format of the UEA & UCR archive, timeseriesclassification.com.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "words.ts"
        >>> _ = path.write_text("@classLabel true a b\\n@data\\n1,2,3:4,5,6:b\\n")
        >>> found = read_ts(path)
        >>> found.sequences[0].tolist(), found.names, found.classes
        ([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], ('b',), ('a', 'b'))
    """
    header: dict[str, list[str]] = {}
    sequences: list[NDArray[np.float64]] = []
    names: list[str] = []
    declared: dict[str, None] = {}
    for number, line in read_lines(path):
        place = f"{path}, line {number}"
        if line.startswith("#"):
            continue
        if "@data" not in header:
            _read_setting(header, line, place, labelled)
            declared = dict.fromkeys(header.get("@classlabel", [])[1:])
            continue
        if not labelled:
            sequences.append(_read_sequence(line, _has_labels(header), place))
            continue
        dimensions, colon, label = line.rpartition(":")
        if not colon or not label.strip():
            raise DataError(f"{place}: expected numbers, a colon and a label, got {line!r:.80}")
        sequences.append(_read_sequence(dimensions, False, place))
        names.append(sys.intern(label.strip()))
        if declared and names[-1] not in declared:
            raise DataError(
                f"{place}: the label {names[-1]!r:.80} is not one that the file declares, "
                f"{first_of(declared)}"
            )
    if not sequences:
        raise DataError(f"{path} holds no example; expected lines of numbers after @data")
    return NamedExamples(tuple(sequences), tuple(names), tuple(declared), str(path))


def _read_setting(header: dict[str, list[str]], line: str, place: str, labelled: bool) -> None:
    if len(line) > LONGEST_SETTING or len(header) > MOST_SETTINGS:
        raise DataError(f"{place}: the settings before @data are longer than any file's")
    name, *values = line.split()
    if not name.startswith("@"):
        raise DataError(f"{place}: expected a setting that begins with @, got {line!r:.80}")
    header[name.lower()] = values
    if name.lower() != "@data":
        return
    if header.get("@timestamps", ["false"])[:1] in (["true"], ["True"]):
        raise DataError(f"{place}: @timeStamps true is not supported; leave the stamps out")
    if labelled and not _has_labels(header):
        raise DataError(f"{place}: expected @classLabel true before @data, as it has labels")


def _has_labels(header: dict[str, list[str]]) -> bool:
    return header.get("@classlabel", ["false"])[:1] in (["true"], ["True"])


def _read_sequence(line: str, ends_in_label: bool, place: str) -> NDArray[np.float64]:
    if (count := line.count(":")) > MOST_FEATURES:
        raise DataError(
            f"{place}: {count:,} dimensions, expected {MOST_FEATURES:,} at most, with the steps of "
            "each divided by commas"
        )
    texts = line.split(":")
    columns = [_read_numbers(text, place) for text in (texts[:-1] if ends_in_label else texts)]
    if not columns:
        raise DataError(f"{place}: expected numbers, a colon and a label, got {line!r:.80}")
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise DataError(
            f"{place}: its dimensions have {min(lengths)} to {max(lengths)} steps, expected the "
            "same for all"
        )
    return np.stack(columns, axis=1)


def _read_numbers(text: str, place: str) -> NDArray[np.float64]:
    numbers = array("d")
    for cells in _pieces(text):
        before = len(numbers)
        try:
            numbers.extend(map(float, cells))
        except ValueError:
            bad = next(n for n, cell in enumerate(cells) if not is_number(cell))
            raise DataError(
                f"{place}: step {before + bad + 1} is {cells[bad].strip()!r:.40}, which is no "
                "number; fill it, or leave the example out"
            ) from None
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
