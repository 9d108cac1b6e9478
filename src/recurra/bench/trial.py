"""One training of one cell on one task, at one learning rate and seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra.bench.network import TaskNetwork
from recurra.bench.tasks import TASKS
from recurra.bench.tasks.base import Batch, Metrics, Task
from recurra.errors import RunError
from recurra.learning.event import Finished
from recurra.learning.loop import learn
from recurra.learning.options import TrainOptions
from recurra.machine import on_threads
from recurra.nn.state import State, detach

__all__ = ["Job", "Outcome", "judged_batches", "run", "task_of", "training"]

VALIDATIONS = 4
"""Of a training; the weights of the best are kept."""
WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Args:
        cell: a name of CELLS, module:Name or module:function, with options or without.
        task: a name of TASKS, or module:Name.
        widths: of the layers.
        learning_rate: of Adam.
        seed: of weights and batches.
        steps: of the optimizer.
        length: of the sequences; the task's own.
        keep: `"best"` by validation, or the `"last"` weights, of which it chooses nothing.
    """

    cell: str
    task: str
    widths: tuple[int, ...]
    learning_rate: float
    seed: int
    steps: int
    length: int | None = None
    keep: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Args:
        valid: metrics of the validation split; of a training that ran away, none.
        test: metrics of the test split.
        seconds: of training; None with no metrics.
    """

    valid: Metrics | None
    test: Metrics | None
    seconds: float | None


def task_of(name: str, length: int | None = None) -> Task:
    """Return a task.

    Args:
        name: of TASKS, or module:Name.
        length: of its sequences; its own. Where it is fixed, it stays.

    Raises:
        ConfigError: no task is named so, or the length is too short for it.

    Example:
        >>> task_of("copying", 100).length, task_of("permuted_digits", 100).length
        (100, 64)
    """
    found: Task = TASKS[name]() if length is None else TASKS[name].of_length(length)
    return found


def training(job: Job) -> TrainOptions:
    """Return how a job is trained: as every other, but for the learning rate.

    Args:
        job: which.

    Example:
        >>> options = training(Job("gru", "adding", (4, 4), 0.003, seed=1, steps=200))
        >>> options.optimizer, options.schedule, options.warmup_steps
        ('adam', 'cosine', 10)
    """
    return TrainOptions(
        steps=job.steps,
        optimizer="adam",
        learning_rate=job.learning_rate,
        schedule="cosine",
        warmup_steps=round(WARM_UP * job.steps),
        clip_norm=CLIP_NORM,
        validations=min(VALIDATIONS, job.steps),
        keep=job.keep,
    )


def judged_batches(task: Task) -> float:
    """Return how many batches' worth of held-out data a training is judged on.

    Args:
        task: which.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> judged_batches(Adding())  # 1,024 sequences six times, in batches of 32
        192.0
    """
    steps = {
        split: sum(len(batch.x) * batch.x.shape[1] for batch in task.held_out(split))
        for split in ("valid", "test")
    }
    each = task.batch_size * task.length
    return ((VALIDATIONS + 1) * steps["valid"] + steps["test"]) / each


def run(job: Job, should_stop: Callable[[], bool] = lambda: False) -> Outcome | None:
    """Train, and judge on validation and test; None where it was asked to stop before the end.

    Runs on one thread, so that the same numbers come out however many trials run side by side.

    Args:
        job: what.
        should_stop: asked after every step.
    """
    with on_threads(1):
        return _run(job, should_stop)


def _run(job: Job, should_stop: Callable[[], bool]) -> Outcome | None:
    task = task_of(job.task, job.length)
    learner = _TaskLearner(job, task)
    try:
        *_, last = learn(learner, training(job), job.seed, None, should_stop)
    except RunError:  # its loss was not finite: a result as any other
        return Outcome(None, None, None)
    if not isinstance(last, Finished):
        return None
    return Outcome(learner.judge("valid"), learner.judge("test"), last.seconds)


class _TaskLearner:
    """A task and a network as the gradient loop wants them."""

    def __init__(self, job: Job, task: Task) -> None:
        self.task = task
        self.seed = job.seed
        self.network = TaskNetwork(job.cell, task, job.widths, job.seed)
        self.model: nn.Module = self.network.train()
        self.steps_per_epoch = task.steps_per_epoch or job.steps
        self.fingerprint: Mapping[str, str] = {}

    def batch(self, epoch: int, step: int) -> Batch:
        return self.task.batch(self.seed, epoch, step)

    def initial_carry(self) -> State:
        return None

    def loss(
        self, batch: Batch, carry: State, generator: torch.Generator
    ) -> tuple[Tensor, State, int]:
        outputs, state = self.network(batch.x, carry)
        carry = detach(state) if self.task.carries else None
        return self.task.loss(outputs, batch.target), carry, batch.target.numel()

    def validate(self) -> Mapping[str, float | int | None]:
        found = self.judge("valid")
        return {"loss": None} if found is None else {**found}

    @torch.no_grad()
    def judge(self, split: str) -> Metrics | None:
        """Return the metrics of a split; None where they are not finite."""
        self.network.eval()
        state, outputs, targets = None, [], []
        for batch in self.task.held_out(split):
            said, after = self.network(batch.x, state)
            state = after if self.task.carries else None
            outputs.append(said)
            targets.append(batch.target)
        metrics = self.task.metrics(torch.cat(outputs), torch.cat(targets))
        return metrics if math.isfinite(metrics["loss"]) else None

    def pack(self, carry: Any) -> dict[str, Tensor]:
        return {}

    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        return None
