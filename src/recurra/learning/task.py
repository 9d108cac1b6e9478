"""What a task is to those that run one: the object that learns, and the entry that declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from recurra.learning.config import RunConfig
from recurra.learning.event import Event
from recurra.learning.metric import Metric, Metrics
from recurra.storage.format import Format
from recurra.table import Table

if TYPE_CHECKING:
    from recurra.storage.picture import Picture

__all__ = ["Model", "NamedData", "Source", "Task", "TaskEntry", "presets_in", "row", "spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """Everything by which runs, commands, servers and exports find a task.

    What takes long to import is named by its place, `"module:Name"`.

    Args:
        config: the class of its runs' configs.
        task: the place of its `Task`.
        model: the place of the class that its finished models are read by: `from_pretrained`.
        format: how these are marked on disk.
        metrics: what its results are told in, in the order of a table's columns.
        presets: name -> place of a function that returns a config.
        data: the place of its `NamedData`; none where another task's are read.
        pictures: the names of the files that `Task.pictures` may draw.
    """

    config: type[RunConfig]
    task: str
    model: str
    format: Format
    metrics: Sequence[Metric]
    presets: Mapping[str, str]
    data: str | None = None
    pictures: Sequence[str] = ()


class Source(Protocol):
    """Where data that have a name come from; its class says in its first line what they are."""

    def found(self) -> str | None:
        """Return where they are on this machine; None where they are not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedData:
    """The data of a task that have a name, as commands list, show and fetch them.

    Args:
        kind: what they are, in a word.
        table: name -> class of a source.
        suffixes: of the files that hold such data, in lower case.
        open: returns the source that a name or a path stands for.
        describe: returns what there is under a name, as JSON values; `"words"` are shown last.
        tell: returns the lines that say what `describe` found.
        fetch: finds or downloads the data, verifies them and returns their fingerprint.
    """

    kind: str
    table: Table
    suffixes: tuple[str, ...]
    open: Callable[[str], Source]
    describe: Callable[[str], dict[str, Any]]
    tell: Callable[[Mapping[str, Any]], Iterator[str]]
    fetch: Callable[[str], str]


def presets_in(module: str, names: str) -> dict[str, str]:
    """Return presets by name, each the function of that name in a module.

    Args:
        module: its dotted name.
        names: one after another, with hyphens where the functions have underscores.

    Example:
        >>> presets_in("mine.presets", "words ptb-seed")
        {'words': 'mine.presets:words', 'ptb-seed': 'mine.presets:ptb_seed'}
    """
    return {name: f"{module}:{name.replace('-', '_')}" for name in names.split()}


def row(name: str, said: str) -> str:
    """Return a line of what is told of data: its name, then what is said.

    Args:
        name: of one thing.
        said: of it.

    Example:
        >>> row("horizon", "12 steps")
        'horizon     12 steps'
    """
    return f"{name:12}{said}"


def spread(bounds: Sequence[int]) -> str:
    """Return how many there are from the least to the most, in words.

    Args:
        bounds: the least and the most.

    Example:
        >>> spread([3, 3]), spread([3, 1200])
        ('3', '3 to 1,200')
    """
    least, most = bounds
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


class Model(Protocol):
    """What a task leaves behind."""

    can: ClassVar[frozenset[str]]
    """What one may ask of it, by the names of the commands: `"score"`, `"forecast"`, ..."""

    def save_pretrained(self, directory: Path, /) -> None:
        """Write the model as a directory that is loadable alone."""


class Task(Protocol):
    """What a run drives: data and a model, from the config to the report; a task's class is one.

    It is made from `(config, device)`, or `(config, device, data)` where frames or arrays were
    handed over. A task may choose its `metric` by its data, so it is read from the instance.
    """

    metric: str
    """The metric that judges a run, one of its entry's: a key of what `measure` returns."""
    unit: str
    """What throughput counts, as `"tokens"`."""
    config: Any
    """The config that was given, with what was chosen by measuring frozen in it."""

    @property
    def model(self) -> Model:
        """The model as it is now."""
        ...

    def facts(self) -> dict[str, str]:
        """Return in words what is learned."""
        ...

    def fit(self, checkpoints: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train, yielding events; go on from the newest checkpoint.

        Args:
            checkpoints: the directory to save into and to resume from.
            should_stop: asked after every step.
        """
        ...

    def measure(self, split: str) -> Metrics | None:
        """Return the finished model's metrics on a part of the data; None where there is none.

        Args:
            split: `"valid"` or `"test"`.
        """
        ...

    def baselines(self) -> dict[str, dict[str, Metrics]]:
        """Return what the result is printed beside: name -> split -> metrics."""
        return {}

    def extras(self) -> dict[str, Any]:
        """Return more entries of the report, JSON values; `"notes"` are lines to print."""
        return {}

    def companions(self) -> Mapping[str, Model]:
        """Return what is saved beside the model, by the names of folders; often nothing."""
        return {}

    def left_out(self) -> Mapping[str, str]:
        """Return what could not be made, or not in time, name -> why; asked after all the rest."""
        return {}

    def pictures(self) -> Iterable[Picture]:
        """Return what there is to see of the result, beside the curves."""
        return ()

    @classmethod
    def evaluate(cls, run: Path, config: Any, data: Any, split: str, context: str) -> Metrics:
        """Return the metrics of a finished run's model on its own data or on others.

        Args:
            run: a run directory, or a model's.
            config: the run's; None where there is only a model.
            data: what the task reads, by name or path, or as frames or arrays; None is the
                run's own.
            split: which part of the data.
            context: of text, `"document"` or `"independent"`.

        Raises:
            CheckpointError: there is no model, or it is damaged.
            DataError: there is no such split, or the data cannot be used.
            ConfigError: it is not known what to measure on, or for another context.
        """
        ...
