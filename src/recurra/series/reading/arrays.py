"""Numbers without names: one array, several of one length, or a list of any lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.options import SeriesOptions
from recurra.series.reading.columns import rows_in_words
from recurra.series.reading.draft import Draft, Source
from recurra.storage.finite import real_numbers

__all__ = ["read_arrays"]

COLUMNS = ("target", "id_column", "time_column", "past_covariates", "future_covariates")


def read_arrays(data: Any, options: SeriesOptions) -> tuple[Source, list[Draft], list[str]]:
    """Return what arrays say: what is common to the series, the series, and notes.

    An array `(T,)` is one series; `(n, T)` are n of one variable, `(n, T, V)` of several; a list
    holds arrays `(T,)` or `(T, V)` of any lengths. The series are named 0, 1, 2, ...

    Args:
        data: the array, or the list.
        options: they may name no columns, since there are none.

    Raises:
        DataError: there are no numbers, numbers of variables differ, or one is infinite.

    Example:
        >>> source, drafts, _ = read_arrays([[1, 2, 3], [4, 5]], SeriesOptions())
        >>> [(one.unique_id, one.values.shape) for one in drafts]
        [('0', (3, 1)), ('1', (2, 1))]
    """
    place = "the data given"
    for option in (*COLUMNS, "static_covariates"):
        if getattr(options, option):
            raise DataError(f"{place} is arrays, which have no columns: leave data.{option} out")
    several = _several(data, place)
    widths = [one.shape[1] for one in several]
    if len(set(widths)) > 1:
        other = next(i for i, width in enumerate(widths) if width != widths[0])
        raise DataError(
            f"{place}: series '0' has {widths[0]} variables, but series '{other}' {widths[other]}"
        )
    targets = ("y",) if widths[0] == 1 else tuple(f"y{i}" for i in range(widths[0]))
    drafts = []
    for index, values in enumerate(several):
        length, rows = len(values), np.arange(1, len(values) + 1)
        if (infinite := np.flatnonzero(np.isinf(values).any(1))).size:
            raise DataError(
                f"{place}, {rows_in_words(int(infinite[0]) + 1)}: series '{index}' is infinite; "
                "give a number, or NaN for a gap"
            )
        nothing = np.empty((length, 0))
        name = str(index) if len(several) > 1 else targets[0] if widths[0] == 1 else "series"
        drafts.append(Draft(name, rows, values, None, nothing, nothing, np.empty(0)))
    return Source(place, targets=targets), drafts, []


def _several(data: Any, place: str) -> list[NDArray[np.float64]]:
    if isinstance(data, list | tuple) and any(np.ndim(one) for one in data):
        arrays = [_numbers(one, place) for one in data]
    else:
        whole = _numbers(data, place)
        arrays = [whole] if whole.ndim < 2 else list(whole)
    found = [one[:, None] if one.ndim == 1 else one for one in arrays]
    if not found or any(one.ndim != 2 or not one.size for one in found):
        shapes = ", ".join(str(one.shape) for one in found[:3])
        raise DataError(
            f"{place} is no series: its shapes are {shapes or '()'}; one series is (T,), "
            "several (n, T) or a list of (T,)"
        )
    if all(len(one) == 1 for one in found) and len(found) > 1:
        raise DataError(
            f"{place} is {len(found)} series of one step: a 2-D array is (series, steps); "
            "transpose it"
        )
    return found


def _numbers(data: Any, place: str) -> NDArray[np.float64]:
    try:
        return real_numbers(data)
    except ValueError as error:
        told = " ".join(str(error).split())[:100]
        raise DataError(
            f"{place} is a {type(data).__name__}, which holds other things than numbers: {told}"
        ) from error
