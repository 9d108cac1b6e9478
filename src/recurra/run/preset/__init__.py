"""Named runs: each a function that returns a config."""

from __future__ import annotations

import inspect
from pathlib import Path

from recurra.run.config import RunConfig, with_data, with_settings
from recurra.table import Table

__all__ = ["PRESETS", "preset"]

PRESETS = Table(
    "preset",
    {
        "docstrings": "recurra.run.preset.language:docstrings",
        "words": "recurra.run.preset.language:words",
        "characters": "recurra.run.preset.language:characters",
        "ptb-seed": "recurra.run.preset.language:ptb_seed",
        "ptb-small": "recurra.run.preset.language:ptb_small",
        "ptb-medium": "recurra.run.preset.language:ptb_medium",
        "ptb-large": "recurra.run.preset.language:ptb_large",
        "ptb-quick": "recurra.run.preset.language:ptb_quick",
        "ptb-tied": "recurra.run.preset.language:ptb_tied",
        "ptb-awd": "recurra.run.preset.language:ptb_awd",
        "ptb-mos": "recurra.run.preset.language:ptb_mos",
        "ptb-minutes": "recurra.run.preset.language:ptb_minutes",
        "kn1": "recurra.run.preset.language:kn1",
        "kn2": "recurra.run.preset.language:kn2",
        "kn3": "recurra.run.preset.language:kn3",
        "kn4": "recurra.run.preset.language:kn4",
        "kn5": "recurra.run.preset.language:kn5",
        "series": "recurra.run.preset.series:series",
        "sine": "recurra.run.preset.series:sine",
        "sine-steps": "recurra.run.preset.series:sine_steps",
        "sine-free": "recurra.run.preset.series:sine_free",
        "airline": "recurra.run.preset.series:airline",
        "sunspots": "recurra.run.preset.series:sunspots",
        "m4-hourly": "recurra.run.preset.series:m4_hourly",
        "etth1": "recurra.run.preset.series:etth1",
        "labels": "recurra.run.preset.labels:labels",
        "iris": "recurra.run.preset.labels:iris",
        "vowels": "recurra.run.preset.labels:vowels",
    },
)


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


def _size(data: object) -> int | None:
    """Return the bytes of a file, or of the training text in a directory; None for the rest."""
    if not isinstance(data, str | Path):
        return None
    path = Path(data)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*train.txt"))
    return path.stat().st_size if path.is_file() else None
