"""What a sweep consists of: every setting, its config and its seeds, made before any is trained."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recurra.errors import ConfigError, RecurraError
from recurra.learning.config import RunConfig, settings, with_settings
from recurra.run.names import flat, label, short, worded
from recurra.run.presets import preset
from recurra.storage.files import json_bytes
from recurra.tune.values import several
from recurra.tune.width import (
    SETTING,
    Counted,
    Sketch,
    described,
    require_unset,
    sketch_of,
    with_parameters,
)

__all__ = ["Grid", "Request", "Setting", "grid"]

MOST_RUNS = 10_000
LONGEST_NAME = 160
"""Characters of a run's folder; of a longer one the end becomes a number."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._+=,-]+")

Texts = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A sweep as it is asked for.

    Args:
        preset: what every run begins as.
        data: a name, a directory or a file, in place of the preset's own.
        minutes: of each training.
        changes: settings that all runs share, as `"train.epochs=2"`.
        assignments: the settings of `--set`, of which some name several values.
        seeds: how many of each setting, from the config's on; one by default.
        parameters: about how many each network is to have; its width follows.
    """

    preset: str
    data: str | None = None
    minutes: float | None = None
    changes: Sequence[str] = ()
    assignments: Sequence[str] = ()
    seeds: int | None = None
    parameters: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a sweep.

    Args:
        values: of the settings that differ, by name.
        configs: run's name -> config, one for each seed.
        counted: of its network; None where there is none.
    """

    values: dict[str, Any]
    configs: dict[str, RunConfig]
    counted: Counted | None

    @property
    def config(self) -> RunConfig:
        """The config of the first seed."""
        return next(iter(self.configs.values()))


@dataclass(frozen=True, slots=True)
class Grid:
    """All settings of a sweep.

    Args:
        axes: setting -> its values, of those that are given several.
        seeds: of each setting.
        parameters: about how many each network is to have, where that was asked for.
        settings: in the order in which they stand in the table.
    """

    axes: dict[str, list[Any]]
    seeds: list[int]
    parameters: int | None
    settings: list[Setting] = field(repr=False)

    @property
    def configs(self) -> dict[str, RunConfig]:
        """All runs by name: the first seed of every setting, then the second, and so on.

        Cells take turns, so that workers compile the kernels of different ones.
        """
        turns = dict[str, int]()
        place = []
        for each in self.settings:
            cell = worded(flat(each.config).get("network.cell"))
            turns[cell] = turns.get(cell, 0) + 1
            place.append(turns[cell])
        inturn = [each for _, each in sorted(zip(place, self.settings), key=lambda pair: pair[0])]
        rounds = zip(*(each.configs.items() for each in inturn))
        return dict(item for once in rounds for item in once)

    def identity(self) -> dict[str, Any]:
        """Return what makes it this sweep and no other, as JSON values."""
        first = flat(self.settings[0].config)
        apart = {*self.axes, "preset", "task", "seed"}
        widths = None
        if self.parameters:
            apart.add(SETTING)
            widths = {label(each.values): flat(each.config)[SETTING] for each in self.settings}
        about = {
            "preset": first["preset"],
            "task": first["task"],
            "settings": self.axes,
            "seeds": self.seeds,
            "parameters": self.parameters,
            "widths": widths,
            "common": {name: value for name, value in first.items() if name not in apart},
        }
        found: dict[str, Any] = json.loads(json_bytes(about))
        return found


def grid(request: Request) -> Grid:
    """Return every run of a sweep: each config made, each network drawn once, without memory.

    Args:
        request: as it was asked for.

    Raises:
        ConfigError: a setting is unknown or out of range, or a network cannot be made; says all.
        DataError: the data cannot be used.

    Example:
        >>> wanted = Request("iris", assignments=["train.learning_rate=.01,.02"], seeds=2)
        >>> list(grid(wanted).configs)[:2]
        ['learning_rate=0.01,seed=1', 'learning_rate=0.02,seed=1']
    """
    if request.parameters:
        require_unset([*request.changes, *request.assignments])
    base = preset(request.preset, data=request.data, minutes=request.minutes)
    plain = with_settings(base, request.changes)
    texts = _texts(plain, request.assignments)
    seeds = _seeds(plain, texts.pop("seed", None), request.seeds)
    axes = [key for key, given in texts.items() if len(given) > 1]
    count = len(seeds) * math.prod(len(texts[key]) for key in axes)
    if count > MOST_RUNS:
        raise ConfigError(f"{count:,} runs are asked for; a sweep has at most {MOST_RUNS:,}")
    configs = _configs(plain, texts)
    rows = [_values(config, axes) for config in configs]
    _require_different(axes, rows, texts)
    found = []
    for row, (config, counted) in zip(rows, _measured(configs, rows, request.parameters)):
        found.append(Setting(row, _seeded(config, row, seeds), counted))
    names = [name for each in found for name in each.configs]
    if len(set(names)) < len(names):  # what differed is no letter of a file's name
        found = [_numbered(n, each) for n, each in enumerate(found, 1)]
    kept = {key: _distinct(row[key] for row in rows) for key in axes}
    return Grid(kept, seeds, request.parameters, found)


def _texts(config: RunConfig, assignments: Sequence[str]) -> Texts:
    found: Texts = {}
    for assignment in assignments:
        key, given = several(config, assignment)
        if key in found:
            raise ConfigError(f"{key} is set twice; for several give --set {key}=A,B")
        found[key] = given
    return found


def _seeds(config: RunConfig, named: list[str] | None, count: int | None) -> list[int]:
    if named is None:
        return [config.seed + n for n in range(count or 1)]
    if count is not None and len(named) > 1:
        raise ConfigError("--seeds counts seeds, and --set seed names them; leave one of them")
    seeds = [with_settings(config, [f"seed={each}"]).seed for each in named]
    return _distinct(seeds) if count is None else [seeds[0] + n for n in range(count)]


def _configs(plain: RunConfig, texts: Texts) -> list[RunConfig]:
    """Return a config for each combination of values; refuse, at once, all that is wrong."""
    found, faults = [], []
    for chosen in itertools.product(*texts.values()):
        given = [f"{key}={text}" for key, text in zip(texts, chosen)]
        try:
            config = with_settings(plain, given)
        except ConfigError as error:
            faults.append(str(error))
        else:
            # one thread whatever the workers, so that their number changes no digit
            found.append(config.model_copy(update={"threads": config.threads or 1}))
    if faults:
        raise ConfigError("; ".join(dict.fromkeys(faults)))
    return found


def _values(config: RunConfig, axes: Sequence[str]) -> dict[str, Any]:
    known = settings(config) | flat(config)
    return {key: known.get(key) for key in axes}


def _distinct(values: Iterator[Any] | list[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _require_different(axes: list[str], rows: list[dict[str, Any]], texts: Texts) -> None:
    for key in axes:
        if len(_distinct(row[key] for row in rows)) < len(texts[key]):
            raise ConfigError(f"{key}={','.join(texts[key])} names a value twice")


def _measured(
    configs: list[RunConfig], rows: list[dict[str, Any]], parameters: int | None
) -> list[tuple[RunConfig, Counted | None]]:
    """Return each config with the width that was asked for, and the counts of its network."""
    sketches: dict[str, Sketch | None] = {}
    found: list[tuple[RunConfig, Counted | None]] = []
    faults: dict[str, list[str]] = {}
    for config, row in zip(configs, rows):
        named: Any = config
        data = repr((named.data, config.start_from))
        if data not in sketches:
            sketches[data] = sketch_of(config)
        try:
            if parameters:
                found.append(with_parameters(config, parameters, sketches[data]))
            else:
                found.append((config, described(config, sketches[data])))
        except RecurraError as error:
            faults.setdefault(str(error), []).append(label(row))
    if faults:
        raise ConfigError(
            "; ".join(
                said if len(whose) == len(configs) else f"{' and '.join(whose)}: {said}"
                for said, whose in faults.items()
            )
        )
    return found


def _seeded(config: RunConfig, row: Mapping[str, Any], seeds: list[int]) -> dict[str, RunConfig]:
    called = short([*row])
    parts = [f"{called[key]}={_safe(worded(value))}" for key, value in row.items()]
    name = ",".join(parts)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return {
        ",".join([*([name] if name else []), f"seed={seed}"]): config.model_copy(
            update={"seed": seed}
        )
        for seed in seeds
    }


def _safe(text: str) -> str:
    return _UNSAFE.sub("-", text.replace(",", "-")).strip("-") or "-"


def _numbered(number: int, setting: Setting) -> Setting:
    configs = {f"{number},{name}": config for name, config in setting.configs.items()}
    return Setting(setting.values, configs, setting.counted)
