"""What estimators are given, as arrays. n sequences, of T_i steps each, F features."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from recurra.errors import DataError
from recurra.labels.reading.nested import is_nested
from recurra.labels.sequences import require_numbers
from recurra.storage.finite import MOST, not_finite

__all__ = ["is_table", "read_sequences", "read_table", "read_targets", "read_weights"]

SMALLER = f"give numbers of at most {MOST:g}"
FLOATS = [np.float64, np.float32]
"""Kinds that stay as they are; whatever else is a number becomes the first."""


def is_table(X: Any) -> bool:
    """Return whether `X` is rows of numbers, not sequences.

    Args:
        X: an array, a frame, or a list of rows or of sequences.

    Example:
        >>> is_table([[1, 2], [3, 4]]), is_table([[1, 2], [3]])
        (True, False)
        >>> is_table(np.zeros((2, 3, 1))), is_table([np.zeros((3, 1)), np.zeros((4, 1))])
        (False, False)
    """
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1 and len(X):
        X = list(X)
    if not isinstance(X, list | tuple):
        return bool(getattr(X, "ndim", 2) != 3)
    deep = {_depth(row) for row in X}
    if deep == {1}:
        return len({len(row) for row in X}) == 1
    return 2 not in deep


def _depth(x: Any) -> int:
    """Return how many axes `x` has, read from its first entries."""
    if isinstance(x, list | tuple):
        return 1 + (_depth(x[0]) if x else 0)
    return len(getattr(x, "shape", ()))


def read_table(estimator: Any, X: Any, reset: bool) -> NDArray[np.floating]:
    """Return a table `(n, F)` of finite numbers.

    Args:
        estimator: gets, or has, `n_features_in_` and `feature_names_in_`.
        X: an array, a frame or rows.
        reset: whether it is fitted now.

    Raises:
        ValueError: it is no such table, or not of as many columns as the fitted one, or a
            number is too large.
    """
    if is_nested(X):
        raise DataError(
            f"cells of X hold sequences, but {type(estimator).__name__} reads a table of numbers; "
            "SequenceClassifier and SequenceRegressor read sequences"
        )
    table: NDArray[np.floating] = validate_data(estimator, X, reset=reset, dtype=FLOATS)
    if (at := not_finite(table, MOST)) is not None:
        raise DataError(f"row {at[0] + 1}, column {at[1] + 1} is {table[at]:g}: {SMALLER}")
    return table


def read_sequences(X: Any) -> list[NDArray[np.floating]]:
    """Return sequences `(T_i, F)` of one kind of number, all finite.

    Args:
        X: an array `(n, T, F)`, a table `(n, T)` of one feature, or a list of `(T_i, F)`, or
            of `(T_i,)` of one feature.

    Raises:
        DataError: one of them has no step, another number of features, or what is no number or
            one too large.

    Example:
        >>> [x.shape for x in read_sequences([[[1, 2]], [[3, 4], [5, 6]]])]
        [(1, 2), (2, 2)]
    """
    if not isinstance(X, list | tuple) and not (isinstance(X, np.ndarray) and X.dtype.hasobject):
        whole = check_array(X, dtype=FLOATS, ensure_2d=False, allow_nd=True)
        if 0 in whole.shape:
            raise DataError(f"got sequences of shape {whole.shape}, expected some of each")
        return _not_too_large(list(whole.reshape(*whole.shape[:2], -1)))
    rows = [_sequence(number, row) for number, row in enumerate(X, start=1)]
    if not rows:
        raise DataError("got no sequences, expected at least one")
    for number, row in enumerate(rows, start=1):
        if row.shape[1] != rows[0].shape[1]:
            raise DataError(
                f"sequence {number} has {row.shape[1]} features, the first has {rows[0].shape[1]}"
            )
    kind = np.result_type(*{row.dtype for row in rows})
    return _not_too_large([row.astype(kind, copy=False) for row in rows])


def _not_too_large(rows: list[NDArray[np.floating]]) -> list[NDArray[np.floating]]:
    for number, row in enumerate(rows, start=1):
        require_numbers(row, f"sequence {number}")
    return rows


def read_targets(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers to be learned, none of them too large.

    Args:
        y: `(n,)` or `(n, O)`, finite.

    Raises:
        DataError: names the example.

    Example:
        >>> read_targets(np.array([1.0, 1e300]))
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: the target of example 2 is 1e+300: give numbers of at most 1e+30
    """
    if (at := not_finite(y, MOST)) is not None:
        raise DataError(f"the target of example {at[0] + 1} is {y[at]:g}: {SMALLER}")
    return y


def _sequence(number: int, row: Any) -> NDArray[np.floating]:
    try:
        steps = np.asarray(row.to_numpy() if hasattr(row, "to_numpy") else row)
        if steps.dtype not in FLOATS and steps.dtype.kind != "c":
            steps = steps.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"sequence {number} is not an array of numbers (steps, features): {error}"
        ) from error
    if steps.dtype.kind == "c":
        raise DataError(f"sequence {number} holds complex numbers, expected real ones")
    if steps.ndim == 1:
        steps = steps[:, None]
    if steps.ndim != 2 or 0 in steps.shape:
        raise DataError(
            f"sequence {number} has the shape {np.shape(row)}, expected (steps, features), "
            "at least one of each"
        )
    if (at := not_finite(steps)) is not None:
        step, feature = at
        raise DataError(
            f"sequence {number}, step {step + 1}, feature {feature + 1} is NaN or infinity "
            f"({steps[step, feature]}): fill or leave out what is no finite number"
        )
    return steps


def read_weights(sample_weight: Any, count: int) -> NDArray[np.float64]:
    """Return what each of `count` examples counts, at least 0 and not all 0.

    Args:
        sample_weight: one for each, one for all, or None for ones.
        count: n.

    Raises:
        DataError: they are of another shape, negative, too large or all zero.

    Example:
        >>> read_weights(None, 2), read_weights([0, 3], 2)
        (array([1., 1.]), array([0., 3.]))
    """
    if sample_weight is None:
        return np.ones(count)
    if isinstance(sample_weight, Number):
        sample_weight = np.full(count, sample_weight)
    weights: NDArray[np.float64] = check_array(
        sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weights.shape != (count,):
        raise DataError(f"sample_weight has the shape {weights.shape}, expected ({count},)")
    if (at := not_finite(weights, MOST)) is not None:
        raise DataError(f"sample_weight {at[0] + 1} is {weights[at]:g}: {SMALLER}")
    if (weights < 0).any():
        raise DataError(f"sample_weight {weights.min():g} is negative, expected at least 0")
    if not weights.any():
        raise DataError("the sample weights are all zero, expected one above zero")
    return weights
