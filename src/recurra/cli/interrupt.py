"""Signals that end a command: in any phase at once, in the loop of a training after the step."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any

from recurra.cli.console import say

__all__ = ["Interrupt", "Interrupted", "current"]

GRACE = 1.0
"""Seconds in which a command that was interrupted may tidy up before its process is ended."""
TIDY = 0.3
"""Seconds in which files that are half written are deleted as the process is ended."""
TWIN = 0.05
"""Seconds in which the same signal again is the same request: `timeout` sends each twice."""
HANG_UP_TWIN = 1.0
"""The same of HUP, which the system and the shell both send as a terminal closes."""
POLL = 0.05

_NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """A signal has come that ends the command."""


class Interrupt:
    """While entered, Ctrl-C, TERM and HUP end the command that runs, whatever it does.

    Calling it says whether one has come. With no `patience` the command is interrupted at once,
    as by KeyboardInterrupt. Where that is not heard within a second, as while machine code is
    made or a disk hangs, a thread ends the process; so does a second signal. What is ignored,
    as HUP under nohup, stays so.

    Args:
        busy: whether something is under way that takes long, and may be given up in a loop too.
        say: tells the user a line.
    """

    def __init__(
        self, busy: Callable[[], bool] = lambda: False, say: Callable[[str], None] = say
    ) -> None:
        self.busy = busy
        self.say = say
        self.signal: int | None = None
        self.patience = 0.0
        """Seconds in which the command, which asks now and then, comes to an end by itself; without
        end for a loop, in which only what is `busy` is interrupted."""
        self.unsaved = False
        """Whether there is that to lose which a loop with patience would save."""
        self.raised = False
        """Whether `Interrupted` was raised: what fails after that fails because of it."""
        self.hint = ""
        """How to go on; said of what is ended at once."""
        self._before: dict[int, object] = {}
        self._pipe: tuple[int, int] | None = None
        self._saying: threading.Timer | None = None
        self._unraisable: Callable[[Any], object] | None = None

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a process ends with that was stopped by the signal that came."""
        return 128 + (self.signal or signal.SIGTERM)

    def at_once(self) -> None:
        """Have no patience from here on; a signal that has come counts now.

        Raises:
            Interrupted: one has come.
        """
        self.patience, self.unsaved = 0.0, False
        self.check()

    def check(self) -> None:
        """Heed a signal that has come, unless a command with patience will ask for it.

        Raises:
            Interrupted: one has come.
        """
        if self() and not self.raised and self._given_up():
            self.raised = True  # once: what tidies up is left alone
            raise Interrupted

    def _given_up(self) -> bool:
        """Whether what runs now is not waited for."""
        return not self.patience or (self.patience == math.inf and self.busy())

    def __enter__(self) -> Interrupt:
        self._outer = _current.set(self)
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may say what a signal does
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._swallowed
        if sys.platform != "win32":
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._woken_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, args=self._pipe[:1], daemon=True)
            self._thread.start()
        for number in _NUMBERS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        _current.reset(self._outer)
        if self._unraisable:
            sys.unraisablehook = self._unraisable
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._pipe:
            signal.set_wakeup_fd(self._woken_before)
            os.close(self._pipe[1])  # the thread reads to the end, and closes the other
            self._thread.join(GRACE)
        if self._saying:
            self._saying.join(GRACE)

    def _left_to_the_parent(self) -> None:
        """Let signals do in a forked child, as a pool's, what they did before the command."""
        if self._pipe:
            signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Heed a signal in the main thread."""
        if not self._pipe:  # no thread listens
            if self():
                _end(number)
            self.say(self._said())
        self.signal = self.signal or number
        self.check()

    def _swallowed(self, unraisable: Any) -> None:
        """Say nothing of an interruption that came in a finalizer, where none can be raised."""
        if self._unraisable and not isinstance(unraisable.exc_value, Interrupted):
            self._unraisable(unraisable)

    def _watch(self, pipe: int) -> None:
        """Hear of signals while the main thread may be deaf, and end the process if it stays so."""
        first = due = math.inf
        while True:
            ready, _, _ = select.select([pipe], [], [], None if first == math.inf else POLL)
            now = time.monotonic()
            if ready and not (numbers := os.read(pipe, 64)):
                os.close(pipe)
                return
            for number in numbers if ready else ():
                if number not in self._before:
                    continue
                if first == math.inf:
                    first, self.signal = now, self.signal or number
                    due = now + GRACE
                    self._say_soon()
                elif number != self.signal or now - first > _twin(number):
                    _end(number)
            patient = not self._given_up() or (self.patience and self.unsaved)
            if first < math.inf and now > (first + self.patience if patient else due):
                _end(self.signal or signal.SIGTERM)
            if patient:
                due = now + GRACE  # should its patience end

    def _say_soon(self) -> None:
        """Say what comes, in a thread of its own, as a terminal that is held may take no line."""
        self._saying = threading.Timer(TWIN, self.say, (self._said(),))
        self._saying.daemon = True
        self._saying.start()

    def _said(self) -> str:
        if self.patience == math.inf:
            return "stopping after this step; once more stops at once"
        return f"stopped{self.hint and f'; {self.hint}'}"


_current: ContextVar[Interrupt | None] = ContextVar("interrupt", default=None)


def current() -> Interrupt:
    """Return that of the command which is carried out, or one that no signal reaches."""
    return _current.get() or Interrupt()


_forking = threading.local()


def _hold() -> None:
    """Hold signals back while a process forks: those of the child would be told to this one."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _forked() -> None:
    """Leave the signals of a child to it, whichever thread forked it."""
    for number in _NUMBERS:
        own = getattr(signal.getsignal(number), "__self__", None)
        if isinstance(own, Interrupt):
            own._left_to_the_parent()
    _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forked)


def _twin(number: int) -> float:
    return HANG_UP_TWIN if number == getattr(signal, "SIGHUP", None) else TWIN


def _end(number: int) -> None:
    """End the process at once; what it was writing is not left behind, if the disk answers."""
    if files := sys.modules.get("recurra.storage.files"):
        tidying = threading.Thread(target=files.abandon, daemon=True)
        tidying.start()
        tidying.join(TIDY)
    with suppress(OSError):
        for stream in (1, 2):  # a bar has hidden the cursor
            if os.isatty(stream):
                os.write(stream, b"\x1b[?25h")
    os._exit(128 + number)
