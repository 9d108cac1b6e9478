"""The `.ts` format: a labelled sequence of several dimensions a line.

`1.0,2.0:3.0,4.0:yes` is two dimensions (features) of two steps each, and the label `yes`. Before
`@data` stand settings, as `@classLabel true yes no`; lines that begin with `#` are comments.
"""

from __future__ import annotations

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

__all__ = ["NamedExamples", "is_number", "read_bytes", "read_lines", "read_ts"]


@dataclass(frozen=True, slots=True, eq=False)
class NamedExamples:
    """What a file of labelled sequences holds.

    Args:
        sequences: n arrays `(T_i, F)`.
        names: n labels, as they are written.
        classes: the labels that the file declares, in its order; empty where it declares none.
        place: where they come from, in words.
    """

    sequences: tuple[NDArray[np.float64], ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    place: str


def read_bytes(path: Path) -> bytes:
    """Return what a file holds, unpacked where its name ends in `.gz`.

    Args:
        path: the file.

    Raises:
        DataError: it is not there, cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut off or damaged: {error}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {why}") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not empty, stripped, with their numbers from 1.

    Args:
        path: a file in UTF-8, unpacked where its name ends in `.gz`.

    Raises:
        DataError: it cannot be read, or is not UTF-8; names the line.
    """
    data = read_bytes(path).removeprefix(BOM_UTF8)
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            text = line.decode().strip()
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
    for number, line in read_lines(path):
        place = f"{path}, line {number}"
        if line.startswith("#"):
            continue
        if "@data" not in header:
            _read_setting(header, line, place, labelled)
            continue
        if not labelled:
            sequences.append(_read_sequence(line, _has_labels(header), place))
            continue
        dimensions, colon, label = line.rpartition(":")
        if not colon or not label.strip():
            raise DataError(f"{place}: expected numbers, a colon and a label, got {line!r:.80}")
        sequences.append(_read_sequence(dimensions, False, place))
        names.append(label.strip())
        if (classes := header["@classlabel"][1:]) and names[-1] not in classes:
            raise DataError(
                f"{place}: the label {names[-1]!r} is not one that the file declares, "
                f"{', '.join(classes)}"
            )
    if not sequences:
        raise DataError(f"{path} holds no example; expected lines of numbers after @data")
    declared = tuple(header.get("@classlabel", [])[1:])
    return NamedExamples(tuple(sequences), tuple(names), declared, str(path))


def _read_setting(header: dict[str, list[str]], line: str, place: str, labelled: bool) -> None:
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
    cells = text.split(",")
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        bad = next(n for n, cell in enumerate(cells, start=1) if not is_number(cell))
        raise DataError(
            f"{place}: step {bad} is {cells[bad - 1].strip()!r:.40}, which is no number; "
            "fill it, or leave the example out"
        ) from None


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
