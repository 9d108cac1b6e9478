"""A run from its config to its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.errors import ConfigError
from recurra.learning.config import GIVEN, RunConfig, differences, with_data
from recurra.learning.event import Event, Finished, Started, Stopped, Warned
from recurra.learning.metric import Metrics
from recurra.learning.task import Task
from recurra.machine import choose_device, keep_freed_memory, on_threads, usable_cores
from recurra.run.asked import Asked
from recurra.run.directory import COMPANIONS, RunDirectory
from recurra.run.plot import curves
from recurra.run.report import Judged, best_of, compose
from recurra.run.tasks import metric_of, task_class, task_of
from recurra.storage.picture import canvas

__all__ = ["Opened", "Reported", "config_of", "evaluate", "train"]


@dataclass(frozen=True, slots=True)
class Opened:
    """The data are read and the directory is held; `facts` say in words what is learned.

    `metric` judges the run, `unit` is what its throughput counts.
    """

    config: RunConfig
    directory: Path
    facts: dict[str, str]
    metric: str
    unit: str


@dataclass(frozen=True, slots=True)
class Reported:
    """The run is finished, and this is its report."""

    report: dict[str, Any]


def train(
    config: RunConfig,
    *,
    data: object = None,
    out: Path | str | None = None,
    start_from: Path | str | None = None,
    restart: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event | Opened | Reported]:
    """Train, evaluate and report; nothing happens but while the events are read.

    On an unfinished run of the same config it goes on where that stopped, to the bit; on a
    finished one it only yields the report.

    Args:
        config: what to do; `recurra.preset(name)` gives one.
        data: the name, directory or file to learn from, in place of the config's; for series
            and labels also a frame or arrays.
        out: the run's directory; `runs/PRESET` by default.
        start_from: a run whose weights and vocabulary this one begins with.
        restart: discard what is in the directory.
        should_stop: asked after every step; when true, the run saves and yields `Stopped`.

    Raises:
        ConfigError: the directory holds a run of another config, and lists the differences; or
            something else than a config is given.
        RunError: the directory cannot be used, or training failed.
        DataError: the data cannot be used.
        ResourceError: memory or disk ran out.

    Example:
        >>> import recurra as rc
        >>> for event in rc.train(rc.preset("kn3"), out="runs/mine"):  # doctest: +SKIP
        ...     print(event)
    """
    begun = time.monotonic()
    _require_config(config)
    if data is not None:
        config = with_data(config, data)
    if start_from is not None:
        config = config.model_copy(update={"start_from": str(start_from)})
    directory = RunDirectory(out if out is not None else Path("runs") / config.preset)
    with directory.opened() as removed:
        for path in removed:
            yield Warned(f"{path}, left over by an interrupted run, is removed")
        if restart:
            _refuse_own_weights(config.start_from, directory.path)
            directory.clear()
        why = "as asked" if config.threads else None
        if (there := directory.config()) is not None:
            asked, config = config.threads, _same(there, config, directory.path)
            if (report := directory.report()) is not None:
                yield Reported(report)
                return
            config, why, warning = _same_threads(config, asked)
            if warning is not None:
                yield Warned(warning)
        with on_threads(config.threads or usable_cores()):
            yield from _run(config, data, directory, should_stop, begun, why)


def _require_config(config: object) -> None:
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"train takes a config, as recurra.preset('words') makes one, got {config!r:.80}"
        )


def _require_name(config: RunConfig) -> None:
    if config.source == GIVEN:
        raise ConfigError(
            f"{config.preset} learns from data that were handed over in Python; hand them over "
            "again, or name a file"
        )


def _refuse_own_weights(start_from: str | None, path: Path) -> None:
    if start_from and Path(start_from).resolve().is_relative_to(path.resolve()):
        raise ConfigError(
            f"--restart would discard the weights that --from {start_from} begins with; "
            "give another --out"
        )


def _same(there: RunConfig, asked: RunConfig, path: Path) -> RunConfig:
    if lines := differences(there, asked):
        raise ConfigError(
            f"{path} holds another run ({'; '.join(lines)}). Give another --out, the same "
            "settings to go on, or --restart to start over"
        )
    return there


def _same_threads(there: RunConfig, asked: int | None) -> tuple[RunConfig, str, str | None]:
    """Return the config to go on with, why it takes its threads, and what is to be warned of."""
    kept, cores = there.threads, usable_cores()
    if kept is None and asked is None:
        return there, "as chosen now", None
    if asked is not None and asked != kept:
        said = f"this run had --threads {kept} until now and is asked to go on with {asked}"
        why = "its last places may differ from those of a run that keeps to one number"
        changed = there.model_copy(update={"threads": asked})
        return changed, "as asked", None if kept is None else f"{said}: {why}"
    said = f"this run goes on with --threads {kept}, but may use only {cores} of the cores"
    why = "it is slower, and libraries that take fewer threads by themselves may round otherwise"
    return there, "as before", f"{said}: {why}" if kept and kept > cores else None


def _threads(config: RunConfig, why: str | None) -> dict[str, str]:
    """Return in words how many threads are taken, and why; nothing where none were chosen."""
    if config.threads is None:
        return {}
    small = config.threads == 1 < usable_cores()
    chosen = "as the network is small" if small else "as many as this process may use cores"
    return {"threads": f"{config.threads}, {why or chosen}"}


def _run(
    config: RunConfig,
    data: object,
    directory: RunDirectory,
    should_stop: Callable[[], bool],
    begun: float,
    why: str | None,
) -> Iterator[Event | Opened | Reported]:
    keep_freed_memory()
    given = () if data is None or isinstance(data, str | Path) else (data,)
    if not given:
        _require_name(config)
    task: Task = task_class(config.task)(config, choose_device(config.device), *given)
    config = task.config
    directory.write_config(config)
    facts = task.facts() | _threads(config, why)
    yield Opened(config, directory.path, facts, task.metric, task.unit)
    for event in task.fit(directory.checkpoints_path, should_stop):
        if isinstance(event, Started):
            directory.metrics.rewind(event.step)
        directory.metrics.append(event)
        if isinstance(event, Finished):
            finished = event
        yield event
        if isinstance(event, Stopped):
            return
    task.model.save_pretrained(directory.model_path)
    report = _report(task, directory, finished, begun)
    for name, model in task.companions().items():
        model.save_pretrained(directory.path / name)
    directory.write_report(report)
    yield Reported(report)


def _report(
    task: Task, directory: RunDirectory, finished: Finished, begun: float
) -> dict[str, Any]:
    asked = Asked(task.config, directory.path)
    metric, better = task.metric, metric_of(task.metric).better
    ours = {split: task.measure(split) for split in ("valid", "test")}
    baselines = task.baselines()
    split = "test" if ours["test"] is not None else "valid"
    extras = task.extras()
    curves(
        directory.metrics.records(),
        directory.curves_path,
        title=asked.title,
        metric=metric,
        baseline=best_of(_of_split(baselines, "valid"), metric, better),
    )
    drawn = [directory.curves_path.name]
    for picture in task.pictures():
        with canvas(directory.path / picture.name, *picture.size) as figure:
            picture.draw(figure, asked.title)
        drawn.append(picture.name)
    return compose(
        asked,
        finished,
        seconds=time.monotonic() - begun,
        valid=ours["valid"],
        test=ours["test"],
        baselines=_of_split(baselines, split),
        judged=Judged(metric, better, task.unit),
        extras={**extras, "pictures": drawn},
    )


def _of_split(baselines: Mapping[str, Mapping[str, Metrics]], split: str) -> dict[str, Metrics]:
    return {name: rows[split] for name, rows in baselines.items() if split in rows}


def evaluate(
    run: Path | str,
    *,
    data: object = None,
    split: str = "test",
    context: str = "document",
) -> dict[str, float | int | None]:
    """Return the metrics of a finished run's model on its own data or on others.

    Args:
        run: a run directory, or that of a model or a mixture in one, or elsewhere.
        data: a name, a directory or a file, or a frame or arrays for series and labels; a
            text file is scored whole. By default the run's own data.
        split: which part of the data, `"train"`, `"valid"` or `"test"`.
        context: of text: `"document"` carries the state throughout, `"independent"` starts
            every line anew.

    Raises:
        CheckpointError: the run holds no model, or a damaged one.
        DataError: there is no such split, or the data cannot be used.
        ConfigError: for another context.

    Example:
        >>> evaluate("runs/kn5", split="valid")["perplexity"]  # doctest: +SKIP
        148.0
    """
    config = config_of(run) if data is None else _config_in(Path(run))
    if config is not None and data is not None:
        with_data(config, data)  # refuses what the task cannot read
    elif config is not None:
        _require_name(config)
    name = config.task if config else task_of(run)
    given = str(data) if isinstance(data, str | Path) else data
    kept = config.threads if config else None
    with on_threads(min(kept, usable_cores()) if kept else None):
        return dict(task_class(name).evaluate(Path(run), config, given, split, context))


def config_of(run: Path | str) -> RunConfig | None:
    """Return the config of a run, or of the run whose model or mixture is given; None if of none.

    Args:
        run: a run directory, that of a model or a mixture in one, or elsewhere, or a file.

    Raises:
        CheckpointError: there is a `config.json`, but it cannot be understood.

    Example:
        >>> config_of("nowhere") is None
        True
    """
    place = Path(run).resolve()
    inside = place.name in ("model", *COMPANIONS) and place.is_dir()
    return _config_in(Path(run)) or (_config_in(place.parent) if inside else None)


def _config_in(directory: Path) -> RunConfig | None:
    return None if directory.is_file() else RunDirectory(directory).config()
