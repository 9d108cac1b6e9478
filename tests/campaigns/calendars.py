"""Random calendars, pandas' offsets the oracle: found, continued and written rightly, or refused.

A rule, a zone, gaps, a stamp off the grid and a way to write are drawn; the series is a CSV or a
frame. What comes next must be what the offset says, in the words that came.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recurra.errors import DataError
from recurra.series.calendar.frequency import Frequency
from recurra.series.calendar.written import written
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel
from recurra.series.reading import read_content, read_data

COUNT = 2_000
AHEAD = 6
FEW = 15  # stamps, of which one beside the calendar is more than a slip
RULES = {
    "s": 86_400, "5s": 1_000, "30s": 3_000, "min": 4_000, "5min": 3_000, "15min": 2_000,
    "20min": 900, "30min": 1_000, "h": 900, "2h": 500, "3h": 400, "6h": 300, "12h": 200,
    "D": 200, "2D": 120, "10D": 60, "B": 200, "W-MON": 120, "W-SUN": 120, "W-WED": 60,
    "2W-FRI": 60, "4W-MON": 40, "MS": 72, "ME": 72, "BMS": 72, "BME": 72, "QS-JAN": 40,
    "QE-DEC": 40, "QE-NOV": 40, "BQE-DEC": 40, "BQS-JAN": 40, "2MS": 40, "6MS": 30,
    "YS-JAN": 25, "YE-DEC": 25, "YE-JUN": 25, "BYE-DEC": 25, "SMS-15": 72, "SME-15": 72,
    "WOM-3FRI": 60, "WOM-1MON": 60, "WOM-2TUE": 60, "LWOM-FRI": 60,
}  # fmt: skip
"""Offsets, and how many stamps of each are drawn."""
HOURS = {"office": (9, 17, range(5)), "shop": (8, 20, range(6)), "days": (7, 22, range(7))}
"""First and last hour of the day, and the days of the week."""
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "America/Sao_Paulo",
    "Europe/London", "UTC", "Pacific/Auckland",
)  # fmt: skip
WAYS = {
    "iso": "%Y-%m-%d %H:%M:%S", "T": "%Y-%m-%dT%H:%M:%S", "european": "%d.%m.%Y %H:%M:%S",
    "american": "%m/%d/%Y %I:%M:%S %p", "british": "%d/%m/%Y %H:%M:%S",
    "named": "%d-%b-%Y %H:%M:%S", "compact": "%Y%m%d%H%M%S",
}  # fmt: skip
DAY_WAYS = {
    "iso": "%Y-%m-%d", "european": "%d.%m.%Y", "american": "%m/%d/%Y", "two digits": "%m/%d/%y",
    "named": "%d %b %Y", "compact": "%Y%m%d", "long": "%B %d, %Y",
}  # fmt: skip
MONTH_WAYS = {"compact": "%Y%m", "named": "%b %Y", "short": "%b-%y", "iso": "%Y-%m"}


class Case(NamedTuple):
    """What was drawn."""

    rule: str
    begin: str
    count: int
    zone: str | None
    gaps: float
    off: int
    """Stamps that lie beside the grid by a day or a part of a step."""
    way: str


def run(seed: int) -> dict[str, Any]:
    """Draw calendars, and look at what is found of each."""
    told: Counter[str] = Counter()
    wrong = []
    for case in cases(seed, COUNT):
        kind, words = outcome(case)
        told[kind] += 1
        if kind == "wrong":
            wrong.append({"case": case._asdict(), "said": words})
            print(json.dumps(wrong[-1]), flush=True)
    return {"calendars": COUNT, **told, "failures": wrong, "failed": len(wrong)}


def cases(seed: int, count: int) -> list[Case]:
    """Return what is drawn by a seed."""
    draws = np.random.default_rng(seed)
    found = []
    names = [*RULES, *HOURS]
    for _ in range(count):
        rule = str(draws.choice(names))
        most = RULES.get(rule, 400)
        begin = pd.Timestamp("2001-01-01") + pd.Timedelta(days=int(draws.integers(0, 7_000)))
        if draws.random() < 0.3 and most >= 200:
            begin += pd.Timedelta(hours=int(draws.integers(24)))
        daily = rule not in HOURS and not rule[-1:].islower()
        monthly = rule in ("MS", "2MS", "QS-JAN", "6MS")
        zone = str(draws.choice(ZONES)) if draws.random() < 0.35 else None
        ways = [*(DAY_WAYS if daily and begin == begin.normalize() else WAYS)]
        ways += [f"month {each}" for each in MONTH_WAYS] if monthly else []
        way = "frame" if zone or draws.random() < 0.15 else str(draws.choice(ways))
        gaps = float(draws.choice([0, 0, 0.03, 0.1, 0.1 if rule in HOURS else 0.5]))
        off = int(draws.choice([0, 0, 0, 1]))
        size = int(min(most, 2_000) * draws.uniform(0.6, 1.0))
        found.append(Case(rule, str(begin), size, zone, gaps, off, way))
    return found


def stamps_of(case: Case) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Return the stamps of a calendar, and those that follow."""
    begin = pd.Timestamp(case.begin)
    if case.rule in HOURS:
        first, last, days = HOURS[case.rule]
        hours = pd.date_range(begin.normalize(), periods=24 * 7 * 60, freq="h")
        open_ = (
            (hours.hour >= first) & (hours.hour <= last) & np.isin(hours.day_of_week, list(days))
        )
        every = hours[open_][: case.count + AHEAD]
        every = every.tz_localize(case.zone, ambiguous=True, nonexistent="shift_forward")
    else:
        every = pd.date_range(begin, periods=case.count + AHEAD, freq=case.rule, tz=case.zone)
    return every[:-AHEAD], every[-AHEAD:]


def outcome(case: Case) -> tuple[str, str]:
    """Return whether a case was found, was refused by name, or is wrong, and the words for it."""
    try:
        every, ahead = stamps_of(case)
    except ValueError as error:  # pandas places none where clocks are put forward
        return "not drawn", str(error)
    draws = np.random.default_rng(case.count)
    kept = draws.random(len(every)) >= case.gaps
    kept[[0, 1, 2, -1]] = True
    there = every[kept]
    by_day = case.way != "frame" and "%H" not in _form(case) and "%I" not in _form(case)
    moved = False
    if case.off and len(there) > FEW and not case.way.startswith("month "):
        place = int(draws.integers(3, len(there) - 3))
        least = pd.Timedelta((every[1:] - every[:-1]).min())
        if least >= pd.Timedelta(days=5) or not by_day:
            off = pd.Timedelta(days=1) if least >= pd.Timedelta(days=5) else least / 5
            several = list(there)
            several[place] = (several[place] + off).floor("s")
            moved, there = several[place] != there[place], pd.DatetimeIndex(several)
    values = np.arange(len(there)) % 7 + 5.0
    try:
        panel = _read(case, there, values)
    except DataError as error:
        return "refused", str(error)
    if moved and "beside the calendar" not in "; ".join(panel.notes):
        return "wrong", "a stamp was moved without a word"
    return _judged(case, panel, every, kept, ahead)


def _read(case: Case, there: pd.DatetimeIndex, values: Any) -> Panel:
    if case.way == "frame":
        return read_data(pd.DataFrame({"ds": there, "y": values}), SeriesOptions())
    form = _form(case)
    lines = [f'"{stamp}",{value}' for stamp, value in zip(there.strftime(form), values)]
    return read_content("\n".join(["ds,y", *lines]).encode(), "data.csv", SeriesOptions())


def _form(case: Case) -> str:
    if case.way == "frame":
        return ""
    if case.way.startswith("month "):
        return MONTH_WAYS[case.way.removeprefix("month ")]
    daily = pd.Timestamp(case.begin) == pd.Timestamp(case.begin).normalize()
    by_day = not case.rule[-1:].islower() and case.rule not in HOURS and daily
    return (DAY_WAYS if by_day else WAYS)[case.way]


def _judged(
    case: Case, panel: Panel, every: pd.DatetimeIndex, kept: Any, ahead: pd.DatetimeIndex
) -> tuple[str, str]:
    one, frequency = panel.series[0], panel.frequency
    assert one.stamps is not None
    if not frequency.regular:
        return "wrong", f"irregular: {'; '.join(panel.notes)}"
    wanted = _naive(every)
    if len(one) != len(wanted):
        return "wrong", f"{len(one)} rows, expected {len(wanted)}: {'; '.join(panel.notes)}"
    if (np.isnan(one.values[:, 0]) == kept).any():
        return "wrong", f"gaps stand elsewhere: {'; '.join(panel.notes)}"
    if not (one.stamps == wanted).all():
        return "wrong", f"stamps are {one.stamps[(one.stamps != wanted)][:3]}"
    found = panel.stamps_after(one, AHEAD)
    if not (found == _naive(ahead)).all():
        return "wrong", f"next are {found[:4]}, expected {list(ahead[:4])}; {frequency.name}"
    return _told(case, frequency, found, ahead)


def _told(case: Case, frequency: Frequency, found: Any, ahead: pd.DatetimeIndex) -> tuple[str, str]:
    told = list(written(found, frequency.points))
    if frequency.points.code:
        expected: list[Any] = [int(each) for each in ahead.strftime(_form(case))]
        if told != expected:
            return "wrong", f"written as {told[:3]}, expected {expected[:3]}"
        return "found", ""
    back = pd.to_datetime(pd.Series(list(map(str, told))), utc=case.zone is not None)
    if not (_naive(pd.DatetimeIndex(back)) == _naive(ahead)).all():
        return "wrong", f"written as {told[:3]}"
    return "found", ""


def _naive(stamps: pd.DatetimeIndex) -> Any:
    utc = stamps if stamps.tz is None else stamps.tz_convert("UTC").tz_localize(None)
    return utc.to_numpy().astype("datetime64[ns]")
