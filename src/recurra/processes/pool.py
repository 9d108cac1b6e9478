"""Processes of one thread each that carry out jobs side by side."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from recurra.processes.worker import OVER, STOP, Answer

__all__ = ["GONE", "Pool"]

POLL_SECONDS = 0.1
GONE = {"error": "its process ended without an answer; memory may have run out"}
ENDED = ""
"""In place of a line, once there will be none."""


class Pool:
    """Hands out jobs to processes of a module and hears what comes of them. Used in a `with`.

    Args:
        module: whose `main` calls `recurra.processes.worker.work`.
        count: how many processes at most; one is started when a job finds none idle.

    Example:
        >>> with Pool("recurra.bench.worker", 2) as pool:
        ...     pool.free, pool.busy, pool.answer()
        (True, set(), None)
    """

    def __init__(self, module: str, count: int) -> None:
        self.module = module
        self.count = count
        self.busy: set[int] = set()
        self._said: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._started = 0

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            _close(process)

    @property
    def free(self) -> bool:
        """Whether one more job can be begun."""
        return len(self.busy) < self.count

    def begin(self, job: Mapping[str, Any]) -> int:
        """Hand out a job, as JSON; return the number of the process that has it.

        Args:
            job: as the module takes it.
        """
        idle = self._processes.keys() - self.busy
        number = min(idle) if idle else self._start()
        self.busy.add(number)
        self._write(number, json.dumps(job))
        return number

    def stop(self) -> None:
        """Ask all that work to end as soon as they can."""
        for number in self.busy:
            self._write(number, STOP)

    def answer(self) -> tuple[int, Answer | None] | None:
        """Return what the next says, waiting a little: the process, and None where its job is over.

        A process that died says `GONE` before.
        """
        try:
            number, line = self._said.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None
        if line is ENDED:
            _close(self._processes.pop(number))
            if number not in self.busy:
                return None
            self._said.put((number, OVER))
            return number, GONE
        said: Answer | None = json.loads(line)
        if said is None:
            self.busy.discard(number)
        return number, said

    def _start(self) -> int:
        number, self._started = self._started, self._started + 1
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self._processes[number] = process
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        return number

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        """Hand on what a process says; a thread does, so that who waits can be asked to stop."""
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # closed at the end
            for line in process.stdout:
                if line.endswith("\n"):  # one that died may leave half of one
                    self._said.put((number, line))
        self._said.put((number, ENDED))

    def _write(self, number: int, line: str) -> None:
        stdin = self._processes[number].stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # it died, which is told by its stdout's end
            stdin.write(line + "\n")
            stdin.flush()


def _close(process: subprocess.Popen[str]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):  # of what could no longer be written
            pipe.close()
