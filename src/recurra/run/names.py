"""What runs are called where they stand side by side: by the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recurra.learning.config import RunConfig, settings

__all__ = ["differing", "flat", "label", "short", "worded"]

_APART = {"threads", "train.left_out"}
"""What says nothing of how a run was asked for."""
_FROZEN = ("train.steps", "train.validations")
"""What minutes choose."""


def flat(config: RunConfig) -> dict[str, Any]:
    """Return every setting by its dotted name; names within one, as a cell's options, too.

    Args:
        config: of a run.

    Example:
        >>> flat(RunConfig(preset="mine", task="own"))["preset"]
        'mine'
    """
    found: dict[str, Any] = {}
    for name, value in settings(config).items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            found[name] = value
    return found


def differing(configs: Sequence[RunConfig | None], *, seeds: bool = True) -> list[dict[str, Any]]:
    """Return for each run the settings in which it differs from another, by name.

    What follows from the preset alone is told by its name.

    Args:
        configs: of the runs; None of one that says none.
        seeds: whether the seed is one of them.

    Example:
        >>> run = RunConfig(preset="mine", task="own")
        >>> differing([run, run.model_copy(update={"seed": 2})])
        [{'seed': 1}, {'seed': 2}]
    """
    known = [None if config is None else flat(config) for config in configs]
    there = [values for values in known if values is not None]
    apart = set(_APART) if seeds else {*_APART, "seed"}
    if all(values.get("train.minutes") is not None for values in there):
        apart.update(_FROZEN)
    presets = {values["preset"] for values in there}
    names = ["preset"] if len(presets) > 1 else []
    for name in dict.fromkeys(name for values in there for name in values):
        if name not in apart and any(_varies(name, there, preset) for preset in presets):
            names.append(name)
    names.sort(key=lambda name: name == "seed")  # it comes last
    return [
        {} if values is None else {name: values[name] for name in names if name in values}
        for values in known
    ]


def _varies(name: str, known: Sequence[Mapping[str, Any]], preset: str) -> bool:
    """Return whether runs of a preset differ in a setting, which some may lack."""
    values = [repr(each.get(name)) for each in known if each["preset"] == preset]
    return len(set(values)) > 1


def label(values: Mapping[str, Any]) -> str:
    """Return what a run is called by its settings; a preset is told by its name alone.

    Args:
        values: of the settings that count, by name.

    Example:
        >>> label({"preset": "words", "network.cell": "gru", "train.learning_rate": 0.003})
        'words, cell=gru, learning_rate=0.003'
    """
    called = short([*values])
    return ", ".join(
        worded(value) if name == "preset" else f"{called[name]}={worded(value)}"
        for name, value in values.items()
    )


def short(names: Sequence[str]) -> dict[str, str]:
    """Return names of settings without their sections, where that tells them apart.

    Args:
        names: of settings.

    Example:
        >>> short(["network.cell", "train.steps"])
        {'network.cell': 'cell', 'train.steps': 'steps'}
        >>> short(["mine.size", "its.size"])
        {'mine.size': 'mine.size', 'its.size': 'its.size'}
    """
    last = [name.rpartition(".")[2] for name in names]
    return {name: each if last.count(each) == 1 else name for name, each in zip(names, last)}


def worded(value: object) -> str:
    """Return a setting's value as one writes it after `--set`.

    Args:
        value: of a setting.

    Example:
        >>> worded(None), worded(True), worded(0.003), worded(20.0), worded("gru")
        ('none', 'true', '0.003', '20', 'gru')
    """
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
