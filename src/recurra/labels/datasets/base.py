"""What a dataset of labelled sequences is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from recurra.labels.options import LabelOptions
from recurra.labels.reading.examples import NamedExamples

__all__ = ["LabelSource"]


class LabelSource(ABC):
    """Labelled sequences, with or without a test part of their own; yours by `module:Name`.

    Args:
        options: what the user asked for; a source takes from them what concerns it.

    Example:
        >>> import numpy as np
        >>> class Signs(LabelSource):
        ...     def parts(self):
        ...         sequences = tuple(np.array([[x]]) for x in (-2.0, -1.0, 1.0, 2.0))
        ...         names = ("minus", "minus", "plus", "plus")
        ...         return {"train": NamedExamples(sequences, names, (), "signs")}
        >>> Signs(LabelOptions()).parts()["train"].names
        ('minus', 'minus', 'plus', 'plus')
    """

    def __init__(self, options: LabelOptions) -> None:
        self.options = options

    @abstractmethod
    def parts(self) -> dict[str, NamedExamples]:
        """Return `train`, and `valid` and `test` where they are published as such.

        Raises:
            DataError: they are not here, damaged, or cannot be used.
        """

    def found(self) -> str | None:
        """Return in words where the examples are; None where they are yet to be put."""
        return "part of this package's dependencies"
