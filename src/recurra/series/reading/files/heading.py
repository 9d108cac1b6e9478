"""What the first lines of a table tell: what separates cells, and the columns' names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from recurra.errors import DataError
from recurra.series.reading.numbers import MISSING, is_number
from recurra.series.reading.stamps import are_dates

__all__ = ["names_of_columns", "separator_of"]

SEPARATORS = "\t;|,"
"""The surest first: numbers hold commas, and never a tab."""
SAID = re.compile("sep=(.)", re.IGNORECASE)
QUOTED = re.compile('"[^"]*"')
NAMES = {1: ("y",), 2: ("ds", "y"), 3: ("unique_id", "ds", "y")}
"""What columns without a header are, by how many there are."""


def separator_of(lines: Sequence[str]) -> tuple[str, bool]:
    """Return what separates the cells, and whether the first line says it and nothing else.

    The first line may say `sep=;`, as spreadsheets write. Else it is what stands as often in
    every line, but in quotes.

    Args:
        lines: the first ones.

    Example:
        >>> separator_of(["Datum;Umsatz", "01.01.2021;1001,75"])
        (';', False)
        >>> separator_of(["sep=|", "a|b"])
        ('|', True)
    """
    if said := SAID.fullmatch(lines[0].strip(" \r\n")):
        return said[1], True
    bare = [QUOTED.sub("", line) for line in lines if line.strip()]
    counts = {each: [line.count(each) for line in bare] for each in SEPARATORS}
    for wanted in (lambda found: len({*found}) == 1, all):
        for each, found in counts.items():
            if found and found[0] and wanted(found):
                return each, False
    return max(reversed(SEPARATORS), key=lambda each: counts[each][0] if bare else 0), False


def names_of_columns(rows: Sequence[Sequence[str]], place: str) -> tuple[list[str], bool]:
    """Return the columns' names, and whether the first row says them; `""` where one has none.

    The first row is a header unless a cell of it is a number or a date; a first cell that is
    empty makes it one. Without a header one column is `y`, two are `ds, y`, three
    `unique_id, ds, y`.

    Args:
        rows: the first ones, not blank.
        place: what they are from, for messages.

    Raises:
        DataError: two columns have one name, or there are many and no header.

    Example:
        >>> names_of_columns([["Datum", "Umsatz", ""], ["01.01.2021", "1001,75", ""]], "data.csv")
        (['Datum', 'Umsatz', ''], True)
    """
    first = [cell.strip() for cell in rows[0]]
    if not (_is_header(first) or _heads_dates(first, rows[1:3])):
        width = max(len(_without_blank_end(row)) for row in rows)
        if width not in NAMES:
            raise DataError(
                f"{place} has {width:,} columns and no header; give the first line their names"
            )
        return [*NAMES[width], *[""] * (len(first) - width)], False
    counted = [str(number) for number in range(1, len(rows))]
    if len(rows) > 2 and [row[0] for row in rows[1:] if len(row) == len(first) + 1] == counted:
        first = ["", *first]  # as R writes the numbers of rows, without a name
    named = Counter(filter(None, first))
    name, count = named.most_common(1)[0] if named else ("", 0)
    if count > 1:
        raise DataError(f"{place}: {count} columns are named {name!r:.80}; give each its own name")
    return first, True


def _heads_dates(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a word stands above dates; what is beside it are names then, if numbers too."""
    word = first[0]
    return (
        bool(word and rows)
        and not is_number(word)
        and not are_dates([word])
        and all(row and are_dates([row[0]]) for row in rows)
    )


def _without_blank_end(cells: Sequence[str]) -> Sequence[str]:
    full = np.flatnonzero([bool(cell.strip()) for cell in cells])
    return cells[: full[-1] + 1] if full.size else cells[:1]


def _is_header(cells: Sequence[str]) -> bool:
    if len(cells) > 1 and not cells[0]:
        return any(cells[1:])  # as an index without a name is written
    full = [cell for cell in cells if cell]
    return not (
        any((is_number(cell) and cell.lower() not in MISSING) or are_dates([cell]) for cell in full)
        or all(cell.lower() in MISSING for cell in full)
    )
