"""What a run's report says, read back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from recurra.learning.written import typed
from recurra.run.tasks import TASKS

__all__ = ["require_report"]

Figures = dict[str, float | int | None]


class _Read(BaseModel):
    """What others may add is left alone."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Rate(_Read):
    value: float | None
    unit: str


class _Judged(_Read):
    metric: str
    better: Literal["lower", "higher"]


class _Mixture(_Read):
    valid: Figures | None = None
    test: Figures | None = None
    parts: dict[str, Figures] = {}


def _known(task: str) -> str:
    if task not in TASKS:
        raise ValueError(f"must be one of {', '.join(TASKS)}")
    return task


class _Report(_Read):
    """As `recurra.run.report.compose` makes it."""

    run: str
    preset: str
    task: Annotated[str, AfterValidator(_known)]
    seed: int
    steps: int
    epochs: float
    seconds: float
    train_seconds: float
    throughput: _Rate
    valid: Figures | None
    test: Figures | None
    baselines: dict[str, Figures]
    verdict: str
    judged: _Judged = _Judged(metric="perplexity", better="lower")
    command: str | None = None
    notes: list[str] = []
    sample: str | None = None
    pictures: list[str] = []
    mixture: _Mixture | None = None
    valid_baselines: dict[str, Figures] = {}
    left_out: dict[str, str] = {}
    changed_source: list[str] = []


def require_report(values: dict[str, Any], place: object) -> dict[str, Any]:
    """Return a report, seen to hold what those who print and compare it read.

    Args:
        values: what JSON gave.
        place: the file, for the message.

    Raises:
        CheckpointError: names the field that is missing, or of another kind.

    Example:
        >>> require_report({"run": 3}, "report.json")
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: report.json: run is 3, but must be text
    """
    typed(_Report, values, place)
    return values
