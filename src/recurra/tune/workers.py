"""Processes of one thread each that carry out runs side by side."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from recurra.tune.worker import STOP

__all__ = ["Job", "Workers"]

POLL_SECONDS = 0.1
STOP_SECONDS = 15.0
"""How long runs may take to save what they have; then they are ended as they are."""
GONE = {"error": "its process ended without an answer; memory may have run out"}


@dataclass(frozen=True, slots=True)
class Job:
    """A run to be carried out.

    Args:
        name: of the run in its sweep.
        config: its settings, as JSON values.
        out: its directory.
        restart: whether what is there is discarded.
        allow_import: code of someone's own that a run it starts from may name.
        allow_changed_source: whether it is gone on with where code of one's own has changed.
    """

    name: str
    config: dict[str, Any]
    out: str
    restart: bool = False
    allow_import: tuple[str, ...] = ()
    allow_changed_source: bool = False


class Workers:
    """Carries out runs in processes. Used in a `with`, at whose end none is left.

    Args:
        count: how many at most.

    Example:
        >>> with Workers(2) as workers:
        ...     list(workers.answers([]))
        []
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._queue: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._started = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
            _close(process)

    def answers(
        self, jobs: Iterable[Job], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Yield what is told of each run; the last of one is its report, its stop or its error.

        Args:
            jobs: in the order in which they are begun.
            should_stop: asked now and then; the runs under way are then saved, and no more begun.
        """
        waiting, running = deque(jobs), dict[int, Job]()
        until: float | None = None
        while (waiting and until is None) or running:
            if until is None and should_stop():
                until = time.monotonic() + STOP_SECONDS
                for number in running:
                    self._write(number, STOP)
            if until is not None and time.monotonic() > until:
                return
            while waiting and until is None and len(running) < self.count:
                idle = [n for n in self._processes if n not in running]
                number = idle[0] if idle else self._start()
                running[number] = waiting.popleft()
                self._write(number, json.dumps(asdict(running[number])))
            try:
                number, answer = self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if answer is None:
                process = self._processes.pop(number)
                process.wait()
                _close(process)
            if number not in running:
                continue
            job = running[number]
            if answer is None or {"finished", "stopped", "error"} & answer.keys():
                del running[number]
            yield job, GONE if answer is None else answer

    def _start(self) -> int:
        number, self._started = self._started, self._started + 1
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "recurra.tune.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self._processes[number] = process
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        return number

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        """Hand on what a process says; a thread does, so that the sweep can be asked to stop."""
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # closed at the end, or half a line of one that died
            for line in process.stdout:
                self._queue.put((number, json.loads(line)))
        self._queue.put((number, None))

    def _write(self, number: int, line: str) -> None:
        stdin = self._processes[number].stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # it died, which is told by its stdout's end
            stdin.write(line + "\n")
            stdin.flush()


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):  # of what could no longer be written
            pipe.close()
