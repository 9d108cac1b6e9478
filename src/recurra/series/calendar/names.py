"""Frequencies by their names, for series whose own step is not to be inferred."""

from __future__ import annotations

import re

import numpy as np

from recurra.errors import ConfigError
from recurra.series.calendar.frequency import Frequency, infer
from recurra.table import nearest

__all__ = ["named"]

STEPS = {
    "secondly": "1 seconds",
    "minutely": "1 minutes",
    "hourly": "1 hours",
    "daily": "1 days",
    "weekly": "1 weeks",
    "monthly": "1 months",
    "quarterly": "3 months",
    "yearly": "12 months",
}
UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "D", "week": "W", "month": "M"}
ENOUGH = 20  # stamps, so that days are seen to have weekends


def named(name: str) -> Frequency:
    """Return the frequency that a name stands for, its customary seasons included.

    Args:
        name: `"hourly"`, `"weekly"`, ..., or `"15 minutes"`, `"2 weeks"`, ...

    Raises:
        ConfigError: there is no such frequency.

    Example:
        >>> named("15 minutes").seasons, named("monthly").season
        ((96, 672), 12)
    """
    found = re.fullmatch(
        r"([1-9]\d{0,5}) (second|minute|hour|day|week|month)s?", STEPS.get(name, name)
    )
    if found is None:
        raise ConfigError(
            f"no frequency is named {name!r}.{nearest(name, list(STEPS))} "
            f"There are: {', '.join(STEPS)}; or give a number and a unit, as '15 minutes'"
        )
    count, unit = int(found[1]), UNITS[found[2]]
    start = np.datetime64("2001-01-01").astype(f"datetime64[{unit}]").astype(np.int64)
    stamps = (start + count * np.arange(ENOUGH)).astype(f"datetime64[{unit}]")
    return infer(stamps.astype("datetime64[ns]"))
