"""Epochs of as many steps each, or of so many as chance gives them."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from recurra.errors import ConfigError, RunError
from recurra.learning.optimization import learning_rate
from recurra.learning.options import TrainOptions, is_own
from recurra.randomness import generator

__all__ = ["Epochs", "Shuffled", "Uneven", "require_schedule"]

LOOKED_AT = 1000
"""Steps at which a schedule of someone's own is tried before the first is taken."""


class Even(Protocol):
    """What every learner says of its epochs."""

    @property
    def steps_per_epoch(self) -> int: ...


@runtime_checkable
class Uneven(Protocol):
    """What a learner says beside that where epochs differ in their steps, or steps in weight.

    Its `steps_per_epoch` is that of the first epoch.
    """

    def steps_in(self, epoch: int) -> int:
        """Return how many batches `epoch` has, at least one: a pure function of it."""
        ...

    def rate_factor(self, epoch: int, step: int) -> float:
        """Return what the learning rate is multiplied by for batch `step` of `epoch`."""
        ...


class Epochs:
    """Which epoch a step belongs to, and where in it the step stands.

    Args:
        learner: what says how many steps an epoch has; `Uneven` or not.

    Example:
        >>> class Growing:
        ...     steps_per_epoch = 1
        ...     def steps_in(self, epoch):
        ...         return epoch + 1
        ...     def rate_factor(self, epoch, step):
        ...         return 1.0
        >>> epochs = Epochs(Growing())
        >>> [epochs.place(step) for step in range(4)]
        [(0, 0), (1, 0), (1, 1), (2, 0)]
        >>> epochs.passes(2), epochs.steps(3)
        (1.5, 6)
    """

    def __init__(self, learner: Even) -> None:
        self.uneven = learner if isinstance(learner, Uneven) else None
        self.per_epoch = learner.steps_per_epoch
        self.starts = [0]

    def steps_in(self, epoch: int) -> int:
        """Return how many steps an epoch has.

        Args:
            epoch: which, from 0.
        """
        return self.per_epoch if self.uneven is None else self.uneven.steps_in(epoch)

    def rate_factor(self, epoch: int, position: int) -> float:
        """Return what a step's learning rate is multiplied by.

        Args:
            epoch: the step's.
            position: the step's place in it.
        """
        return 1.0 if self.uneven is None else self.uneven.rate_factor(epoch, position)

    def place(self, step: int) -> tuple[int, int]:
        """Return the epoch of a step, and its position there.

        Args:
            step: of the whole training, from 0.
        """
        if self.uneven is None:
            return divmod(step, self.per_epoch)
        while self.starts[-1] <= step:
            self.starts.append(self.starts[-1] + self.steps_in(len(self.starts) - 1))
        epoch = bisect_right(self.starts, step) - 1
        return epoch, step - self.starts[epoch]

    def passes(self, step: int) -> float:
        """Return how many passes over the data are done before a step.

        Args:
            step: of the whole training, from 0.
        """
        epoch, position = self.place(step)
        length = self.steps_in(epoch)
        return (epoch * length + position) / length

    def steps(self, passes: float) -> int:
        """Return how many steps so many passes take, at least one.

        Args:
            passes: over the data, above 0.
        """
        if self.uneven is None:
            return max(1, round(passes * self.per_epoch))
        lengths = [self.steps_in(epoch) for epoch in range(math.ceil(passes))]
        whole = int(passes)
        part = round((passes - whole) * lengths[-1]) if whole < passes else 0
        return max(1, sum(lengths[:whole]) + part)


def require_schedule(options: TrainOptions, epochs: Epochs, steps: int) -> None:
    """Raise unless a schedule of someone's own gives a rate at all steps, or at many among them.

    Args:
        options: of a training.
        epochs: say which epoch a step is of.
        steps: how many the whole training takes.

    Raises:
        ConfigError: names the first step that is looked at where it does not.
    """
    if not is_own(options.schedule):
        return
    looked_at = min(steps, LOOKED_AT)
    for n in range(looked_at):
        step = n * (steps - 1) // max(1, looked_at - 1)
        try:
            learning_rate(options, step, steps, epochs.place(step)[0])
        except RunError as error:
            raise ConfigError(str(error)) from error


class Shuffled:
    """The order of examples, drawn anew for each pass: a pure function of seed and place.

    Args:
        count: how many examples there are.
        batch_size: how many are in a batch; the last of a pass has what is left.
        seed: where every order derives from.

    Example:
        >>> order = Shuffled(5, 2, seed=1)
        >>> sorted(n for step in range(3) for n in order.rows(0, step).tolist())
        [0, 1, 2, 3, 4]
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._drawn: tuple[int, Tensor] = (-1, torch.empty(0))

    def rows(self, epoch: int, step: int) -> Tensor:
        """Return the numbers of a batch's examples.

        Args:
            epoch: which pass, from 0.
            step: which batch of it, from 0.
        """
        if self._drawn[0] != epoch:
            stream = generator(self.seed, "order", epoch)
            self._drawn = epoch, torch.randperm(self.count, generator=stream)
        start = step * self.batch_size
        return self._drawn[1][start : start + self.batch_size]
