"""A calendar: how far apart observations are and where, their seasons, and which stamps come next.

T stamps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recurra.series.calendar.lattice import DAY, Every, Lattice, Months, Spans
from recurra.series.calendar.limits import numbers_after, require_dates
from recurra.series.calendar.months import LAST_DAY, MonthDay
from recurra.series.calendar.zones import instants, on_the_wall

__all__ = ["STEPS", "WORKDAYS", "Frequency", "Points"]

HOUR = 3_600 * 10**9  # nanoseconds
MONTH = 2_629_746 * 10**9  # a twelfth of the Gregorian calendar's mean year
WORKDAYS = (0, 1, 2, 3, 4)
SAMPLE = 1_000  # stamps that tell which of them most lie in one line with

Stamps = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Points:
    """Where in a month or a week a calendar has its points, by whose clock, and in which code.

    Args:
        places: in words, the days of a month that no number tells, as `"last business day"`.
        slots: of the steps of a week, Monday's first is 0, those that are observed; all where
            none are named.
        zone: the name of the zone by whose clock days begin; stamps are in UTC then.
        code: in which stamps came in and go out, as `"%Y%m"`; as dates where there is none.

    Example:
        >>> Points(places=("third Friday",)).slots
        ()
    """

    places: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    zone: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Frequency:
    """The rule by which observations follow each other, and the seasons customary with it.

    Args:
        name: in words, `"hourly"`, `"monthly (last business day)"`, `"steps"` where stamps are
            numbers or none.
        unit: of the step; `"weekday"` leaves out Saturdays and Sundays, a `"month"` is the
            calendar's.
        count: units in a step; whole, but for the unit `"step"`.
        season: steps in the main season; 1 where there is none.
        seasons: all customary ones in steps, the longest last.
        regular: every stamp is a whole number of steps from every other.
        day: of the month that stamps fall on where the unit is `"month"`; 31 is its last day.
        points: which of the steps are observed, and by whose clock.

    Example:
        >>> clock = Points(zone="America/New_York")
        >>> daily = Frequency("daily", "nanosecond", DAY, 7, (7,), points=clock)
        >>> daily.after(np.datetime64("2023-03-12T05:00"), 2).astype("datetime64[h]")
        array(['2023-03-13T04', '2023-03-14T04'], dtype='datetime64[h]')
    """

    name: str
    unit: Literal["step", "nanosecond", "weekday", "month"] = "step"
    count: int | float = 1.0
    season: int = 1
    seasons: tuple[int, ...] = (1,)
    regular: bool = True
    day: int = 1
    points: Points = Points()

    def facts(self) -> dict[str, Any]:
        """Return the fields as JSON holds them; the points where they say something.

        Example:
            >>> STEPS.facts()["seasons"]
            [1]
        """
        found = asdict(self) | {"seasons": list(self.seasons)}
        points = found.pop("points")
        if self.points != Points():
            found["points"] = {k: list(v) if isinstance(v, tuple) else v for k, v in points.items()}
        return found

    @property
    def rule(self) -> tuple[Any, ...]:
        """What makes two calendars the same one, whatever they are called.

        Example:
            >>> STEPS.rule == Frequency("steps", season=12).rule
            True
        """
        points = self.points
        day = self.day if self.unit == "month" and not points.places else 0
        return self.unit, self.count, self.regular, day, points.places, points.slots

    def is_called(self, name: str) -> bool:
        """Return whether this is the calendar of a name, whichever days of a month it goes by.

        Args:
            name: as `data.frequency` takes it.

        Example:
            >>> Frequency("monthly (last business day)").is_called("monthly")
            True
        """
        return name in (self.name, self.name.partition(" (")[0])

    @property
    def in_full(self) -> str:
        """Its name, with the day of the month that it goes by.

        Example:
            >>> Frequency("monthly", "month", 1, day=31).in_full
            'monthly (last day)'
        """
        if self.unit != "month" or "(" in self.name:
            return self.name
        return f"{self.name} ({'last day' if self.day == LAST_DAY else f'day {self.day}'})"

    @property
    def _clock(self) -> str | None:
        """The zone by whose clock stamps are judged; None where the time that passes counts."""
        by_days = self.unit != "nanosecond" or bool(self.points.slots) or self.count % DAY == 0
        return self.points.zone if by_days else None

    def lattice(self, anchor: int) -> Lattice:
        """Return its points.

        Args:
            anchor: one of them, in nanoseconds, as `shown` returns it.
        """
        if self.unit == "month":
            last = "last day" if self.day == LAST_DAY else f"day {self.day}"
            days = [MonthDay(words) for words in self.points.places or (last,)]
            return Months(int(self.count), anchor, days)
        if self.unit == "weekday":
            return Every(int(self.count), anchor, Spans(DAY, anchor, WORKDAYS))
        return Spans(int(self.count), anchor, self.points.slots)

    def shown(self, stamps: Stamps) -> NDArray[np.int64]:
        """Return stamps as the clock that it is judged by shows them, `(T,)` in nanoseconds.

        Args:
            stamps: `(T,)`, dates.
        """
        whole = stamps.astype("datetime64[ns]").astype(np.int64)
        return on_the_wall(whole, self._clock) if self._clock else whole

    def _stamps(self, shown: NDArray[np.int64]) -> Stamps:
        whole = instants(shown, self._clock) if self._clock else shown
        return whole.astype("datetime64[ns]")

    def laid(self, stamps: Stamps) -> tuple[NDArray[np.int64], Stamps]:
        """Return the place of each stamp from the first on, and the stamp that is due there.

        Args:
            stamps: `(T,)`, increasing dates; most of them are due, the others are near.

        Example:
            >>> days = np.array(["2018-01-31", "2018-02-27", "2018-04-30"], "datetime64[ns]")
            >>> places, due = Frequency("monthly", "month", 1, day=31).laid(days)
            >>> places.tolist(), str(due[1])[:10]
            ([0, 1, 3], '2018-02-28')
        """
        shown = self.shown(stamps)
        lattice = self.lattice(self.anchor(shown))
        places = lattice.nearest(shown)
        return places - places[0], self._stamps(lattice.at(places))

    def anchor(self, shown: NDArray[np.int64]) -> int:
        """Return a point that as many stamps as can be are in line with.

        Args:
            shown: `(T,)`, as `shown` returns them.
        """
        some = shown[:: max(1, len(shown) // SAMPLE)]
        if self.unit == "month":
            months = some.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
            key = some % DAY + months % int(self.count) * DAY
        else:
            key = some % (DAY if self.unit == "weekday" else int(self.count))
        _, first, counts = np.unique(key, return_index=True, return_counts=True)
        best = int(counts.argmax())
        if 2 * counts[best] < len(some) and self.unit == "nanosecond":
            return _middle_of_circle(key, int(self.count))
        return int(some[first[best]])

    def grid(self, stamps: Stamps) -> NDArray[np.float64]:
        """Return how many steps each stamp is from the first; whole where they are regular.

        Args:
            stamps: `(T,)`.

        Example:
            >>> days = np.array(["2020-01-31", "2020-02-29", "2020-04-30"], "datetime64[D]")
            >>> Frequency("monthly", "month", 1, day=31).grid(days).tolist()
            [0.0, 1.0, 3.0]
        """
        if self.unit == "step":
            return np.asarray((stamps - stamps[:1]) / self.count, np.float64)
        if not self.regular:
            return _nanoseconds(stamps - stamps[:1]) / self._nanoseconds()
        return self.laid(stamps)[0].astype(np.float64) if len(stamps) else np.empty(0)

    def after(self, last_stamp: Any, n: int) -> Stamps:
        """Return the `n` stamps that follow one: `datetime64[ns]`, or float64 where it is a number.

        Args:
            last_stamp: a `datetime64` or a number.
            n: how many.

        Raises:
            DataError: stamps end before: dates are told up to the year 2261.

        Example:
            >>> monthly = Frequency("monthly", "month", 1, day=31)
            >>> monthly.after(np.datetime64("2020-12-31"), 2).astype("datetime64[D]").tolist()
            [datetime.date(2021, 1, 31), datetime.date(2021, 2, 28)]
        """
        ahead = np.arange(1, n + 1)
        if self.unit == "step":
            return numbers_after(float(last_stamp), ahead * self.count)
        shown = self.shown(np.array([last_stamp]))
        require_dates(self.name, n, int(shown[0]), n * self._nanoseconds())
        lattice = self.lattice(int(shown[0]))
        return self._stamps(lattice.at(lattice.nearest(shown) + ahead))

    def delta(self, stamps: Stamps) -> NDArray[np.float64]:
        """Return the time since the observation before, in steps: `(T,)`, the first 1.

        Args:
            stamps: `(T,)`; where they are regular and none is missing, all are 1.

        Example:
            >>> STEPS.delta(np.array([0.0, 1.0, 2.5, 3.5])).tolist()
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
            >>> Frequency("daily", "nanosecond", DAY).calendar(days).shape  # week, month, year
            (2, 6)
        """
        step = 0 if self.unit == "step" else self._nanoseconds()
        phases: list[NDArray[np.float64]] = []
        if step:
            time = stamps.astype("datetime64[ns]")
            if self.points.zone:
                time = on_the_wall(time.astype(np.int64), self.points.zone).astype("datetime64[ns]")
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
        """The length of a step: the mean one of months, the usual one of weeks with gaps."""
        units = {"nanosecond": 1.0, "weekday": float(DAY), "month": float(MONTH)}
        return self.count * units[self.unit] / max(1, len(self.points.places))


STEPS = Frequency("steps")
"""Of series without stamps: one observation after another."""


def _nanoseconds(spans: Stamps) -> NDArray[np.float64]:
    return spans.astype("timedelta64[ns]").astype(np.int64).astype(np.float64)


def _middle_of_circle(places: NDArray[np.int64], around: int) -> int:
    """What places on a circle lie about; at the circle's beginning, where it is among them."""
    angles = places * (2 * np.pi / around)
    middle = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())
    off = np.abs((angles - middle + np.pi) % (2 * np.pi) - np.pi).max()
    return 0 if abs(middle) <= off else int(middle * around / (2 * np.pi))
