"""The calendar that stamps follow: of the rules that may, the one that explains most of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.frequency import WORKDAYS, Frequency, Points
from recurra.series.calendar.lattice import DAY, WEEK
from recurra.series.calendar.months import likely
from recurra.series.calendar.words import name_of_months, name_of_span, seasons_of, slots_in_words

__all__ = ["MOST_OFF", "by_months", "by_slots", "by_span", "by_weekdays", "infer", "twice_a_month"]

MINUTE = 60 * 10**9  # nanoseconds
MOST_SPREAD = 10  # steps per observation; what is sparser is no grid with gaps
MOST_OFF = 0.1  # of the stamps that may lie beside the grid
FEW = 200  # stamps of a series that tell which rules may hold
MOST_LOOKED_AT = 200_000  # stamps of several series that tell which hours of a week are open
MOST_WEEKDAYS = 20
OFTEN = 0.1  # of the steps between stamps that the least of them is at the least
JITTER = 0.25  # of a step, by which stamps may lie beside a grid that none is exactly on
NICE = 0.005  # of a step, by which the mean one may differ from a whole one
WHOLE = sorted({n * unit for unit, most in ((10**9, 60), (MINUTE, 60), (60 * MINUTE, 24))
                for n in range(1, most) if most % n == 0} | {DAY, WEEK})  # fmt: skip
"""Steps that devices are set to, in nanoseconds."""
LEAST_WEEKS = 4  # in which a day of the week is never observed that is closed
UNLIKELY = 0.02  # slots of a week that are expected to be missing each time; with fewer, none is
SPARSE = 0.4  # of the steps in a week's open hours that are there, over some weeks
FULL = 0.7  # of the steps in a week's open hours that are there, where hours are seen to be closed

Stamps = NDArray[Any]
Whole = NDArray[np.int64]


def infer(*stamps: Stamps, zone: str | None = None) -> Frequency:
    """Return the frequency of one or more series.

    Of the rules that may hold (spans, days, weekdays, hours of the week, days of months) that
    one is taken on whose grid all stamps lie; else the one that explains nine in ten of them.
    Missing observations do not matter so long as the others lie on one grid.

    Args:
        stamps: of each series, increasing: `datetime64`, or numbers.
        zone: by whose clock days begin, where the stamps, in UTC, are of one.

    Raises:
        DataError: there are not two stamps in any series.

    Example:
        >>> infer(np.array(["1949-01-01", "1949-02-01"], "datetime64[D]")).name
        'monthly'
        >>> infer(np.array([0.0, 1.0, 2.7])).regular
        False
    """
    several = [one for one in stamps if len(one) > 1]
    if not several:
        raise DataError("no frequency can be inferred from a single stamp; give two or more rows")
    if not np.issubdtype(several[0].dtype, np.datetime64):
        step = float(_middle([np.diff(one) for one in several]))
        found = Frequency("steps", count=step)
        sound = all(_are_places(found.grid(one)) for one in several)
        return found if sound and _is_dense(found, several) else replace(found, regular=False)
    several = [one.astype("datetime64[ns]", copy=False) for one in several]
    few = _some(several)
    first = _best(few, zone)
    if first is not None and (len(few) == 1 == len(several) and len(few[0]) == len(several[0])):
        return first.frequency
    if first is not None and first.share == 1 and _fit(first.frequency, several).share == 1:
        return first.frequency
    whole = _best(several, zone)
    if whole is not None:
        return whole.frequency
    step = int(_middle([np.diff(one).astype(np.int64) for one in several]))
    seasons = seasons_of(step)
    name = name_of_span(step)
    return Frequency(
        name, "nanosecond", step, seasons[0], seasons, regular=False, points=Points(zone=zone)
    )


class _Fit(NamedTuple):
    """How well a frequency explains stamps: the share that lies on its grid, 0 where none can.

    Of those on which all lie, that one with the least points in all leaves the fewest gaps.
    """

    frequency: Frequency
    share: float
    points: int = 0


def _best(stamps: Sequence[Stamps], zone: str | None) -> _Fit | None:
    """The rule that explains most of the stamps, the plainest of several; None where none does."""
    fits = [_fit(found, stamps) for found in _candidates(stamps, zone)]
    best = max(
        fits, key=lambda fit: (fit.share, -fit.points if fit.share == 1 else 0), default=None
    )
    if best is not None and best.share >= 1 - MOST_OFF:
        return best
    return _with_jitter(stamps, zone)


def _some(stamps: Sequence[Stamps]) -> list[Stamps]:
    """The first stamps of some series: of long ones as many as weeks need to be told by."""
    chosen = stamps[:: max(1, len(stamps) // FEW)]
    most = max(FEW, MOST_LOOKED_AT // len(chosen))
    weeks = np.timedelta64(LEAST_WEEKS * WEEK, "ns")
    ends = [int(np.searchsorted(one[:most], one[0] + weeks, "right")) for one in chosen]
    return [one[: max(FEW, end)] for one, end in zip(chosen, ends)]


def _fit(found: Frequency, stamps: Sequence[Stamps]) -> _Fit:
    on = total = spread = 0
    for one in stamps:
        places, due = found.laid(one)
        if not (places[1:] > places[:-1]).all():
            return _Fit(found, 0.0)
        on += int((due == one).sum())
        total += len(one)
        spread += int(places[-1]) + 1
    return _Fit(found, on / total if spread <= MOST_SPREAD * total else 0.0, spread)


def _candidates(stamps: Sequence[Stamps], zone: str | None) -> Iterator[Frequency]:
    """What the stamps may follow, the plainest first."""
    plain = Frequency("", "nanosecond", DAY, points=Points(zone=zone))
    shown = [plain.shown(one) for one in stamps]
    days = [(one // DAY).astype("datetime64[D]") for one in shown]
    step = int(_middle([np.diff(one) for one in shown]))
    if step > 20 * DAY:
        months = [one.astype("datetime64[M]").astype(np.int64) for one in days]
        places = list(dict.fromkeys(likely(np.concatenate(days))))
        for count in _steps([np.diff(one) for one in months]):
            for place in places if count else ():
                yield by_months(count, (place,), zone)
    told = step > DAY or max(int(one[-1] - one[0]) for one in shown) >= WEEK
    if told and DAY <= step < MOST_WEEKDAYS * DAY and all(np.is_busday(one).all() for one in days):
        for count in _steps([np.busday_count(one[:-1], one[1:]) for one in days]):
            if count % 5:  # else it is weeks
                yield by_weekdays(count, zone)
    if DAY < step < WEEK:
        yield from _of_weeks(DAY, shown, zone)
    passed = [one.astype(np.int64) for one in stamps] if step % DAY else shown
    for step in _steps([np.diff(one) for one in passed]):
        if step >= 1:
            if step <= DAY:
                yield from _of_weeks(step, shown, zone)
            yield by_span(step, zone)
            if 12 * DAY < step < 18 * DAY:
                yield from twice_a_month(np.concatenate(days), zone)


def _steps(differences: Sequence[Whole]) -> list[int]:
    """How far apart stamps may be due: as most are, and the least that many are."""
    together = np.concatenate(differences)
    several, counts = np.unique(together, return_counts=True)
    often = several[(counts >= OFTEN * len(together)) & (counts > 1)]
    middle = int(_middle([together]))
    return list(dict.fromkeys([middle, *often[:1].tolist()]))


def twice_a_month(days: NDArray[np.datetime64], zone: str | None) -> Iterator[Frequency]:
    """Yield what may place days of which months have two.

    Args:
        days: `(T,)` as `datetime64[D]`.
        zone: by whose clock they begin.

    Example:
        >>> days = np.array(["2020-01-10", "2020-01-25", "2020-02-10"], "datetime64[D]")
        >>> next(twice_a_month(days, None)).name
        'twice a month (day 10, day 25)'
    """
    of_month = (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    early = 2 * of_month < of_month.min() + of_month.max()
    for first in likely(days[early])[:1] if early.any() else ():
        for second in likely(days[~early])[:2]:
            yield by_months(1, (first, second), zone)


def by_months(count: int, places: tuple[str, ...], zone: str | None = None) -> Frequency:
    """Return the frequency of some days of every so many months.

    Args:
        count: months.
        places: of the days in a month, in words, in their order.
        zone: by whose clock they begin.

    Example:
        >>> by_months(3, ("last business day",)).name
        'quarterly (last business day)'
    """
    season = 12 * len(places) // count if 12 % count == 0 else 1
    name, day = name_of_months(count, places), 1
    if len(places) == 1 and (places[0] == "last day" or places[0].startswith("day ")):
        day, places = int(places[0].removeprefix("day ").replace("last day", "31")), ()
    return Frequency(
        name, "month", count, season, (season,), day=day, points=Points(places, zone=zone)
    )


def by_span(step: int, zone: str | None = None) -> Frequency:
    """Return the frequency of a fixed step.

    Args:
        step: nanoseconds.
        zone: by whose clock days begin.

    Example:
        >>> by_span(DAY).seasons
        (7,)
    """
    seasons = seasons_of(step)
    return Frequency(
        name_of_span(step), "nanosecond", step, seasons[0], seasons, points=Points(zone=zone)
    )


def by_weekdays(count: int, zone: str | None = None) -> Frequency:
    """Return the frequency of every so many weekdays.

    Args:
        count: weekdays.
        zone: by whose clock they begin.

    Example:
        >>> by_weekdays(1).name, by_weekdays(2).name
        ('weekdays', '2 weekdays')
    """
    name, season = "weekdays" if count == 1 else f"{count} weekdays", 1 if 5 % count else 5 // count
    return Frequency(name, "weekday", count, season, (season,), points=Points(zone=zone))


def by_slots(step: int, slots: tuple[int, ...], zone: str | None = None) -> Frequency:
    """Return the frequency of some of a week's steps.

    Args:
        step: nanoseconds.
        slots: the places of those that are observed; Monday's first is 0.
        zone: by whose clock the week begins.

    Example:
        >>> by_slots(DAY, (0, 1, 2, 3, 4, 5)).name
        'daily (Mon-Sat)'
    """
    each, days = len(slots), len({slot * step // DAY for slot in slots})
    daily = each // days if each % days == 0 else 1
    seasons = tuple(sorted({daily, each} - {1})) or (1,)
    name = f"{name_of_span(step)} ({slots_in_words(slots, step)})"
    return Frequency(
        name, "nanosecond", step, seasons[0], seasons, points=Points(slots=slots, zone=zone)
    )


def _of_weeks(step: int, shown: Sequence[Whole], zone: str | None) -> Iterator[Frequency]:
    """The days, or the hours, of a week that are observed, where others never are."""
    if WEEK % step or DAY % step or step < MINUTE:
        return
    span = max(int(one[-1] - one[0]) for one in shown)
    together = np.concatenate(shown)
    size, monday = WEEK // step, 4 * DAY
    phases, often = np.unique(together % step, return_counts=True)
    phase = int(phases[often.argmax()])
    slots = (together[together % step == phase] - phase - monday) // step
    counts = np.bincount(slots % size, minlength=size)
    days = tuple(np.flatnonzero(counts.reshape(7, -1).any(1)).tolist())
    if step == DAY and (days == WORKDAYS or span < LEAST_WEEKS * WEEK):
        return
    missing = 1 - counts.sum() / max(1.0, len(days) * span / WEEK)
    if step == DAY and 7 * max(0.0, missing) ** (span // WEEK) >= UNLIKELY:
        return
    if span < 2 * WEEK:
        counts = _of_a_few_days(counts.reshape(7, -1), days, span)
    there = tuple(np.flatnonzero(_with_unlucky(counts.reshape(7, -1), span / WEEK)).tolist())
    if len(there) in (size, 0) or len(there) * 10 > size * 9:
        return
    found = by_slots(step, there, zone)
    lengths = [int(found.lattice(int(one[0])).nearest(one[[0, -1]]) @ [-1, 1]) + 1 for one in shown]
    if len(together) >= (SPARSE if span >= LEAST_WEEKS * WEEK else FULL) * sum(lengths):
        yield found


def _with_unlucky(counts: Whole, weeks: float) -> Whole:
    """The slots that are observed, `(7, D)`, and those that are not but may well be missing.

    On a day on which others are, an hour at which others are: chance tells, by how often those
    that are observed are missing.
    """
    there = counts > 0
    due = max(1.0, there.sum() * weeks)
    missing = (max(0.0, due - counts.sum()) + 2) / (due + 2)  # of few, chance may have spared all
    if missing ** max(1.0, np.floor(weeks)) * there.sum() < UNLIKELY:
        return there.ravel().astype(np.int64)
    return np.outer(there.any(1), there.any(0)).ravel().astype(np.int64)


def _of_a_few_days(counts: Whole, days: Sequence[int], span: int) -> Whole:
    """The hours of any day that are observed, at the weekend too where none has passed yet."""
    hours = counts.any(0)
    if hours.all() or span < 2 * DAY:
        return np.ones(counts.size, np.int64)
    weekend = span >= WEEK and set(days) <= set(WORKDAYS)
    found = np.tile(hours.astype(np.int64), (7, 1))
    found[5:] *= not weekend
    return found.ravel()


def _with_jitter(stamps: Sequence[Stamps], zone: str | None) -> _Fit | None:
    """A whole step that all stamps are near, though none need be on its grid."""
    step = int(_middle([np.diff(one).astype(np.int64) for one in stamps]))
    if step < 1:
        return None
    sums = np.zeros(2)
    for one in stamps:
        spans = np.diff(one).astype(np.int64)
        sums += spans.sum(), np.maximum(1, np.round(spans / step)).sum()
    mean = sums[0] / sums[1]
    near = [each for each in WHOLE if abs(each - mean) <= NICE * each]
    for each in near:
        found = by_span(each, zone)
        lays = [found.laid(one) for one in stamps]
        increasing = all((places[1:] > places[:-1]).all() for places, _ in lays)
        off = max(
            float(np.abs((one - due).astype(np.int64)).max()) for one, (_, due) in zip(stamps, lays)
        )
        if increasing and off <= JITTER * each and _is_dense(found, stamps):
            return _Fit(found, 0.0)
    return None


def _middle(differences: Sequence[Stamps]) -> Any:
    """The median, the lower one where two stand in the middle."""
    together = np.concatenate(differences)
    middle = (len(together) - 1) // 2
    together.partition(middle)
    return together[middle]


def _is_dense(found: Frequency, stamps: Sequence[Stamps]) -> bool:
    spread = sum(float(found.grid(one[[0, -1]])[1]) + 1 for one in stamps)
    return spread <= MOST_SPREAD * sum(map(len, stamps))


def _are_places(steps: NDArray[np.float64]) -> bool:
    """Whether numbers are whole and increase; they are spoiled."""
    places = np.round(steps)
    steps -= places
    increasing = bool((places[1:] > places[:-1]).all())
    return increasing and bool(np.abs(steps, out=steps).max() < 1e-6)
