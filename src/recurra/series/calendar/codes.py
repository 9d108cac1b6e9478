"""Stamps in code, read and written: `201401`, `2019-W02`, seconds since 1970, spreadsheets' days.

T stamps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["code_of_numbers", "code_of_period", "encoded", "from_code", "from_periods"]

DAY = 86_400 * 10**9  # nanoseconds
FIRST_DAY = -25_569 * DAY  # day 0 of spreadsheets, 1899-12-30
EPOCHS = {
    "epoch seconds": (10**9, 1e8, 4.2e9),
    "epoch milliseconds": (10**6, 1e11, 4.2e12),
    "epoch microseconds": (10**3, 1e14, 4.2e15),
    "epoch nanoseconds": (1, 1e17, 4.2e18),
}
"""Nanoseconds of one, and the numbers that are taken so: the years 1973 to 2103."""
DAYS, DAY_NUMBERS = "day numbers", (20_000, 73_050)  # the years 1954 to 2099
DIGITS = {
    "%Y": 4,
    "%G": 4,
    "%m": 2,
    "%d": 2,
    "%H": 2,
    "%M": 2,
    "%S": 2,
    "%V": 2,
    "%q": 1,
    "%h": 1,
    "%u": 1,
    "%j": 3,
}
OF_NUMBERS = ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H", "%Y%m%d", "%Y%j", "%Y%m", "%G%V", "%Y%q")
"""In which whole numbers are dates; the first that fits is taken."""
YEARS = (1900, 2100)
FEW = 5  # numbers of which all may seem to be quarters
PERIODS = (
    re.compile(r"(?P<Y>\d{4})[- /]?Q(?P<q>[1-4])", re.IGNORECASE),
    re.compile(r"Q(?P<q>[1-4])[- /]?(?P<Y>\d{4})", re.IGNORECASE),
    re.compile(r"(?P<q>[1-4])Q[- /]?(?P<Y>\d{4})", re.IGNORECASE),
    re.compile(r"(?P<Y>\d{4})[- /]?[HS](?P<h>[12])", re.IGNORECASE),
    re.compile(r"(?P<G>\d{4})[- ]?W(?P<V>\d\d)(?:[- ]?(?P<u>[1-7]))?", re.IGNORECASE),
    re.compile(r"W(?P<V>\d\d)[- /]?(?P<G>\d{4})", re.IGNORECASE),
    re.compile(r"(?P<Y>\d{4})[- ]?M(?P<m>\d\d)", re.IGNORECASE),
)

Fields = Mapping[str, NDArray[np.int64]]


def code_of_numbers(numbers: NDArray[np.float64]) -> str | None:
    """Return in which code numbers are dates; None where they are taken for numbers.

    Args:
        numbers: `(T,)`, finite.

    Example:
        >>> code_of_numbers(np.array([201401.0, 201402.0])), code_of_numbers(np.array([1.0, 2.0]))
        ('%Y%m', None)
        >>> code_of_numbers(np.array([43831.0, 43832.0]))
        'day numbers'
    """
    low, high = float(numbers.min()), float(numbers.max())
    if (numbers == np.round(numbers)).all():
        whole = numbers.astype(np.int64)
        for form in OF_NUMBERS:
            digits = sum(DIGITS[part] for part in _parts(form))
            if 10 ** (digits - 1) <= low and high < 10**digits and _fits(whole, form):
                return form
    if DAY_NUMBERS[0] <= low and high <= DAY_NUMBERS[1]:
        return DAYS
    return next(
        (n for n, (_, first, last) in EPOCHS.items() if first <= low and high <= last), None
    )


def _fits(whole: NDArray[np.int64], form: str) -> bool:
    fields = _split(whole, form)
    year = fields.get("Y", fields.get("G"))
    assert year is not None
    if year.min() < YEARS[0] or year.max() > YEARS[1] or np.isnat(_joined(fields)).any():
        return False
    return form != "%Y%q" or len(np.unique(whole)) >= FEW


def from_code(numbers: NDArray[np.float64], code: str) -> NDArray[np.datetime64]:
    """Return the stamps that numbers are, `(T,)`.

    Args:
        numbers: `(T,)`.
        code: as `code_of_numbers` returns it.

    Example:
        >>> from_code(np.array([43831.5]), "day numbers").astype(str).tolist()
        ['2020-01-01T12:00:00.000000000']
    """
    if code == DAYS:
        milliseconds = np.round(numbers * (DAY / 10**6)).astype(np.int64)
        seconds = np.round(milliseconds / 1000).astype(np.int64)
        near = bool((np.abs(milliseconds - 1000 * seconds) <= 50).all())  # cut to a few digits
        exact = seconds * 10**9 if near else milliseconds * 10**6
        return np.asarray(exact + FIRST_DAY).astype("datetime64[ns]")
    if code in EPOCHS:
        step = EPOCHS[code][0]
        finest = max(step // 10**3, 10**3)  # of what a float64 tells of an instant
        return (np.round(numbers * (step / finest)).astype(np.int64) * finest).astype(
            "datetime64[ns]"
        )
    return _joined(_split(numbers.astype(np.int64), code))


def code_of_period(text: str) -> str | None:
    """Return in which code a text names a quarter, a week or a month; None where it does not.

    Args:
        text: `"2020-Q1"`, `"Q1 2020"`, `"2019-W02"`, `"2015M01"`.

    Example:
        >>> code_of_period("2019-W02"), code_of_period("Q1 2020"), code_of_period("2019-02")
        ('%G-W%V', 'Q%q %Y', None)
    """
    for form in PERIODS:
        if found := form.fullmatch(text):
            there = [name for name, digits in found.groupdict().items() if digits]
            spans = sorted((found.span(name), name) for name in there)
            for (begin, end), name in reversed(spans):
                text = f"{text[:begin]}%{name}{text[end:]}"
            return text
    return None


def from_periods(texts: Iterable[str]) -> NDArray[np.datetime64]:
    """Return the first day of each quarter, week or month, `(T,)`; NaT where a text names none.

    Args:
        texts: as `code_of_period` takes them.

    Example:
        >>> from_periods(["2019-W02", "2020Q4", "2019-W60"]).astype("datetime64[D]").tolist()
        [datetime.date(2019, 1, 7), datetime.date(2020, 10, 1), None]
    """
    stamps = []
    for text in texts:
        found = next(filter(None, (form.fullmatch(text) for form in PERIODS)), None)
        there = found.groupdict().items() if found else ()
        fields = {name: np.array([int(digits)]) for name, digits in there if digits}
        stamps.append(_joined(fields)[0] if fields else np.datetime64("NaT", "ns"))
    return np.array(stamps, "datetime64[ns]")


def encoded(shown: NDArray[np.datetime64], code: str) -> list[str] | list[int] | list[float]:
    """Return stamps in a code, `(T,)`.

    Args:
        shown: `(T,)`.
        code: as they came in.

    Example:
        >>> days = np.array(["2020-12-28", "2021-01-04"], "datetime64[ns]")
        >>> encoded(days, "%G-W%V"), encoded(days, "%Y%m"), encoded(days, "day numbers")
        (['2020-W53', '2021-W01'], [202012, 202101], [44193, 44200])
    """
    whole = shown.astype("datetime64[ns]").astype(np.int64)
    if code == DAYS or code in EPOCHS:
        begin, step = (FIRST_DAY, DAY) if code == DAYS else (0, EPOCHS[code][0])
        since = whole - begin
        if (since % step).any():
            return [float(each) for each in (since / step)]
        return [int(each) for each in since // step]
    fields = _fields(shown)
    parts = [f"%{name}" for name in fields]
    texts = []
    for place in range(len(whole)):
        text = code
        for part, values in zip(parts, fields.values()):
            text = text.replace(part, f"{values[place]:0{DIGITS[part]}}")
        texts.append(text)
    return [int(text) for text in texts] if code in (*OF_NUMBERS, "%Y") else texts


def _parts(form: str) -> list[str]:
    return re.findall("%.", form)


def _split(whole: NDArray[np.int64], form: str) -> dict[str, NDArray[np.int64]]:
    fields, rest = {}, whole
    for part in reversed(_parts(form)):
        rest, fields[part[1]] = np.divmod(rest, 10 ** DIGITS[part])
    return fields


def _joined(fields: Fields) -> NDArray[np.datetime64]:
    """The stamps of years, months, ..., NaT where there is no such day."""
    if "G" in fields:
        monday = _monday(fields["G"], fields["V"])
        since = fields.get("u", np.ones_like(fields["G"])) - 1
        return np.asarray(monday + since.astype("timedelta64[D]"))
    years = (fields["Y"] - 1970).astype("datetime64[Y]")
    month = fields.get("m", np.ones_like(fields["Y"]))
    for name, long in (("q", 3), ("h", 6)):
        month = long * (fields[name] - 1) + 1 if name in fields else month
    good = (month >= 1) & (month <= 12)
    months = years.astype("datetime64[M]") + (np.where(good, month, 1) - 1)
    day = fields.get("d", np.ones_like(month))
    days = months.astype("datetime64[D]") + (day - 1)
    good &= (day >= 1) & (days.astype("datetime64[M]") == months)
    if "j" in fields:
        days = years.astype("datetime64[D]") + (fields["j"] - 1)
        good &= (fields["j"] >= 1) & (days.astype("datetime64[Y]") == years)
    stamps = days.astype("datetime64[ns]")
    for name, most, step in (("H", 24, 3_600), ("M", 60, 60), ("S", 60, 1)):
        if name in fields:
            good &= fields[name] < most
            stamps = stamps + (fields[name] * step * 10**9).astype("timedelta64[ns]")
    return np.where(good, stamps, np.datetime64("NaT", "ns"))


def _monday(years: NDArray[np.int64], weeks: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """The first day of weeks as ISO 8601 counts them: the first one holds January 4."""

    def first(year: NDArray[np.int64]) -> NDArray[np.datetime64]:
        fourth = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 3
        return np.asarray(fourth - (fourth.astype(np.int64) + 3) % 7)

    days = first(years) + 7 * (weeks - 1)
    good = (weeks >= 1) & (days < first(years + 1))
    return np.where(good, days.astype("datetime64[ns]"), np.datetime64("NaT", "ns"))


def _fields(shown: NDArray[np.datetime64]) -> dict[str, NDArray[np.int64]]:
    days, months = shown.astype("datetime64[D]"), shown.astype("datetime64[M]")
    years = shown.astype("datetime64[Y]")
    seconds = (shown.astype("datetime64[s]") - days).astype(np.int64)
    thursday = days - (days.astype(np.int64) + 3) % 7 + 3  # of the week, and so of its year
    of_year = (thursday - thursday.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    month = (months - years).astype(np.int64) + 1
    return {
        "Y": years.astype(np.int64) + 1970,
        "m": month,
        "d": (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        "H": seconds // 3_600,
        "M": seconds // 60 % 60,
        "S": seconds % 60,
        "q": (month + 2) // 3,
        "h": (month + 5) // 6,
        "u": (days.astype(np.int64) + 3) % 7 + 1,
        "j": (days - years.astype("datetime64[D]")).astype(np.int64) + 1,
        "G": thursday.astype("datetime64[Y]").astype(np.int64) + 1970,
        "V": of_year // 7 + 1,
    }
