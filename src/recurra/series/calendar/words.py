"""What calendars are called, and the seasons that are customary with a step."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recurra.series.calendar.lattice import DAY, WEEK

__all__ = ["UNITS", "name_of_months", "name_of_span", "seasons_of", "slots_in_words", "slots_of"]

SECOND = 10**9  # nanoseconds
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
SPANS = {SECOND: "secondly", MINUTE: "minutely", HOUR: "hourly", DAY: "daily", WEEK: "weekly"}
UNITS = {"weeks": WEEK, "days": DAY, "hours": HOUR, "minutes": MINUTE}
SHORT = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def seasons_of(step: int) -> tuple[int, ...]:
    """Return the customary cycles that hold a whole number of steps, of those next above the step.

    Args:
        step: nanoseconds.

    Example:
        >>> seasons_of(HOUR), seasons_of(5 * DAY)
        ((24, 168), (1,))
    """
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


def name_of_span(step: int) -> str:
    """Return what a step of so many nanoseconds is called.

    Args:
        step: nanoseconds.

    Example:
        >>> name_of_span(HOUR), name_of_span(15 * MINUTE), name_of_span(SECOND // 10)
        ('hourly', '15 minutes', '0.1 seconds')
    """
    if step in SPANS:
        return SPANS[step]
    words = next((words for words, unit in UNITS.items() if step % unit == 0), "seconds")
    return f"{step / UNITS.get(words, SECOND):g} {words}"


def name_of_months(count: int, places: Sequence[str]) -> str:
    """Return what some days of every so many months are called.

    Args:
        count: months.
        places: of the days in a month, in words.

    Example:
        >>> name_of_months(1, ["day 15"]), name_of_months(1, ["third Friday"])
        ('monthly', 'monthly (third Friday)')
        >>> name_of_months(1, ["day 1", "day 15"])
        'twice a month (day 1, day 15)'
    """
    names = {1: "monthly", 3: "quarterly", 12: "yearly"}
    name = names.get(count) or (f"{count} months" if count % 12 else f"{count // 12} years")
    if len(places) > 1:
        return f"twice a month ({', '.join(places)})"
    plain = places[0] == "last day" or places[0].startswith("day ")
    return name if plain else f"{name} ({places[0]})"


def slots_in_words(slots: Sequence[int], step: int) -> str:
    """Return what the steps of a week that are observed are called.

    Args:
        slots: the places of these steps in the week, Monday's first is 0.
        step: nanoseconds.

    Example:
        >>> slots_in_words([0, 1, 2, 5], DAY)
        'Mon-Wed, Sat'
        >>> slots_in_words([9, 10, 33, 34, 57], HOUR)
        'Mon-Tue 09:00-10:00; Wed 09:00'
    """
    a_day = DAY // step
    hours: dict[tuple[int, ...], list[int]] = {}
    for day in sorted({slot // a_day for slot in slots}):
        hours.setdefault(tuple(s % a_day for s in slots if s // a_day == day), []).append(day)
    told = []
    for each, days in hours.items():
        text = ", ".join(_run(SHORT[a], SHORT[b]) for a, b in _runs(days))
        times = ", ".join(_run(_time(a * step), _time(b * step)) for a, b in _runs(each))
        told.append(text if a_day == 1 else f"{text} {times}")
    return "; ".join(told)


def slots_of(words: str, step: int) -> tuple[int, ...]:
    """Return the steps of a week that words say.

    Args:
        words: as `slots_in_words` returns them.
        step: nanoseconds.

    Raises:
        ValueError: they say none.

    Example:
        >>> slots_of("Mon-Tue 09:00-10:00; Wed 09:00", HOUR)
        (9, 10, 33, 34, 57)
    """
    a_day, found = DAY // step, set[int]()
    if DAY % step:
        raise ValueError("a day is no whole number of its steps")
    for part in words.split("; "):
        runs = re.findall(r"([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))?", part)
        times = re.findall(r"(\d\d:\d\d)(?:-(\d\d:\d\d))?", part)
        days = [d for a, b in runs for d in _between(SHORT.index(a), SHORT.index(b or a))]
        each = (
            [s for a, b in times for s in _between(_slot(a, step), _slot(b or a, step))]
            if times
            else list(range(a_day))
        )
        found |= {day * a_day + slot for day in days for slot in each if slot < a_day}
    if slots_in_words(sorted(found), step) != words:
        raise ValueError("of a week it takes days and hours, as Mon-Fri 09:00-17:00")
    return tuple(sorted(found))


def _between(first: int, last: int) -> range:
    return range(first, last + 1)


def _slot(time: str, step: int) -> int:
    hours, minutes = map(int, time.split(":"))
    return (hours * HOUR + minutes * MINUTE) // step


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The first and last of each run of numbers without a gap."""
    begins = [n for i, n in enumerate(numbers) if not i or numbers[i - 1] != n - 1]
    ends = [n for i, n in enumerate(numbers) if i + 1 == len(numbers) or numbers[i + 1] != n + 1]
    return list(zip(begins, ends))


def _run(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"


def _time(since: int) -> str:
    minutes = since // MINUTE
    return f"{minutes // 60:02}:{minutes % 60:02}"
