"""Frequencies by their names, for series whose own step is not to be inferred."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError
from recurra.series.calendar.found import (
    by_months,
    by_slots,
    by_span,
    by_weekdays,
    twice_a_month,
)
from recurra.series.calendar.frequency import Frequency
from recurra.series.calendar.lattice import DAY
from recurra.series.calendar.months import MonthDay, likely
from recurra.series.calendar.words import UNITS, slots_of
from recurra.table import nearest

__all__ = ["asked", "named"]

STEPS = {
    "secondly": "1 seconds",
    "minutely": "1 minutes",
    "hourly": "1 hours",
    "daily": "1 days",
    "weekdays": "1 weekdays",
    "weekly": "1 weeks",
    "twice a month": "1 months",
    "monthly": "1 months",
    "quarterly": "3 months",
    "yearly": "12 months",
}
FORM = re.compile(r"([1-9]\d{0,5}) (second|minute|hour|day|weekday|week|month|year)s?")
TWICE = ("day 1", "day 15")


def named(name: str) -> Frequency:
    """Return the frequency that a name stands for, its customary seasons included.

    Args:
        name: `"hourly"`, `"weekly"`, ..., or `"15 minutes"`, `"2 weeks"`, ...; in brackets the days
            of the month, as `"monthly (last business day)"`, or the hours of the week, as
            `"hourly (Mon-Fri 09:00-17:00)"`.

    Raises:
        ConfigError: there is no such frequency.

    Example:
        >>> named("15 minutes").seasons, named("monthly").season
        ((96, 672), 12)
        >>> named("quarterly (first business day)").points.places
        ('first business day',)
    """
    base, _, within = name.partition(" (")
    found = FORM.fullmatch(STEPS.get(base, base))
    if found is None or (within and not within.endswith(")")):
        raise ConfigError(
            f"no frequency is named {name!r:.80}.{nearest(name, list(STEPS))} There are: "
            f"{', '.join(STEPS)}; or give a number and a unit, as '15 minutes'; in brackets days "
            "or hours, as 'monthly (last business day)'"
        )
    count, unit, within = int(found[1]), found[2], within[:-1]
    try:
        if unit in ("month", "year"):
            plain = TWICE if base == "twice a month" else ("day 1",)
            places = tuple(within.split(", ")) if within else plain
            if len(places) != len(plain):
                raise ValueError(f"give {len(plain)} of its days")
            for place in places:
                MonthDay(place)
            return by_months(count * (12 if unit == "year" else 1), places)
        if unit == "weekday":
            if within:
                raise ValueError("weekdays are Monday to Friday")
            return by_weekdays(count)
        step = count * (UNITS.get(f"{unit}s") or 10**9)
        return by_slots(step, slots_of(within, step)) if within else by_span(step)
    except ValueError as error:
        raise ConfigError(f"data.frequency is {name!r:.80}, but {error}") from error


def asked(name: str, stamps: Sequence[NDArray[Any]], zone: str | None) -> Frequency:
    """Return the frequency of a name; of months, on the days that most of the stamps have.

    Args:
        name: as `named` takes it.
        stamps: of each series, dates.
        zone: by whose clock days begin.

    Raises:
        ConfigError: there is no such frequency.

    Example:
        >>> days = np.array(["2018-01-31", "2018-02-28", "2018-03-30"], "datetime64[ns]")
        >>> asked("monthly", [days], None).name
        'monthly (last business day)'
    """
    found = named(name)
    found = replace(found, points=replace(found.points, zone=zone))
    if found.unit != "month" or "(" in name:
        return found
    days = (np.concatenate([found.shown(one) for one in stamps]) // DAY).astype("datetime64[D]")
    if name == "twice a month":
        several = [*twice_a_month(days, zone), found]
    else:
        several = [by_months(int(found.count), (day,), zone) for day in dict.fromkeys(likely(days))]
    return max(
        several, key=lambda each: sum(int((each.laid(one)[1] == one).sum()) for one in stamps)
    )
