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
        BadParameter: it is empty, as a variable of the shell that is not set; or begins with the
            home of nobody, `~` being what a shell leaves after `--out=`.

    Example:
        >>> place("runs/mine").name
        'mine'
    """
    if not str(given).strip():
        raise typer.BadParameter("it is empty; give a name")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise typer.BadParameter(f"{given} names no home folder ({error})") from None
