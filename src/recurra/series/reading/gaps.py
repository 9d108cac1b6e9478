"""Gaps are counted and told of, those of covariates filled; constant series are told of too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.reading.columns import rows_in_words
from recurra.series.reading.draft import ADDED, Draft, Source, names_of

__all__ = ["constant", "covered", "fill", "gaps_told"]

DONE = {
    "mask": "left as gaps",
    "forward": "seen as the value before",
    "linear": "seen as along a line",
}


def fill(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of which each gap takes the value before, but for those before the first.

    Args:
        values: `(T, V)`, NaN is a gap.

    Example:
        >>> fill(np.array([[np.nan], [1.0], [np.nan], [2.0]]))[:, 0].tolist()
        [nan, 1.0, 1.0, 2.0]
    """
    found = values.copy()
    places = np.arange(len(values))
    for column in found.T:
        known = np.flatnonzero(~np.isnan(column))
        if known.size:
            after = places[known[0] :]
            column[after] = column[known[np.searchsorted(known, after, side="right") - 1]]
    return found


def gaps_told(source: Source, drafts: Sequence[Draft], how: str) -> tuple[list[Draft], list[str]]:
    """Return the series, and how many gaps they have, in words.

    They stay: what a window sees in their place, it takes from what it holds. Rows ahead, where
    covariates are known but no value is, are no gaps.

    Args:
        source: what the series have in common.
        drafts: the series.
        how: `"mask"`, `"forward"`, `"linear"` or `"refuse"`.

    Raises:
        DataError: a series has no value at all, or there is a gap that is refused.
    """
    found, count, first = [], 0, None
    for one in drafts:
        known = ~np.isnan(one.values)
        for name, column in zip(source.targets, known.T):
            if not column.any():
                raise DataError(
                    f"{source.place}: series {one.unique_id!r} has no value in column {name!r}; "
                    "leave it out"
                )
        length = len(one) - int(known[::-1].any(1).argmax()) if source.future else len(one)
        gaps = ~known[:length]
        count += int(gaps.sum())
        if first is None and gaps.any():
            first = (one, int(np.flatnonzero(gaps.any(1))[0]))
        found.append(replace(one, values=one.values[:length]))
    if first is None:
        return found, []
    where = _place(source, *first)
    if how == "refuse":
        raise DataError(
            f"{source.place}, {where}: series {first[0].unique_id!r} has a gap, of {count} in all; "
            "fill them, or set data.fill to mask, forward or linear"
        )
    return found, [f"{count} {'gap' if count == 1 else 'gaps'}, the first {where}: {DONE[how]}"]


def _place(source: Source, one: Draft, index: int) -> str:
    if one.rows[index] != ADDED:
        return f"at {rows_in_words(int(one.rows[index]))}"
    before = one.rows[:index]
    return f"after {rows_in_words(int(before[before != ADDED][-1]))}"


def covered(source: Source, drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """Return the series with the gaps of their covariates filled, and how many there were.

    A gap takes the value before. Before the first value, what is known ahead takes that; what is
    known up to now only stays unknown, as anything else would be of the future.

    Args:
        source: what the series have in common.
        drafts: the series.

    Raises:
        DataError: a covariate has no value at all in a series.
    """
    found, count, first = [], 0, None
    for one in drafts:
        whole = {}
        for kind, names in (("past", source.past), ("future", source.future)):
            values = getattr(one, kind)
            gaps = np.isnan(values)
            if gaps.all(0).any():
                name = names[int(np.flatnonzero(gaps.all(0))[0])]
                raise DataError(
                    f"{source.place}: series {one.unique_id!r} has no value in column {name!r}"
                )
            if gaps.any() and first is None:
                first = _place(source, one, int(np.flatnonzero(gaps.any(1))[0]))
            count += int(gaps.sum())
            whole[kind] = fill(values)
        whole["future"] = fill(whole["future"][::-1])[::-1]
        found.append(replace(one, past=whole["past"], future=whole["future"]))
    if first is None:
        return found, []
    word = "gap" if count == 1 else "gaps"
    return found, [f"{count} {word} in covariates, the first {first}: filled with the value before"]


def constant(drafts: Sequence[Draft]) -> list[str]:
    """Return in words which series never change, if any.

    Args:
        drafts: the series.

    Example:
        >>> constant([])
        []
    """
    names = [one.unique_id for one in drafts if (_spread(one.values) == 0).any()]
    return [f"constant: {names_of(names)}"] if names else []


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.nanmax(values, 0) - np.nanmin(values, 0))
