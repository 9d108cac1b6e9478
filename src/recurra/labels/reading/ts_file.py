"""The `.ts` format: a labelled sequence of several dimensions a line.

`1.0,2.0:3.0,4.0:yes` is two dimensions (features) of two steps each, and the label `yes`. Before
`@data` stand settings, as `@classLabel true yes no`; lines that begin with `#` or `%` are comments.
"""

from __future__ import annotations

import re
import sys
import warnings
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.labels.reading.examples import (
    MOST_FEATURES,
    PIECE,
    Gaps,
    NamedExamples,
    is_missing,
    is_number,
    read_lines,
    read_numbers,
)
from recurra.table import first_of

__all__ = ["read_ts"]

LONGEST_SETTING, MOST_SETTINGS = 1 << 20, 1_000  # characters of one, and how many
PAIR = re.compile(r"\s*\(([^()]*),([^(),]*)\)\s*(?:,|$)")
"""A stamp and its value."""
BETWEEN = re.compile(r"(?<=\))\s*:")
"""What divides dimensions whose stamps may hold colons themselves."""

Floats = NDArray[np.float64]


def read_ts(path: Path, labelled: bool = True) -> NamedExamples:
    """Return the labelled sequences of a `.ts` or `.ts.gz` file.

    What is missing (`?`, NaN or nothing) is filled from its neighbours, or ends the sequence where
    the file does not declare equal lengths. Stamps only order the steps.

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
    sequences: list[Floats] = []
    names: list[str] = []
    declared: dict[str, None] = {}
    gaps, uneven = Gaps(), 0
    for number, line in read_lines(path, comments="#%"):
        place = f"{path}, line {number}"
        if "@data" not in header:
            _read_setting(header, line, place, labelled)
            declared = dict.fromkeys(header.get("@classlabel", [])[1:])
            continue
        stamped = _is_true(header, "@timestamps")
        *dimensions, label = _divided(line, stamped, labelled or _has_labels(header), place)
        if labelled:
            names.append(_known(label, declared, place))
        if stamped:
            sequence, even = _of_pairs(dimensions, place)
            uneven += not even
        else:
            sequence = _of_numbers(dimensions, place)
        if not _is_true(header, "@equallength"):
            sequence = gaps.shortened(sequence)
        sequences.append(gaps.filled(sequence, place))
    if not sequences:
        raise DataError(f"{path} holds no example; expected lines of numbers after @data")
    notes = gaps.notes()
    if _is_true(header, "@timestamps"):
        steps = f", though they are uneven in {uneven:,} examples" if uneven else ""
        notes = (*notes, f"stamps only order the steps{steps}")
    return NamedExamples(tuple(sequences), tuple(names), tuple(declared), str(path), notes)


def _read_setting(header: dict[str, list[str]], line: str, place: str, labelled: bool) -> None:
    if len(line) > LONGEST_SETTING or len(header) > MOST_SETTINGS:
        raise DataError(f"{place}: the settings before @data are longer than any file's")
    name, *values = line.split()
    if not name.startswith("@"):
        raise DataError(f"{place}: expected a setting that begins with @, got {line!r:.80}")
    header[name.lower()] = values
    if name.lower() != "@data" or not labelled or _is_true(header, "@classlabel"):
        return
    if _is_true(header, "@targetlabel"):
        raise DataError(f"{place}: it has numbers to tell (@targetLabel), and no classes")
    raise DataError(f"{place}: expected @classLabel true before @data, as it has labels")


def _is_true(header: dict[str, list[str]], name: str) -> bool:
    return [value.lower() for value in header.get(name, [])[:1]] == ["true"]


def _has_labels(header: dict[str, list[str]]) -> bool:
    return _is_true(header, "@classlabel") or _is_true(header, "@targetlabel")


def _divided(line: str, stamped: bool, ends_in_label: bool, place: str) -> list[str]:
    """Return the dimensions of a line, and its label; an empty one where it has none."""
    if (count := line.count(":")) > MOST_FEATURES and not stamped:
        raise DataError(
            f"{place}: {count:,} dimensions, expected {MOST_FEATURES:,} at most, with the steps of "
            "each divided by commas"
        )
    parts = BETWEEN.split(line) if stamped else line.split(":")
    if not ends_in_label:
        return [*parts, ""]
    if len(parts) < 2 or not parts[-1].strip():
        raise DataError(f"{place}: expected numbers, a colon and a label, got {line!r:.80}")
    return parts


def _known(label: str, declared: dict[str, None], place: str) -> str:
    """Return a label as it is declared, as which a number may be written otherwise."""
    label = sys.intern(label.strip())
    if not declared or label in declared:
        return label
    if is_number(label):
        same = (name for name in declared if is_number(name) and float(name) == float(label))
        if (found := next(same, None)) is not None:
            return found
    raise DataError(
        f"{place}: the label {label!r:.80} is not one that the file declares, {first_of(declared)}"
    )


def _of_numbers(texts: list[str], place: str) -> Floats:
    columns = [read_numbers(text, place) for text in texts]
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise DataError(
            f"{place}: its dimensions have {min(lengths)} to {max(lengths)} steps, expected the "
            "same for all"
        )
    return np.stack(columns, axis=1)


def _of_pairs(texts: list[str], place: str) -> tuple[Floats, bool]:
    """Return what pairs of stamp and value say at all of their stamps, and if these are even.

    Where a dimension has no value at a stamp of another, it is missing.
    """
    if len(texts) > MOST_FEATURES:
        raise DataError(f"{place}: {len(texts):,} dimensions, at most {MOST_FEATURES:,} are read")
    pairs = [_pairs(text, place) for text in texts]
    stamps = np.unique(np.concatenate([each for each, _ in pairs]))
    found = np.full((len(stamps), len(texts)), np.nan)
    for column, (own, values) in zip(found.T, pairs):
        column[np.searchsorted(stamps, own)] = values
    steps = np.diff(stamps)
    return found, bool(np.allclose(steps, steps[:1]))


def _pairs(text: str, place: str) -> tuple[Floats, Floats]:
    """Return the stamps and the values of a dimension."""
    stamps, values, end, waiting = array("d"), array("d"), 0, list[str]()
    for match in PAIR.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        waiting.append(match[1])
        values.extend(read_numbers(match[2], f"{place}, at {match[1]!r:.40}"))
        if len(waiting) == PIECE:
            stamps.extend(_times(waiting, place))
            waiting.clear()
    stamps.extend(_times(waiting, place))
    if end != len(text) or not values:
        raise DataError(
            f"{place}: expected (stamp,value) pairs divided by commas, got {text[end:]!r:.60}"
        )
    own = np.frombuffer(stamps)
    if len(np.unique(own)) < len(own):
        raise DataError(f"{place}: a stamp is there twice in one dimension")
    return own, np.frombuffer(values)


def _times(texts: list[str], place: str) -> Iterator[float]:
    """Yield numbers, or the microseconds of dates."""
    if texts and is_number(texts[0]):
        for text in texts:
            if not is_number(text) or not np.isfinite(float(text)):
                raise DataError(f"{place}: the stamp {text!r:.40} is no number, as the first is")
            yield float(text)
        return
    try:
        with warnings.catch_warnings():  # of an offset, which is taken into account
            warnings.simplefilter("ignore", UserWarning)
            dates = np.array(list(map(str.strip, texts)), "datetime64[us]")
        if np.isnat(dates).any() or any(map(is_missing, texts)):
            raise ValueError
    except ValueError:
        raise DataError(
            f"{place}: stamps, as {texts[0]!r:.40}, are neither numbers nor dates like 2020-01-31"
        ) from None
    yield from dates.astype(np.int64).tolist()
