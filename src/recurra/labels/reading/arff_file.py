"""The ARFF format of Weka: attributes by name and kind, then a row an example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.labels.reading.examples import (
    MOST_FEATURES,
    Gaps,
    NamedExamples,
    read_lines,
    read_numbers,
)

__all__ = ["read_arff"]

ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.+)", re.I)
CELL = re.compile(r"\s*('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^,\t]*?)\s*(?:[,\t]|$)")
COUNTED = re.compile(r"(\D*)(\d+)$")
NUMERIC = {"numeric", "real", "integer"}


class _Attribute(NamedTuple):
    """A column: its name, its kind in small letters, and the classes of a nominal one."""

    name: str
    kind: str
    values: tuple[str, ...] = ()


def read_arff(path: Path, steps: bool | None = None, labelled: bool = True) -> NamedExamples:
    """Return the labelled examples of an `.arff` or `.arff.gz` file.

    The label is the last nominal or text attribute. A relational one is a sequence, a row of it
    each dimension; numbers are the steps of one feature where they are counted, as `att0, att1`, or
    else the features of one step.

    Args:
        path: the file.
        steps: whether numbers are steps; None goes by their names.
        labelled: whether there must be labels.

    Raises:
        DataError: it cannot be read, or is not as the format wants it; names the line.

    Source: Witten & Frank, "Data Mining" (2005), section 2.4.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "ramp.arff"
        >>> lines = "@relation r", "@attribute t0 real", "@attribute t1 real", "@attribute c {u,d}"
        >>> _ = path.write_text("\\n".join((*lines, "@data", "1,2,u", "2,?,d")))
        >>> found = read_arff(path)
        >>> [x.tolist() for x in found.sequences], found.names, found.classes
        ([[[1.0], [2.0]], [[2.0]]], ('u', 'd'), ('u', 'd'))
    """
    lines = read_lines(path, comments="%")
    attributes = _header(path, lines)
    place = _label_place(attributes)
    if labelled and place is None:
        raise DataError(f"{path} has no nominal attribute, expected one that holds the labels")
    others = [each for number, each in enumerate(attributes) if number != place]
    relational = [each.kind for each in others] == ["relational"]
    if not relational and (odd := [each.name for each in others if each.kind not in NUMERIC]):
        raise DataError(f"{path}: attribute {odd[0]!r:.60} is not numeric; leave it out")
    if steps is None:
        steps = _are_counted([each.name for each in others])
    gaps, sequences, names = Gaps(), list[NDArray[np.float64]](), list[str]()
    for number, line in lines:
        where = f"{path}, line {number}"
        cells = _cells(line, len(attributes), where)
        if place is not None:
            label = cells.pop(place)
            if labelled and (not label or label == "?"):
                raise DataError(f"{where}: the label is missing")
            names.append(label)
        if relational:
            sequence = gaps.shortened(_dimensions(cells[0], where))
        elif steps:
            sequence = gaps.shortened(read_numbers(",".join(cells), where)[:, None])
        else:
            sequence = _features(cells, others, where)
        sequences.append(gaps.filled(sequence, where))
    if not sequences:
        raise DataError(f"{path} holds no example; expected rows after @data")
    classes = () if place is None else attributes[place].values
    told = "dimensions" if relational else "steps of one feature" if steps else "features"
    notes = (*gaps.notes(), f"the numbers of a row are {told}")
    return NamedExamples(tuple(sequences), tuple(names), classes, str(path), notes)


def _dimensions(text: str, where: str) -> NDArray[np.float64]:
    """Return a relational value, a row a dimension, as `(T, F)`."""
    rows = [read_numbers(row, where) for row in re.split(r"\\n|\n", text)]
    if len({len(row) for row in rows}) > 1:
        raise DataError(f"{where}: its dimensions differ in their steps")
    return np.stack(rows, axis=1)


def _features(cells: list[str], others: list[_Attribute], where: str) -> NDArray[np.float64]:
    """Return a row of features as a single step, `(1, F)`, of which none may be missing."""
    row = read_numbers(",".join(cells), where)
    if (missing := np.flatnonzero(np.isnan(row))).size:
        name = others[int(missing[0])].name
        raise DataError(f"{where}: {name!r:.60} is missing; fill it, or leave the row out")
    return row[None]


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> list[_Attribute]:
    """Return the attributes, the lines read as far as `@data`."""
    found: list[_Attribute] = []
    within = False
    for number, line in lines:
        where = f"{path}, line {number}"
        word = line.split(None, 1)[0].lower()
        if word == "@data":
            if not found:
                raise DataError(f"{where}: no @attribute stands before @data")
            return found
        if word == "@end":
            within = False
        elif word == "@attribute" and not within:
            match = ATTRIBUTE.fullmatch(line)
            if match is None:
                raise DataError(
                    f"{where}: expected @attribute, a name and a kind, got {line!r:.60}"
                )
            found.append(_attribute(_unquoted(match[1]), match[2].strip(), where))
            within = found[-1].kind == "relational"
        elif word not in ("@relation", "@attribute"):
            raise DataError(f"{where}: expected @attribute or @data, got {line!r:.60}")
        if len(found) > MOST_FEATURES:
            raise DataError(f"{where}: over {MOST_FEATURES:,} attributes")
    raise DataError(f"{path} holds no @data, which every ARFF file has")


def _attribute(name: str, kind: str, where: str) -> _Attribute:
    if kind.startswith("{"):
        if not kind.endswith("}"):
            raise DataError(f"{where}: the classes of {name!r:.60} do not end with a brace")
        values = [_unquoted(match[1]) for match in CELL.finditer(kind[1:-1]) if match[0]]
        return _Attribute(name, "nominal", tuple(dict.fromkeys(values)))
    return _Attribute(name, kind.split()[0].lower())


def _label_place(attributes: list[_Attribute]) -> int | None:
    kinds = ("nominal", "string")
    places = [number for number, each in enumerate(attributes) if each.kind in kinds]
    return places[-1] if places else None


def _are_counted(names: list[str]) -> bool:
    """Return whether names count up, as `att0, att1, att2`."""
    matches = [COUNTED.fullmatch(name) for name in names]
    found = [(match[1], int(match[2])) for match in matches if match]
    first = found[0] if found else ("", 0)
    return len(found) == len(names) > 1 and found == [
        (first[0], first[1] + n) for n in range(len(names))
    ]


def _cells(line: str, count: int, where: str) -> list[str]:
    if line.startswith("{"):
        raise DataError(f"{where}: the row is sparse, in braces; save it with all its numbers")
    cells = []
    for match in CELL.finditer(line):
        cells.append(_unquoted(match[1]))
        if match.end() == len(line) and not match[0].endswith((",", "\t")):
            break
    if len(cells) != count:
        raise DataError(f"{where}: expected {count} cells, found {len(cells)}")
    return cells


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return re.sub(r"\\([^n])", r"\1", text[1:-1])
    return text
