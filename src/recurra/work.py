"""What takes long says so here: what is under way, and how far it is.

Nobody need listen, and then it costs nothing. Who does is told in the thread that works, and may
end the work by raising.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Listener", "Working", "heard", "worked_on", "working"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Working:
    """Something that takes long, and how much of it is done.

    Args:
        what: in words that a user knows.
        done: how much of it, in units.
        total: how much there is to do; None where that is not known.
        unit: what is counted.

    Example:
        >>> print(Working("mixing", 3, 7, "parts"), Working("reading", 12_000, unit="lines"))
        mixing: 3 of 7 parts reading: 12,000 lines
        >>> print(Working("drawing"))
        drawing
    """

    what: str
    done: int = 0
    total: int | None = None
    unit: str = ""

    def __str__(self) -> str:
        if self.total is None and not self.done:
            return self.what
        most = "" if self.total is None else f" of {self.total:,}"
        return f"{self.what}: {self.done:,}{most} {self.unit}".rstrip()


Listener = Callable[[tuple[Working, ...]], object]
"""Told of all that is under way, the outermost first, whenever that changes."""

_heard: ContextVar[tuple[Listener, tuple[Working, ...]] | None] = ContextVar("work", default=None)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Have a listener told of all work within.

    Args:
        listener: called with what is under way.

    Example:
        >>> with heard(lambda now: print(*now)), working("counting", 2) as tell:
        ...     tell(1)
        counting: 0 of 2
        counting: 1 of 2
        <BLANKLINE>
    """
    before = _heard.get()
    _heard.set((listener, ()))
    try:
        yield
    finally:
        _heard.set(before)


@contextmanager
def working(what: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Say that something is under way until the block ends; yields what to tell how far it is.

    Args:
        what: in words that a user knows.
        total: how much there is to do, where that is known.
        unit: what is counted.

    Example:
        >>> with working("counting", 10, "n-grams") as tell:
        ...     tell(5)
    """
    known = _heard.get()
    if known is None:
        yield _nobody_hears
        return
    listener, outer = known

    def tell(done: int) -> None:
        now = (*outer, Working(what, done, total, unit))
        _heard.set((listener, now))
        listener(now)

    try:
        tell(0)
        yield tell
    finally:
        _heard.set(known)
        listener(outer)


def worked_on(items: Iterable[T], what: str, unit: str = "") -> Iterator[T]:
    """Yield the items, and say while they are worked on how many are done.

    Args:
        items: in order.
        what: is done with them, in words that a user knows.
        unit: what they are.

    Example:
        >>> with heard(lambda now: print(*now)):
        ...     list(worked_on("ab", "reading", "letters"))
        reading: 0 of 2 letters
        reading: 1 of 2 letters
        reading: 2 of 2 letters
        <BLANKLINE>
        ['a', 'b']
    """
    total = len(items) if isinstance(items, Sized) else None
    with working(what, total, unit) as tell:
        for done, item in enumerate(items, start=1):
            yield item
            tell(done)


def _nobody_hears(done: int) -> None:
    pass
