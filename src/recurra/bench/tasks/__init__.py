"""The tasks that cells are compared on: one a file, each found by name in TASKS."""

from __future__ import annotations

from recurra.table import Table

__all__ = ["COMPARED", "TASKS"]

TASKS = Table(
    "task",
    {
        "copying": "recurra.bench.tasks.copying:Copying",
        "adding": "recurra.bench.tasks.adding:Adding",
        "selective_copying": "recurra.bench.tasks.selective_copying:SelectiveCopying",
        "permuted_digits": "recurra.bench.tasks.permuted_digits:PermutedDigits",
        "characters": "recurra.bench.tasks.characters:Characters",
        "words": "recurra.bench.tasks.words:Words",
    },
    base="recurra.bench.tasks.base:Task",
)
"""Name -> task; `TASKS["mypkg.tasks:Mine"]` imports anyone's own."""

COMPARED = ("copying", "adding", "selective_copying", "permuted_digits", "characters")
"""What cells are compared on where no task is named; words take longer, by their many outputs."""
