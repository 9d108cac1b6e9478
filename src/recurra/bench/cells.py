"""Cells at equal parameters on the same tasks: the same data, steps and choice of learning rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from recurra.bench.measure import costs
from recurra.bench.network import LAYERS, STREAM, TaskNetwork, parameters_of, widths
from recurra.bench.result import RATES, Entry, described, row
from recurra.bench.tasks import TASKS
from recurra.bench.tasks.base import Task
from recurra.bench.trial import CLIP_NORM, Job, Outcome, judged_batches
from recurra.bench.verdict import verdict
from recurra.bench.workers import Workers
from recurra.machine import usable_cores
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
MOST_MINUTES = 25.0
"""What the full budget may take; on a slower machine every training is cut alike."""
UPDATES = 1.2
"""A step of training in forward and backward passes alone."""
FORWARD = 0.4
"""A batch that is judged, in steps that also go backward."""
START_SECONDS = 4.0
"""Of the workers."""
LEAST_STEPS = 5


class BenchOptions(BaseModel):
    """What is compared, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: tuple[str, ...] = Field(DEFAULT_CELLS, min_length=1, description="names or module:Name")
    tasks: tuple[str, ...] = Field(tuple(TASKS), min_length=1, description="names or module:Name")
    minutes: float | None = Field(
        None, gt=0, le=100_000, description="what all takes, by measured speed; the full budget"
    )
    seed: int = Field(1, description="of the first trial; the next seeds follow")
    seeds: int = Field(2, ge=1, le=100, description="trials at the learning rate that was chosen")
    workers: int | None = Field(
        None, ge=0, le=1024, description="trials side by side; one for each core"
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """All is sized and timed, which took `spent` seconds: trainings come.

    So many, for about so many seconds, with a share of the steps of the full budget.
    """

    trials: int
    seconds: float
    share: float
    spent: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A training is done, the `done`th of `trials`."""

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

    Each cell learns each task at three learning rates with the first seed; the rate with the
    lowest validation loss is taken for the other seeds. The test split decides nothing.

    Args:
        options: what is compared.
        should_stop: asked now and then; what is finished by then is returned.

    Raises:
        ConfigError: a cell or task is not known, or a cell cannot be sized.
        RunError: a trial failed.
    """
    begun = time.perf_counter()
    tasks: dict[str, Task] = {name: TASKS[name]() for name in dict.fromkeys(options.tasks)}
    entries: dict[tuple[str, str], Entry] = {}
    for name, task in worked_on(tasks.items(), "sizing and timing", "tasks"):
        if not should_stop():
            entries |= {(each.cell, name): each for each in _measured(name, task, options)}
    count = usable_cores() if options.workers is None else options.workers
    judged = {name: judged_batches(task) for name, task in tasks.items()}
    spent = time.perf_counter() - begun
    share = _share(options, *_seconds(entries.values(), judged, count), spent)
    for entry in entries.values():
        entry.steps = _steps(tasks[entry.task], share)
    trials = sum(entry.trials for entry in entries.values())
    yield Planned(trials, sum(_seconds(entries.values(), judged, count)), share, spent)
    with Workers(count, should_stop) as workers:
        yield from _tried(entries, workers)
    rows = [row(entry, tasks[entry.task]) for entry in entries.values() if entry.done]
    shown = [described(name, task, rows, _steps(task, share)) for name, task in tasks.items()]
    yield Compared(
        {
            **_facts(options, share),
            "finished": len(rows) == len(tasks) * len(set(options.cells)),
            "seconds": time.perf_counter() - begun,
            "tasks": shown,
            "results": rows,
            "verdict": verdict(shown, rows),
        }
    )


def _measured(name: str, task: Task, options: BenchOptions) -> list[Entry]:
    """Return every cell at its width, with what it costs."""
    sized = {cell: widths(cell, task) for cell in dict.fromkeys(options.cells)}
    networks = {cell: TaskNetwork(cell, task, sized[cell], options.seed) for cell in sized}
    measured = costs(networks, task, task.batch(options.seed, 0, 0), ROUNDS)
    seeds = range(options.seed, options.seed + options.seeds)
    return [
        Entry(cell, name, sized[cell], parameters_of(network), measured[cell], task.steps, seeds)
        for cell, network in networks.items()
    ]


def _share(options: BenchOptions, full: float, judging: float, spent: float) -> float:
    """Return the share of the full budget of steps that fits the minutes."""
    given = 60 * (options.minutes or MOST_MINUTES)
    left = max(given / 2, given - spent) - judging
    share = max(0.0, left) / full if full else 1.0
    return share if options.minutes else min(1.0, share)


def _steps(task: Task, share: float) -> int:
    return max(LEAST_STEPS, round(task.steps * share))


def _seconds(
    entries: Iterable[Entry], judged: Mapping[str, float], workers: int
) -> tuple[float, float]:
    """Return how long all trainings take: their steps, and what does not shrink with them."""
    steps = judging = 0.0
    for each in entries:
        seconds = each.trials * each.costs.seconds_alone / max(1, workers)
        steps += UPDATES * seconds * each.steps
        judging += FORWARD * seconds * judged[each.task]
    return steps, judging + (START_SECONDS if workers else 0.0)


def _tried(entries: dict[tuple[str, str], Entry], workers: Workers) -> Iterator[Tried]:
    for entry in entries.values():
        for rate in RATES:
            workers.add(entry.job(rate, entry.seeds[0]))
    trials = sum(each.trials for each in entries.values())
    for done, (job, outcome) in enumerate(workers.outcomes(), start=1):
        for chosen in entries[job.cell, job.task].add(job, outcome):
            workers.add(chosen, soon=True)
        yield Tried(job, outcome, done, trials)


def _facts(options: BenchOptions, share: float) -> dict[str, Any]:
    return {
        "bench": "cells",
        "cells": list(dict.fromkeys(options.cells)),
        "seed": options.seed,
        "seeds": options.seeds,
        "budget": share,
        "optimizer": f"Adam, cosine, gradients clipped at {CLIP_NORM:g}",
        "learning_rates": list(RATES),
        "network": f"{LAYERS} layers of the cell between linear maps of {STREAM} units",
        "threads": torch.get_num_threads(),
    }
