"""What an LSTM loses by each of its gates: words of a text, the same training for every variant.

H units.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field

from recurra.bench.budget import FORWARD, LEAST_STEPS, BudgetOptions
from recurra.bench.cells import Compared, Planned, Tried
from recurra.bench.gates.cell import SUMS, AblatedLSTMCell
from recurra.bench.gates.verdict import verdict
from recurra.bench.measure import costs
from recurra.bench.network import STREAM, TaskNetwork, made, parameters_of
from recurra.bench.tasks.base import Metrics, Task
from recurra.bench.trial import CLIP_NORM, Job, Outcome, judged_batches, task_of, training
from recurra.bench.workers import Workers
from recurra.errors import ConfigError
from recurra.machine import usable_cores

__all__ = ["GateOptions", "Variant", "compare_gates", "variants"]

HIDDEN = 64
"""H of the whole LSTM, and of all at the same width."""
RATE = 0.01
"""Of Adam, for every variant alike."""
STEPS, MINUTES = 2000, 10.0
"""Of each training, unless so many minutes would not do for them."""
TASK = "words"
ROUNDS = 3
OVERHEAD = 1.15
"""A step of training in steps timed alone: batches are made, workers share the memory."""


class GateOptions(BudgetOptions):
    """How long, at most 10 minutes where nothing is given, and how often."""

    seeds: int = Field(3, ge=1, le=100, description="trainings of each variant")


@dataclass
class Variant:
    """An LSTM with a part left out, at a width, and what came of it.

    Args:
        name: one of SUMS.
        at: the `"width"` of the whole LSTM, or as many `"parameters"`.
        width: H.
        parameters: of the network.
        outcomes: seed -> what came of it.
    """

    name: str
    at: Literal["width", "parameters"]
    width: int
    parameters: int
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def cell(self) -> str:
        """The cell, as it is written."""
        place = f"{AblatedLSTMCell.__module__}:{AblatedLSTMCell.__name__}"
        return f"{place}(variant={self.name})"

    def job(self, seed: int, steps: int) -> Job:
        """Return one of its trainings.

        Args:
            seed: of weights.
            steps: of the optimizer.
        """
        return Job(self.cell, TASK, (self.width,), RATE, seed, steps, keep="last")

    def network(self, task: Task, seed: int) -> TaskNetwork:
        """Return a fresh network of it.

        Args:
            task: gives the sizes.
            seed: of the weights.
        """
        return TaskNetwork(self.cell, task, (self.width,), seed)


def variants(task: Task) -> list[Variant]:
    """Return each variant at the width of the whole LSTM, and where that differs at its parameters.

    Args:
        task: gives the sizes of the rest of the network.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> [(each.name, each.at, each.width) for each in variants(Adding())][1:3]
        [('no_input_gate', 'width', 64), ('no_input_gate', 'parameters', 75)]
    """
    found = []
    whole = _layer("whole", HIDDEN)
    for name in SUMS:
        near = range(HIDDEN // 2, 2 * HIDDEN)
        equal = min(near, key=lambda width: abs(_layer(name, width) - whole))
        found.append(Variant(name, "width", HIDDEN, 0))
        if equal != HIDDEN:
            found.append(Variant(name, "parameters", equal, 0))
    for each in found:
        each.parameters = parameters_of(each.network(task, 1))
    return found


def _layer(name: str, width: int) -> int:
    """Return the parameters of a variant, and of the map from it to the stream."""
    with torch.device("meta"):  # which draws nothing
        cell = made(Variant(name, "width", width, 0).cell, width)
    return parameters_of(cell) + (width + 1) * STREAM


def compare_gates(
    options: GateOptions, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Planned | Tried | Compared]:
    """Train the LSTM with each of its parts left out, and yield what happens.

    All have the same network around them, the same text in the same order, steps and learning
    rate; a seed draws the weights. The weights after the last step are judged: validation
    chooses nothing. Where the steps are given, all but times is the same to the bit for any
    number of workers.

    Args:
        options: how long, and how often.
        should_stop: asked now and then; what is finished by then is returned.

    Raises:
        ConfigError: both minutes and steps are given.
        RunError: a training failed.

    Source: Greff et al. 2017, "LSTM: a search space odyssey", section IV.
    """
    begun = time.perf_counter()
    if options.minutes and options.steps:
        raise ConfigError("minutes and steps are given: the minutes choose the steps, give one")
    task = task_of(TASK)
    ours = variants(task)
    seeds = range(options.seed, options.seed + options.seeds)
    count = usable_cores() if options.workers is None else options.workers
    alone = _seconds_alone(ours, task, options.seed)
    fixed = FORWARD * judged_batches(task)
    steps = options.steps or _fitting(options, begun, alone, fixed, count)
    each = OVERHEAD * sum(alone) * len(seeds) / max(1, count)
    trials = len(ours) * len(seeds)
    share = None if options.steps else steps / STEPS
    yield Planned(trials, each * (steps + fixed), share, time.perf_counter() - begun)
    with Workers(count, should_stop) as workers:
        places = {each.job(seed, steps): each for seed in seeds for each in ours}
        for job in places:
            workers.add(job)
        for done, (job, outcome) in enumerate(workers.outcomes(), 1):
            places[job].outcomes[job.seed] = outcome
            yield Tried(job, outcome, done, trials)
    seconds = time.perf_counter() - begun
    found = _result(task, ours, seeds, steps)
    yield Compared({**_facts(options, steps), "seconds": seconds, **found})


def _seconds_alone(ours: Sequence[Variant], task: Task, seed: int) -> list[float]:
    """Return how long a step of each takes on one thread, the update and all."""
    networks = {f"{each.name} at {each.at}": each.network(task, seed) for each in ours}
    batch = task.batch(seed, 0, 0)
    found = costs(networks, task, batch, ROUNDS, training(ours[0].job(seed, STEPS)))
    return [each.seconds_alone for each in found.values()]


def _fitting(
    options: GateOptions, begun: float, alone: Sequence[float], fixed: float, count: int
) -> int:
    """Return the steps that fit the minutes, at most all."""
    left = 60 * (options.minutes or MINUTES) - (time.perf_counter() - begun)
    each = OVERHEAD * sum(alone) * options.seeds / max(1, count)
    fitting = int(left / each - fixed)
    return max(LEAST_STEPS, fitting if options.minutes else min(STEPS, fitting))


def _facts(options: GateOptions, steps: int) -> dict[str, Any]:
    return {
        "bench": "gates",
        "seed": options.seed,
        "seeds": options.seeds,
        "steps": steps,
        "learning_rate": RATE,
        "optimizer": f"Adam at {RATE:g}, cosine, gradients clipped at {CLIP_NORM:g}",
        "network": f"one layer of the cell between linear maps of {STREAM} units",
    }


def _result(
    task: Task, ours: Sequence[Variant], seeds: Sequence[int], steps: int
) -> dict[str, Any]:
    rows = [_row(each) for each in ours if each.outcomes]
    shown = {
        "name": TASK,
        "title": task.title,
        "metric": task.metric,
        "length": task.length,
        "batch_size": task.batch_size,
        "steps": steps,
        "full_steps": STEPS,
        "baselines": task.baselines() if rows else {},
    }
    finished = all(len(each.outcomes) == len(seeds) for each in ours)
    return {"finished": finished, "task": shown, "results": rows, "verdict": verdict(shown, rows)}


def _row(variant: Variant) -> dict[str, Any]:
    tests = [each.test for each in variant.outcomes.values()]
    seconds = [each.seconds for each in variant.outcomes.values() if each.seconds is not None]
    return {
        "variant": variant.name,
        "at": variant.at,
        "width": variant.width,
        "parameters": variant.parameters,
        "perplexity": _over(statistics.fmean, tests, 1),
        "deviation": _over(statistics.stdev, tests, 2),
        "seeds": [
            {"seed": seed, "test": each.test, "valid": each.valid}
            for seed, each in sorted(variant.outcomes.items())
        ],
        "train_seconds": statistics.fmean(seconds) if seconds else None,
    }


def _over(
    summary: Callable[[Sequence[float]], float], tests: Sequence[Metrics | None], least: int
) -> float | None:
    """Return a summary of the perplexities; None where one ran away, or there are too few."""
    values = [each["perplexity"] for each in tests if each is not None]
    return summary(values) if least <= len(values) == len(tests) else None
