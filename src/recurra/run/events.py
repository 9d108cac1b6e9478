"""The events of a run: they happen as they are read, and who never reads them is told so."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable, Generator
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

__all__ = ["Events", "told_if_unread"]

E = TypeVar("E")
P = ParamSpec("P")

UNREAD = (
    "rc.train(...) was never iterated, so nothing was trained: write "
    "`for event in rc.train(...)`, or `list(rc.train(...))`"
)


class Events(Generator[E, None, None]):
    """A generator that warns when it is dropped, or the program ends, before anything was asked.

    The warning names the line that made it. One that was read in part, or closed, says nothing.

    Args:
        events: what is read.
        place: the file and the line that the warning names.

    Example:
        >>> events = Events((event for event in "ab"), ("mine.py", 3))
        >>> next(events), list(events)
        ('a', ['b'])
    """

    def __init__(self, events: Generator[E, None, None], place: tuple[str, int]) -> None:
        self._events = events
        self._unread = weakref.finalize(self, _warn, *place)

    def send(self, value: None) -> E:
        """Return the next event.

        Args:
            value: nothing is told to a run.
        """
        self._unread.detach()
        return self._events.send(value)

    def throw(
        self,
        kind: Any,
        value: Any = None,
        traceback: TracebackType | None = None,
    ) -> E:
        """Raise something where the run stands, as closing does.

        Args:
            kind: what is raised.
            value: of an exception's class, in the old form.
            traceback: likewise.
        """
        self._unread.detach()
        return self._events.throw(kind if value is None else value)


def _warn(file: str, line: int) -> None:
    warnings.warn_explicit(UNREAD, UserWarning, file, line)


def told_if_unread(
    function: Callable[P, Generator[E, None, None]],
) -> Callable[P, Generator[E, None, None]]:
    """Return a function whose generators warn if they are never read, naming who called it.

    Args:
        function: makes a generator.

    Example:
        >>> @told_if_unread
        ... def count(most):
        ...     yield from range(most)
        >>> list(count(2))
        [0, 1]
    """

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> Generator[E, None, None]:
        caller = sys._getframe(1)
        return Events(function(*args, **kwargs), (caller.f_code.co_filename, caller.f_lineno))

    return told
