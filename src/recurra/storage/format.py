"""How kinds of models are told apart on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """How a kind of model is marked on disk, and every file that reading one opens.

    Args:
        name: what the manifest says it is, as `"recurra-forecaster"`.
        versions: of the format that are read, from 1.
        files: the task's own files that must be there, beside facts and weights.
        single: says whether a single file is such a model too, as other tools write them.
    """

    name: str
    versions: tuple[int, ...] = (1,)
    files: tuple[str, ...] = ()
    single: Callable[[Path], bool] | None = None

    def is_single(self, run: Path | str) -> bool:
        """Return whether a path is that of a single file of this format.

        Args:
            run: any path; that of a directory is none.

        Example:
            >>> ngrams = Format("recurra-ngrams", single=lambda path: path.suffix == ".lm")
            >>> ngrams.is_single("counts.lm"), ngrams.is_single("runs/kn5")
            (True, False)
        """
        return self.single is not None and not Path(run).is_dir() and self.single(Path(run))
