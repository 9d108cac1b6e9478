"""Trials side by side: each in a process with a thread of its own, or one after another here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

from recurra.bench.trial import Job, Outcome, run
from recurra.errors import RunError

__all__ = ["Workers"]

Answer = tuple[Job, Outcome | str]

_POLL_SECONDS = 0.2


class Workers:
    """Carries out jobs; more may be added while it does. Used in a `with`.

    Args:
        count: how many processes; 0 trains in this one.
        should_stop: asked now and then; trainings under way are given up then.

    Example:
        >>> with Workers(0) as workers:
        ...     workers.add(Job("rnn", "adding", (2, 2), 0.01, seed=1, steps=1))
        ...     [job.cell for job, outcome in workers.outcomes()]
        ['rnn']
    """

    def __init__(self, count: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.count = count
        self.should_stop = should_stop
        self._waiting: deque[Job] = deque()
        self._answers: queue.Queue[tuple[int, Answer]] = queue.Queue()
        self._busy = 0
        self._idle: list[int] = []
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):  # of what could no longer be written
                    pipe.close()

    def add(self, job: Job, soon: bool = False) -> None:
        """Carry out one more.

        Args:
            job: what.
            soon: whether before all that wait.
        """
        (self._waiting.appendleft if soon else self._waiting.append)(job)

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield what comes of each job as it is done; ends when all are, or on `should_stop`.

        Raises:
            RunError: a trial failed, and how.
        """
        while (self._waiting or self._busy) and not self.should_stop():
            answered = self._next() if self.count else self._one_here()
            if answered is None:
                continue
            job, outcome = answered
            if isinstance(outcome, str):
                raise RunError(f"{job.cell} on {job.task} failed: {outcome}")
            yield job, outcome

    def _one_here(self) -> Answer | None:
        job = self._waiting.popleft()
        outcome = run(job, self.should_stop)
        return None if outcome is None else (job, outcome)

    def _next(self) -> Answer | None:
        while self._waiting and (self._idle or len(self._processes) < self.count):
            self._hand_out(self._waiting.popleft())
        try:
            number, answer = self._answers.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return None
        self._busy -= 1
        self._idle.append(number)
        return answer

    def _hand_out(self, job: Job) -> None:
        if not self._idle:
            self._processes.append(_start())
            self._idle.append(len(self._processes) - 1)
        number = self._idle.pop()
        self._busy += 1
        # a thread waits for the answer, so that this one can be asked to stop
        threading.Thread(target=self._ask, args=(number, job), daemon=True).start()

    def _ask(self, number: int, job: Job) -> None:
        process = self._processes[number]
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(dataclasses.asdict(job)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):
            line = ""
        self._answers.put((number, (job, _understood(line))))


def _start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recurra.bench.worker"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=one_thread,
    )


def _understood(line: str) -> Outcome | str:
    if not line:
        return "its process ended without an answer; memory may have run out"
    said = json.loads(line)
    if "error" in said:
        return str(said["error"])
    return Outcome(**said["outcome"])
