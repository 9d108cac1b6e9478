"""The data that have a name, by kind, and which kind a name or a file is of."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from recurra.learning.task import NamedData, TaskEntry
from recurra.run.tasks import TASKS
from recurra.table import imported

__all__ = ["kind_of", "named_data"]


def named_data() -> dict[str, NamedData]:
    """Return what the tasks declare of their data, by kind; a text is the first."""
    entries: list[TaskEntry] = list(TASKS.values())
    declared = [imported(entry.data, "data") for entry in entries if entry.data is not None]
    return {data.kind: data for data in declared}


def kind_of(name: str) -> str:
    """Return what a name or a file stands for; what is like no other is a text.

    Args:
        name: a name, a path, or `module:Name`.

    Example:
        >>> kind_of("sales.csv"), kind_of("iris"), kind_of("novel.txt")
        ('series', 'labels', 'text')
    """
    declared = named_data()
    for kind, data in declared.items():
        if name in data.table.places:
            return kind
    path = name.lower().removesuffix(".gz")
    for kind, data in declared.items():
        if path.endswith(data.suffixes):
            return kind
    names = {other: kind for kind, data in declared.items() for other in data.table}
    close = [] if Path(name).exists() else get_close_matches(name, names, n=1)
    return names[close[0]] if close else next(iter(declared))
