"""What a run is, as one frozen value: its task, and the task's own options."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from recurra.errors import ConfigError
from recurra.labels.options import LabelNetworkOptions, LabelOptions
from recurra.language.options import (
    SIZED,
    MixtureOptions,
    NetworkOptions,
    NgramOptions,
    TextOptions,
)
from recurra.learning.optimization import TrainOptions
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.table import nearest

__all__ = [
    "GIVEN",
    "RUNS",
    "LabelRun",
    "LanguageRun",
    "NgramRun",
    "RunConfig",
    "SeriesRun",
    "allowed",
    "differences",
    "fields",
    "parse_config",
    "settings",
    "source",
    "with_data",
    "with_settings",
]

GIVEN = "(given)"
"""What the config says of data that were handed over in Python and have no name."""


class RunConfig(BaseModel):
    """What every run says, whatever its task."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = Field(description="the preset this run began as")
    task: str = Field(description="what is learned")
    seed: int = Field(1, ge=0, lt=2**63, description="where every random stream derives from")
    threads: int | None = Field(
        None, ge=1, le=4096, description="processor threads; as many as there are cores"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where tensors live; auto is cuda where there is one"
    )
    start_from: str | None = Field(
        None, description="a run whose weights and vocabulary this one begins with; none"
    )


class LanguageRun(RunConfig):
    """A recurrent language model learns a text."""

    task: Literal["language"] = Field("language", description="what is learned")
    data: TextOptions = TextOptions()
    network: NetworkOptions = NetworkOptions()
    train: TrainOptions = TrainOptions()
    mix: MixtureOptions = MixtureOptions()


class NgramRun(RunConfig):
    """The n-grams of a text are counted."""

    task: Literal["ngram"] = Field("ngram", description="what is learned")
    data: TextOptions = TextOptions()
    ngram: NgramOptions = NgramOptions()


class SeriesRun(RunConfig):
    """A recurrent network learns to forecast series."""

    task: Literal["series"] = Field("series", description="what is learned")
    data: SeriesOptions = SeriesOptions()
    network: ForecastOptions = ForecastOptions()
    train: TrainOptions = TrainOptions()


class LabelRun(RunConfig):
    """A network learns which class a sequence belongs to."""

    task: Literal["labels"] = Field("labels", description="what is learned")
    data: LabelOptions = LabelOptions()
    network: LabelNetworkOptions = LabelNetworkOptions()
    train: TrainOptions = TrainOptions()


RUNS: dict[str, type[RunConfig]] = {
    "language": LanguageRun,
    "ngram": NgramRun,
    "series": SeriesRun,
    "labels": LabelRun,
}
_Config = TypeVar("_Config", bound=RunConfig)
_NOT_SETTABLE = ("preset", "task")


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
    if not isinstance(task, str) or task not in RUNS:
        raise ConfigError(f"task is {task!r}, but must be one of {', '.join(RUNS)}")
    try:
        return RUNS[task].model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, RUNS[task])) from error


def with_settings(config: _Config, assignments: Sequence[str]) -> _Config:
    """Return a copy of `config` with some settings changed, typed from the model.

    Args:
        config: where the other settings come from.
        assignments: `"train.learning_rate=0.5"`, ...; `none` empties an optional setting.

    Raises:
        ConfigError: an unknown key, answered with the nearest one, or a value out of range.

    Example:
        >>> run = LanguageRun(preset="mine")
        >>> with_settings(run, ["train.learning_rate=0.5", "seed=3"]).train.learning_rate
        0.5
    """
    model = type(config)
    known = dict(fields(model))
    values = config.model_dump()
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(f"got {assignment!r}: a setting is KEY=VALUE, as seed=3")
        if key not in known or key in _NOT_SETTABLE:
            settable = [name for name in known if name not in _NOT_SETTABLE]
            raise ConfigError(f"{config.preset} has no setting {key!r}.{nearest(key, settable)}")
        section, _, name = key.rpartition(".")
        empty = text.strip().lower() == "none" and _optional(known[key])
        (values[section] if section else values)[name] = None if empty else text.strip()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, model)) from error


def with_data(config: _Config, data: object) -> _Config:
    """Return a copy of `config` that learns from other data.

    Args:
        config: where the other settings come from.
        data: a name or a path; series and labels may be handed over as frames or arrays too.

    Raises:
        ConfigError: neither a name nor a path is given for a text.

    Example:
        >>> source(with_data(NgramRun(preset="kn3"), "novel.txt"))
        'novel.txt'
    """
    setting = _source_setting(config)
    if isinstance(data, str | Path):
        return with_settings(config, [f"{setting}={data}"])
    if setting == "data.corpus":
        raise ConfigError(
            f"{config.preset} learns a text: give a corpus's name, a directory or a file, "
            f"not a {type(data).__name__}"
        )
    return with_settings(config, [f"{setting}={GIVEN}"])


def source(config: RunConfig) -> str:
    """Return the name or path of the data that a run learns from.

    Args:
        config: the run's.

    Example:
        >>> source(LanguageRun(preset="mine"))
        'docstrings'
    """
    return str(settings(config)[_source_setting(config)])


def _source_setting(config: RunConfig) -> str:
    return "data.dataset" if "data.dataset" in settings(config) else "data.corpus"


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting's dotted name and field, in order.

    Args:
        model: a config's class.
        prefix: put before each name.

    Example:
        >>> [name for name, _ in fields(NgramRun)][-3:]
        ['ngram.order', 'ngram.cutoffs', 'ngram.prune']
    """
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def settings(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return every setting by its dotted name.

    Args:
        config: what holds them.
        prefix: put before each name.

    Example:
        >>> settings(NgramRun(preset="kn3"))["ngram.order"]
        5
    """
    found: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            found |= settings(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def differences(there: RunConfig, asked: RunConfig) -> list[str]:
    """Return one line for every setting in which two runs differ; none if one resumes the other.

    What `train.minutes` froze into a run, steps and sizes, is no difference.

    Args:
        there: the config of the run that exists.
        asked: the config of the run that is wanted.

    Example:
        >>> differences(LanguageRun(preset="mine", seed=1), LanguageRun(preset="mine", seed=2))
        ['seed: 1 there, 2 asked']
    """
    old, new = settings(there), settings(asked)
    if old.get("train.minutes") is not None and old["train.minutes"] == new.get("train.minutes"):
        new["train.steps"] = new["train.steps"] or old["train.steps"]
        if old.get("train.sized") and new.get("train.sized"):
            new |= {name: old[name] for name in SIZED}
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, "nothing"), new.get(name, "nothing")
        if before != after:
            lines.append(f"{name}: {_show(before)} there, {_show(after)} asked")
    return lines


def allowed(field: FieldInfo) -> str:
    """Return in words what values a setting may have.

    Args:
        field: one of `fields(...)`.

    Example:
        >>> allowed(TrainOptions.model_fields["momentum"])
        'a number, at least 0, below 1'
    """
    kinds = [kind for kind in _kinds(field) if kind is not types.NoneType]
    words = [_KINDS[kind] for kind in kinds if kind in _KINDS]
    for kind in kinds:
        if get_origin(kind) is Literal:
            words.append("one of " + ", ".join(map(str, get_args(kind))))
    text = " or ".join(words)
    for rule in field.metadata:
        if getattr(rule, "pattern", None):
            text += f" like {field.default!r}"
        for name, phrase in _BOUNDS.items():
            if (bound := getattr(rule, name, None)) is not None:
                text += f", {phrase} {bound:,}"
    return text + (", or none" if _optional(field) else "")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_BOUNDS = {
    "ge": "at least",
    "gt": "above",
    "le": "at most",
    "lt": "below",
}


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    annotation = field.annotation
    joined = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if joined else (annotation,)


def _optional(field: FieldInfo) -> bool:
    return types.NoneType in _kinds(field)


def _show(value: object) -> str:
    return "none" if value is None else str(value)


def _explain(error: ValidationError, model: type[RunConfig]) -> str:
    """Return one line on everything that is wrong: field, what was got, what is allowed."""
    known = dict(fields(model))
    names = [*known, *model.model_fields]
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"there is no setting {name!r}.{nearest(name, names)}")
        elif problem["type"] == "missing":
            lines.append(f"{name} is missing")
        elif name in known:
            lines.append(f"{name} is {problem['input']!r}, but must be {allowed(known[name])}")
        else:
            lines.append(f"{name} is {problem['input']!r}, but holds settings")
    return "; ".join(lines)
