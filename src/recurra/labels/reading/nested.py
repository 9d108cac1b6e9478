"""Sequences that are handed over in cells of a frame, or by an index, as arrays of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.storage.finite import real_numbers

__all__ = ["is_frame", "is_nested", "unnested"]


def is_frame(X: Any) -> bool:
    """Return whether something is a frame of pandas or polars.

    Args:
        X: anything.
    """
    return hasattr(X, "columns") and hasattr(X, "to_numpy")


def is_nested(X: Any) -> bool:
    """Return whether a frame, a column or a 2-D array holds a sequence in every cell, or in some.

    Args:
        X: anything.

    Example:
        >>> cells = np.empty((1, 1), object)
        >>> cells[0, 0] = [1.0, 2.0]
        >>> is_nested(cells), is_nested(np.zeros((1, 2)))
        (True, False)
    """
    found = _cells(X)
    return found is not None and any(_is_sequence(cell) for cell in found.flat)


def unnested(X: Any) -> Any:
    """Return n arrays `(T_i, F)` of a frame with sequences in its cells, or with two indices.

    Of the first a row is an example and a column a feature, as sktime's nested frames; of the
    second the first index tells the example and the rows its steps. All else comes back as it is.

    Args:
        X: anything.

    Raises:
        DataError: the columns of an example differ in their steps, a cell is no sequence, or it is
            a dictionary, or of more than three axes.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"x": [pd.Series([1, 2])], "y": [pd.Series([3, 4])]})
        >>> unnested(frame)[0].tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    if type(X) is dict:  # some of scipy's sparse matrices are dictionaries too
        raise DataError("got a dictionary; give a frame of it, as pd.DataFrame(X)")
    if getattr(X, "ndim", 0) > 3:
        raise DataError(f"got an array of the shape {X.shape}, expected (n, steps, features)")
    if hasattr(X, "to_pandas") and not hasattr(X, "to_numpy"):  # pyarrow's tables
        X = X.to_pandas()
    index: Any = getattr(X, "index", None)
    if is_frame(X) and getattr(index, "nlevels", 1) == 2:
        places = index.get_level_values(0)
        if places.has_duplicates:
            return [
                _numbers(part, n + 1) for n, (_, part) in enumerate(X.groupby(places, sort=False))
            ]
    cells = _cells(X) if is_nested(X) else None
    if cells is None:
        return X
    return [_together(row, number) for number, row in enumerate(cells, 1)]


def _cells(X: Any) -> NDArray[Any] | None:
    """Return the cells `(n, F)` of what may hold objects in them; None of all else."""
    if isinstance(X, np.ndarray):
        return X if X.dtype.hasobject and X.ndim == 2 else None
    if is_frame(X):
        rows = X.to_numpy() if hasattr(X, "iloc") else X.rows()
        if isinstance(rows, np.ndarray) and not rows.dtype.hasobject:
            return None
    elif hasattr(X, "to_numpy") and not hasattr(X, "columns"):  # a single column
        rows = [(cell,) for cell in X]
    else:
        return None
    found = np.empty((len(rows), len(rows[0]) if len(rows) else 0), dtype=object)
    for place, row in enumerate(rows):
        found[place] = np.fromiter(row, dtype=object, count=len(row))
    return found


def _is_sequence(cell: Any) -> bool:
    return hasattr(cell, "__len__") and not isinstance(cell, str | bytes | dict)


def _together(row: NDArray[Any], number: int) -> NDArray[np.float64]:
    """Return the sequences of a row side by side."""
    for column, cell in enumerate(row, 1):
        if not _is_sequence(cell):
            raise DataError(
                f"sequence {number}, column {column} is {cell!r:.40}, where others hold sequences"
            )
    lengths = {len(cell) for cell in row}
    if len(lengths) > 1:
        raise DataError(
            f"sequence {number}: its columns have {min(lengths)} to {max(lengths)} steps, expected "
            "the same for all"
        )
    return np.stack([_numbers(cell, number) for cell in row], axis=1)


def _numbers(cell: Any, number: int) -> NDArray[np.float64]:
    try:
        return real_numbers(cell.to_numpy() if hasattr(cell, "to_numpy") else cell)
    except ValueError as error:
        raise DataError(f"sequence {number} holds what is no number: {error}") from error
