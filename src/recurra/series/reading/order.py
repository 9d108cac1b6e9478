"""Series in the order of their stamps, on a grid where they lie on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recurra.errors import DataError
from recurra.series.calendar.found import infer
from recurra.series.calendar.frequency import STEPS, Frequency
from recurra.series.reading.columns import rows_in_words
from recurra.series.reading.draft import ADDED, Draft, Source, names_of

__all__ = ["on_grid", "sorted_once"]


def sorted_once(source: Source, drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """Return the series sorted by their stamps, each stamp once, and what was done, in words.

    Args:
        source: what they have in common.
        drafts: the series.

    Raises:
        DataError: a series has one row alone, or a stamp twice.
    """
    found, moved = [], []
    for one in drafts:
        if len(one) < 2:
            raise DataError(
                f"{source.place}, {rows_in_words(*one.rows)}: series {one.unique_id!r} has one row "
                "alone; nothing can be learned from it, leave it out or give more rows"
            )
        if one.stamps is None:
            found.append(one)
            continue
        back = np.flatnonzero(one.stamps[1:] < one.stamps[:-1])
        if back.size:
            moved.append((one.unique_id, int(one.rows[back[0] + 1])))
            order = np.argsort(one.stamps, kind="stable")
            one = replace(
                one,
                rows=one.rows[order],
                values=one.values[order],
                stamps=one.stamps[order],
                past=one.past[order],
                future=one.future[order],
            )
        _refuse_twice(source, one)
        found.append(one)
    if not moved:
        return found, []
    names = names_of([name for name, _ in moved])
    return found, [
        f"{names} sorted by {source.time} (first out of order: {rows_in_words(moved[0][1])})"
    ]


def _refuse_twice(source: Source, one: Draft) -> None:
    assert one.stamps is not None
    same = np.flatnonzero(one.stamps[1:] == one.stamps[:-1])
    if same.size:
        first = int(same[0])
        stamp = str(one.stamps[first]).removesuffix(".000000000")
        more = f", and {same.size - 1} more stamps twice" if same.size > 1 else ""
        raise DataError(
            f"{source.place}, {rows_in_words(*one.rows[first : first + 2].tolist())}: series "
            f"{one.unique_id!r} has the stamp {stamp} twice{more}; keep one row of each, "
            "or name the column that tells the series apart: data.id_column"
        )


def on_grid(source: Source, drafts: Sequence[Draft]) -> tuple[list[Draft], Frequency, list[str]]:
    """Return the series without a stamp missing where they are regular; frequency; and notes.

    Where all stamps lie on the grid of their median step, a row that holds nothing is added for
    every point of it that is missing. Others are irregular, and stay as they are.

    Args:
        source: what the series have in common.
        drafts: the series, sorted.
    """
    stamps = [one.stamps for one in drafts if one.stamps is not None]
    if not stamps:
        return list(drafts), STEPS, []
    frequency = infer(*stamps)
    if not frequency.regular:
        return (
            list(drafts),
            frequency,
            [f"stamps are irregular, their median step {_step(frequency)}"],
        )
    found = [_completed(one, frequency) for one in drafts]
    added = sum(map(len, found)) - sum(map(len, drafts))
    if not added:
        return found, frequency, []
    first = next(one for one in found if (one.rows == ADDED).any())
    row = int(first.rows[np.flatnonzero(first.rows == ADDED)[0] - 1])
    word = "stamp is" if added == 1 else "stamps are"
    note = f"{added} {word} missing, the first after {rows_in_words(row)}: added as gaps"
    return found, frequency, [note]


def _step(frequency: Frequency) -> str:
    return f"{frequency.count:g}" if frequency.unit == "step" else frequency.name


def _completed(one: Draft, frequency: Frequency) -> Draft:
    assert one.stamps is not None
    places = np.round(frequency.grid(one.stamps)).astype(np.int64)
    size = int(places[-1]) + 1
    if size == len(one):
        return one
    stamps = np.concatenate([one.stamps[:1], frequency.after(one.stamps[0], size - 1)])
    stamps[places] = one.stamps
    rows = np.full(size, ADDED)
    rows[places] = one.rows
    spread = []
    for array in (one.values, one.past, one.future):
        wider = np.full((size, array.shape[1]), np.nan)
        wider[places] = array
        spread.append(wider)
    return Draft(one.unique_id, rows, spread[0], stamps, spread[1], spread[2], one.static)
