"""Processes of one thread each that carry out runs side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from recurra.processes.pool import Pool

__all__ = ["Job", "Workers"]

STOP_SECONDS = 15.0
"""How long runs may take to save what they have; then they are ended as they are."""


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
        self._pool = Pool("recurra.tune.worker", count)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)

    def answers(
        self, jobs: Iterable[Job], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Yield what is told of each run; the last of one is its report, its stop or its error.

        Args:
            jobs: in the order in which they are begun.
            should_stop: asked now and then; the runs under way are then saved, and no more begun.
        """
        waiting, begun = deque(jobs), dict[int, Job]()
        until: float | None = None
        while (waiting and until is None) or self._pool.busy:
            if until is None and should_stop():
                until = time.monotonic() + STOP_SECONDS
                self._pool.stop()
            if until is not None and time.monotonic() > until:
                return
            while waiting and until is None and self._pool.free:
                job = waiting.popleft()
                begun[self._pool.begin(asdict(job))] = job
            number, said = self._pool.answer() or (0, None)
            if said is not None:
                yield begun[number], said
