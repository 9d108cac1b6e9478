"""A `model_dir`: the checkpoints that a fit goes on from, and the model that it ends with."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recurra.errors import ConfigError
from recurra.learning.checkpoint import Checkpoints
from recurra.storage.leftovers import Names, sweep
from recurra.storage.outputs import require_model, require_usual
from recurra.storage.sources import FOLDER, changes_allowed, keep_sources, what_changed

__all__ = ["ModelDirectory"]

CHECKPOINTS, MODEL = "checkpoints", "model"
NAMES = Names(
    f"{MODEL}|{FOLDER}",
    r"(model|estimator|sources)\.json|(weights|state)\.safetensors|\w[\w.-]*\.py",
)


class ModelDirectory:
    """A directory of one estimator: `checkpoints/`, and once it is fitted `model/`.

    Beside them `sources/` has copies of the user's own code that its settings name.

    Args:
        path: its place; it need not exist yet.

    Raises:
        ConfigError: it is no path, or something else lies there, and what.

    Example:
        >>> ModelDirectory("nowhere/iris").model.name
        'model'
    """

    def __init__(self, path: Any) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ConfigError(f"model_dir: expected a path or None, got {path!r:.80}")
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS)
        self.model = self.path / MODEL
        self._require_ours()

    def keep_sources(self, settings: Iterable[object]) -> None:
        """Keep the source of what is of the user's own, which must be what was kept before.

        Args:
            settings: those written as `module:Name`, and imported, are meant.

        Raises:
            ConfigError: it has changed since, and changes are not allowed.
        """
        named = list(settings)
        if (said := what_changed(self.path, named)) is not None:
            if not changes_allowed():
                raise ConfigError(
                    f"model_dir: {said}, give another model_dir, or fit within "
                    "recurra.changed_source_allowed()"
                )
            warnings.warn(said.partition(";")[0], stacklevel=5)
        keep_sources(self.path, named)

    def _require_ours(self) -> None:
        require_usual(self.path)
        if os.path.lexists(self.path):
            if not self.path.is_dir():
                raise ConfigError(f"model_dir: {self.path} is no directory; give another")
            for place in sorted(self.path.iterdir()):
                if place.name not in (CHECKPOINTS, MODEL, FOLDER) and not NAMES.left(place):
                    raise ConfigError(
                        f"model_dir: {self.path} holds {place.name}, which no estimator put there; "
                        "give another"
                    )
            sweep(self.path, NAMES)
        self.checkpoints.require_ours()
        require_model(self.model)
