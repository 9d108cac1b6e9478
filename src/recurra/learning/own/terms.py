"""The loss of a step with what someone's own code makes of it: another loss, a term beside it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, RunError
from recurra.learning.options import LOSSES, REGULARISERS, TrainOptions
from recurra.learning.own.blame import blamed, line_of, own_randomness, require_taken

__all__ = ["Criterion", "Shows", "TakesLoss", "Terms"]

Criterion = Callable[[Tensor, Tensor], Tensor]
"""`(outputs, targets) -> loss`, a mean over the targets."""


class Learns(Protocol):
    """What a learner has that is asked here."""

    model: nn.Module

    def loss(self, batch: Any, carry: Any, generator: torch.Generator) -> tuple[Tensor, Any, int]:
        """Return the loss, the carry and how many targets."""
        ...


@runtime_checkable
class TakesLoss(Protocol):
    """A learner whose loss may be someone's own: `train.loss`."""

    criterion: Criterion | None


@runtime_checkable
class Shows(Protocol):
    """A learner that shows what its recurrence made of the last batch: `hidden (B, T, H)`."""

    hidden: Tensor | None


class Terms:
    """The loss of each step, with a loss and a regulariser that the options name.

    Args:
        learner: whose loss it is; one that takes another is given it.
        options: which.
        seed: of what someone's own code draws from torch's global generator.

    Raises:
        ConfigError: there is no such function, it takes other arguments, or the learner lacks
            what it asks for.
    """

    def __init__(self, learner: Learns, options: TrainOptions, seed: int) -> None:
        self.learner, self.options, self.seed = learner, options, seed
        self.device = next(learner.model.parameters()).device
        self.penalty: Callable[..., Tensor] | None = None
        self.sees = False
        if options.loss is not None:
            self._give_loss(options.loss)
        elif isinstance(learner, TakesLoss):
            learner.criterion = None
        if options.regulariser is not None:
            self.penalty = REGULARISERS[options.regulariser]
            self.sees = _positional(self.penalty, options.regulariser_options) > 1
            where = "train.regulariser", options.regulariser
            require_taken(*where, self.penalty, 1 + self.sees, options.regulariser_options)
            if self.sees and not isinstance(learner, Shows):
                raise ConfigError(
                    f"{'='.join(where)}: it takes (model, hidden), but {type(learner).__name__} "
                    f"shows no hidden outputs; take (model) alone{line_of(self.penalty)}"
                )

    def _give_loss(self, place: str) -> None:
        learner, values = self.learner, self.options.loss_options
        if not isinstance(learner, TakesLoss):
            raise ConfigError(
                f"train.loss={place}: {type(learner).__name__} states its loss, and takes no other"
            )
        function = LOSSES[place]
        require_taken("train.loss", place, function, 2, values)

        def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
            with blamed("train.loss", place):
                found = function(outputs, targets, **values)
            return _number(found, "train.loss", place, function)

        learner.criterion = criterion

    def loss(
        self, batch: Any, carry: Any, masks: torch.Generator, step: int
    ) -> tuple[Tensor, Any, int]:
        """Return the mean loss with all that belongs to it, the carry, and how many targets.

        Args:
            batch: the learner's.
            carry: the learner's.
            masks: where its noise and dropout masks come from.
            step: of the training, from 0.

        Raises:
            RunError: someone's own code failed, or returned something else than a number.
        """
        with self._randomness(step):
            loss, carry, items = self.learner.loss(batch, carry, masks)
            if self.penalty is not None:
                loss = loss + self._penalty(loss)
        if isinstance(self.learner, Shows):
            self.learner.hidden = None  # which would keep the batch's graph alive
        if self.options.loss is not None and not loss.requires_grad:
            raise RunError(
                f"train.loss={self.options.loss}: what it returns has no gradient: it was "
                f"detached on the way{line_of(LOSSES[self.options.loss])}"
            )
        return loss, carry, items

    def differentiate(self, loss: Tensor) -> None:
        """Add the gradients of a loss to the parameters'.

        Args:
            loss: as `loss` returned it.

        Raises:
            RunError: something in someone's own code has no gradient.
        """
        options = self.options
        for setting, place in (("loss", options.loss), ("regulariser", options.regulariser)):
            if place is not None:
                with blamed(f"train.{setting}", place):
                    torch.autograd.backward(loss)
                return
        torch.autograd.backward(loss)

    def _randomness(self, step: int) -> AbstractContextManager[None]:
        if self.options.loss is None and self.penalty is None:
            return nullcontext()
        return own_randomness(self.seed, "own loss", step, self.device)

    def _penalty(self, loss: Tensor) -> Tensor:
        assert self.penalty is not None and self.options.regulariser is not None
        given: list[Any] = [self.learner.model]
        if self.sees:
            assert isinstance(self.learner, Shows)
            given.append(self.learner.hidden)
        place = self.options.regulariser
        with blamed("train.regulariser", place):
            found = self.penalty(*given, **self.options.regulariser_options)
        _number(found, "train.regulariser", place, self.penalty)
        value = float(found.detach())
        if not math.isfinite(value) and math.isfinite(float(loss.detach())):
            raise RunError(
                f"train.regulariser={place}: it returned {value:g} where the loss is "
                f"{float(loss.detach()):g}; it must be finite{line_of(self.penalty)}"
            )
        return found.reshape(()).to(loss.device)


def _positional(function: Callable[..., Any], named: Mapping[str, Any]) -> int:
    """Return how many arguments a function takes by place that nothing else gives."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty and p.name not in named for p in taken)


def _number(found: Any, setting: str, place: str, function: Any) -> Tensor:
    """Return a tensor of one number; raise where something else was returned."""
    if isinstance(found, Tensor) and found.numel() == 1 and found.is_floating_point():
        return found.reshape(())
    got = f"a {type(found).__name__}"
    if isinstance(found, Tensor):
        got = f"a tensor of {found.dtype} {list(found.shape)}"
    raise RunError(
        f"{setting}={place}: it returned {got}, but must return a tensor of one number"
        f"{line_of(function)}"
    )
