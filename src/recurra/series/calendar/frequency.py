"""How far apart observations are, what that says of their seasons, and which stamps come next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.series.calendar.limits import numbers_after, require_dates

__all__ = ["STEPS", "Frequency", "infer", "infer_season"]

SECOND = 10**9  # nanoseconds
MINUTE, HOUR, DAY, WEEK = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND, 604_800 * SECOND
MONTH = 2_629_746 * SECOND  # a twelfth of the Gregorian calendar's mean year
LAST_DAY = 31  # of any month, however short
MOST_SPREAD = 10  # steps per observation; what is sparser is no grid with gaps

Stamps = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Frequency:
    """The step from one observation to the next, and the seasons that are customary with it.

    Args:
        name: in words, `"hourly"`, `"15 minutes"`, `"steps"` where stamps are numbers or none.
        unit: of the step; `"weekday"` leaves out Saturdays and Sundays, a `"month"` is the
            calendar's.
        count: units in a step; whole, but for the unit `"step"`.
        season: steps in the main season; 1 where there is none.
        seasons: all customary ones in steps, the longest last.
        regular: every stamp is a whole number of steps from every other.
        day: of the month that stamps fall on where the unit is `"month"`; 31 is its last day.

    Example:
        >>> hourly = infer(np.arange("2020-01-01T00", "2020-01-03T00", dtype="datetime64[h]"))
        >>> hourly.name, hourly.season, hourly.seasons
        ('hourly', 24, (24, 168))
        >>> hourly.after(np.datetime64("2020-01-03T00"), 2).astype("datetime64[h]").tolist()[-1]
        datetime.datetime(2020, 1, 3, 2, 0)
    """

    name: str
    unit: Literal["step", "nanosecond", "weekday", "month"] = "step"
    count: int | float = 1.0
    season: int = 1
    seasons: tuple[int, ...] = (1,)
    regular: bool = True
    day: int = 1

    def facts(self) -> dict[str, Any]:
        """Return the fields as JSON holds them.

        Example:
            >>> STEPS.facts()["seasons"]
            [1]
        """
        return asdict(self) | {"seasons": list(self.seasons)}

    def grid(self, stamps: Stamps) -> NDArray[np.float64]:
        """Return how many steps each stamp is from the first; whole where they are regular.

        Args:
            stamps: `(T,)`.

        Example:
            >>> days = np.array(["2020-01-31", "2020-02-29", "2020-04-30"], "datetime64[D]")
            >>> infer(days).grid(days).tolist()
            [0.0, 1.0, 3.0]
        """
        if self.unit == "step":
            return np.asarray((stamps - stamps[:1]) / self.count, np.float64)
        if self.unit == "weekday":
            days = stamps.astype("datetime64[D]")
            return np.busday_count(days[:1], days) / self.count
        if self.unit == "month" and self.regular:
            months = stamps.astype("datetime64[M]").astype(np.int64)
            return np.asarray((months - months[:1]) / self.count, np.float64)
        return _nanoseconds(stamps - stamps[:1]) / self._nanoseconds()

    def after(self, last_stamp: Any, n: int) -> Stamps:
        """Return the `n` stamps that follow one: `datetime64[ns]`, or float64 where it is a number.

        Args:
            last_stamp: a `datetime64` or a number.
            n: how many.

        Raises:
            DataError: stamps end before: dates are told up to the year 2261.

        Example:
            >>> monthly = infer(np.array(["2020-11-30", "2020-12-31"], "datetime64[D]"))
            >>> monthly.after(np.datetime64("2020-12-31"), 2).astype("datetime64[D]").tolist()
            [datetime.date(2021, 1, 31), datetime.date(2021, 2, 28)]
        """
        ahead = np.arange(1, n + 1)
        if self.unit == "step":
            return numbers_after(float(last_stamp), ahead * self.count)
        last = np.datetime64(last_stamp, "ns")
        if self.unit == "nanosecond":
            reach = int(last.astype(np.int64)) + n * int(self.count)
            require_dates(self.name, n, reach, np.empty(0, "datetime64[D]"))
        steps = ahead * int(self.count)
        day = last.astype("datetime64[D]")
        if self.unit == "weekday":
            days = np.busday_offset(day, steps, roll="backward")
        elif self.unit == "month":
            months = last.astype("datetime64[M]") + steps
            latest = (months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
            wanted = months.astype("datetime64[D]") + np.timedelta64(self.day - 1, "D")
            days = np.minimum(wanted, latest)
        else:
            return np.asarray(last + steps.astype("timedelta64[ns]"))
        require_dates(self.name, n, 0, days)
        return np.asarray(days.astype("datetime64[ns]") + (last - day.astype("datetime64[ns]")))

    def delta(self, stamps: Stamps) -> NDArray[np.float64]:
        """Return the time since the observation before, in steps: `(T,)`, the first 1.

        Args:
            stamps: `(T,)`; where they are regular and none is missing, all are 1.

        Example:
            >>> infer(np.array([0.0, 1.0, 2.5, 3.5])).delta(np.array([0.0, 1.0, 2.5, 3.5])).tolist()
            [1.0, 1.0, 1.5, 1.0]
        """
        return np.diff(self.grid(stamps), prepend=-1.0)

    def calendar(self, stamps: Stamps) -> NDArray[np.float64]:
        """Return where in the day, week, month and year each stamp is: `(T, K)`, of sin and cos.

        Only cycles longer than a step are told of, and none where stamps are numbers.

        Args:
            stamps: `(T,)`.

        Example:
            >>> days = np.array(["2020-01-06", "2020-01-07"], "datetime64[D]")
            >>> infer(days).calendar(days).shape  # of the week, the month, the year
            (2, 6)
        """
        step = 0 if self.unit == "step" else self._nanoseconds()
        phases: list[NDArray[np.float64]] = []
        if step:
            time = stamps.astype("datetime64[ns]")
            day, month = time.astype("datetime64[D]"), time.astype("datetime64[M]")
            year = time.astype("datetime64[Y]")
            of_month = (day - month).astype(np.int64)
            length = ((month + 1).astype("datetime64[D]") - month).astype(np.int64)
            if step < HOUR:
                phases.append(_nanoseconds(time - time.astype("datetime64[h]")) / HOUR)
            if step < DAY:
                phases.append(_nanoseconds(time - day) / DAY)
            if step <= DAY:  # 1970-01-01 was a Thursday
                phases += [(day.astype(np.int64) + 3) % 7 / 7, of_month / length]
            if step < 12 * MONTH:
                phases.append(((month - year).astype(np.int64) + of_month / length) / 12)
        waves = [wave(2 * np.pi * phase) for phase in phases for wave in (np.sin, np.cos)]
        return np.stack(waves, 1) if waves else np.empty((len(stamps), 0))

    def _nanoseconds(self) -> float:
        """The mean length of a step."""
        units = {"nanosecond": 1.0, "weekday": float(DAY), "month": float(MONTH)}
        return self.count * units[self.unit]


STEPS = Frequency("steps")
"""Of series without stamps: one observation after another."""


def _nanoseconds(spans: Stamps) -> NDArray[np.float64]:
    return spans.astype("timedelta64[ns]").astype(np.int64).astype(np.float64)


def infer(*stamps: Stamps) -> Frequency:
    """Return the frequency of one or more series, judged by the median of their differences.

    Calendar months, and days without Saturdays and Sundays, are recognised; missing observations
    do not matter so long as the others lie on one grid.

    Args:
        stamps: of each series, increasing: `datetime64`, or numbers.

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
        return _check_grid(Frequency("steps", count=step), several)
    several = [one.astype("datetime64[ns]", copy=False) for one in several]
    months = _of_months([several[0][:100]]) and _of_months(several)  # the few tell of most
    return _check_grid(months or _of_spans(several), several)


def _middle(differences: Sequence[Stamps]) -> Any:
    """The median, the lower one where two stand in the middle."""
    together = np.concatenate(differences)
    middle = (len(together) - 1) // 2
    together.partition(middle)
    return together[middle]


def _of_months(stamps: Sequence[Stamps]) -> Frequency | None:
    """The frequency of stamps that fall on one day of the month, or on its last; else None."""
    together = np.concatenate(stamps)
    days, months = together.astype("datetime64[D]"), together.astype("datetime64[M]")
    times = together - days
    if (times != times[0]).any():
        return None
    of_month = (days - months).astype(np.int64) + 1
    length = ((months + 1).astype("datetime64[D]") - months).astype(np.int64)
    wanted = LAST_DAY if (of_month == length).all() else int(of_month.max())
    if (of_month != np.minimum(wanted, length)).any():
        return None
    steps = [np.diff(one.astype("datetime64[M]").astype(np.int64)) for one in stamps]
    count = int(_middle(steps))
    if count < 1:
        return None
    names = {1: "monthly", 3: "quarterly", 12: "yearly"}
    name = names.get(count) or (f"{count} months" if count % 12 else f"{count // 12} years")
    season = 12 // count if 12 % count == 0 else 1
    return Frequency(name, "month", count, season, (season,), day=wanted)


def _of_spans(stamps: Sequence[Stamps]) -> Frequency:
    step = int(_middle([_nanoseconds(np.diff(one)) for one in stamps]))
    span = max(one[-1] - one[0] for one in stamps) >= np.timedelta64(WEEK, "ns")
    if step == DAY and span:
        together = np.concatenate(stamps)
        days = together.astype("datetime64[D]")
        if (together - days == together[0] - days[0]).all() and np.is_busday(days).all():
            return Frequency("weekdays", "weekday", 1, 5, (5,))
    seasons = _seasons(step)
    return Frequency(_name(step), "nanosecond", step, seasons[0], seasons)


def _seasons(step: int) -> tuple[int, ...]:
    """The customary cycles that hold a whole number of steps, of those next above the step."""
    if step < SECOND:
        return (1,)
    if step < MINUTE:
        cycles = (MINUTE, HOUR)
    elif step < 5 * MINUTE:
        cycles = (HOUR, DAY)
    elif step < WEEK:
        cycles = (DAY, WEEK)
    else:
        cycles = (52 * WEEK, 52 * WEEK)
    return tuple(sorted({cycle // step for cycle in cycles if cycle % step == 0} - {1})) or (1,)


def _name(step: int) -> str:
    names = {SECOND: "secondly", MINUTE: "minutely", HOUR: "hourly", DAY: "daily", WEEK: "weekly"}
    if step in names:
        return names[step]
    units = {"weeks": WEEK, "days": DAY, "hours": HOUR, "minutes": MINUTE}
    words = next((words for words, unit in units.items() if step % unit == 0), "seconds")
    return f"{step / units.get(words, SECOND):g} {words}"


def _check_grid(found: Frequency, stamps: Sequence[Stamps]) -> Frequency:
    """Return the frequency, irregular where stamps are off its grid or too thinly spread on it."""
    spread = sum(float(found.grid(one[[0, -1]])[1]) + 1 for one in stamps)
    dense = spread <= MOST_SPREAD * sum(map(len, stamps))
    regular = dense and all(_are_places(found.grid(one)) for one in stamps)
    return found if regular else replace(found, regular=False)


def _are_places(steps: NDArray[np.float64]) -> bool:
    """Whether numbers are whole and increase; they are spoiled."""
    places = np.round(steps)
    steps -= places
    increasing = bool((places[1:] > places[:-1]).all())
    return increasing and bool(np.abs(steps, out=steps).max() < 1e-6)


MOST_SERIES, MOST_LENGTH = 32, 20_000  # of what is searched for seasons
LEAST_CYCLES = 3
LEAST_STRENGTH = 0.3  # of the correlation with the season before
LEAST_EXCESS = 15.0  # of the power at a season's frequency over that of its neighbours


def infer_season(values: Sequence[NDArray[np.float64]]) -> int:
    """Return the period that series share, by autocorrelation; 1 where none is strong.

    A period counts where the series, less its moving average over one period, is correlated with
    itself one period before, and its spectrum stands out there (as a random walk's does not). The
    shortest of the strong ones is taken. Of several series, more than half must agree.

    Args:
        values: of each series `(T,)`; NaN is a gap.

    Example:
        >>> infer_season([np.sin(np.arange(100) * 2 * np.pi / 7)])
        7
        >>> infer_season([np.arange(100.0)])
        1
    """
    chosen = values[:: max(1, len(values) // MOST_SERIES)][:MOST_SERIES]
    counts = Counter(_season(np.asarray(one, np.float64)[-MOST_LENGTH:]) for one in chosen)
    season, agreed = counts.most_common(1)[0] if counts else (1, 0)
    return season if 2 * agreed > len(chosen) else 1


def _season(values: NDArray[np.float64]) -> int:
    known = np.isfinite(values)
    if known.sum() < 2 * LEAST_CYCLES or np.ptp(values[known]) == 0:
        return 1
    places = np.arange(len(values))
    filled = np.interp(places, places[known], values[known])
    if filled.min() > 0:  # growth by a rate is a line of logarithms
        filled = min(filled, np.log(filled), key=lambda one: _off_line(one).var() / one.var())
    size = np.abs(filled).max()
    filled = _off_line(filled)
    if np.abs(filled).max() <= 1e-9 * size:
        return 1
    longest = len(values) // LEAST_CYCLES - 1
    candidates = sorted({*_peaks(filled, longest), *_peaks(np.diff(filled), longest)})
    power = np.abs(np.fft.rfft(filled * np.hanning(len(filled)))) ** 2
    strengths = {
        lag: _strength(filled, lag)
        for lag in candidates
        if max(_excess(power, order * len(filled) / lag) for order in (1, 2, 3)) > LEAST_EXCESS
    }
    best = max(strengths.values(), default=0.0)
    if best < max(LEAST_STRENGTH, 3.5 / np.sqrt(len(filled))):  # chance is larger in short ones
        return 1
    return _refined(filled, next(lag for lag, value in strengths.items() if value >= 0.9 * best))


def _off_line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is about a line, not along it."""
    places = np.arange(len(values))
    return np.asarray(values - np.polynomial.Polynomial.fit(places, values, 1)(places))


def _excess(power: NDArray[np.float64], place: float) -> float:
    """How often the power at a frequency is that of half to twice the frequency."""
    middle = round(place)
    if not 2 <= middle < len(power) - 1:
        return 0.0
    around = power[max(2, middle // 2) : 2 * middle + 1]
    return float(power[middle - 1 : middle + 2].max() / (np.median(around) + 1e-12 * power.max()))


def _refined(values: NDArray[np.float64], lag: int) -> int:
    """The lag near by whose first three multiples are most alike."""
    curve = _autocorrelation(values, len(values) - 1)
    reach, longest = max(1, lag // 10), (len(values) - 1) // LEAST_CYCLES
    around = range(max(2, lag - reach), min(lag + reach, longest) + 1)
    return max(around, key=lambda near: float(curve[[near, 2 * near, 3 * near]].sum()))


def _autocorrelation(values: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    size = len(values)
    spectrum = np.fft.rfft(values - values.mean(), 2 * size)
    curve = np.fft.irfft(np.abs(spectrum) ** 2, 2 * size)[: longest + 2]
    return np.asarray(curve / max(curve[0], np.finfo(float).tiny), np.float64)


def _peaks(values: NDArray[np.float64], longest: int, most: int = 20) -> list[int]:
    """The lags at which the autocorrelation is higher than at both sides, the first high ones."""
    curve = _autocorrelation(values, longest)
    inner = curve[1:-1]
    lags = np.flatnonzero((inner > curve[:-2]) & (inner >= curve[2:]) & (inner > 0)) + 1
    lags = lags[lags > 1]
    if not len(lags):
        return []
    return [int(lag) for lag in lags[curve[lags] >= 0.5 * curve[lags].max()][:most]]


def _strength(values: NDArray[np.float64], period: int) -> float:
    """The correlation with one period before, once the moving average over a period is taken."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    smooth = (total[period:] - total[:-period]) / period
    if period % 2 == 0:
        smooth = (smooth[1:] + smooth[:-1]) / 2
    reach = period // 2
    rest = values[reach : reach + len(smooth)] - smooth
    if len(rest) < 2 * period:
        return 0.0
    now, before = rest[period:], rest[:-period]
    scale = np.sqrt((now @ now) * (before @ before))
    return float(now @ before / scale) if scale > 0 else 0.0
