"""What comes after a training of so many minutes: as long again, and what does not fit is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

__all__ = ["Costs", "attempted", "seconds_after", "seconds_each", "timed", "without_room"]

Found = TypeVar("Found")
Costs = Iterable[tuple[str, Callable[[], float]]]
"""Names of what comes after the training, the dearest to the reader first, and what measures the
seconds of each."""

LEAST = 45.0
"""Seconds that what comes after the shortest training may take."""

PLANNED = 0.8
"""Their share that is planned with: a shared machine may slow down."""

MEASURING, LEAST_MEASURING = 0.25, 3.0
"""The share of the minutes, or the seconds, that measuring may take before the rest is left out."""

LONGEST_WHY = 160

ENOUGH = 0.05
"""Seconds that tell how long the rest takes."""


def seconds_after(minutes: float) -> float:
    """Return how many seconds what comes after a training may take.

    Args:
        minutes: of the training.

    Example:
        >>> seconds_after(0.2), seconds_after(10)
        (45.0, 600.0)
    """
    return max(LEAST, 60.0 * minutes)


def without_room(costs: Costs, minutes: float) -> dict[str, str]:
    """Return the name of each thing for which no time is left once those before it are done; why.

    Args:
        costs: in their order.
        minutes: of the training.

    Example:
        >>> costs = {"baselines": 5.0, "dynamic": 300.0, "cache": 9.0}
        >>> without_room([(name, partial(float, each)) for name, each in costs.items()], 0.2)
        {'dynamic': 'would take 300 s, 40 s were left'}
    """
    begun, limit = time.monotonic(), seconds_after(minutes)
    spent, out = 0.0, {}
    for name, measure in costs:
        if time.monotonic() - begun > max(MEASURING * 60 * minutes, LEAST_MEASURING):
            out[name] = "no time was left to measure how long it takes"
            continue
        seconds = measure()
        if spent + seconds > PLANNED * limit:
            out[name] = f"would take {seconds:,.0f} s, {max(0.0, limit - spent):,.0f} s were left"
        else:
            spent += seconds
    return out


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes.

    Args:
        work: is done once.

    Example:
        >>> timed(lambda: time.sleep(0.01)) >= 0.01
        True
    """
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def seconds_each(work: Callable[[int], object], most: int, least: int = 16) -> float:
    """Return the seconds that each of many things takes, told by as few of them as tell it.

    Args:
        work: does so many of them.
        most: how many there are.
        least: how many are tried first.

    Example:
        >>> seconds_each(lambda count: time.sleep(count / 1000), most=1000) >= 0.001
        True
    """
    count = max(1, min(least, most))
    work(max(1, count // 8))  # compiles, and fills caches
    while (seconds := timed(partial(work, count))) < ENOUGH and count < most:
        count = min(4 * count, most)
    return seconds / count


def attempted(
    name: str, make: Callable[[], Found], left_out: dict[str, str] | None = None
) -> Found | None:
    """Return what stands beside a result; None where it fails, which ends no run but is named.

    Args:
        name: of what is made.
        make: makes it.
        left_out: is told of it: name -> why.

    Example:
        >>> said = {}
        >>> attempted("halves", lambda: 1 / 0, said) is None, said
        (True, {'halves': 'failed with ZeroDivisionError: division by zero'})
    """
    try:
        return make()
    except Exception as error:
        told = " ".join(f"failed with {type(error).__name__}: {error}".split())
        if left_out is not None:
            left_out[name] = told[:LONGEST_WHY].rstrip(": ")
        return None
