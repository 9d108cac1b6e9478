"""The learning rates that are tried, which widen until the best stands between two others."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LADDER", "RATES", "neighbours", "outward"]

RATES = (0.001, 0.003, 0.01)
"""What every cell tries on every task, where no others are given."""
LADDER = (1e-5, 3e-5, 1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Half decades; no rate beyond its ends is tried unless it is given."""


def outward(tried: Sequence[float], best: float) -> list[float]:
    """Return the rates that are to be tried next: beyond the best, where it stands at an end.

    Neighbours of the ladder go on along it, others by the ratio of the two at that end; of a rate
    that is alone, along the ladder, or by half a decade.

    Args:
        tried: rising.
        best: of them.

    Example:
        >>> outward((0.001, 0.003, 0.01), 0.01), outward((0.001, 0.003, 0.01), 0.003)
        ([0.03], [])
        >>> outward((0.003,), 0.003), outward((0.002, 0.004), 0.002), outward((0.3, 1.0), 1.0)
        ([0.001, 0.01], [0.001], [])
    """
    found = []
    if best == tried[0]:
        found.append(_beyond(tried, tried[:2], -1))
    if best == tried[-1]:
        found.append(_beyond(tried, tried[-2:], 1))
    return [rate for rate in found if LADDER[0] <= rate <= LADDER[-1] and rate not in tried]


def _beyond(tried: Sequence[float], end: Sequence[float], way: int) -> float:
    edge = end[0] if way < 0 else end[-1]
    places = [LADDER.index(rate) for rate in end if rate in LADDER]
    if len(places) == len(end) and places[-1] - places[0] == len(end) - 1:
        return LADDER[min(max(places[0 if way < 0 else -1] + way, 0), len(LADDER) - 1)]
    ratio = end[1] / end[0] if len(end) > 1 else 10**0.5
    return float(f"{edge * ratio**way:.3g}")


def neighbours(tried: Sequence[float], rate: float) -> list[float]:
    """Return the rates on either side of one.

    Args:
        tried: rising.
        rate: one of them.

    Example:
        >>> neighbours((0.001, 0.003, 0.01), 0.003), neighbours((0.001, 0.003), 0.003)
        ([0.001, 0.01], [0.001])
    """
    at = tried.index(rate)
    return [*tried[max(0, at - 1) : at], *tried[at + 1 : at + 2]]
