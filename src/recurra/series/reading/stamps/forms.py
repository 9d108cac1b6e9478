"""The ways in which people write dates, other than ISO's: found by the shape of a text."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime
from functools import cache
from itertools import product

import numpy as np

from recurra.series.calendar.codes import from_periods

__all__ = ["PERIOD", "TWO_DIGITS", "forms_of", "read_as"]

PERIOD = "period"
"""The way of quarters and weeks, which `calendar.codes` reads."""
TWO_DIGITS = "two-digit years are taken for 1969 to 2068"

NUMERIC = (
    "%Y{0}%m{0}%d", "%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d",
)  # fmt: skip
DOTTED = ("%d.%m.%Y", "%d.%m.%y", "%Y.%m.%d")  # no one writes the month first with these
NAMED = ("%d{0}%b{0}%Y", "%d{0}%B{0}%Y", "%d{0}%b{0}%y", "%Y{0}%b{0}%d", "%d{0}%B{0}%y")
MONTHS = ("%b{0}%Y", "%B{0}%Y", "%b{0}%y", "%B{0}%y", "%Y{0}%b", "%Y{0}%B")
DATES = (
    *(form.format(each) for form in NUMERIC for each in "/-"),
    *DOTTED,
    *(form.format(each) for form in NAMED for each in " -/"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%d. %b %Y", "%d. %B %Y", "%b. %d, %Y"),
    *("%Y%m%d", "%d%b%Y"),
)
MONTHLY = (
    *(form.format(each) for form in MONTHS for each in " -/"),
    *("%m/%Y", "%m.%Y", "%m-%Y", "%Y/%m", "%Y.%m", "%Y-%m", "%b. %Y"),
)
CLOCKS = (
    *("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H", "%H%M", "%H%M%S"),
    *("%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p", "%I %p"),
)
TIMES = ("", *(f"{before}{clock}" for before in (" ", "T", ", ") for clock in CLOCKS))
DAY_NAMES = ("", "%a, ", "%a ", "%A, ", "%A ")
DIGIT = re.compile(r"\d")
NOON = re.compile(r"\b([ap])\. ?m\.", re.IGNORECASE)


MONTH_OR_NUMBER = re.compile(r"(0?[1-9]|1[0-2])\.(19|20)\d\d|(19|20)\d\d\.(0[1-9]|1[0-2])")
"""A month with a year, which would be read as a number by others."""


def _shape(text: str) -> str:
    """A text with the lengths of its runs of digits, 2 also for 1, and an a for each of letters."""
    text = re.sub(r"%[mdyHMSI]", "00", text.replace("%Y", "0000").replace("%f", "000000"))
    text = re.sub(r"(?<=:\d\d)\.\d{1,6}(?!\d)", ".f", re.sub(r"%[bBpaA]|[^\W\d_]+", "a", text))
    return re.sub(r"\s+", " ", re.sub(r"\d+", lambda run: f"{max(2, len(run[0]))}", text))


@cache
def _by_shape() -> dict[str, list[str]]:
    """The ways in which texts of each shape may be; there are thousands, and ISO's need none."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    dated = ("".join(parts) for parts in product(DAY_NAMES, DATES, TIMES))
    for form in (*dated, *MONTHLY):
        found[_shape(form)].append(form)
    return found


def forms_of(text: str) -> tuple[str, ...]:
    """Return the ways in which a text may be written, and one for quarters and the like.

    Args:
        text: without space at its ends.

    Example:
        >>> forms_of("01/02/2020")[:2], forms_of("north")
        (('%d/%m/%Y', '%m/%d/%Y'), ('period',))
    """
    if not DIGIT.search(text):  # as the names of columns
        return (PERIOD,)
    return *_by_shape().get(_shape(NOON.sub(r"\1m", text)), ()), PERIOD


def read_as(text: str, form: str) -> int:
    """Return the microseconds since 1970 of a date that is written in one way.

    Args:
        text: without space at its ends.
        form: as `forms_of` returns them.

    Raises:
        ValueError: it is not written so.

    Example:
        >>> np.datetime64(read_as("31/12/20 11:59 p.m.", "%d/%m/%y %I:%M %p"), "us").item()
        datetime.datetime(2020, 12, 31, 23, 59)
    """
    if form == PERIOD:
        (stamp,) = from_periods([text])
        if np.isnat(stamp):
            raise ValueError(text)
    else:
        stamp = np.datetime64(datetime.strptime(NOON.sub(r"\1m", text), form), "us")
    return int(stamp.astype("datetime64[us]").astype(np.int64))
