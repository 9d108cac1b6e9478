"""What is of someone's own in a run, and what is said where its source has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recurra.errors import CheckpointError, ConfigError
from recurra.learning.config import RunConfig, settings
from recurra.learning.event import Warned
from recurra.storage.sources import ALLOW, changes_allowed, what_changed

__all__ = ["loss_of", "names_in", "of_one_source", "of_other_source"]


def names_in(config: RunConfig) -> list[str]:
    """Return what a config names, whatever it stands for; but for the preset that made it.

    Args:
        config: of a run.

    Example:
        >>> names_in(RunConfig(preset="mine", task="own", start_from="runs/other"))[:2]
        ['', 'own']
    """
    named = settings(config.model_copy(update={"preset": ""}))
    return [value for value in named.values() if isinstance(value, str)]


def loss_of(config: RunConfig) -> str | None:
    """Return the loss of one's own that a run descends; None where it is the task's.

    Args:
        config: of the run.

    Example:
        >>> loss_of(RunConfig(preset="mine", task="own")) is None
        True
    """
    loss: str | None = getattr(getattr(config, "train", None), "loss", None)
    return loss


def of_one_source(config: RunConfig, path: Path) -> Iterator[Warned]:
    """Refuse to go on with other code of one's own than the run began with.

    Args:
        config: of the run.
        path: its directory.

    Raises:
        ConfigError: it has changed, and changes are not allowed; else a warning is yielded.
    """
    if (said := what_changed(path, names_in(config))) is None:
        return
    if not changes_allowed():
        raise ConfigError(f"{said}, give {ALLOW}, or --restart to start over")
    yield Warned(said.partition(";")[0])


def of_other_source(config: RunConfig, path: Path) -> Iterator[Warned]:
    """Yield a warning where a finished run's report is told of code that is no longer there.

    Args:
        config: of the run.
        path: its directory.
    """
    try:
        said = what_changed(path, names_in(config))
    except CheckpointError as error:
        said = str(error)
    if said is not None:
        yield Warned(f"{said.partition(';')[0]}; the report is of what it was trained with")
