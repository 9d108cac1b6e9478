"""A run from its config to its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recurra.errors import ConfigError
from recurra.language.dataset import TextDataset, encode_text
from recurra.language.model import LanguageModel
from recurra.language.options import TextOptions
from recurra.machine import choose_device, keep_freed_memory
from recurra.run.config import RunConfig, differences, with_settings
from recurra.run.directory import RunDirectory
from recurra.run.plot import curves
from recurra.run.report import compose
from recurra.table import Table
from recurra.train.event import Event, Finished, Started, Stopped, Warned

__all__ = ["TASKS", "Opened", "Reported", "evaluate", "train"]

TASKS = Table(
    "task",
    {
        "language": "recurra.language.task:LanguageTask",
        "ngram": "recurra.language.task:NgramTask",
    },
)

SAMPLE_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Opened:
    """The data are read and the directory is held; `facts` say in words what is learned."""

    config: RunConfig
    directory: Path
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Reported:
    """The run is finished, and this is its report."""

    report: dict[str, Any]


def train(
    config: RunConfig,
    *,
    data: str | Path | None = None,
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
        data: the corpus, directory or file to learn from, in place of the config's.
        out: the run's directory; `runs/PRESET` by default.
        start_from: a run whose weights and vocabulary this one begins with.
        restart: discard what is in the directory.
        should_stop: asked after every step; when true, the run saves and yields `Stopped`.

    Raises:
        ConfigError: the directory holds a run of another config; lists the differences.
        RunError: the directory cannot be used, or training failed.
        DataError: the data cannot be used.
        ResourceError: memory or disk ran out.

    Example:
        >>> import recurra as rc
        >>> for event in rc.train(rc.preset("kn3"), out="runs/mine"):  # doctest: +SKIP
        ...     print(event)
    """
    begun = time.monotonic()
    if data is not None:
        config = with_settings(config, [f"data.corpus={data}"])
    if start_from is not None:
        config = config.model_copy(update={"start_from": str(start_from)})
    directory = RunDirectory(out if out is not None else Path("runs") / config.preset)
    with directory.opened() as removed:
        for path in removed:
            yield Warned(f"{path}, left over by an interrupted run, is removed")
        if restart:
            _refuse_own_weights(config.start_from, directory.path)
            directory.clear()
        if (there := directory.config()) is not None:
            config = _same(there, config, directory.path)
            if (report := directory.report()) is not None:
                yield Reported(report)
                return
        yield from _run(config, directory, should_stop, begun)


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


def _run(
    config: RunConfig, directory: RunDirectory, should_stop: Callable[[], bool], begun: float
) -> Iterator[Event | Opened | Reported]:
    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    task = TASKS[config.task](config, choose_device(config.device))
    config = task.config
    directory.write_config(config)
    yield Opened(config, directory.path, task.facts())
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
    directory.write_report(report)
    yield Reported(report)


def _report(task: Any, directory: RunDirectory, finished: Finished, begun: float) -> dict[str, Any]:
    config, dataset = task.config, task.dataset

    def measured(model: LanguageModel) -> dict[str, dict[str, Any]]:
        return {
            split: model.evaluate(dataset.ids(split), dataset.facts(split)).as_dict()
            for split in ("valid", "test")
            if split in dataset.splits
        }

    ours = measured(task.model)
    baselines = {name: measured(model) for name, model in task.baselines().items()}
    judged = "test" if "test" in ours else "valid"
    report = compose(
        config,
        directory.path,
        steps=finished.step,
        epochs=finished.epoch,
        seconds=time.monotonic() - begun,
        train_seconds=finished.seconds,
        items=finished.items,
        valid=ours.get("valid"),
        test=ours.get("test"),
        baselines={name: rows[judged] for name, rows in baselines.items() if judged in rows},
        sample=task.model.generate(SAMPLE_TOKENS, seed=config.seed),
    )
    curves(
        directory.metrics.records(),
        directory.curves_path,
        title=f"{config.preset} on {config.data.corpus}",
        baseline=_validated(baselines),
    )
    return report


def _validated(baselines: dict[str, dict[str, dict[str, Any]]]) -> tuple[str, float] | None:
    """Return the first baseline that has a validation perplexity, and that."""
    for name, rows in baselines.items():
        if rows.get("valid", {}).get("perplexity") is not None:
            return name, rows["valid"]["perplexity"]
    return None


def evaluate(
    run: Path | str,
    *,
    data: str | Path | None = None,
    split: str = "test",
    context: str = "document",
) -> dict[str, float | int | None]:
    """Return the metrics of a finished run's model on its own data or on another text.

    Args:
        run: a run directory.
        data: a corpus, a directory or a text file; a file is scored whole. By default the
            run's own data.
        split: which part of the data, `"train"`, `"valid"` or `"test"`.
        context: `"document"` carries the state throughout, `"independent"` starts every line
            anew.

    Raises:
        CheckpointError: the run holds no model, or a damaged one.
        DataError: there is no such split, or the text cannot be used.
        ConfigError: for another context.

    Example:
        >>> evaluate("runs/kn5", split="valid")["perplexity"]  # doctest: +SKIP
        148.0
    """
    model = LanguageModel.from_pretrained(run)
    if data is not None and Path(data).is_file():
        ids, facts = encode_text(Path(data), model.vocabulary, model.rule)
    else:
        config = RunDirectory(run).config()
        options: TextOptions = getattr(config, "data", None) or TextOptions()
        if data is not None:
            options = options.model_copy(update={"corpus": str(data), "rule": model.rule})
        dataset = TextDataset.open(options, model.vocabulary)
        ids, facts = dataset.ids(split), dataset.facts(split)
    return model.evaluate(ids, facts, context).as_dict()
