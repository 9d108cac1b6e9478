"""How long all may take: the steps of each training, and later what there is time left for."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from recurra.bench.result import Entry
from recurra.bench.tasks.base import Task
from recurra.bench.trial import Job, Outcome

__all__ = [
    "FORWARD",
    "LEAST_STEPS",
    "MOST_MINUTES",
    "BudgetOptions",
    "Clock",
    "Load",
    "load",
    "set_steps",
    "share_of",
]

MOST_MINUTES = 40.0
"""What the full budget may take; on a slower machine every training is cut alike."""
WIDENED = 1.5
"""Rates that a cell tries on a task beyond the first ones; for more there may be no time."""
TRAINING = 1.1
"""A step of training in steps timed alone: batches are made, workers share the memory."""
FORWARD = 0.4
"""A batch that is judged, in steps that also go backward."""
START_SECONDS = 4.0
"""Of the workers."""
LEAST_STEPS = 5
OVER = 1.12
"""What all may take at the most, as a share of what is given."""


class BudgetOptions(BaseModel):
    """How long all takes, how often each is trained, and on how many workers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float | None = Field(
        None, gt=0, le=100_000, description="what all takes, by measured speed; the full budget"
    )
    steps: int | None = Field(
        None, ge=1, le=10**9, description="of each training, however long all takes then"
    )
    seed: int = Field(1, description="of the first trial; the next seeds follow")
    seeds: int = Field(ge=1, le=100, description="trainings of each")
    workers: int | None = Field(
        None, ge=0, le=1024, description="trainings side by side; one for each core"
    )


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds that all trainings take, which shrink with their steps, and those that do not."""

    steps: float
    fixed: float


def load(entries: Iterable[Entry], judged: Mapping[str, float], workers: int) -> Load:
    """Return how long all takes: each rate, rates beyond them, other seeds, and equal seconds.

    Args:
        entries: with their steps.
        judged: task -> batches' worth that each training is judged on.
        workers: how many train side by side; 0 trains here.
    """
    steps = fixed = 0.0
    entries = list(entries)
    for entry in entries:
        alone = entry.costs.seconds_alone
        trials = len(entry.rates) + WIDENED + len(entry.seeds) - 1
        again = 0 if _is_alone(entry, entries) else len(entry.seeds)
        steps += TRAINING * (trials * entry.steps + again * entry.equal_steps) * alone
        fixed += FORWARD * judged[entry.task] * (trials + again) * alone
    side = max(1, workers)
    return Load(steps / side, fixed / side + (START_SECONDS if workers else 0.0))


def share_of(minutes: float | None, loaded: Load, spent: float) -> float:
    """Return the share of the full budget of steps that fits the minutes.

    Args:
        minutes: given; the full budget is taken where they are not, and never exceeded.
        loaded: by all trainings at the full budget.
        spent: seconds that sizing and timing took; half of the time is training all the same.
    """
    given = 60 * (minutes or MOST_MINUTES)
    left = max(given / 2, given - spent) - loaded.fixed
    share = max(0.0, left) / loaded.steps if loaded.steps else 1.0
    return share if minutes else min(1.0, share)


def set_steps(entries: Iterable[Entry], tasks: Mapping[str, Task], steps: int | float) -> None:
    """Set the steps of each training, and those that take as long as the median cell's.

    Args:
        entries: cells on tasks.
        tasks: by name.
        steps: of every training, or a share of those of the full budget.
    """
    entries = list(entries)
    for entry in entries:
        full = tasks[entry.task].steps
        entry.steps = steps if isinstance(steps, int) else max(LEAST_STEPS, round(full * steps))
    for entry in entries:
        fitting = entry.steps * _median(entry, entries) / entry.costs.least_alone
        entry.equal_steps = max(1, round(fitting))


def _median(entry: Entry, entries: Iterable[Entry]) -> float:
    ours = (each for each in entries if each.task == entry.task)
    return statistics.median(each.costs.least_alone for each in ours)


def _is_alone(entry: Entry, entries: Iterable[Entry]) -> bool:
    return all(each is entry or each.task != entry.task for each in entries)


class Clock:
    """Tells what there is time left for, by how long trainings take that are done.

    Args:
        seconds: that are given to all; None: any number.
        begun: when, by `now`.
        judged: task -> batches' worth that each training is judged on.
        workers: how many train side by side.
        planned: seconds that trainings are to take; where not even these fit, there is no end
            to them, and nothing beyond them is done.
        now: tells the time, in seconds.
    """

    def __init__(
        self,
        seconds: float | None,
        begun: float,
        judged: Mapping[str, float],
        workers: int,
        planned: float,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.now = now
        self.judged = judged
        self.workers = max(1, workers)
        self.end = math.inf if seconds is None else begun + seconds
        fits = now() + planned <= begun + OVER * (seconds or 0.0)
        self.most = begun + OVER * seconds if seconds is not None and fits else math.inf
        self._taken = self._planned = 0.0

    def note(self, entry: Entry, job: Job, outcome: Outcome) -> None:
        """Learn from a training how fast it goes.

        Args:
            entry: whose it is.
            job: which.
            outcome: of it.
        """
        if outcome.seconds is not None:
            self._taken += outcome.seconds
            self._planned += TRAINING * entry.costs.seconds_alone * job.steps

    def seconds(self, entry: Entry, steps: int) -> float:
        """Return how much of the time a training takes, judging and all.

        Args:
            entry: whose it is.
            steps: of it.
        """
        pace = self._taken / self._planned if self._planned else 1.0
        each = TRAINING * steps + FORWARD * self.judged[entry.task]
        return pace * each * entry.costs.seconds_alone / self.workers

    def has_room(self, seconds: float) -> bool:
        """Return whether so much time is left.

        Args:
            seconds: of all workers together.
        """
        return self.now() + seconds <= self.end

    def is_over(self) -> bool:
        """Return whether it takes too long, whatever is still to come."""
        return self.now() > self.most
