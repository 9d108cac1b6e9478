"""Averages of a training's weights, which predict better than the weights of any one step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import CheckpointError
from recurra.learning.options import TrainOptions

__all__ = ["WeightAverage"]


class WeightAverage:
    """An average of a training's weights: once it has begun, what is validated and kept.

        ema: a <- a + (1 - min(d, (1 + k) / (10 + k))) (w - a),  k steps after it began
        asgd: a <- a + (w - a) / n,  w the n-th weights to enter, those where it began the first

    with d of `average_decay`. For asgd it begins when a validation is worse than the best of all
    but the last `average_patience` before it; where ema begins, the loop says.

    Args:
        parameters: name -> what learns.
        options: which average, and its constants.

    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the
        non-monotonic trigger: Merity, Keskar & Socher 2018, "Regularizing and optimizing LSTM
        language models", section 5, algorithm 1.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> average = WeightAverage({"weight": weight}, TrainOptions(average="asgd"))
        >>> average.begin()
        >>> weight.data += 1
        >>> average.add()
        >>> with average.applied():
        ...     weight.data
        tensor([0.5000, 0.5000])
        >>> weight.data
        tensor([1., 1.])
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], options: TrainOptions) -> None:
        self.parameters = dict(parameters)
        self.options = options
        self.values: list[Tensor] = []
        self.entered = 0
        self._steps = 0
        self._older = math.inf
        self._recent: list[float] = []

    @property
    def begun(self) -> bool:
        """Whether there is an average."""
        return bool(self.values)

    def begin(self) -> None:
        """Let the weights as they are be the first that enter."""
        self.values = [parameter.detach().clone() for parameter in self.parameters.values()]
        self.entered, self._steps = 1, 0

    @torch.no_grad()
    def add(self) -> None:
        """Let the weights after a step enter, if it is their turn; nothing before it has begun."""
        if not self.begun:
            return
        self._steps += 1
        every = self.options.average_steps
        if self._steps % every:
            return
        self.entered += 1
        if self.options.average == "ema":
            decay = min(self.options.average_decay, (1 + self._steps) / (10 + self._steps))
            share = 1 - decay**every
        else:
            share = 1 / self.entered
        torch._foreach_lerp_(self.values, list(self.parameters.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the model hold the average, if there is one, until the block ends."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """Change places with the weights, without copying a number."""
        for n, parameter in enumerate(self.parameters.values() if self.begun else ()):
            parameter.data, self.values[n] = self.values[n], parameter.data

    def settle(self) -> None:
        """Leave the average, if there is one, in the model for good."""
        self._exchange()
        self.values = []

    def judge(self, loss: float) -> bool:
        """Begin where asgd should, by one validation's loss; returns whether it did.

        Args:
            loss: what is not finite says nothing.
        """
        if self.options.average != "asgd" or self.begun or not math.isfinite(loss):
            return False
        if loss > self._older:
            self.begin()
            return True
        self._recent.append(loss)
        if len(self._recent) > self.options.average_patience:
            self._older = min(self._older, self._recent.pop(0))
        return False

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the average as named tensors, uncopied, and what else `unpack` needs for JSON."""
        facts = {
            "entered": self.entered,
            "steps": self._steps,
            "older": self._older if math.isfinite(self._older) else None,
            "recent": list(self._recent),
        }
        return dict(zip(self.parameters, self.values)), facts

    def unpack(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from what `pack` returned.

        Args:
            tensors: copied.
            facts: read back from JSON.

        Raises:
            CheckpointError: names or shapes are not those of the parameters.
        """
        shapes = {name: value.shape for name, value in self.parameters.items()}
        if tensors and {name: value.shape for name, value in tensors.items()} != shapes:
            raise CheckpointError("the averaged weights are not of the model's names and shapes")
        own = self.parameters
        self.values = [tensors[name].to(own[name], copy=True) for name in own if tensors]
        self.entered, self._steps = facts["entered"], facts["steps"]
        self._older = math.inf if facts["older"] is None else facts["older"]
        self._recent = list(facts["recent"])
