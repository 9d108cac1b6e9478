"""What happens while a model learns, as frozen records.

Progress bars, logs, plots and early stopping are loops over these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Averaged",
    "Event",
    "Finished",
    "Saved",
    "Saving",
    "Started",
    "Stepped",
    "Stopped",
    "Validated",
    "Warned",
]


@dataclass(frozen=True, slots=True)
class Started:
    """Training begins, or goes on at `step` of `steps`; `steps_per_epoch` may be of the first.

    `unjudged` says that the validation of that step is still to come.
    """

    step: int
    steps: int
    steps_per_epoch: int
    parameters: int
    device: str
    unjudged: bool = False


@dataclass(frozen=True, slots=True)
class Stepped:
    """One optimizer step was taken; `step` counts from 1, `epoch` is a fraction of passes done.

    `loss` is in nats per target, `items` counts the targets of the batch, `gradient_norm` is
    the norm before clipping, `seconds` is the training time so far, over all sessions.
    """

    step: int
    epoch: float
    loss: float
    items: int
    learning_rate: float
    gradient_norm: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Validated:
    """The validation split was evaluated; `best` says that no earlier loss was lower."""

    step: int
    epoch: float
    metrics: Mapping[str, float | int | None]
    best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Averaged:
    """Validation improves no longer: from `step` on weights are averaged, and that is validated."""

    step: int
    epoch: float


@dataclass(frozen=True, slots=True)
class Saving:
    """A checkpoint of `step` is about to be written: what it presumes must be on disk by then."""

    step: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint of `step` is safe on disk."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Warned:
    """Something went wrong that does not end the run; one line."""

    message: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was asked to stop at `step`, and can be resumed from there."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """All steps are done; `seconds` is training alone, validation and saving left out."""

    step: int
    epoch: float
    seconds: float
    items: int


Event = Started | Stepped | Validated | Averaged | Saving | Saved | Warned | Stopped | Finished
