"""Trials side by side: each in a process with a thread of its own, or one after another here."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator

from recurra.bench.trial import Job, Outcome, run
from recurra.errors import RunError
from recurra.processes.pool import Pool

__all__ = ["Workers"]


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
        self.should_stop = should_stop
        self._pool = Pool("recurra.bench.worker", count)
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

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
        while (self._waiting or self._running) and not self.should_stop():
            done = self._next() if self._pool.count else self._one_here()
            if done is not None:
                yield done

    def _one_here(self) -> tuple[Job, Outcome] | None:
        job = self._waiting.popleft()
        outcome = run(job, self.should_stop)
        return None if outcome is None else (job, outcome)

    def _next(self) -> tuple[Job, Outcome] | None:
        while self._waiting and self._pool.free:
            job = self._waiting.popleft()
            self._running[self._pool.begin(dataclasses.asdict(job))] = job
        number, said = self._pool.answer() or (0, None)
        if said is None:
            return None
        job = self._running.pop(number)
        if "error" in said:
            raise RunError(f"{job.cell} on {job.task} failed: {said['error']}")
        return job, Outcome(**said["outcome"])
