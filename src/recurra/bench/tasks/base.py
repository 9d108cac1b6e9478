"""What a task is: batches of sequences, a loss, metrics, and what does without a network.

B rows, T steps, F features, V tokens, R steps that are read out, O outputs.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.randomness import generator

__all__ = ["Batch", "Metrics", "Task", "long_enough"]

Metrics = dict[str, float]


class Batch(NamedTuple):
    """Inputs `x`, `(B, T)` tokens or `(B, T, F)` numbers, and what is to be said of them."""

    x: Tensor
    target: Tensor


class Task(ABC):
    """Sequences to learn from. Your own is used by `module:Name`.

    A subclass sets `title`, `outputs`, `length`, and `tokens` or `features`; the rest where it
    differs. Where data are made anew for every step it has `make`, else `batch` and `held_out`.
    """

    title: str
    """What it is, in a line, with its sizes."""
    metric: str = "accuracy"
    """The metric that is judged."""
    right: str = ""
    """What accuracy is the share of, of all there are: `"letters said in their place"`."""
    better: Literal["higher", "lower"] = "higher"
    tokens: int | None = None
    """V, where inputs are tokens."""
    features: int = 1
    """F, where inputs are numbers."""
    outputs: int
    """O, classes, or 1 number."""
    length: int
    """T, steps of a sequence."""
    read: int | None = None
    """R, the last steps that are read out; all of them."""
    batch_size: int = 32
    parameters: int = 26_000
    """What every network has, within a fiftieth."""
    steps: int = 1200
    """Optimizer steps of a training at the full budget."""
    carries: bool = False
    """Whether the state goes on from one batch to the next."""
    steps_per_epoch: int | None = None
    """Batches of a pass over the data; None where data are made anew for every step."""
    stream: str
    """What the draws of data that are made are called."""
    judged_rows: int = 512
    """Rows of a held-out split that is made."""

    @classmethod
    def of_length(cls, length: int) -> Self:
        """Return the task with sequences of T steps; as it is where its length is fixed.

        Args:
            length: T.

        Raises:
            ConfigError: it is too short for the task.
        """
        made: Callable[..., Self] = cls
        return made(length=length) if "length" in inspect.signature(cls).parameters else made()

    def make(self, rows: int, draws: torch.Generator) -> Batch:
        """Return fresh sequences.

        Args:
            rows: B.
            draws: where they come from.
        """
        raise NotImplementedError

    def batch(self, seed: int, epoch: int, step: int) -> Batch:
        """Return a batch to learn from, a pure function of seed and place.

        Args:
            seed: of the trial.
            epoch: pass over the data, from 0.
            step: place in the pass, from 0.
        """
        return self.make(self.batch_size, generator(seed, self.stream, epoch, step))

    def held_out(self, split: str) -> list[Batch]:
        """Return the batches of a split that nothing is learned from: the same for everyone.

        Args:
            split: `"valid"`, by which the learning rate is chosen, or `"test"`.
        """
        return [self.make(self.judged_rows, generator(0, f"{self.stream} {split}"))]

    @abstractmethod
    def baselines(self) -> dict[str, Metrics]:
        """Return what is reached without a recurrent network: name in words -> test metrics."""

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss; cross-entropy in nats, unless a task says otherwise.

        Args:
            outputs: `(B, R, O)`.
            target: `(B, R)` classes.
        """
        return F.cross_entropy(outputs.flatten(0, 1), target.flatten())

    def metrics(self, outputs: Tensor, target: Tensor) -> Metrics:
        """Return the metrics of a whole split, `"loss"` among them.

        Args:
            outputs: `(B, R, O)`.
            target: `(B, R)` classes.
        """
        return {
            "loss": float(self.loss(outputs, target)),
            "accuracy": float((outputs.argmax(dim=2) == target).double().mean()),
        }


def long_enough(name: str, length: int, least: int) -> int:
    """Return a length, or refuse it.

    Args:
        name: of the task.
        length: that is asked for.
        least: that the task takes.

    Raises:
        ConfigError: it is below.

    Example:
        >>> long_enough("adding", 1, 2)
        Traceback (most recent call last):
        recurra.errors.ConfigError: adding has at least 2 steps, got a length of 1
    """
    if length < least:
        raise ConfigError(f"{name} has at least {least} steps, got a length of {length}")
    return length
