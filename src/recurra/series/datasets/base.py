"""What a source of series is, and how its points are divided."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel
from recurra.storage.remote.published import PublishedFile

__all__ = ["SeriesSource", "Split"]


@dataclass(frozen=True, slots=True)
class Split:
    """Which of each series' last steps are kept for judging, and how they are judged.

    Args:
        horizon: how far is forecast, in steps.
        valid: steps before the test, for validation.
        test: last steps, for the test.
        stride: between the windows that are scored, in steps; None is the horizon, so that one
            window follows another.
        standardize: values are scaled by mean and standard deviation of the training part before
            anything else, and figures are of scaled values.

    Example:
        >>> Split(horizon=12, valid=12, test=12).stride is None
        True
    """

    horizon: int
    valid: int
    test: int
    stride: int | None = None
    standardize: bool = False


class SeriesSource(ABC):
    """Series from somewhere, read when asked for. Your own is used by `module:Name`.

    Args:
        options: what the user asked for; a source takes from them what concerns it. Their season
            is applied afterwards, whatever the source.

    Example:
        >>> import numpy as np
        >>> from recurra.series.panel import Series
        >>> class Ramp(SeriesSource):
        ...     split = Split(horizon=2, valid=2, test=2)
        ...
        ...     def open(self):
        ...         return Panel((Series("ramp", np.arange(20.0)),))
        >>> len(Ramp(SeriesOptions()).open().series[0])
        20
    """

    split: Split | None = None
    """How the data was published to be divided; None where that is for the user to say."""
    file: PublishedFile | None = None
    """What is read, where that is one file to be put into the data folder."""

    def __init__(self, options: SeriesOptions) -> None:
        self.options = options

    @abstractmethod
    def open(self) -> Panel:
        """Read the series.

        Raises:
            DataError: they are not here, are not what was published, or cannot be read.
        """

    def found(self) -> str | None:
        """Return in words where the series are; None where a file is yet to be put."""
        if self.file is None:
            return "part of the package"
        path = self.file.found()
        return str(path) if path else None
