"""Cells at equal parameters on the same tasks: the same data, the same steps, the same seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field, field_validator

from recurra.bench.budget import MOST_MINUTES, BudgetOptions, Clock, load, set_steps, share_of
from recurra.bench.measure import costs
from recurra.bench.network import LAYERS, STREAM, TaskNetwork, parameters_of, state_numbers, widths
from recurra.bench.rates import RATES
from recurra.bench.result import Entry, Sized, described, equal_row, row
from recurra.bench.tasks import COMPARED
from recurra.bench.tasks.base import Task
from recurra.bench.trial import CLIP_NORM, Job, Outcome, judged_batches, task_of, training
from recurra.bench.verdict import verdict
from recurra.bench.workers import Workers
from recurra.errors import ConfigError
from recurra.learning.written import count_of
from recurra.machine import usable_cores
from recurra.nn.make import require_cell
from recurra.work import worked_on

__all__ = ["DEFAULT_CELLS", "BenchOptions", "Compared", "Planned", "Tried", "compare_cells"]

DEFAULT_CELLS = (
    "lstm",
    "gru",
    "rnn",
    "peephole_lstm",
    "layer_norm_lstm",
    "mlstm",
    "min_gru",
    "lru",
)
"""The classic ones, two gated alike, and three that the years after 2020 brought."""
ROUNDS = 7
"""Timings of each cell."""


class BenchOptions(BudgetOptions):
    """What is compared, and for how long."""

    cells: tuple[str, ...] = Field(
        DEFAULT_CELLS,
        min_length=1,
        description="names, module:Name or module:function, with options as mlstm(num_heads=4)",
    )
    tasks: tuple[str, ...] = Field(COMPARED, min_length=1, description="names or module:Name")
    rates: tuple[float, ...] = Field(
        RATES, min_length=1, description="of learning, tried first; they widen from there"
    )
    parameters: int | None = Field(
        None, ge=1, le=10**12, description="of every network, as 500_000 or 500k; each task's own"
    )
    length: int | None = Field(
        None, ge=1, le=10**6, description="steps of a sequence, where a task's are not fixed"
    )
    seeds: int = Field(2, ge=1, le=100, description="trials at the learning rate that was chosen")

    @field_validator("rates")
    @classmethod
    def _rising(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < rate <= 100 for rate in given):
            raise ValueError("must be, above 0 and at most 100 each")
        return tuple(sorted(set(given)))

    @field_validator("parameters", mode="before")
    @classmethod
    def _counted(cls, given: Any) -> Any:
        try:
            return count_of(given) if isinstance(given, str) else given
        except ConfigError:
            return given  # which is no whole number, as is said of any option


@dataclass(frozen=True, slots=True)
class Planned:
    """All is sized and timed, which took `spent` seconds: trainings come.

    So many at the least, for about so many seconds, with a share of the steps of the full budget;
    None: with the steps that were given.
    """

    trials: int
    seconds: float
    share: float | None
    spent: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A training is done, the `done`th of the `trials` that are known of by now."""

    job: Job
    outcome: Outcome
    done: int
    trials: int


@dataclass(frozen=True, slots=True)
class Compared:
    """The end: everything as one JSON object; what was not finished is not in it."""

    result: dict[str, Any]


def compare_cells(
    options: BenchOptions, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Planned | Tried | Compared]:
    """Size, time and train every cell on every task, and yield what happens.

    Each cell learns each task at some learning rates with the first seed. Where the one with the
    lowest validation loss is at an end of them, the next one outward is tried too. The best is
    taken for the other seeds, and for trainings that take as many seconds as the median cell's.
    The test split decides nothing.

    Where the steps are given, all but times and the steps at equal seconds is the same to the bit
    for any number of workers.

    Args:
        options: what is compared.
        should_stop: asked now and then; what is finished by then is returned.

    Raises:
        ConfigError: a cell or task is not known, a cell cannot be sized, or both minutes and steps
            are given.
        RunError: a trial failed.
    """
    begun = time.perf_counter()
    if options.minutes and options.steps:
        raise ConfigError("minutes and steps are given: the minutes choose the steps, give one")
    for cell in options.cells:
        require_cell(cell)
    tasks = {name: _task(name, options) for name in dict.fromkeys(options.tasks)}
    entries: dict[tuple[str, str], Entry] = {}
    for name, task in worked_on(tasks.items(), "sizing and timing", "tasks"):
        if not should_stop():
            entries |= {(each.cell, name): each for each in _measured(name, task, options)}
    count = usable_cores() if options.workers is None else options.workers
    planned, clock = _planned(options, tasks, entries, count, begun)
    yield planned
    with Workers(count, lambda: should_stop() or clock.is_over()) as workers:
        yield from _Trials(entries, workers, clock).run(len(set(options.cells)) > 1)
    out_of_time = clock.is_over() and not all(entry.done for entry in entries.values())
    result = _result(options, tasks, entries)
    facts = _facts(options, planned.share)
    seconds = time.perf_counter() - begun
    yield Compared({**facts, "out_of_time": out_of_time, "seconds": seconds, **result})


def _task(name: str, options: BenchOptions) -> Task:
    task = task_of(name, options.length)
    if options.parameters:
        task.parameters = options.parameters
    return task


def _measured(name: str, task: Task, options: BenchOptions) -> list[Entry]:
    """Return every cell at its width, with what it costs."""
    sized = {cell: widths(cell, task) for cell in dict.fromkeys(options.cells)}
    networks = {cell: TaskNetwork(cell, task, sized[cell], options.seed) for cell in sized}
    alike = training(Job("", name, (), options.rates[0], options.seed, task.steps))
    batch = task.batch(options.seed, 0, 0)
    measured = costs(networks, task, batch, ROUNDS, alike)
    seeds = range(options.seed, options.seed + options.seeds)
    found = [
        Sized(
            cell,
            name,
            sized[cell],
            parameters_of(network),
            state_numbers(network),
            measured[cell],
            options.length,
        )
        for cell, network in networks.items()
    ]
    return [Entry(each, seeds, options.rates) for each in found]


def _planned(
    options: BenchOptions,
    tasks: Mapping[str, Task],
    entries: Mapping[tuple[str, str], Entry],
    count: int,
    begun: float,
) -> tuple[Planned, Clock]:
    """Set the steps of all trainings, by what they cost and the minutes."""
    ours = entries.values()
    judged = {name: judged_batches(task) for name, task in tasks.items()}
    spent = time.perf_counter() - begun
    share = None
    if options.steps is None:
        set_steps(ours, tasks, 1.0)
        share = share_of(options.minutes, load(ours, judged, count), spent)
    set_steps(ours, tasks, options.steps or share or 0.0)
    loaded = load(ours, judged, count)
    seconds = loaded.steps + loaded.fixed
    given = None if share is None else 60 * (options.minutes or MOST_MINUTES)
    trials = sum(entry.trials for entry in ours)
    clock = Clock(given, begun, judged, count, seconds)
    return Planned(trials, seconds, share, spent), clock


class _Trials:
    """Hands trainings out, the next as those before it tell.

    Args:
        entries: cells on tasks.
        workers: carry them out.
        clock: tells what there is time for.
    """

    def __init__(
        self, entries: Mapping[tuple[str, str], Entry], workers: Workers, clock: Clock
    ) -> None:
        self.entries = entries
        self.workers = workers
        self.clock = clock
        self.done = 0
        self.trials = sum(entry.trials for entry in entries.values())

    def run(self, again: bool) -> Iterator[Tried]:
        """Yield every training: those of the same steps, then those of the same seconds.

        Args:
            again: whether there are those of the same seconds.
        """
        for entry in self.entries.values():
            for rate in entry.rates:
                self.workers.add(entry.job(rate, entry.seeds[0]))
        yield from self._outcomes()
        if not again or not all(entry.done for entry in self.entries.values()):
            return
        taken = 0.0
        for name in dict.fromkeys(entry.task for entry in self.entries.values()):
            ours = [entry for entry in self.entries.values() if entry.task == name]
            jobs = [(entry, job) for entry in ours for job in entry.again()]
            taken += sum(self.clock.seconds(entry, job.steps) for entry, job in jobs)
            if not self.clock.has_room(taken):
                break
            self.trials += len(jobs)
            for _, job in jobs:
                self.workers.add(job)
        yield from self._outcomes()

    def _outcomes(self) -> Iterator[Tried]:
        for job, outcome in self.workers.outcomes():
            entry = self.entries[job.cell, job.task]
            self.clock.note(entry, job, outcome)
            before = entry.trials
            for chosen in entry.add(job, outcome, lambda e=entry: self._may_widen(e)):  # type: ignore[misc]
                self.workers.add(chosen, soon=True)
            self.done += 1
            self.trials += entry.trials - before
            yield Tried(job, outcome, self.done, self.trials)

    def _may_widen(self, entry: Entry) -> bool:
        """Return whether there is time for one rate more, and for all that must come."""
        ours = self.entries.values()
        must = sum(each.waiting * self.clock.seconds(each, each.steps) for each in ours)
        return self.clock.has_room(must + self.clock.seconds(entry, entry.steps))


def _result(
    options: BenchOptions,
    tasks: Mapping[str, Task],
    entries: Mapping[tuple[str, str], Entry],
) -> dict[str, Any]:
    rows = [row(entry, tasks[entry.task]) for entry in entries.values() if entry.done]
    again = [equal for name in tasks for equal in _equal(name, entries)]
    shown = []
    for name, task in tasks.items():
        ours = [each["train_seconds"] for each in again if each["task"] == name]
        taken = [each for each in ours if each is not None]
        steps = next((each.steps for each in entries.values() if each.task == name), 0)
        equal = statistics.median(taken) if taken else None
        shown.append(described(name, task, rows, steps, equal))
    return {
        "finished": len(rows) == len(tasks) * len(set(options.cells)),
        "tasks": shown,
        "results": rows,
        "equal_seconds": again,
        "verdict": verdict(shown, rows, again),
    }


def _equal(name: str, entries: Mapping[tuple[str, str], Entry]) -> list[dict[str, Any]]:
    """Return a task's rows at equal seconds; none unless every cell has one."""
    ours = [entry for entry in entries.values() if entry.task == name]
    if any(len(entry.equal) < len(entry.seeds) for entry in ours):
        return []
    return [equal_row(entry) for entry in ours]


def _facts(options: BenchOptions, share: float | None) -> dict[str, Any]:
    return {
        "bench": "cells",
        "cells": list(dict.fromkeys(options.cells)),
        "seed": options.seed,
        "seeds": options.seeds,
        "budget": share,
        "steps": options.steps,
        "parameters": options.parameters,
        "length": options.length,
        "optimizer": f"Adam, cosine, gradients clipped at {CLIP_NORM:g}",
        "learning_rates": list(options.rates),
        "network": f"{LAYERS} layers of the cell between linear maps of {STREAM} units",
        "threads": torch.get_num_threads(),
    }
