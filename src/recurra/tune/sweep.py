"""A sweep from its settings to its table: what is finished is kept, what was begun goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError
from recurra.learning.config import RunConfig, differences
from recurra.machine import available_memory, usable_cores
from recurra.run.directory import RunDirectory
from recurra.storage.files import write_bytes, write_json
from recurra.storage.outputs import writing
from recurra.storage.picture import canvas
from recurra.storage.sources import changes_allowed
from recurra.tune.folder import SweepFolder
from recurra.tune.grid import Grid
from recurra.tune.picture import draw, size
from recurra.tune.result import as_csv, compose
from recurra.tune.workers import Job, Workers

__all__ = ["Begins", "Done", "Goes", "Says", "Swept", "sweep", "worker_count"]

MEMORY, EACH = 2**30, 16
"""Bytes that a worker is taken to need, and for each parameter: gradient and moments beside it."""

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Begins:
    """The folder is held; `finished` of the runs are there already, `left` an earlier sweep's."""

    finished: int
    runs: int
    workers: int
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Goes:
    """A run has taken `step` of its `steps`."""

    run: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Says:
    """A run warns of something."""

    run: str
    said: str


@dataclass(frozen=True, slots=True)
class Done:
    """A run has ended: with a report, or for a `reason`; `ended` of all have."""

    run: str
    report: Report | None
    reason: str | None
    ended: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What the sweep has come to, as JSON values; so far, where it was stopped."""

    result: dict[str, Any]


Event = Begins | Goes | Says | Done | Swept


def worker_count(grid: Grid, asked: int | None = None) -> int:
    """Return how many processes carry out a sweep: as many as cores, memory and runs allow.

    Args:
        grid: the sweep.
        asked: how many at most; by default a GPU has one.
    """
    devices = {each.config.device for each in grid.settings}
    free = available_memory()
    sizes = [each.counted.parameters for each in grid.settings if each.counted is not None]
    needed = MEMORY + EACH * max(sizes, default=0)
    most = usable_cores() if free is None else min(usable_cores(), max(1, free // needed))
    if devices != {"cpu"} and _has_gpu():
        most = 1
    return max(1, min(asked or most, len(grid.configs)))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def sweep(
    grid: Grid,
    out: Path,
    *,
    workers: int | None = None,
    restart: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    allow_import: Iterable[str] = (),
) -> Iterator[Event]:
    """Carry out every run that is not finished, and yield what happens, the result at last.

    The number of workers changes no digit: each run is one process's, on the threads that its
    config says.

    Args:
        grid: the sweep.
        out: its folder.
        workers: processes side by side; by default as `worker_count` says.
        restart: discard what is there, each run as it is begun anew.
        should_stop: asked now and then; runs under way are then saved, and no more begun.
        allow_import: code of someone's own that a run to start from may name.

    Raises:
        ConfigError: the folder holds another sweep; lists how it differs.
        RunError: the folder cannot be used.
    """
    folder, configs = SweepFolder(out), grid.configs
    tally = _Tally(out, configs)
    with folder.opened():
        left = folder.begin(grid.identity(), [*configs], restart=restart)
        anew = folder.restarting
        for name in configs:
            if name not in anew:
                tally.read(name)
        count = worker_count(grid, workers)
        yield Begins(len(tally.reports), len(configs), count, tuple(left))
        jobs = [
            Job(
                name,
                config.model_dump(mode="json"),
                str(out / name),
                restart=name in anew,
                allow_import=tuple(allow_import),
                allow_changed_source=changes_allowed(),
            )
            for name, config in configs.items()
            if name not in tally.reports
        ]
        with Workers(count) as pool:
            for job, answer in pool.answers(jobs, should_stop):
                if "begun" in answer:
                    folder.begun(job.name)
                if (event := tally.event(job.name, answer)) is not None:
                    yield event
        result = compose(grid, str(out), tally.reports, tally.failed)
        _keep(folder, result)
    yield Swept(result)


class _Tally:
    """What has become of each run: its report, or why it failed."""

    def __init__(self, out: Path, configs: dict[str, RunConfig]) -> None:
        self.out = out
        self.configs = configs
        self.reports: dict[str, Report] = {}
        self.failed: dict[str, str] = {}

    def read(self, name: str) -> Report | None:
        """Return the report of a run that is finished, and is the one that was asked for."""
        directory = RunDirectory(self.out / name)
        with suppress(CheckpointError):  # a worker says what is wrong with it
            there = directory.config()
            if there is not None and not differences(there, self.configs[name]):
                if (report := directory.report()) is not None:
                    self.reports[name] = report
                return report
        return None

    def event(self, name: str, answer: dict[str, Any]) -> Event | None:
        """Return what a worker has told of a run, noted where that is its end."""
        match answer:
            case {"step": step, "steps": steps}:
                return Goes(name, step, steps)
            case {"warned": said}:
                return Says(name, said)
            case {"error": reason}:
                self.failed[name] = reason
            case {"finished": _}:
                if self.read(name) is None:
                    self.failed[name] = "its report cannot be read"
            case _:
                return None
        ended = len(self.reports) + len(self.failed)
        return Done(name, self.reports.get(name), self.failed.get(name), ended)


def _keep(folder: SweepFolder, result: dict[str, Any]) -> None:
    with writing(folder.results_path):
        write_json(folder.results_path, result)
        write_bytes(folder.table_path, as_csv(result).encode())
    if any(row["valid"] or row["test"] for row in result["rows"]):
        with writing(folder.picture_path), canvas(folder.picture_path, *size(result)) as figure:
            draw(figure, result)
