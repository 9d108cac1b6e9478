"""What a run's own files say, read back: its report, and a line of its metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from recurra.errors import CheckpointError
from recurra.learning.written import typed
from recurra.run.tasks import TASKS
from recurra.storage.sealed import parsed

__all__ = ["metric_record", "require_report"]

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


class _Line(_Read):
    """As `recurra.run.directory.metric` makes it."""

    step: int = Field(ge=0)
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float = 0.0
    gradient_norm: float | None = None
    valid: Figures | None = None
    best: bool = False


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
        recurra.errors.CheckpointError: report.json: run is 3: input should be a valid string
    """
    typed(_Report, values, place)
    return values


def metric_record(line: bytes) -> dict[str, Any] | None:
    """Return what a line of metrics says; None where it is damaged.

    Args:
        line: JSON with a newline at its end.

    Example:
        >>> metric_record(b'{"step": 3, "loss": 1.5}\\n'), metric_record(b'{"step": [[]]}\\n')
        ({'step': 3, 'loss': 1.5}, None)
    """
    if not line.endswith(b"\n"):
        return None
    try:
        record = parsed(line)
        typed(_Line, record, "metrics.jsonl")
    except (ValueError, CheckpointError):
        return None
    found: dict[str, Any] = record
    return found
