"""What a checkpoint must hold if a training is to go on from it: a stranger may have made it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recurra.errors import CheckpointError
from recurra.learning.checkpoint import Checkpoint
from recurra.learning.written import typed

__all__ = ["require_state"]

PARTS = ("weights", "optimizer", "carry")


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


def require_state(checkpoint: Checkpoint) -> None:
    """Raise unless a checkpoint holds all that a training needs to go on.

    Args:
        checkpoint: as it was read.

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
