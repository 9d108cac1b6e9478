"""What a comparison of cells found, as one JSON object."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recurra.bench.measure import Costs
from recurra.bench.tasks.base import Metrics, Task
from recurra.bench.trial import Job, Outcome

__all__ = ["RATES", "Entry", "described", "row"]

RATES = (0.001, 0.003, 0.01)
"""Learning rates that every cell tries on every task."""


@dataclass
class Entry:
    """A cell on a task.

    Args:
        cell: a name of CELLS, or module:Name.
        task: a name of TASKS, or module:Name.
        widths: of the layers.
        parameters: of the network.
        costs: as measured.
        steps: of each training.
        seeds: of the trials at the rate that is chosen; the first chooses it.
        outcomes: learning rate and seed -> what came of it.
    """

    cell: str
    task: str
    widths: tuple[int, ...]
    parameters: int
    costs: Costs
    steps: int
    seeds: Sequence[int]
    outcomes: dict[tuple[float, int], Outcome] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        """How many trainings there are to be."""
        return len(RATES) + len(self.seeds) - 1

    @property
    def done(self) -> bool:
        """Whether every training is."""
        return len(self.outcomes) == self.trials

    def job(self, rate: float, seed: int) -> Job:
        """Return one of its trainings.

        Args:
            rate: of learning.
            seed: of weights and batches.
        """
        return Job(self.cell, self.task, self.widths, rate, seed, self.steps)

    def add(self, job: Job, outcome: Outcome) -> list[Job]:
        """Note what came of a training; return those that can be chosen now.

        Args:
            job: which.
            outcome: of it.
        """
        self.outcomes[job.learning_rate, job.seed] = outcome
        if len(self.outcomes) != len(RATES):
            return []
        return [self.job(self.rate, seed) for seed in self.seeds[1:]]

    @property
    def rate(self) -> float:
        """The learning rate with the lowest validation loss; of equals the lowest."""

        def loss(rate: float) -> float:
            valid = self.outcomes[rate, self.seeds[0]].valid
            return math.inf if valid is None else valid["loss"]

        return min(RATES, key=loss)


def row(entry: Entry, task: Task) -> dict[str, Any]:
    """Return what was found of a cell on a task.

    Args:
        entry: finished.
        task: its task.
    """
    found = [entry.outcomes[entry.rate, seed] for seed in entry.seeds]
    tried = {f"{each:g}": entry.outcomes[each, entry.seeds[0]].valid for each in RATES}
    mean, deviation = _summary([each.test for each in found])
    costs = entry.costs
    return {
        "cell": entry.cell,
        "task": entry.task,
        "widths": list(entry.widths),
        "parameters": entry.parameters,
        "learning_rate": entry.rate,
        "learning_rates": {name: valid and valid["loss"] for name, valid in tried.items()},
        "seeds": [
            {"seed": seed, "valid": each.valid, "test": each.test, "seconds": each.seconds}
            for seed, each in zip(entry.seeds, found)
        ],
        "test": mean,
        "deviation": deviation,
        "seconds_per_step": costs.seconds,
        "tokens_per_second": task.batch_size * task.length / costs.seconds,
        "one_step_microseconds": 1e6 * costs.step_seconds,
        "kept_bytes": costs.kept_bytes,
        "kernel": costs.kernel,
    }


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
    name: str, task: Task, rows: Sequence[Mapping[str, Any]], steps: int
) -> dict[str, Any]:
    """Return what a task is, and its baselines where a cell finished it.

    Args:
        name: of the task.
        task: itself.
        rows: of the result.
        steps: of each training.
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
        "parameters": task.parameters,
        "baselines": task.baselines() if ours else {},
    }
