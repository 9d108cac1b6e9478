"""Signals that ask a training to stop: the first after the step, the second at once."""

from __future__ import annotations

import os
import signal
from types import FrameType

from recurra.cli.console import say

__all__ = ["Interrupt"]


class Interrupt:
    """While entered, Ctrl-C and SIGTERM are noted instead of ending the process.

    Calling it says whether one has come. A second one ends the process at once, which loses no
    more than the steps since the last checkpoint.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[signal.Signals, object] = {}

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a process ends with that was stopped by the signal that came."""
        return 128 + (self.signal or signal.SIGTERM)

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        say("stopping after this step; once more stops at once")
