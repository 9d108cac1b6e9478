"""What follows from the tables of cells and wrappers, written where it stands: `make printed`.

The sections and rows of the guide, the README's count, and the public names in the package's stub.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import cells_page
from recurra.nn.cells import CELLS
from recurra.nn.wrappers import WRAPPERS

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide" / "cells.md"
README = ROOT / "README.md"
STUB = ROOT / "src" / "recurra" / "__init__.pyi"


def row(thing: type) -> str:
    """Return the row of a wrapper."""
    said = inspect.cleandoc(thing.__doc__ or "")
    found = re.search(r"Source: ([^\d]*\d{4})", said)
    assert found, f"{thing.__name__}: its docstring names no Source with a year"
    cells = [f"`{thing.__name__}`", said.splitlines()[0], found[1].replace("\n", " ")]
    return "| " + " | ".join(cells) + " |"


def rows() -> Iterator[str]:
    """Yield the row of every wrapper."""
    for name in WRAPPERS:
        yield row(WRAPPERS[name])


def public() -> Iterator[str]:
    """Yield the line of every cell and wrapper in the stub."""
    for table in (CELLS, WRAPPERS):
        for place in table.places.values():
            module, _, name = place.partition(":")
            yield f"from {module} import {name} as {name}"


def count() -> str:
    """Return how many there are, as the README says it."""
    return f"{len(CELLS)} cells and {len(WRAPPERS)} wrappers"


def with_rows(page: str) -> str:
    """Return a page of cells in which every part and every row stands as it should."""
    lines = cells_page.with_parts(page).splitlines()
    for fresh in rows():
        begins = fresh[: fresh.index("|", 2) + 1]
        width = fresh.count(" | ")
        like = [n for n, line in enumerate(lines) if line.startswith("| `")]
        like = [n for n in like if lines[n].count(" | ") == width]
        there = [n for n in like if lines[n].startswith(begins)]
        if there:
            lines[there[0]] = fresh
        else:
            lines.insert(like[-1] + 1, fresh)
    return "\n".join(lines) + "\n"


def with_names(stub: str) -> str:
    """Return the stub with every public name of the tables in it."""
    lines = stub.splitlines()
    for fresh in public():
        if fresh not in lines:
            after = [n for n, line in enumerate(lines) if line.startswith("from recurra.nn.")]
            place = next((n for n in after if lines[n] > fresh), after[-1] + 1)
            lines.insert(place, fresh)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB.write_text(with_names(STUB.read_text()))
    GUIDE.write_text(with_rows(GUIDE.read_text()))
    README.write_text(re.sub(r"\d+ cells and \d+ wrappers", count(), README.read_text()))
