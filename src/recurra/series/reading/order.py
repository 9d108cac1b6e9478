"""Series in the order of their stamps, on a grid where they lie on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.found import MOST_OFF, infer
from recurra.series.calendar.frequency import STEPS, Frequency
from recurra.series.calendar.names import asked
from recurra.series.reading.columns import rows_in_words
from recurra.series.reading.draft import ADDED, Draft, Source, names_of

__all__ = ["on_grid", "sorted_once"]

ENOUGH = 8
"""Stamps of a series that tell a calendar of its own."""
HOUR = np.timedelta64(1, "h")
LATEST_HOUR = 3  # at which clocks are put back


def sorted_once(
    source: Source, drafts: Sequence[Draft], least: int = 2
) -> tuple[list[Draft], list[str]]:
    """Return the series sorted by their stamps, each stamp once, and what was done, in words.

    Args:
        source: what they have in common.
        drafts: the series.
        least: rows that a series has, of which something is learned.

    Raises:
        DataError: every series has fewer rows, or one has a stamp twice.
    """
    short = [one for one in drafts if len(one) < least]
    if len(short) == len(drafts):
        raise DataError(
            f"{source.place}, {rows_in_words(*short[0].rows)}: series {short[0].unique_id!r} has "
            "one row alone; nothing can be learned from it, give more rows"
        )
    found, moved, notes = [], [], []
    for one in drafts:
        if one.stamps is None:
            found.append(one)
            continue
        back = np.flatnonzero(one.stamps[1:] < one.stamps[:-1])
        if back.size:
            moved.append((one.unique_id, int(one.rows[back[0] + 1])))
            one = _only(one, np.argsort(one.stamps, kind="stable"))
        one, told = _each_once(source, one)
        found.append(one)
        notes += told
    if moved:
        names = names_of([name for name, _ in moved])
        first = rows_in_words(moved[0][1])
        notes.append(f"{names} sorted by {source.time} (first out of order: {first})")
    if short:
        names = names_of([one.unique_id for one in short])
        notes.append(f"one row alone, nothing is learned from it: {names}")
    return found, notes


def _only(one: Draft, places: NDArray[np.int64]) -> Draft:
    assert one.stamps is not None
    return replace(
        one,
        rows=one.rows[places],
        values=one.values[places],
        stamps=one.stamps[places],
        past=one.past[places],
        future=one.future[places],
    )


def _each_once(source: Source, one: Draft) -> tuple[Draft, list[str]]:
    """A series with each stamp once: the mean of an hour that clocks show twice; and a note."""
    assert one.stamps is not None
    same = np.flatnonzero(one.stamps[1:] == one.stamps[:-1])
    if not same.size:
        return one, []
    first = int(same[0])
    both = rows_in_words(*one.rows[first : first + 2].tolist())
    if not _is_put_back(one.stamps, same):
        more = f", and {same.size - 1} more stamps twice" if same.size > 1 else ""
        raise DataError(
            f"{source.place}, {both}: series {one.unique_id!r} has the stamp "
            f"{_told(one.stamps[first])} twice{more}; keep one row of each, or name the column "
            "that tells the series apart: data.id_column"
        )
    once = _only(one, np.delete(np.arange(len(one)), same + 1))
    kept = same - np.arange(same.size)
    for name in ("values", "past", "future"):
        first_ones, seconds = getattr(one, name)[same], getattr(one, name)[same + 1]
        middle = np.where(np.isnan(seconds), first_ones, (first_ones + seconds) / 2)
        getattr(once, name)[kept] = np.where(np.isnan(first_ones), seconds, middle)
    return once, [
        f"{_told(one.stamps[first])} stands twice in series {one.unique_id!r} ({both}), as where "
        "clocks are put back: the mean is taken"
    ]


def _is_put_back(stamps: NDArray[Any], same: NDArray[np.int64]) -> bool:
    """Whether stamps stand twice for an hour of a Sunday's night alone, once a year at most."""
    if stamps.dtype.kind != "M" or np.median(np.diff(stamps)) > HOUR:
        return False
    twice = stamps[same]
    days = np.unique(twice.astype("datetime64[D]"))
    sundays = (days.astype(np.int64) + 3) % 7 == 6
    hours = np.unique(twice.astype("datetime64[h]"))
    nightly = (hours - hours.astype("datetime64[D]")).astype(np.int64) <= LATEST_HOUR
    apart = np.diff(days).astype(np.int64) > 300
    thrice = np.diff(same) == 1
    return bool(
        sundays.all()
        and nightly.all()
        and len(hours) == len(days)
        and apart.all()
        and not (thrice & (twice[1:] == twice[:-1])).any()
    )


def on_grid(
    source: Source,
    drafts: Sequence[Draft],
    name: str | None = None,
    calendar: Frequency | None = None,
) -> tuple[list[Draft], Frequency, list[str]]:
    """Return the series without a stamp missing where they are regular; frequency; and notes.

    Where stamps follow a calendar, a row that holds nothing is added for every point of it that
    is missing, and the few stamps beside it are moved to the points that they are nearest to.
    Others are irregular, and stay as they are.

    Args:
        source: what the series have in common.
        drafts: the series, sorted.
        name: of the calendar, where one is asked for.
        calendar: that is known already.

    Raises:
        ConfigError: there is no such calendar.
        DataError: series follow several calendars, or stamps do not fit the one that is asked for
            or known.
    """
    stamps = [one.stamps for one in drafts if one.stamps is not None]
    if not stamps:
        if name is not None:
            raise DataError(f"data.frequency is {name!r}, but the series have no dates")
        return list(drafts), STEPS, []
    if calendar and np.issubdtype(stamps[0].dtype, np.datetime64):
        frequency = replace(calendar, points=replace(calendar.points, zone=source.zone))
        _require_near(source, drafts, frequency)
    elif name:
        frequency = _asked(name, stamps, source)
    elif calendar:
        frequency = calendar
        _require_steps(source, drafts, frequency)
    else:
        frequency = infer(*stamps, zone=source.zone)
        long = [one for one in stamps if len(one) >= ENOUGH]
        if not frequency.regular and 0 < len(long) < len(stamps) and stamps[0].dtype.kind == "M":
            others = infer(*long, zone=source.zone)
            if others.regular:  # a short one is of another calendar, and is named
                _require_near(source, drafts, others)
        _require_one_calendar(source, drafts, frequency)
    points = replace(frequency.points, zone=source.zone, code=source.code)
    frequency = replace(frequency, points=points)
    if not frequency.regular:
        return (
            list(drafts),
            frequency,
            [f"stamps are irregular, their median step {_step(frequency)}"],
        )
    found = [_completed(source, one, frequency) for one in drafts]
    return found, frequency, [*_moves(drafts, found), *_additions(drafts, found)]


def _asked(name: str, stamps: Sequence[NDArray[Any]], source: Source) -> Frequency:
    if not np.issubdtype(stamps[0].dtype, np.datetime64):
        raise DataError(f"data.frequency is {name!r}, but the series have no dates")
    return asked(name, stamps, source.zone)


def _require_near(source: Source, drafts: Sequence[Draft], frequency: Frequency) -> None:
    """Refuse series whose stamps lie beside a calendar that is known, but for a few of them."""
    for one in drafts:
        assert one.stamps is not None
        places, due = frequency.laid(one.stamps)
        beside = np.flatnonzero((due != one.stamps) | (np.diff(places, prepend=-1) < 1))
        if beside.size > max(len(one) >= ENOUGH, MOST_OFF * len(one)):
            own = infer(one.stamps, zone=source.zone) if len(one) > 1 else None
            there = "" if own is None else own.in_full if own.regular else "irregular"
            found = f"is {there}, not" if there else "has one stamp, and that is not"
            raise DataError(
                f"{source.place}, {rows_in_words(int(one.rows[beside[0]]))}: series "
                f"{one.unique_id!r} {found} {frequency.in_full}: {_told(one.stamps[beside[0]])}"
            )


def _require_steps(source: Source, drafts: Sequence[Draft], frequency: Frequency) -> None:
    """Refuse numbers that are no whole steps of a calendar that is known."""
    for one in drafts:
        assert one.stamps is not None
        steps = frequency.grid(one.stamps)
        if (odd := np.flatnonzero(np.abs(steps - np.round(steps)) > 1e-6)).size:
            raise DataError(
                f"{source.place}, {rows_in_words(int(one.rows[odd[0]]))}: series "
                f"{one.unique_id!r} is at {one.stamps[odd[0]]:g}, no whole steps of "
                f"{frequency.count:g} from its first"
            )


def _require_one_calendar(source: Source, drafts: Sequence[Draft], frequency: Frequency) -> None:
    """Refuse series of which each follows a calendar, but not the same one."""
    if frequency.unit == "step" or len(drafts) < 2:
        return
    told: dict[Any, tuple[str, str]] = {}
    for one in drafts:
        if one.stamps is None or len(one.stamps) < ENOUGH:
            continue
        own = frequency
        if not _follows(one.stamps, frequency):
            own = infer(one.stamps, zone=source.zone)
        if own.regular:
            told.setdefault(own.rule, (own.in_full, one.unique_id))
        if len(told) > 1:
            (name, first), (other, second) = told.values()
            raise DataError(
                f"{source.place}: series {first!r} is {name}, series {second!r} is {other}; learn "
                "from each calendar by itself, or set data.frequency"
            )


def _follows(stamps: NDArray[Any], frequency: Frequency) -> bool:
    """Whether one series is of a calendar, and not of one that has a point at some of its own."""
    if not frequency.regular:
        return False
    places, due = frequency.laid(stamps)
    return bool((due == stamps).mean() > 0.5 and np.gcd.reduce(np.diff(places)) == 1)


def _moves(drafts: Sequence[Draft], found: Sequence[Draft]) -> list[str]:
    """In words, which stamps were moved onto the calendar."""
    count, first = 0, ""
    for one, now in zip(drafts, found):
        assert one.stamps is not None and now.stamps is not None
        due = now.stamps[now.rows != ADDED]
        moved = np.flatnonzero(due != one.stamps)
        if moved.size and not count:
            place = int(moved[0])
            first = f"{rows_in_words(int(one.rows[place]))}: {_told(one.stamps[place])} is taken "
            first += f"for {_told(due[place])}"
        count += moved.size
    word = "stamp lies" if count == 1 else "stamps lie"
    return [f"{count:,} {word} beside the calendar, the first at {first}"] if count else []


def _told(stamp: Any) -> str:
    return str(stamp).removesuffix(".000000000").replace("T", " ").removesuffix(" 00:00:00")


def _additions(drafts: Sequence[Draft], found: Sequence[Draft]) -> list[str]:
    added = sum(map(len, found)) - sum(map(len, drafts))
    if not added:
        return []
    first = next(one for one in found if (one.rows == ADDED).any())
    row = int(first.rows[np.flatnonzero(first.rows == ADDED)[0] - 1])
    word = "stamp is" if added == 1 else "stamps are"
    return [f"{added} {word} missing, the first after {rows_in_words(row)}: added as gaps"]


def _step(frequency: Frequency) -> str:
    return f"{frequency.count:g}" if frequency.unit == "step" else frequency.name


def _completed(source: Source, one: Draft, frequency: Frequency) -> Draft:
    """A series on its calendar, with a row that holds nothing wherever one is missing."""
    assert one.stamps is not None
    if frequency.unit == "step":
        places = np.round(frequency.grid(one.stamps)).astype(np.int64)
        due = one.stamps
    else:
        places, due = frequency.laid(one.stamps)
    same = np.flatnonzero(places[1:] == places[:-1])
    if same.size:
        both = one.rows[same[0] : same[0] + 2].tolist()
        raise DataError(
            f"{source.place}, {rows_in_words(*both)}: series {one.unique_id!r} has two stamps for "
            f"{_told(due[same[0]])}, as data.frequency is {frequency.name}"
        )
    size = int(places[-1]) + 1
    if size == len(one):
        return replace(one, stamps=due)
    stamps = np.concatenate([due[:1], frequency.after(due[0], size - 1)])
    stamps[places] = due
    rows = np.full(size, ADDED)
    rows[places] = one.rows
    spread = []
    for array in (one.values, one.past, one.future):
        wider = np.full((size, array.shape[1]), np.nan)
        wider[places] = array
        spread.append(wider)
    return Draft(one.unique_id, rows, spread[0], stamps, spread[1], spread[2], one.static)
