"""What minutes become, frozen into a run: steps, validations, and what there is no time for."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

from recurra.learning.allowance import Costs, timed, without_room
from recurra.learning.loop import Learner, Training
from recurra.learning.options import TrainOptions
from recurra.work import working

__all__ = ["BUDGET", "measure_seconds_per_step", "with_steps"]

BUDGET = 0.95
"""The share of `minutes` that is planned: a shared machine may slow down."""

SIZING = 0.25
"""The share of `minutes` that measuring a step may take; what it takes more, training pays for."""

VALIDATING = 0.5
"""The share of `minutes` that validations may take beside; else there are fewer of them."""


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
    """
    if options.minutes is None:
        return options
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
    quiet = options.model_copy(update={"learning_rate": 1e-12, "schedule": "constant"})
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
