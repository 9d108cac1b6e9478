"""How an estimator's network learns: the package's one loop, by memory or by a directory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import ConfigError
from recurra.labels.learner import SequenceLearner
from recurra.labels.network import SequenceNetwork
from recurra.learning.checkpoint import Checkpoint, Checkpoints
from recurra.learning.event import Finished, Stepped, Stopped, Validated, Warned
from recurra.learning.loop import learn
from recurra.learning.options import TrainOptions
from recurra.table import first_of

__all__ = ["Course", "Examples", "Memory", "going_on", "seed_of", "train"]

STILL = 1e-4
"""A norm of the gradient below which nothing is left to learn, for standardised data."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Sequences `(T_i, F)`, what is to be learned of each, and what each counts."""

    sequences: Sequence[NDArray[np.floating]]
    targets: NDArray[np.generic]
    weights: NDArray[np.float64]

    def take(self, rows: NDArray[np.integer]) -> Examples:
        """Return some of the examples.

        Args:
            rows: which, from 0.
        """
        chosen = [self.sequences[row] for row in rows]
        return Examples(chosen, self.targets[rows], self.weights[rows])


@dataclass(slots=True)
class Course:
    """How a training went: steps taken, each step's loss, each validation's loss."""

    steps: int = 0
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)


class Memory:
    """Stands in for Checkpoints between two trainings of one network: nothing touches a disk.

    The second begins at step 0 of its own data, with the weights as they are by then and the
    optimizer as the first left it.
    """

    def __init__(self) -> None:
        self.optimizer: dict[str, Tensor] = {}
        self.facts: dict[str, Any] | None = None
        self.learner: SequenceLearner | None = None

    def newest(self, most: int) -> tuple[Checkpoint | None, list[str]]:
        """Return where the training before left off; None where there was none.

        Args:
            most: bytes that a file might have.
        """
        if self.facts is None or self.learner is None:
            return None, []
        tensors = {
            "weights": dict(self.learner.model.state_dict()),
            "optimizer": self.optimizer,
            "carry": {},
        }
        facts = {**self.facts, "fingerprint": dict(self.learner.fingerprint)}
        return Checkpoint(0, tensors, facts), []

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep the optimizer's state.

        Args:
            checkpoint: its tensors are copied.
        """
        state = checkpoint.tensors["optimizer"]
        self.optimizer = {name: tensor.clone() for name, tensor in state.items()}
        afresh = {"best_loss": None, "stale": 0, "not_finite": 0}
        self.facts = {**checkpoint.facts, **afresh}


def train(
    network: SequenceNetwork,
    examples: Examples,
    options: TrainOptions,
    seed: int,
    loss: Literal["cross_entropy", "squared_error"],
    valid: Examples | None = None,
    checkpoints: Checkpoints | Memory | None = None,
    settings: Mapping[str, str] | None = None,
) -> Course:
    """Let a network learn in place; returns how it went.

    It ends before the last step where the gradient has all but vanished throughout a pass, but
    for a training that is saved on a disk, or stops early.

    Args:
        network: learns where it is, in its own dtype.
        examples: what it learns from.
        options: how long and by which rule.
        seed: of the order of batches and of dropout.
        loss: of the targets.
        valid: what is judged on the way; None for nothing.
        checkpoints: where to go on from; None to begin.
        settings: what else must be as it was where it goes on from a disk, by name.

    Raises:
        ConfigError: the disk has a training of other data or settings.
    """
    learner = SequenceLearner(
        network,
        examples.sequences,
        examples.targets,
        examples.weights,
        options,
        seed,
        None if valid is None else (valid.sequences, valid.targets, valid.weights),
        loss,
    )
    learner.fingerprint = {**learner.fingerprint, **(settings or {})}
    if isinstance(checkpoints, Memory):
        checkpoints.learner = learner
    with going_on(checkpoints, settings or ()):
        course = _followed(learner, options, seed, valid is None, checkpoints)
    if isinstance(checkpoints, Memory):
        checkpoints.learner = None  # it holds the data
    network.eval()
    return course


def _followed(
    learner: SequenceLearner,
    options: TrainOptions,
    seed: int,
    ends: bool,
    checkpoints: Checkpoints | Memory | None,
) -> Course:
    """Let it learn to the end, or until nothing is left where it `ends` then."""
    course, still = Course(), 0

    def nothing_left() -> bool:
        stops = ends and not isinstance(checkpoints, Checkpoints)
        return stops and still >= learner.steps_per_epoch

    places = cast("Checkpoints | None", checkpoints)  # what the loop asks of it, a Memory has
    for event in learn(learner, options, seed, places, nothing_left):
        if isinstance(event, Stepped):
            still = still + 1 if event.gradient_norm < STILL else 0
            course.losses.append(event.loss)
        elif isinstance(event, Validated):
            lost = event.metrics["loss"]
            course.validation_losses.append(math.nan if lost is None else float(lost))
        elif isinstance(event, Warned):
            warnings.warn(event.message, stacklevel=5)
        if isinstance(event, Stepped | Stopped | Finished):
            course.steps = event.step
    return course


@contextmanager
def going_on(checkpoints: Checkpoints | Memory | None, settings: Collection[str]) -> Iterator[None]:
    """Say in Python's words that a directory's training cannot be gone on with.

    Args:
        checkpoints: in a `model_dir`.
        settings: which parts of a training's fingerprint are no data.

    Raises:
        ConfigError: within, the directory had a training of other data or settings.
    """
    try:
        yield
    except ConfigError as error:
        if not error.changed:
            raise
        place = checkpoints.directory.parent if isinstance(checkpoints, Checkpoints) else "memory"
        others = [name for name in error.changed if name in settings]
        told = "of other settings" if others else "on other data"
        raise ConfigError(
            f"model_dir: {place} holds a fit {told} ({first_of(others or error.changed, 5)} "
            "changed): give another model_dir, or remove that one to start over; from_pretrained "
            "loads the model in it"
        ) from error


def seed_of(random_state: Any) -> int:
    """Return the seed that scikit-learn's `random_state` stands for.

    The global generators are neither read nor moved: None asks the system for a number.

    Args:
        random_state: an integer, a RandomState or Generator (which is moved), or None.

    Raises:
        ConfigError: for anything else.

    Example:
        >>> seed_of(3), seed_of(np.random.RandomState(0)) == seed_of(np.random.RandomState(0))
        (3, True)
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    raise ConfigError(
        f"random_state: expected an integer, a RandomState, a Generator or None, "
        f"got {random_state!r:.80}"
    )
