"""What a run is, as one frozen value: its task, and the task's own options."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from recurra.errors import ConfigError
from recurra.learning.options import NamedIn
from recurra.learning.written import BOUNDS, scalar
from recurra.table import called, closest, nearest

__all__ = [
    "GIVEN",
    "RunConfig",
    "allowed",
    "differences",
    "fewer_validations",
    "fields",
    "nearest_setting",
    "settings",
    "validated",
    "with_data",
    "with_settings",
]

GIVEN = "(given)"
"""What the config says of data that were handed over in Python and have no name."""


class RunConfig(BaseModel):
    """What every run says, whatever its task; a task's own adds its `data` and other options."""

    source_setting: ClassVar[str] = "data.dataset"
    """The setting that names what is learned from."""
    takes: ClassVar[str | None] = None
    """Where data cannot be handed over as frames or arrays: what is to be given instead."""
    sized: ClassVar[tuple[str, ...]] = ()
    """The settings that a run whose `train.sized` is set chooses by measuring."""
    sketch: ClassVar[str | None] = None
    """The place of what opens a config's data and returns what draws networks of other `network`
    options for them, in shapes without memory; none where there is no network."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = Field(description="the preset this run began as")
    task: str = Field(description="what is learned")
    seed: int = Field(1, ge=0, lt=2**63, description="where every random stream derives from")
    threads: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="processor threads; none: by the network's size and the cores",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where tensors live; auto is cuda where there is one"
    )
    start_from: str | None = Field(
        None, description="a run whose weights and vocabulary this one begins with; none"
    )

    @property
    def source(self) -> str:
        """The name or path of the data that the run learns from."""
        return str(settings(self)[self.source_setting])


_Config = TypeVar("_Config", bound=RunConfig)
_NOT_SETTABLE = ("preset", "task")


def validated(model: type[_Config], values: Mapping[str, Any], *, strict: bool = False) -> _Config:
    """Return the config that nested settings describe.

    Args:
        model: its class.
        values: nested settings.
        strict: whether they are a file's, in which no text stands for a number.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range; names the field.

    Example:
        >>> validated(RunConfig, {"preset": "mine", "task": "own", "seed": 3}).seed
        3
    """
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        raise ConfigError(_explain(error, model)) from error


def with_settings(config: _Config, assignments: Sequence[str]) -> _Config:
    """Return a copy of `config` with some settings changed, typed from the model.

    Args:
        config: where the other settings come from.
        assignments: `"train.learning_rate=0.5"`, ...; `none` empties an optional setting. Of what
            holds values by name each is set alone, as `"train.optimizer_options.eps=1e-6"`, and
            is what it looks like: true, false, none, a number or a text. They are what
            `train --set` takes, and `recurra show PRESET` prints all there are.

    Raises:
        ConfigError: an unknown key, answered with the nearest one, or a value out of range.

    Example:
        >>> import recurra as rc
        >>> config = rc.with_settings(rc.preset("ptb-seed"), ["seed=3", "train.epochs=0.1"])
        >>> config.seed, config.train.epochs, rc.preset("ptb-seed").train.epochs
        (3, 0.1, 2.0)
        >>> with_settings(RunConfig(preset="mine", task="own"), ["threads=none"]).threads is None
        True
    """
    model = type(config)
    known = dict(fields(model))
    values = config.model_dump()
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(f"got {assignment!r}: a setting is KEY=VALUE, as seed=3")
        held, _, inner = key.rpartition(".")
        if inner and _holds_values(known.get(held)):
            section, _, name = held.rpartition(".")
            (values[section] if section else values)[name][inner] = scalar(text)
            continue
        if key not in known or key in _NOT_SETTABLE:
            raise ConfigError(f"{config.preset} has no setting {key!r}.{_meant(key, known)}")
        section, _, name = key.rpartition(".")
        empty = text.strip().lower() == "none"
        value: Any = text.strip()
        if _holds_values(known[key]):
            if not empty:
                raise ConfigError(f"{key} holds values by name: give {key}.NAME=VALUE, one by one")
            value = {}
        elif empty and _optional(known[key]):
            value = None
        (values[section] if section else values)[name] = value
    return validated(model, values)


def _meant(key: str, known: Mapping[str, FieldInfo]) -> str:
    settable = [name for name in known if name not in _NOT_SETTABLE]
    held, _, inner = key.rpartition(".")  # of what holds values, misspelled
    close = closest(held, [name for name in settable if _holds_values(known[name])])
    close = nearest_setting(key, settable) if close is None else f"{close}.{inner}"
    return "" if close is None else f" Did you mean {close!r}?"


def _holds_values(field: FieldInfo | None) -> bool:
    """Whether each value of a setting is set by a name of its own, and may be of any kind."""
    found = () if field is None else _kinds(field)
    return any(get_origin(kind) is dict and get_args(kind)[1] is not str for kind in found)


def nearest_setting(key: str, known: Sequence[str]) -> str | None:
    """Return the setting that was most likely meant: of the section that was named, before all.

    Args:
        key: what was asked for, with its section or without.
        known: the dotted names of all there are.

    Example:
        >>> known = ["seed", "train.clip_norm", "train.learning_rate", "network.hidden_size"]
        >>> nearest_setting("train.lr", known), nearest_setting("hidden", known)
        ('train.learning_rate', 'network.hidden_size')
    """
    section, _, word = key.rpartition(".")
    inside, anywhere = dict[str, str](), dict[str, str]()
    for name in known:
        place, _, last = name.rpartition(".")
        anywhere.setdefault(last, name)
        if place == section:
            inside[last] = name
    for alike in (called, closest):
        for words in (inside, anywhere):
            if (found := alike(word, words)) is not None:
                return words[found]
    return closest(key, known)


def with_data(config: _Config, data: object) -> _Config:
    """Return a copy of `config` that learns from other data.

    Args:
        config: where the other settings come from.
        data: a name or a path; series and labels may be handed over as frames or arrays too.

    Raises:
        ConfigError: neither a name nor a path is given for a text.
    """
    if not isinstance(data, str | Path):
        if config.takes is not None:
            raise ConfigError(f"{config.preset} {config.takes}, not a {type(data).__name__}")
        data = GIVEN
    return with_settings(config, [f"{config.source_setting}={data}"])


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting's dotted name and field, in order.

    Args:
        model: a config's class.
        prefix: put before each name.

    Example:
        >>> [name for name, _ in fields(RunConfig)][-3:]
        ['threads', 'device', 'start_from']
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
        >>> settings(RunConfig(preset="mine", task="own"))["seed"]
        1
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

    What `train.minutes` froze into a run, steps, sizes and what is left out, is no difference;
    nor are threads, which change the last places alone.

    Args:
        there: the config of the run that exists.
        asked: the config of the run that is wanted.

    Example:
        >>> run = RunConfig(preset="mine", task="own")
        >>> differences(run, run.model_copy(update={"seed": 2}))
        ['seed: 1 there, 2 asked']
    """
    old, new = settings(there), settings(asked)
    if old.get("train.minutes") is not None and old["train.minutes"] == new.get("train.minutes"):
        new["train.steps"] = new["train.steps"] or old["train.steps"]
        new["train.left_out"] = old.get("train.left_out")
        if fewer_validations(old.get("train.validations"), new.get("train.validations")):
            new["train.validations"] = old["train.validations"]
        if old.get("train.sized") and new.get("train.sized"):
            new |= {name: old[name] for name in there.sized}
    old.pop("threads"), new.pop("threads")
    old, new = _spread(old), _spread(new)
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, "nothing"), new.get(name, "nothing")
        if before != after:
            lines.append(f"{name}: {_show(before)} there, {_show(after)} asked")
    return lines


def _spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return each value that is held by name as if it were a setting."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        held = isinstance(value, dict)
        found |= {f"{name}.{n}": v for n, v in value.items()} if held else {name: value}
    return found


def fewer_validations(frozen: int | None, asked: int | None) -> bool:
    """Return whether minutes left time for fewer validations than a run asks for.

    Args:
        frozen: `train.validations` as the run has it.
        asked: the same as it is asked for.

    Example:
        >>> fewer_validations(2, 10), fewer_validations(2, None), fewer_validations(10, 2)
        (True, True, False)
    """
    return frozen is not None and (asked is None or frozen < asked)


def allowed(field: FieldInfo) -> str:
    """Return in words what values a setting may have.

    Args:
        field: one of `fields(...)`.

    Example:
        >>> allowed(RunConfig.model_fields["threads"])
        'a whole number, at least 1, at most 4,096, or none'
    """
    kinds = [kind for kind in _kinds(field) if kind is not types.NoneType]
    words = [_KINDS[kind] for kind in kinds if kind in _KINDS]
    for kind in kinds:
        if get_origin(kind) is Literal:
            words.append("one of " + ", ".join(map(str, get_args(kind))))
    text = " or ".join(words)
    for rule in field.metadata:
        if isinstance(named := getattr(rule, "func", None), NamedIn):
            text = named.words
        if getattr(rule, "pattern", None):
            text += f" like {field.default!r}"
        for name, phrase in BOUNDS.items():
            if (bound := getattr(rule, name, None)) is not None:
                text += f", {phrase} {bound:,}"
    return text + (", or none" if _optional(field) else "")


_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict[str, str]: "names with words",
    dict[str, Any]: "names with numbers, text, true, false or none",
}


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    annotation = field.annotation
    joined = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if joined else (annotation,)


def _optional(field: FieldInfo) -> bool:
    return types.NoneType in _kinds(field)


def _show(value: object) -> str:
    return "none" if value is None else str(value)


def _alike(value: object, field: FieldInfo) -> str:
    """Return the name of a table that was most likely meant."""
    tables = (getattr(getattr(rule, "func", None), "table", ()) for rule in field.metadata)
    return nearest(value, [n for table in tables for n in table]) if isinstance(value, str) else ""


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
            value, field = problem["input"], known[name]
            alike = _alike(value, field)
            lines.append(
                f"{name} is {value!r}, but must be {allowed(field)}{alike and '.' + alike}"
            )
        else:
            lines.append(f"{name} is {problem['input']!r}, but holds settings")
    return "; ".join(lines)
