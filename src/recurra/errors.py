"""The package's errors: one line each says what was got, what was expected, and what to do."""

from __future__ import annotations

import os


class RecurraError(Exception):
    """Anything the package raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class RunError(RecurraError):
    """A run failed: a lock is held, the loss is not finite, a device is missing."""


class ConfigError(RecurraError, ValueError):
    """A setting is unknown, of the wrong type or out of range.

    Where a training cannot go on, as its data are others, `changed` names their parts.
    """

    exit_code = 2
    changed: tuple[str, ...] = ()


class ShapeError(RecurraError, ValueError):
    """A tensor does not have the shape its place asks for."""

    exit_code = 2


class DataError(RecurraError, ValueError):
    """The data given cannot be used as it is."""

    exit_code = 3


class CheckpointError(RecurraError, RuntimeError):
    """A checkpoint or model file is damaged, hostile, or of another version.

    Where it only names code of someone's own, which runs if the user says so, `needs` is that name.
    """

    exit_code = 4
    needs: str | None = None


class ResourceError(RecurraError):
    """Memory or disk space ran out."""

    exit_code = 5


_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_INSTALLED = tuple(f"{os.sep}{each}{os.sep}" for each in ("site-packages", "dist-packages"))


def place_of(error: BaseException) -> str | None:
    """Return the file and line of a user's own code that an error comes from; None without any.

    It is the innermost line that lies neither in this package nor in a library.

    Args:
        error: as it was caught.

    Example:
        >>> place_of(ValueError("never raised")) is None
        True
    """
    if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
        return f"{_told(error.filename)}:{error.lineno}"
    own = [(file, line) for file, line in _lines(error) if _is_own(file)]
    return f"{_told(own[-1][0])}:{own[-1][1]}" if own else None


def in_one_line(error: BaseException) -> str:
    """Return in one line what an error says, with its kind and the place in a user's own code.

    Args:
        error: as it was caught.

    Example:
        >>> in_one_line(ValueError("two  words"))
        'ValueError: two words'
    """
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    kind = type(error).__name__
    said = " ".join(str(text).split())
    place = place_of(error)
    return f"{kind}{': ' * bool(said)}{said:.400}{f' ({place})' if place else ''}"


def with_place(error: BaseException) -> str:
    """Return what an error of ours says, and the place in a user's own code that it comes from.

    Args:
        error: as it was caught.

    Example:
        >>> with_place(ConfigError("no such cell"))
        'no such cell'
    """
    said, place = str(error), place_of(error)
    return said if place is None or place in said else f"{said} ({place})"


def _lines(error: BaseException) -> list[tuple[str, int]]:
    found, at = [], error.__traceback__
    while at is not None:
        found.append((at.tb_frame.f_code.co_filename, at.tb_lineno))
        at = at.tb_next
    return found


def _is_own(file: str) -> bool:
    library = file.startswith(("<", _PACKAGE, _LIBRARY))
    return not library and not any(folder in file for folder in _INSTALLED)


def _told(file: str) -> str:
    here = os.getcwd() + os.sep  # noqa: PTH109
    return file.removeprefix(here)
