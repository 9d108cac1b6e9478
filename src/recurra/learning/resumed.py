"""What a checkpoint must hold if a training is to go on from it: a stranger may have made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from recurra.errors import CheckpointError, ConfigError
from recurra.learning.checkpoint import Checkpoint
from recurra.learning.written import typed

__all__ = ["most_held", "require_same", "require_state"]

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
