"""What is under way as one watches it: a line that changes in a terminal, some in a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from recurra.cli.console import printable, say
from recurra.work import Listener, Working, heard

__all__ = ["Teller", "current_teller"]

SOON = 0.5
"""Seconds after which work is shown in a terminal."""
LATER = 2.0
"""Seconds after which it gets a line in a log."""
EVERY = 10.0
"""Seconds from a line in a log to the next."""
_REFRESH = 0.2
_CLEAR = "\r\x1b[2K"


class Teller:
    """Says on stderr what is under way, if it takes longer than a moment.

    A thread does it, so that work which is deaf and dumb for long is seen to go on.

    Args:
        check: called whenever work begins, ends or gets on; may raise to end it.
    """

    def __init__(self, check: Listener = lambda now: None) -> None:
        self.check = check
        self.now: tuple[Working, ...] = ()
        self.elsewhere: Listener | None = None
        """Who shows it instead, as a bar that is there already."""
        self._begun = 0.0
        self._line_due = 0.0
        self._drawn = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Tell of all work within the block."""
        before = _current.set(self)
        try:
            with heard(self._hear):
                yield
        finally:
            _current.reset(before)
            self._ended.set()
            self._hear_end()

    def busy(self) -> bool:
        """Return whether anything is under way."""
        return bool(self.now)

    def say(self, message: str) -> None:
        """Write a line to stderr, and have what is shown there make room.

        Args:
            message: what to say.
        """
        with self._lock:
            self._clear()
        say(message)

    def _hear(self, now: tuple[Working, ...]) -> None:
        if not self.now:
            self._begun = time.monotonic()
        self.now = now
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        if self.elsewhere:
            self.elsewhere(now)
        if not now:
            self._hear_end()
        self.check(now)

    def _hear_end(self) -> None:
        with self._lock:
            self.now = ()
            self._clear()

    def _run(self) -> None:
        while not self._ended.wait(_REFRESH):
            with self._lock:
                if self.now and not self.elsewhere:
                    self._show(self.now, time.monotonic())

    def _show(self, now: tuple[Working, ...], clock: float) -> None:
        seconds = clock - self._begun
        said = printable("; ".join([*map(str, now), f"{seconds:,.0f} s"]))
        if sys.stderr.isatty():
            if seconds >= SOON:
                with suppress(OSError):
                    width = max(10, os.get_terminal_size(2).columns - 1)
                    sys.stderr.write(f"{_CLEAR}{said[:width]}")
                    sys.stderr.flush()
                    self._drawn = True
        elif seconds >= LATER and clock >= self._line_due:
            self._line_due = clock + EVERY
            say(said)

    def _clear(self) -> None:
        if self._drawn:
            self._drawn = False
            with suppress(OSError):
                sys.stderr.write(_CLEAR)
                sys.stderr.flush()


_current: ContextVar[Teller | None] = ContextVar("teller", default=None)


def current_teller() -> Teller:
    """Return that of the command which is carried out, or one that hears nothing."""
    return _current.get() or Teller()
