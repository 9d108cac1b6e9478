"""What is planned before a training, and kept in its run: what minutes become, and threads.

Minutes become steps, validations, and what there is no time for; sizes and cores become threads.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from recurra.learning.config import RunConfig
from recurra.learning.loop import Learner, Training
from recurra.learning.options import TrainOptions, is_own
from recurra.machine import worth_threads
from recurra.work import working

__all__ = [
    "BUDGET",
    "Costs",
    "attempted",
    "measure_seconds_per_step",
    "seconds_after",
    "seconds_each",
    "timed",
    "with_steps",
    "with_threads",
    "without_room",
]

BUDGET = 0.95
"""The share of `minutes` that is planned: a shared machine may slow down."""

SIZING = 0.25
"""The share of `minutes` that measuring a step may take; what it takes more, training pays for."""

VALIDATING = 0.5
"""The share of `minutes` that validations may take beside; else there are fewer of them."""

Found = TypeVar("Found")
Config = TypeVar("Config", bound=RunConfig)
Costs = Iterable[tuple[str, Callable[[], float]]]
"""Names of what comes after the training, the dearest to the reader first, and what measures the
seconds of each."""

LEAST = 45.0
"""Seconds that what comes after the shortest training may take."""

PLANNED = 0.8
"""Their share that is planned with: a shared machine may slow down."""

MEASURING, LEAST_MEASURING = 0.25, 3.0
"""The share of the minutes, or the seconds, that measuring may take before the rest is left out."""

LONGEST_WHY = 160

ENOUGH = 0.05
"""Seconds that tell how long the rest takes."""


def seconds_after(minutes: float) -> float:
    """Return how many seconds what comes after a training may take.

    Args:
        minutes: of the training.

    Example:
        >>> seconds_after(0.2), seconds_after(10)
        (45.0, 600.0)
    """
    return max(LEAST, 60.0 * minutes)


def without_room(costs: Costs, minutes: float) -> dict[str, str]:
    """Return the name of each thing for which no time is left once those before it are done; why.

    Args:
        costs: in their order.
        minutes: of the training.

    Example:
        >>> costs = {"baselines": 5.0, "dynamic": 300.0, "cache": 9.0}
        >>> without_room([(name, partial(float, each)) for name, each in costs.items()], 0.2)
        {'dynamic': 'would take 300 s, 31 s were left'}
    """
    begun, limit = time.monotonic(), seconds_after(minutes)
    spent, out = 0.0, {}
    for name, measure in costs:
        if time.monotonic() - begun > max(MEASURING * 60 * minutes, LEAST_MEASURING):
            out[name] = "no time was left to measure how long it takes"
            continue
        seconds = measure()
        if seconds > (left := PLANNED * limit - spent):
            out[name] = f"would take {seconds:,.0f} s, {max(0.0, left):,.0f} s were left"
        else:
            spent += seconds
    return out


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes.

    Args:
        work: is done once.

    Example:
        >>> timed(lambda: time.sleep(0.01)) >= 0.01
        True
    """
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def seconds_each(work: Callable[[int], object], most: int, least: int = 16) -> float:
    """Return the seconds that each of many things takes, told by as few of them as tell it.

    Args:
        work: does so many of them.
        most: how many there are.
        least: how many are tried first.

    Example:
        >>> seconds_each(lambda count: time.sleep(count / 1000), most=1000) >= 0.001
        True
    """
    count = max(1, min(least, most))
    work(max(1, count // 8))  # compiles, and fills caches
    while (seconds := timed(partial(work, count))) < ENOUGH and count < most:
        count = min(4 * count, most)
    return seconds / count


def attempted(
    name: str, make: Callable[[], Found], left_out: dict[str, str] | None = None
) -> Found | None:
    """Return what stands beside a result; None where it fails, which ends no run but is named.

    Args:
        name: of what is made.
        make: makes it.
        left_out: is told of it: name -> why; what is named there already is not tried.

    Example:
        >>> said = {}
        >>> attempted("halves", lambda: 1 / 0, said) is None, said
        (True, {'halves': 'failed with ZeroDivisionError: division by zero'})
    """
    if left_out is not None and name in left_out:
        return None
    try:
        return make()
    except Exception as error:
        told = " ".join(f"failed with {type(error).__name__}: {error}".split())
        if left_out is not None:
            left_out[name] = told[:LONGEST_WHY].rstrip(": ")
        return None


def with_steps(
    options: TrainOptions,
    learner: Learner,
    costs: Callable[[], Costs] = tuple,
    validation: Callable[[], float] | None = None,
    spent: float = 0.0,
) -> TrainOptions:
    """Return options whose `minutes` have become steps, by a short measurement.

    Frozen with them is what there is no time for afterwards, and how often there is time to
    validate. The measuring counts within the minutes, half of which are training all the same.

    Args:
        options: returned as they are where they name no minutes, or where all is frozen.
        learner: the task; its model is left as it was.
        costs: tells what comes after the training; asked where nothing is frozen yet.
        validation: tells the seconds that one takes; by default it is done once.
        spent: seconds that sizing took before.

    Raises:
        ConfigError: what the options name of someone's own does not fit.
    """
    if options.minutes is not None:
        options = _with_minutes(options, learner, costs, validation, spent)
    own = is_own(options.optimizer) or options.optimizer_options or is_own(options.schedule)
    if own or options.loss or options.regulariser:
        Training(learner, options, seed=0)  # what does not fit is refused by now
    return options


def _with_minutes(
    options: TrainOptions,
    learner: Learner,
    costs: Callable[[], Costs],
    validation: Callable[[], float] | None,
    spent: float,
) -> TrainOptions:
    assert options.minutes is not None
    begun, planned = time.monotonic() - spent, options.minutes * 60
    update: dict[str, Any] = {}
    if options.left_out is None:
        update["left_out"] = without_room(costs(), options.minutes)
    if options.steps is None:
        seconds = measure_seconds_per_step(learner, options)
        each = validation() if validation else _validating(learner)
        left = planned - (time.monotonic() - begun)
        steps = max(1, int(max(min(planned * BUDGET, left), planned / 2) / seconds))
        count = options.validations
        if count is None:
            count = max(1, int(steps / learner.steps_per_epoch / options.validate_epochs))
        if count > 1 and count * each > VALIDATING * planned:
            update["validations"] = max(1, int(VALIDATING * planned / each))
        update["steps"] = steps
    return options.model_copy(update=update) if update else options


def _validating(learner: Learner) -> float:
    learner.model.eval()
    seconds = timed(learner.validate)
    learner.model.train()
    return seconds


def measure_seconds_per_step(
    learner: Learner, options: TrainOptions, warmup: int = 5, least_seconds: float = 2.0
) -> float:
    """Return what one training step costs here, leaving the model as it was.

    Args:
        learner: the task.
        options: its optimizer and clipping; their minutes bound how long is measured.
        warmup: steps that are not counted.
        least_seconds: how long to measure, in seconds.
    """
    kept = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    quiet = options.model_copy(
        update={"learning_rate": 1e-12, "schedule": "constant", "schedule_options": {}}
    )
    training = Training(learner, quiet, seed=0)
    if options.average != "none":
        training.average.begin()
    most = math.inf if options.minutes is None else SIZING * 60 * options.minutes
    least_seconds = min(least_seconds, most / 5)
    times: list[float] = []
    with working("measuring the speed of learning", unit="steps") as tell:
        while len(times) < warmup + 3 or sum(times[warmup:]) < least_seconds:
            before = training.seconds
            training.advance()
            times.append(training.seconds - before)
            tell(len(times))
            if len(times) > 2 and sum(times[1:]) > most:
                break
    learner.model.load_state_dict(kept)
    return statistics.median(times[warmup:] or times[1:])


def with_threads(config: Config, network: nn.Module, positions: int, looked_up: int = 0) -> Config:
    """Return a config that says how many threads its run takes, and have torch take them.

    Args:
        config: the run's; returned as it is where it says so already.
        network: whose weights each position of a batch is multiplied with.
        positions: of a batch: rows times steps.
        looked_up: how many of the weights are looked up by row, and multiplied with nothing.

    Example:
        >>> threads = torch.get_num_threads()
        >>> with_threads(RunConfig(preset="mine", task="own"), nn.Linear(3, 5), 120).threads
        1
        >>> torch.set_num_threads(threads)
    """
    if config.threads is not None:
        return config
    weights = sum(each.numel() for each in network.parameters()) - looked_up
    threads = worth_threads(weights * positions)
    torch.set_num_threads(threads)
    return config.model_copy(update={"threads": threads})
