"""How far stamps reach: dates end in the year 2262, numbers where a step more is none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

__all__ = ["nanoseconds", "numbers_after", "require_dates"]

FIRST = np.datetime64("1678-01-01", "D")
LAST = np.datetime64("2261-12-31", "D")
DAY = 86_400 * 10**9  # nanoseconds


def nanoseconds(stamps: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return dates as `datetime64[ns]`, refused where they would wrap around.

    Args:
        stamps: of any unit.

    Raises:
        DataError: one is before 1678 or after 2261.

    Example:
        >>> nanoseconds(np.array(["3000"], "datetime64[Y]"))
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: the stamp 3000-01-01 is out of range: dates are told in 1678 ...
    """
    days = stamps.astype("datetime64[D]")
    if (wrong := (days < FIRST) | (days > LAST)).any():
        raise DataError(
            f"the stamp {days[wrong][0]} is out of range: dates are told in 1678 ... 2261; give "
            "numbers for others"
        )
    return stamps.astype("datetime64[ns]", copy=False)


def require_dates(step: str, n: int, last: int, ahead: float) -> None:
    """Refuse dates past the last one that can be told; without this they would wrap around.

    Args:
        step: the frequency in a word, for the message.
        n: how many steps they are ahead.
        last: that they follow, in nanoseconds since 1970.
        ahead: about how far they reach from there, in nanoseconds.

    Raises:
        DataError: they lead further.

    Example:
        >>> require_dates("yearly", 300, 0, 300 * 365.25 * DAY)
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: 300 yearly steps ahead lead past the year 2261, where dates ...
    """
    if last + ahead > int(LAST.astype(np.int64)) * DAY:
        raise DataError(
            f"{n:,} {step} steps ahead lead past the year {LAST.astype(object).year}, where dates "
            "end; give a shorter horizon, or numbers for stamps"
        )


def numbers_after(last: float, steps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the numbers that follow one, refused where they would be the same number.

    Args:
        last: the one.
        steps: how far each is from it.

    Raises:
        DataError: the steps are lost in the number's digits.

    Example:
        >>> numbers_after(3.0, np.array([1.0, 2.0]))
        array([4., 5.])
        >>> numbers_after(1e18, np.array([1.0, 2.0]))
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: a step of 1 is lost beside the stamp 1e+18: give smaller ...
    """
    found = np.asarray(last + steps, np.float64)
    if not (np.diff(found, prepend=last) > 0).all():
        raise DataError(
            f"a step of {steps[0]:g} is lost beside the stamp {last:g}: give smaller numbers for "
            "stamps, or dates"
        )
    return found
