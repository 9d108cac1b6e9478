"""A run from its config to its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError, ConfigError
from recurra.learning.config import GIVEN, RunConfig, differences, with_data
from recurra.learning.event import Event, Finished, Saving, Started, Stopped, Warned
from recurra.learning.metric import Metrics
from recurra.learning.optimization import require_own
from recurra.learning.options import TrainOptions
from recurra.learning.task import Task
from recurra.machine import choose_device, keep_freed_memory, on_threads, usable_cores
from recurra.run.asked import Asked
from recurra.run.directory import COMPANIONS, RunDirectory
from recurra.run.events import told_if_unread
from recurra.run.own import loss_of, names_in, of_one_source, of_other_source
from recurra.run.plot import curves
from recurra.run.presets import stand_in
from recurra.run.report import Judged, best_of, compose
from recurra.run.tasks import metric_of, parse_config, task_class, task_of
from recurra.storage.picture import canvas
from recurra.storage.pretrained import CONFIG, config_in
from recurra.storage.sources import Unchanged, changed_before, keep_sources
from recurra.table import named_by_file
from recurra.work import working

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


@told_if_unread
def train(
    config: RunConfig,
    *,
    data: object = None,
    out: Path | str | None = None,
    start_from: Path | str | None = None,
    restart: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    allow_import: Iterable[str] = (),
) -> Generator[Event | Opened | Reported, None, None]:
    """Train, evaluate and report; nothing happens but while the events are read.

    Events that are dropped unread warn of it. On an unfinished run of the same config it goes on
    where that stopped, to the bit; on a finished one it only yields the report.

    Args:
        config: what to do; `recurra.preset(name)` gives one.
        data: the name, directory or file to learn from, in place of the config's; for series
            and labels also a frame or arrays.
        out: the run's directory; `runs/PRESET` by default.
        start_from: a run whose weights and vocabulary this one begins with.
        restart: discard the run that is in the directory, once the new one can begin.
        should_stop: asked after every step; when true, the run saves and yields `Stopped`.
        allow_import: cells of someone's own that the run to start from may name, as
            `["module:Name"]`; those that the config names need not be among them.

    Raises:
        ConfigError: no config is given, or the directory holds a run of another; lists how.
        RunError: the directory cannot be used, or training failed.
        CheckpointError: it, or the run to start from, is damaged or names what is not allowed.
        DataError: the data cannot be used.
        ResourceError: memory or disk ran out.

    Example:
        >>> import recurra as rc
        >>> for event in rc.train(rc.preset("kn3"), out="runs/mine"):  # doctest: +SKIP
        ...     print(event)
    """
    begun = time.monotonic()
    config = _asked(config, data, start_from, out)
    named = [*names_in(config), *allow_import]
    directory = RunDirectory(out if out is not None else Path("runs") / config.preset)
    with directory.opened() as removed:
        for path in removed:
            yield Warned(f"{path}, left over by an interrupted run, is removed")
        if restart:
            _refuse_own_weights(config.start_from, directory.path)
        elif (there := directory.config()) is not None:
            config = yield from _same(there, config, directory)
            if (report := directory.report()) is not None:
                yield from of_other_source(config, directory.path)
                yield Reported(report)
                return
            yield from of_one_source(config, directory.path)
        directory.require_replaceable(whole=restart, task=config.task)
        yield from _run(config, data, directory, should_stop, begun, restart, named)


def _asked(config: RunConfig, data: object, start_from: object, out: object) -> RunConfig:
    """Return what is to be done, with all that was said beside the config in it."""
    _require_config(config)
    if out == "":
        raise ConfigError("out is empty; give a directory, or None for runs/PRESET")
    if data is not None:
        config = with_data(config, data)
    if start_from is not None:
        config = config.model_copy(update={"start_from": str(start_from)})
    return config


def _require_config(config: object) -> None:
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"train takes a config, as recurra.preset('words') makes one, got {config!r:.80}"
        )
    if isinstance(options := getattr(config, "train", None), TrainOptions):
        require_own(options)  # before anything is read or written


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


def _same(
    there: RunConfig, asked: RunConfig, directory: RunDirectory
) -> Generator[Warned, None, RunConfig]:
    """Return the config to go on with, and warn where its threads are others than before."""
    if lines := differences(there, asked):
        raise ConfigError(
            f"{directory.path} holds another run ({'; '.join(lines)}). Give another --out, the "
            "same settings to go on, or --restart to start over"
        )
    config = there.model_copy(update={"threads": asked.threads or there.threads})
    if there.threads is None or config.threads is None or directory.report() is not None:
        return config
    cores = usable_cores()
    if config.threads != there.threads:
        yield Warned(
            f"this run had --threads {there.threads} until now and is asked to go on with "
            f"{config.threads}: its last places may differ from those of a run that keeps to one"
        )
    elif config.threads > cores:
        yield Warned(
            f"this run goes on with --threads {config.threads}, but may use only {cores} of the "
            "cores: it is slower, and libraries that take fewer by themselves may round otherwise"
        )
    return config


def _threads(config: RunConfig, given: bool) -> dict[str, str]:
    """Return in words how many threads are taken, and why; nothing where none were chosen."""
    if config.threads is None:
        return {}
    small = config.threads == 1 < usable_cores()
    chosen = "as the network is small" if small else "as many as this process may use cores"
    return {"threads": f"{config.threads}, {'as its config says' if given else chosen}"}


def _run(config: RunConfig, *how: Any) -> Iterator[Event | Opened | Reported]:
    if (said := stand_in(config)) is not None:
        yield Warned(said)
    with on_threads(config.threads or usable_cores()):
        yield from _learn(config, *how)


def _learn(
    config: RunConfig,
    data: object,
    directory: RunDirectory,
    should_stop: Callable[[], bool],
    begun: float,
    restart: bool,
    named: Iterable[str],
) -> Iterator[Event | Opened | Reported]:
    keep_freed_memory()
    decided = config.threads is not None
    given = () if data is None or isinstance(data, str | Path) else (data,)
    if not given:
        _require_name(config)
    # all that no other run says is asked for, and so is what one's own code looks up
    reading = (
        named_by_file(config.start_from, named, Unchanged(config.start_from))
        if config.start_from
        else nullcontext()
    )
    with working("preparing"), reading:
        task: Task = task_class(config.task)(config, choose_device(config.device), *given)
    config = task.config
    directory.write_config(config, restart=restart)
    keep_sources(directory.path, names_in(config))
    facts = task.facts() | _threads(config, decided)
    yield Opened(config, directory.path, facts, task.metric, task.unit)
    for event in task.fit(directory.checkpoints_path, should_stop):
        if isinstance(event, Started):
            yield from map(Warned, directory.metrics.rewind(event.step, unjudged=event.unjudged))
        if isinstance(event, Finished):
            finished = event
        yield from _logged(event, directory)
        if isinstance(event, Stopped):
            return
    with working("reporting"):
        directory.require_there()
        task.model.save_pretrained(directory.model_path)
        report = _report(task, directory, finished, begun, facts.get("start"))
        for name, model in task.companions().items():
            directory.require_there()
            model.save_pretrained(directory.path / name)
        directory.require_there()
        directory.write_report(report)
    yield Reported(report)


def _logged(event: Event, directory: RunDirectory) -> Iterator[Event]:
    """Yield an event once its line is in the log: on the disk, before a checkpoint speaks of it."""
    directory.require_there()
    directory.metrics.append(event)
    if isinstance(event, Saving):
        directory.metrics.sync()
    else:
        yield event


def _report(
    task: Task, directory: RunDirectory, finished: Finished, begun: float, start: str | None
) -> dict[str, Any]:
    asked = Asked(task.config, directory.path)
    metric, better = task.metric, metric_of(task.metric).better
    ours = {}
    for split in ("valid", "test"):
        with working(f"measuring on {split}"):
            ours[split] = task.measure(split)
    with working("measuring the baselines"):
        baselines = task.baselines()
    split = "test" if ours["test"] is not None else "valid"
    extras = task.extras()
    curves(
        directory.metrics.records(),
        directory.curves_path,
        title=asked.title,
        metric=metric,
        baseline=_in_the_verdict(baselines, split, metric, better),
        loss=loss_of(task.config),
    )
    drawn = [directory.curves_path.name]
    for picture in task.pictures():
        with canvas(directory.path / picture.name, *picture.size) as figure:
            picture.draw(figure, asked.title)
        drawn.append(picture.name)
    extras = {**extras, "pictures": drawn}
    if left_out := task.left_out():
        extras["left_out"] = dict(left_out)
    if start is not None:
        extras["start"] = start
    if changed := changed_before(directory.path):
        extras["changed_source"] = changed
    return compose(
        asked,
        finished,
        seconds=time.monotonic() - begun,
        valid=ours["valid"],
        test=ours["test"],
        baselines=_of_split(baselines, split),
        judged=Judged(metric, better, task.unit),
        extras=extras,
    )


def _in_the_verdict(
    baselines: Mapping[str, Mapping[str, Metrics]], split: str, metric: str, better: str
) -> tuple[str, float] | None:
    """Return the baseline that the verdict speaks of, and its figure on validation."""
    on_valid = _of_split(baselines, "valid")
    judged = best_of(_of_split(baselines, split), metric, better)
    if judged is not None:
        spoken_of = {name: row for name, row in on_valid.items() if name == judged[0]}
        if (found := best_of(spoken_of, metric, better)) is not None:
            return found
    return best_of(on_valid, metric, better)


def _of_split(baselines: Mapping[str, Mapping[str, Metrics]], split: str) -> dict[str, Metrics]:
    return {name: rows[split] for name, rows in baselines.items() if split in rows}


def evaluate(
    run: Path | str,
    *,
    data: object = None,
    split: str = "test",
    context: str = "document",
    allow_import: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the metrics of a finished run's model on its own data or on others.

    Where source of one's own has changed since, and that is allowed, `changed_source` lists it.

    Args:
        run: a run directory, or that of a model or a mixture in one, or elsewhere.
        data: a name, a directory or a file, or a frame or arrays for series and labels; a
            text file is scored whole. By default the run's own data.
        split: which part of the data, `"train"`, `"valid"` or `"test"`.
        context: of text: `"document"` carries the state throughout, `"independent"` starts
            every line anew.
        allow_import: cells and data of someone's own that the run may name, as `["module:Name"]`.

    Raises:
        CheckpointError: the run holds no model, or a damaged one, or names what is not allowed.
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
    named = [*allow_import, given] if isinstance(given, str) else allow_import
    kept = config.threads if config else None
    threads = on_threads(min(kept, usable_cores()) if kept else None)
    unchanged = Unchanged(run)
    with working(f"measuring on {split}"), named_by_file(run, named, unchanged), threads:
        found = dict(task_class(name).evaluate(Path(run), config, given, split, context))
    return found | ({"changed_source": unchanged.changed} if unchanged.changed else {})


def config_of(run: Path | str) -> RunConfig | None:
    """Return the config of a run, or of the run whose model or mixture is given; None if of none.

    A mixture that lies in no run may keep the config of what it learned from.

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
    return (
        _config_in(Path(run)) or (_config_in(place.parent) if inside else None) or _kept_in(place)
    )


def _config_in(directory: Path) -> RunConfig | None:
    return None if directory.is_file() else RunDirectory(directory).config()


def _kept_in(directory: Path) -> RunConfig | None:
    """Return the config that a mixture keeps of the text that it learned from."""
    values = config_in(directory)
    try:
        return None if values is None else parse_config(values)
    except (ConfigError, AttributeError) as error:
        raise CheckpointError(f"{directory / CONFIG}: {error}") from error
