"""Where a command writes, as it is given: a name that stands for something."""

from __future__ import annotations

from pathlib import Path

import typer

__all__ = ["place"]


def place(given: str | Path) -> Path:
    """Return the path that was given.

    Args:
        given: after an option.

    Raises:
        BadParameter: it is empty, as a variable of the shell that is not set.

    Example:
        >>> place("runs/mine").name
        'mine'
    """
    if not str(given).strip():
        raise typer.BadParameter("it is empty; give a name")
    return Path(given)
