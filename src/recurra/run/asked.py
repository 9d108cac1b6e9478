"""What a run is called, what it learns from, and the command that asks for it: worked out once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from recurra.errors import ConfigError
from recurra.learning.config import GIVEN, RunConfig, fewer_validations, settings
from recurra.learning.written import as_text
from recurra.run.presets import preset

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A run as it was asked for.

    Args:
        config: the run's.
        run: its directory.

    Example:
        >>> config = preset("kn5", data="my novel.txt").model_copy(update={"seed": 3})
        >>> asked = Asked(config, Path("runs/kn5"))
        >>> asked.title, asked.command
        ('kn5 on my novel.txt', "recurra train kn5 '--data=my novel.txt' --seed=3")
    """

    config: RunConfig
    run: Path

    @property
    def title(self) -> str:
        """What pictures of it are called."""
        name, source = self.config.preset, self.config.source
        return name if source == name else f"{name} on {source}"

    @property
    def command(self) -> str | None:
        """Trains such a run again; None where its data were handed over.

        What was chosen by measuring this machine's speed is measured again.
        """
        return _command(self.config, self.config.source, self.run)


def _command(config: RunConfig, source: str, run: Path) -> str | None:
    own = settings(config)
    minutes = own.get("train.minutes")
    try:
        plain = preset(config.preset, minutes=minutes)
        data = None if plain.source == source else source
        asked = settings(preset(config.preset, data=data, minutes=minutes))
    except ConfigError:  # a preset of someone's own, which is not here
        return None
    if data == GIVEN:
        return None
    flags = {
        "data": data,
        "out": None if run == Path("runs") / config.preset else run,
        "from": config.start_from,
        "minutes": None if minutes is None else f"{minutes:g}",
        "seed": None if config.seed == asked["seed"] else config.seed,
    }
    given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    apart = {"seed", "start_from", "train.left_out"}
    if minutes is not None:
        apart.add("train.steps")
        if fewer_validations(own["train.validations"], asked["train.validations"]):
            apart.add("train.validations")
    for name, value in own.items():
        if name in apart or value == asked.get(name):
            continue
        if isinstance(value, dict):
            if asked.get(name):
                given += ["--set", f"{name}=none"]
            for one, its in value.items():
                given += ["--set", f"{name}.{one}={as_text(its)}"]
        else:
            given += ["--set", f"{name}={str(value).lower() if value is None else value}"]
    return shlex.join(["recurra", "train", config.preset, *given])
