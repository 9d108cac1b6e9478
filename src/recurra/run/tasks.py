"""The tasks there are; a config, a model and a metric are each asked here which one they are of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError, ConfigError
from recurra.learning.config import RunConfig, validated
from recurra.learning.metric import Metric
from recurra.learning.task import TaskEntry
from recurra.storage.reading import read_json
from recurra.table import Table, imported
from recurra.work import working

__all__ = ["TASKS", "load_model", "metric_of", "parse_config", "task_class", "task_of"]

TASKS = Table(
    "task",
    {
        "language": "recurra.language.entry:LANGUAGE",
        "ngram": "recurra.language.entry:NGRAM",
        "series": "recurra.series.entry:SERIES",
        "labels": "recurra.labels.entry:LABELS",
    },
)
"""Name -> `TaskEntry`, which says everything else."""


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Return the config that `values`, as read from a `config.json`, describe.

    Args:
        values: nested settings; `task` says which.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range; names the field.

    Example:
        >>> parse_config({"preset": "kn3", "task": "ngram", "ngram": {"order": 3}}).task
        'ngram'
    """
    task = values.get("task")
    if task not in list(TASKS):  # a list from a file is in no mapping
        raise ConfigError(f"task is {task!r:.80}, but must be one of {', '.join(TASKS)}")
    entry: TaskEntry = TASKS[task]
    return validated(entry.config, values, strict=True)


def task_class(name: str) -> Any:
    """Return the class of a task, a `Task`.

    Args:
        name: in `TASKS`.

    Example:
        >>> task_class("labels").unit
        'examples'
    """
    return imported(TASKS[name].task, "task")


def task_of(run: Path | str) -> str:
    """Return the name of the task that a model is of, by what it says of itself.

    Args:
        run: a run directory, the `model` directory in one, or a single file.

    Raises:
        CheckpointError: there is no model, or one of no task that is known here.

    Example:
        >>> task_of("counts.arpa")
        'language'
    """
    from recurra.storage.pretrained import format_of  # torch: presets are listed without it

    entries: dict[str, TaskEntry] = dict(TASKS)
    for name, entry in entries.items():
        if entry.format.is_single(run):
            return name
    found = format_of(run)
    for name, entry in entries.items():
        if entry.format.name == found:
            return name
    known = ", ".join(dict.fromkeys(entry.format.name for entry in entries.values()))
    raise CheckpointError(f"{run} holds a {found!r:.80}; there are: {known}")


def load_model(run: Path | str, ability: str, *, allow_import: Iterable[str] = ()) -> Any:
    """Return a finished model that can do something, whichever task it is of.

    Torch is left with as many threads as the run took, of the cores that there are.

    Args:
        run: a run directory, the `model` directory in one, or a single file.
        ability: what is asked of it, by the name of the command, as `"score"`.
        allow_import: cells of someone's own that it may name, as `["module:Name"]`.

    Raises:
        CheckpointError: there is no model, it is damaged, or it cannot do that, and says what it
            can; or it names a cell that is not allowed.

    Example:
        >>> load_model("runs/words", "score").score(["the cat sat"])  # doctest: +SKIP
    """
    entry: TaskEntry = TASKS[task_of(run)]
    kind = imported(entry.model, "model")
    if ability not in kind.can:
        raise CheckpointError(
            f"{run} holds a {entry.format.name.removeprefix('recurra-').replace('-', ' ')}, which "
            f"cannot {ability}; it can {', '.join(sorted(kind.can))}"
        )
    with working("reading the model"):
        model = kind.from_pretrained(run, allow_import=allow_import)
    if (threads := _threads_of(Path(run))) is not None:
        import torch  # presets are listed without it

        from recurra.machine import usable_cores

        torch.set_num_threads(min(threads, usable_cores()))
    return model


def _threads_of(run: Path) -> int | None:
    """Return the threads that a run took, by its config or that of the run it lies in."""
    place = next((p for p in (run, run.parent) if (p / "config.json").is_file()), None)
    try:
        threads = read_json(place / "config.json")["threads"] if place else None
    except (CheckpointError, KeyError, TypeError):
        return None
    return threads if type(threads) is int and threads >= 1 else None


def metric_of(name: str) -> Metric:
    """Return how a figure is read; what no task declares is a plain number.

    Args:
        name: as in reports.

    Example:
        >>> metric_of("mase").title, metric_of("accuracy").better
        ('MASE', 'higher')
    """
    entries: list[TaskEntry] = list(TASKS.values())
    declared = (metric for entry in entries for metric in entry.metrics)
    return next((metric for metric in declared if metric.name == name), Metric(name=name))
