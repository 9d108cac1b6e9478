"""A run's directory: what lies in it, who may write to it, and its log of metrics.

config.json     the resolved settings        metrics.jsonl   a line for each step and validation
checkpoints/    where training resumes       model/          the finished model, loadable alone
report.json     the results                  *.png           the pictures that belong to it
mixture/        the model mixed with others, loadable alone
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError, ConfigError, RecurraError, ResourceError, RunError
from recurra.learning.config import RunConfig
from recurra.learning.event import Event, Stepped, Validated
from recurra.run.records import metric_record, require_report
from recurra.run.tasks import TASKS, parse_config
from recurra.storage import files
from recurra.storage.folders import is_full
from recurra.storage.sealed import read_json

__all__ = ["COMPANIONS", "MetricLog", "RunDirectory", "metric"]


COMPANIONS = ("mixture",)
"""The models that may lie beside the one that the run is of."""

MOST_LINE = 2**16
"""Bytes of a line of metrics; what is longer is damaged."""

LOCK = ".lock"
"""The file that who writes to the directory holds."""


class RunDirectory:
    """The files of one run.

    Args:
        path: the directory; it need not exist yet.

    Example:
        >>> RunDirectory("runs/mine").report_path.name
        'report.json'
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.checkpoints_path = self.path / "checkpoints"
        self.model_path = self.path / "model"
        self.report_path = self.path / "report.json"
        self.curves_path = self.path / "curves.png"
        self.metrics = MetricLog(self.path / "metrics.jsonl")

    @contextlib.contextmanager
    def opened(self) -> Iterator[list[Path]]:
        """Make the directory, prove that it can be written to, and keep other trainers out.

        Yields the left-over temporary files that it removed. A directory that was made for a run
        which wrote nothing, as one that was refused, goes again.

        Raises:
            RunError: it is a file, it may not be written to, it holds something else than a run,
                or another run holds it.
        """
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        with contextlib.ExitStack() as held:
            try:
                files.make_directory(self.path)
                if not os.access(self.path, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                self._refuse_others()
                held.enter_context(files.lock(self.path / LOCK))
                held.callback(self._remove_empty, made)
                removed = files.sweep(self.path)
            except (FileExistsError, NotADirectoryError) as error:
                raise RunError(
                    f"the run directory {self.path} is a file, or lies under one; "
                    "give another with --out"
                ) from error
            except OSError as error:
                raise RunError(
                    f"the run directory {self.path} cannot be written to ({error.strerror}; "
                    f"{_mode(self.path)}); change its permissions, or give another with --out"
                ) from error
            yield removed

    def _remove_empty(self, made: list[Path]) -> None:
        """Remove directories that were made, the innermost first, if there is but the lock."""
        with contextlib.suppress(OSError):
            if made and [path.name for path in self.path.iterdir()] == [LOCK]:
                (self.path / LOCK).unlink()
                for path in made:
                    path.rmdir()

    def _refuse_others(self) -> None:
        """A model or checkpoints without a config are someone else's, never to be replaced."""
        if not self.config_path.exists():
            companions = (self.path / name for name in COMPANIONS)
            for path in (self.checkpoints_path, self.model_path, *companions):
                if path.exists():
                    raise RunError(
                        f"{self.path} holds {path.name} but no config.json, so it is not a run; "
                        "give another directory with --out"
                    )

    def clear(self) -> None:
        """Remove what an earlier run left, to start over; the config, which marks a run, last."""
        for path in (
            self.report_path,
            self.curves_path,
            *(self.path / name for task in TASKS for name in TASKS[task].pictures),
            self.metrics.path,
            self.checkpoints_path,
            *(self.path / name for name in COMPANIONS),
            self.model_path,
            self.config_path,
        ):
            files.delete(path)

    def config(self) -> RunConfig | None:
        """Return the config of the run that is here; None where there is none.

        Raises:
            CheckpointError: `config.json` is there but cannot be understood.
        """
        values = self._read(self.config_path)
        if values is None:
            return None
        try:
            return parse_config(values)
        except ConfigError as error:
            raise CheckpointError(f"{self.config_path}: {error}") from error

    def write_config(self, config: RunConfig) -> None:
        """Write the resolved settings.

        Args:
            config: what to write.

        Raises:
            ResourceError: the disk is full.
        """
        with _writing(self.config_path):
            files.write_json(self.config_path, config.model_dump(mode="json"))

    def report(self) -> dict[str, Any] | None:
        """Return the results of the finished run; None where it is not finished.

        Raises:
            CheckpointError: `report.json` is there but cannot be understood.
        """
        values = self._read(self.report_path)
        return None if values is None else require_report(values, self.report_path)

    def write_report(self, report: dict[str, Any]) -> None:
        """Write the results, which marks the run as finished.

        Args:
            report: as `recurra.run.report.compose` returns it.

        Raises:
            ResourceError: the disk is full.
        """
        with _writing(self.report_path):
            self.metrics.flush()
            files.write_json(self.report_path, report)

    def _read(self, path: Path) -> dict[str, Any] | None:
        if self.path.is_file():
            raise RunError(f"{self.path} is a file, not a run directory")
        if not path.exists():
            return None
        values = read_json(path)
        if not isinstance(values, dict):
            raise CheckpointError(f"{path} holds a {type(values).__name__}, not an object")
        return values


class MetricLog:
    """A run's metrics, one JSON object a line, appended as they come.

    No line holds clock time, so an interrupted and resumed run writes the very same bytes.
    While the disk is full, lines wait in memory.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = b""

    def append(self, event: Event) -> None:
        """Add the event's line, if it has one.

        Args:
            event: a step or a validation; others have no line.
        """
        if record := metric(event):
            self._waiting += json.dumps(record, allow_nan=False).encode() + b"\n"
            try:
                self.flush()
            except OSError as error:
                if not is_full(error):
                    raise

    def flush(self) -> None:
        """Write the lines that wait.

        Raises:
            OSError: as the disk says.
        """
        if self._waiting:
            with self.path.open("ab", buffering=0) as log:
                while self._waiting:  # a write on a nearly full disk may take a part only
                    self._waiting = self._waiting[log.write(self._waiting) or 0 :]

    def records(self) -> list[dict[str, Any]]:
        """Return all records in order, up to the first damaged line."""
        return [json.loads(line) for line in self._sound()]

    def rewind(self, step: int) -> None:
        """Drop the records of steps after `step`, which are taken again, and damaged lines.

        Args:
            step: where the run resumes; 0 drops all.
        """
        kept = [line for line in self._sound() if json.loads(line)["step"] <= step]
        with _writing(self.path):
            files.write_bytes(self.path, b"".join(kept))

    def _sound(self) -> list[bytes]:
        lines = []
        if self.path.exists():
            with self.path.open("rb") as log:
                for line in iter(partial(log.readline, MOST_LINE), b""):
                    if not _is_record(line):
                        break
                    lines.append(line)
        return lines


def metric(event: Event) -> dict[str, Any] | None:
    """Return an event's line of metrics as a JSON value; None for events without one.

    Args:
        event: anything that training yields.

    Example:
        >>> metric(Validated(step=9, epoch=1.0, metrics={"perplexity": 7.5}, best=True, seconds=1))
        {'step': 9, 'epoch': 1.0, 'valid': {'perplexity': 7.5}, 'best': True}
    """
    if isinstance(event, Stepped):
        return {
            "step": event.step,
            "epoch": event.epoch,
            "loss": _finite(event.loss),
            "learning_rate": event.learning_rate,
            "gradient_norm": _finite(event.gradient_norm),
        }
    if isinstance(event, Validated):
        valid = {name: _finite(value) for name, value in event.metrics.items()}
        return {"step": event.step, "epoch": event.epoch, "valid": valid, "best": event.best}
    return None


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


def _is_record(line: bytes) -> bool:
    return metric_record(line) is not None


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind: type[RecurraError] = ResourceError if is_full(error) else RunError
        raise kind(f"{path} cannot be written: {error.strerror}") from error


def _mode(path: Path) -> str:
    """Say who may do what with `path`, or with the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return f"{path} is {stat.filemode(path.stat().st_mode)}"
