"""The package's errors: one line each says what was got, what was expected, and what to do."""

from __future__ import annotations


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
