"""A log that cannot be written, as on a full disk, ends nothing: what there is room for goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

__all__ = ["lenient", "log_to_stdout"]


class Lenient:
    """A stream of text whose lines are lost where there is no room for them.

    Args:
        stream: where the text goes.

    Example:
        >>> Lenient(sys.stderr).write("")
        0
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str, /) -> int:
        """Write a text, if there is room.

        Args:
            text: what to write.
        """
        with _unless_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits, if there is room."""
        with _unless_gone():
            self._stream.flush()


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Let pass that the reader is gone, which a command is to hear of; nothing else."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        pass


@contextmanager
def lenient() -> Iterator[None]:
    """Let no command end for want of room on stderr."""
    before = sys.stderr
    if before is not None:
        sys.stderr = Lenient(before)
    try:
        yield
    finally:
        sys.stderr = before


@contextmanager
def log_to_stdout() -> Iterator[None]:
    """Let stdout be as patient as stderr, while what goes there is a log and no result."""
    before = sys.stdout
    if before is not None:
        with suppress(OSError):
            before.flush()
        sys.stdout = Lenient(before)
    try:
        yield
    finally:
        sys.stdout = before
