"""Named runs: each a function that returns a config."""

from __future__ import annotations

import inspect
from pathlib import Path

from recurra.learning.config import RunConfig, with_data, with_settings
from recurra.run.tasks import TASKS
from recurra.table import Table

__all__ = ["PRESETS", "preset", "stand_in"]

PRESETS = Table(
    "preset",
    {name: place for task in TASKS for name, place in TASKS[task].presets.items()},
    base="types:FunctionType",
)
"""Name -> function that returns a config."""


def preset(name: str, *, data: object = None, minutes: float | None = None) -> RunConfig:
    """Return the config that a preset's name stands for.

    Args:
        name: a name in `PRESETS`, or `module:function` of one's own.
        data: a name, directory or file to learn from, in place of the preset's own; for series
            and labels a frame or arrays too, to be handed to `train` as well. Some presets
            choose their width and schedule by its size.
        minutes: how long training may take; sets the schedule.

    Raises:
        ConfigError: there is no such preset.

    Example:
        >>> preset("ptb-seed").train.epochs
        2.0
    """
    make = PRESETS[name]
    known = {"size": _size(data), "minutes": minutes}
    wanted = inspect.signature(make).parameters
    config: RunConfig = make(**{key: value for key, value in known.items() if key in wanted})
    if data is not None:
        config = with_data(config, data)
    if minutes is None:
        return config
    return with_settings(config, [f"train.minutes={minutes}", "train.steps=none"])


def stand_in(config: RunConfig) -> str | None:
    """Return what to say of a preset for one's own data that was given none; else None.

    Args:
        config: of the run.

    Example:
        >>> stand_in(preset("words"))
        "words is for data of your own: give --data; this run learns 'docstrings' in their place"
        >>> stand_in(preset("words", data="novel.txt")), stand_in(preset("airline"))
        (None, None)
    """
    make = PRESETS[config.preset] if config.preset in list(PRESETS) else None
    if make is None or "size" not in inspect.signature(make).parameters:
        return None
    source = make().source
    if config.source != source:
        return None
    return (
        f"{config.preset} is for data of your own: give --data; this run learns {source!r} in "
        "their place"
    )


def _size(data: object) -> int | None:
    """Return the bytes of a file, or of the training text in a directory; None for the rest."""
    if not isinstance(data, str | Path):
        return None
    path = Path(data)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*train.txt"))
    return path.stat().st_size if path.is_file() else None
