"""Labelled sequences that were handed over in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.labels.datasets.base import LabelSource
from recurra.labels.options import LabelOptions
from recurra.labels.reading.examples import NamedExamples
from recurra.labels.reading.nested import is_frame, unnested
from recurra.storage.finite import real_numbers

__all__ = ["Given"]

WANTED = "expected (sequences, labels): an array (n, T, F) or (n, T), or n arrays (T_i, F)"


class Given(LabelSource):
    """A pair `(sequences, labels)`: what scikit-learn calls X and y.

    Args:
        options: nothing in them changes the examples.
        pair: an array `(n, T, F)`, or `(n, T)` of one feature, or n arrays `(T_i, F)` or
            `(T_i,)`, or a frame with sequences in its cells; and n labels.

    Raises:
        DataError: it is something else.

    Example:
        >>> pair = ([[1.0, 2.0], [3.0, 4.0, 5.0]], ["up", "up"])
        >>> [sequence.shape for sequence in Given(LabelOptions(), pair).parts()["train"].sequences]
        [(2, 1), (3, 1)]
    """

    def __init__(self, options: LabelOptions, pair: Any) -> None:
        super().__init__(options)
        match pair:
            case (X, y) if not isinstance(X, str | bytes):
                try:
                    found = unnested(X)
                    rows = found.to_numpy() if is_frame(found) else found
                    self._sequences = tuple(_sequence(row) for row in rows)
                    self._names = tuple(str(name) for name in y)
                except (TypeError, ValueError) as error:
                    raise DataError(f"{WANTED}; {error}") from error
            case _:
                raise DataError(f"{WANTED}; got {type(pair).__name__}")
        if len(self._sequences) != len(self._names) or not self._names:
            raise DataError(
                f"got {len(self._sequences)} sequences and {len(self._names)} labels, expected "
                "one for each, and some"
            )

    def parts(self) -> dict[str, NamedExamples]:
        """Return all of them as `train`."""
        return {"train": NamedExamples(self._sequences, self._names, (), "the data given")}

    def found(self) -> str:
        """Return that they were handed over."""
        return "handed over in Python"


def _sequence(row: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    sequence = real_numbers(row)
    return sequence.reshape(-1, 1) if sequence.ndim == 1 else sequence
