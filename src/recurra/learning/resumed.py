"""What a checkpoint must hold if a training is to go on from it: a stranger may have made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from recurra.errors import CheckpointError, ConfigError, RunError
from recurra.learning.checkpoint import Checkpoint, pack_optimizer, unpack_optimizer
from recurra.learning.optimization import Named, make_optimizer
from recurra.learning.options import TrainOptions, is_own
from recurra.learning.own.blame import blamed
from recurra.learning.own.state import kept_outside, outside
from recurra.learning.written import typed

__all__ = ["Kept", "most_held", "require_same", "require_state"]

PARTS = ("weights", "optimizer", "carry")

LEAST, TIMES = 64 * 2**20, 16
"""Bytes of any checkpoint, and how often what a training begins with may be in one of its own."""


class _Held(Protocol):
    """What of a training is kept."""

    model: nn.Module

    def pack(self, carry: Any) -> dict[str, Tensor]: ...


def most_held(learner: _Held, carry: Any) -> int:
    """Return the bytes that a checkpoint of a training may have: beyond, it is of another one.

    Args:
        learner: what is trained.
        carry: the state that it begins with.
    """
    held = {**learner.model.state_dict(), **learner.pack(carry)}
    return LEAST + TIMES * sum(int(tensor.nbytes) for tensor in held.values())


class _Facts(BaseModel):
    """What is added by others is left alone."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Optimizer(_Facts):
    kind: str
    numbers: dict[str, float]
    groups: list[dict[str, Any]]


class _Average(_Facts):
    entered: int = Field(ge=0)
    steps: int = Field(ge=0)
    older: float | None
    recent: list[float]


class _State(_Facts):
    seed: int
    fingerprint: dict[str, str]
    device: str
    seconds: float = Field(ge=0)
    items: int = Field(ge=0)
    best_loss: float | None
    stale: int = Field(ge=0)
    not_finite: int = Field(ge=0)
    optimizer: _Optimizer
    average: _Average | None = None


def require_state(checkpoint: Checkpoint, steps: int | None = None) -> None:
    """Raise unless a checkpoint holds all that a training needs to go on.

    Args:
        checkpoint: as it was read.
        steps: that the training has in all, where a checkpoint beyond it is none of its own.

    Raises:
        CheckpointError: names the part that is missing, or the field that is of another kind.

    Example:
        >>> require_state(Checkpoint(3, {"weights": {}}, {}))
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: the checkpoint of step 3 lacks optimizer
    """
    place = f"the checkpoint of step {checkpoint.step}"
    if lacking := [part for part in PARTS if part not in checkpoint.tensors]:
        raise CheckpointError(f"{place} lacks {lacking[0]}")
    typed(_State, checkpoint.facts, place)
    if steps is not None and checkpoint.step > steps:
        raise CheckpointError(f"{place} lies beyond the {steps:,} steps of the training")


def require_same(there: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise unless a training goes on with what it was begun on.

    Args:
        there: the fingerprint in its checkpoint.
        now: the fingerprint of what there is.

    Raises:
        ConfigError: names the parts that changed, in its `changed` too.

    Example:
        >>> require_same({"text": "1f"}, {"text": "2e"})
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: the run was begun on other data, so it cannot go on: text ...
    """
    changed = [part for part in {**there, **now} if there.get(part) != now.get(part)]
    if changed:
        error = ConfigError(
            f"the run was begun on other data, so it cannot go on: {', '.join(changed)} changed. "
            "Give the data back, or start over with --restart"
        )
        error.changed = tuple(changed)
        raise error


class Kept:
    """Sees that an optimizer of someone's own can be kept.

    Args:
        optimizer: as it was just made.
        parameters: what it updates.
        options: by which another one is made, to be given the state.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: Named, options: TrainOptions
    ) -> None:
        self.optimizer, self.parameters, self.options = optimizer, parameters, options
        self.seen = False
        self.before = outside(optimizer)

    def require(self, learner: _Held, carry: Any) -> None:
        """Raise unless all that it has learned can be given back; asked after every step.

        That it is given back to the bit is seen after the first, so that nobody loses more.

        Args:
            learner: what is trained.
            carry: the state that it has by now.

        Raises:
            RunError: a resumed training would not be the same; says what is lost.
        """
        place = self.options.optimizer
        if not is_own(place):
            return
        said = f"train.optimizer={place}: a training could not go on from its checkpoint: "
        if (name := kept_outside(self.optimizer, self.before)) is not None:
            raise RunError(
                f"{said}it keeps {name!r:.80} on itself, where no state_dict sees it; keep it in "
                "self.state or in the parameter groups, or define state_dict and load_state_dict"
            )
        if self.seen:
            return
        self.seen = True
        with blamed("train.optimizer", place):
            try:
                tensors, facts = pack_optimizer(self.optimizer)
                other = make_optimizer(self.parameters, self.options)
                unpack_optimizer(other, tensors, facts)
            except CheckpointError as error:
                raise RunError(f"{said}{error}") from error
        most = most_held(learner, carry)
        if (size := sum(int(tensor.nbytes) for tensor in tensors.values())) > most:
            raise RunError(f"{said}its state has {size:,} bytes, over {most:,}")
