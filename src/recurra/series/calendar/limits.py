"""How far dates reach: 64 bits of nanoseconds end in the year 2262."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

__all__ = ["require_dates"]

LAST = np.datetime64("2261-12-31", "D")
DAY = 86_400 * 10**9  # nanoseconds


def require_dates(step: str, n: int, nanoseconds: int, days: NDArray[np.datetime64]) -> None:
    """Refuse dates past the last one that can be told; without this they would wrap around.

    Args:
        step: the frequency in a word, for the message.
        n: how many steps they are ahead.
        nanoseconds: the furthest of them, where it is told so; else 0.
        days: them, where they are told so; else none.

    Raises:
        DataError: they lead further.

    Example:
        >>> require_dates("yearly", 300, 0, np.array(["2310-01-01"], "datetime64[D]"))
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: 300 yearly steps ahead lead past the year 2261, where dates ...
    """
    last = int(LAST.astype(np.int64))
    if nanoseconds > last * DAY or (days > LAST).any():
        raise DataError(
            f"{n:,} {step} steps ahead lead past the year {LAST.astype(object).year}, where dates "
            "end; give a shorter horizon, or numbers for stamps"
        )
