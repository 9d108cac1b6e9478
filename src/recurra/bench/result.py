"""What a comparison of cells found, as one JSON object."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recurra.bench.measure import Costs
from recurra.bench.rates import neighbours, outward
from recurra.bench.tasks.base import Metrics, Task
from recurra.bench.trial import Job, Outcome

__all__ = ["LIMIT", "NO_TIME", "Entry", "Sized", "described", "equal_row", "row"]

LIMIT = "the limit"
NO_TIME = "no time left"
"""Why the best rate stands at an end of those that were tried."""


@dataclass(frozen=True)
class Sized:
    """A cell at its width for a task.

    Args:
        cell: as it was given.
        task: a name of TASKS, or module:Name.
        widths: of the layers.
        parameters: of the network.
        state_numbers: that a stream carries, in all layers.
        costs: as measured.
        length: of the sequences; the task's own.
    """

    cell: str
    task: str
    widths: tuple[int, ...]
    parameters: int
    state_numbers: int
    costs: Costs
    length: int | None = None


@dataclass
class Entry:
    """A cell on a task, and what comes of it.

    Args:
        sized: the cell.
        seeds: of the trials at the rate that is chosen; the first chooses it.
        rates: of learning, rising; they widen until the best is inside.
        steps: of each training.
        equal_steps: of each that takes as long as every other cell's.
        outcomes: learning rate and seed -> what came of it.
        equal: seed -> what came of it at equal seconds.
        edge: why the best rate is not inside, once it is chosen.
    """

    sized: Sized
    seeds: Sequence[int]
    rates: tuple[float, ...]
    steps: int = 0
    equal_steps: int = 0
    outcomes: dict[tuple[float, int], Outcome] = field(default_factory=dict)
    equal: dict[int, Outcome] = field(default_factory=dict)
    edge: str | None = None

    @property
    def cell(self) -> str:
        """The cell, as it was given."""
        return self.sized.cell

    @property
    def task(self) -> str:
        """The task, as it was given."""
        return self.sized.task

    @property
    def costs(self) -> Costs:
        """What a step costs."""
        return self.sized.costs

    @property
    def tried(self) -> bool:
        """Whether every rate is."""
        return all((rate, self.seeds[0]) in self.outcomes for rate in self.rates)

    @property
    def chosen(self) -> bool:
        """Whether the rate is: it is inside, or why not is known."""
        return self.tried and (self.edge is not None or not outward(self.rates, self.rate))

    @property
    def trials(self) -> int:
        """How many trainings of the same steps there are to be, as far as is known."""
        return len(self.rates) + len(self.seeds) - 1

    @property
    def waiting(self) -> int:
        """How many of them are not done."""
        return self.trials - len(self.outcomes)

    @property
    def done(self) -> bool:
        """Whether every one is."""
        return self.chosen and not self.waiting

    def job(self, rate: float, seed: int, steps: int | None = None) -> Job:
        """Return one of its trainings.

        Args:
            rate: of learning.
            seed: of weights and batches.
            steps: as many as every other cell has.
        """
        taken = self.steps if steps is None else steps
        ours = self.sized
        return Job(ours.cell, ours.task, ours.widths, rate, seed, taken, ours.length)

    def add(
        self, job: Job, outcome: Outcome, may_widen: Callable[[], bool] = lambda: True
    ) -> list[Job]:
        """Note what came of a training; return those that can be chosen now.

        Args:
            job: which.
            outcome: of it.
            may_widen: asked whether there is time for rates beyond those that were tried.
        """
        if job.steps != self.steps:
            self.equal[job.seed] = outcome
            return []
        known = self.chosen
        self.outcomes[job.learning_rate, job.seed] = outcome
        if known or not self.tried:
            return []
        further = outward(self.rates, self.rate)
        if further and may_widen():
            self.rates = tuple(sorted([*self.rates, *further]))
            return [self.job(rate, self.seeds[0]) for rate in further]
        if further:
            self.edge = NO_TIME
        elif self.rate in (self.rates[0], self.rates[-1]):
            self.edge = LIMIT
        return [self.job(self.rate, seed) for seed in self.seeds[1:]]

    def again(self) -> list[Job]:
        """Return its trainings at equal seconds; none where the steps are the same."""
        if self.equal_steps == self.steps:
            self.equal = {seed: self.outcomes[self.rate, seed] for seed in self.seeds}
            return []
        return [self.job(self.rate, seed, self.equal_steps) for seed in self.seeds]

    @property
    def rate(self) -> float:
        """The learning rate with the lowest validation loss; of equals the lowest."""

        def loss(rate: float) -> float:
            valid = self.outcomes[rate, self.seeds[0]].valid
            return math.inf if valid is None else valid["loss"]

        return min(self.rates, key=loss)


def row(entry: Entry, task: Task) -> dict[str, Any]:
    """Return what was found of a cell on a task.

    Args:
        entry: finished.
        task: its task.
    """
    found = {seed: entry.outcomes[entry.rate, seed] for seed in entry.seeds}
    tried = {f"{each:g}": entry.outcomes[each, entry.seeds[0]].valid for each in entry.rates}
    costs = entry.costs
    return {
        "cell": entry.cell,
        "task": entry.task,
        "widths": list(entry.sized.widths),
        "parameters": entry.sized.parameters,
        "state_numbers": entry.sized.state_numbers,
        "learning_rate": entry.rate,
        "learning_rates": {name: valid and valid["loss"] for name, valid in tried.items()},
        "edge": entry.edge,
        "as_good": _as_good(entry, task),
        "steps": entry.steps,
        **_found(found),
        "seconds_per_step": costs.seconds,
        "tokens_per_second": task.batch_size * task.length / costs.seconds,
        "one_step_microseconds": 1e6 * costs.step_seconds,
        "kept_bytes": costs.kept_bytes,
        "kernel": costs.kernel,
    }


def equal_row(entry: Entry) -> dict[str, Any]:
    """Return what was found of a cell on a task at equal seconds.

    Args:
        entry: trained so with every seed.
    """
    return {
        "cell": entry.cell,
        "task": entry.task,
        "learning_rate": entry.rate,
        "steps": entry.equal_steps,
        **_found({seed: entry.equal[seed] for seed in entry.seeds}),
    }


def _found(outcomes: Mapping[int, Outcome]) -> dict[str, Any]:
    mean, deviation = _summary([each.test for each in outcomes.values()])
    seconds = [each.seconds for each in outcomes.values() if each.seconds is not None]
    return {
        "seeds": [
            {"seed": seed, "valid": each.valid, "test": each.test, "seconds": each.seconds}
            for seed, each in outcomes.items()
        ],
        "test": mean,
        "deviation": deviation,
        "train_seconds": statistics.fmean(seconds) if seconds else None,
    }


def _as_good(entry: Entry, task: Task) -> list[float]:
    """Return the rates beside the best that the spread of seeds does not tell from it.

    Figures are those of validation and the first seed; the other rate's spread is taken to be the
    same.
    """
    valid = [entry.outcomes[entry.rate, seed].valid for seed in entry.seeds]
    _, deviation = _summary(valid)
    best = valid[0]
    if deviation is None or best is None:
        return []
    found = []
    for rate in neighbours(entry.rates, entry.rate):
        other = entry.outcomes[rate, entry.seeds[0]].valid
        if other is None:
            continue
        if abs(other[task.metric] - best[task.metric]) <= 2 * deviation[task.metric]:
            found.append(rate)
    return found


def _summary(found: Sequence[Metrics | None]) -> tuple[Metrics | None, Metrics | None]:
    """Return means and standard deviations; None where a trial ran away, or there is but one."""
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None, None
    columns = {name: [each[name] for each in known] for name in known[0]}
    mean = {name: statistics.fmean(column) for name, column in columns.items()}
    if len(known) < 2:
        return mean, None
    return mean, {name: statistics.stdev(column) for name, column in columns.items()}


def described(
    name: str,
    task: Task,
    rows: Sequence[Mapping[str, Any]],
    steps: int,
    equal_seconds: float | None = None,
) -> dict[str, Any]:
    """Return what a task is, and its baselines where a cell finished it.

    Args:
        name: of the task.
        task: itself.
        rows: of the result.
        steps: of each training.
        equal_seconds: of each training of the second table; None where there is none.
    """
    ours = any(row["task"] == name for row in rows)
    return {
        "name": name,
        "title": task.title,
        "metric": task.metric,
        "right": task.right,
        "better": task.better,
        "length": task.length,
        "batch_size": task.batch_size,
        "steps": steps,
        "full_steps": task.steps,
        "equal_seconds": equal_seconds,
        "parameters": task.parameters,
        "baselines": task.baselines() if ours else {},
    }
