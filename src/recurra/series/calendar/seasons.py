"""The period that values repeat by, found from the values alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["infer_season"]

MOST_SERIES, MOST_LENGTH = 32, 20_000  # of what is searched for seasons
LEAST_CYCLES = 3
LEAST_STRENGTH = 0.3  # of the correlation with the season before
LEAST_EXCESS = 15.0  # of the power at a season's frequency over that of its neighbours


def infer_season(values: Sequence[NDArray[np.float64]]) -> int:
    """Return the period that series share, by autocorrelation; 1 where none is strong.

    A period counts where the series, less its moving average over one period, is correlated with
    itself one period before, and its spectrum stands out there (as a random walk's does not). The
    shortest of the strong ones is taken. Of several series, more than half must agree.

    Args:
        values: of each series `(T,)`; NaN is a gap.

    Example:
        >>> infer_season([np.sin(np.arange(100) * 2 * np.pi / 7)])
        7
        >>> infer_season([np.arange(100.0)])
        1
    """
    chosen = values[:: max(1, len(values) // MOST_SERIES)][:MOST_SERIES]
    counts = Counter(_season(np.asarray(one, np.float64)[-MOST_LENGTH:]) for one in chosen)
    season, agreed = counts.most_common(1)[0] if counts else (1, 0)
    return season if 2 * agreed > len(chosen) else 1


def _season(values: NDArray[np.float64]) -> int:
    known = np.isfinite(values)
    if known.sum() < 2 * LEAST_CYCLES or np.ptp(values[known]) == 0:
        return 1
    places = np.arange(len(values))
    filled = np.interp(places, places[known], values[known])
    if filled.min() > 0:  # growth by a rate is a line of logarithms
        filled = min(filled, np.log(filled), key=lambda one: _off_line(one).var() / one.var())
    size = np.abs(filled).max()
    filled = _off_line(filled)
    if np.abs(filled).max() <= 1e-9 * size:
        return 1
    longest = len(values) // LEAST_CYCLES - 1
    candidates = sorted({*_peaks(filled, longest), *_peaks(np.diff(filled), longest)})
    power = np.abs(np.fft.rfft(filled * np.hanning(len(filled)))) ** 2
    strengths = {
        lag: _strength(filled, lag)
        for lag in candidates
        if max(_excess(power, order * len(filled) / lag) for order in (1, 2, 3)) > LEAST_EXCESS
    }
    best = max(strengths.values(), default=0.0)
    if best < max(LEAST_STRENGTH, 3.5 / np.sqrt(len(filled))):  # chance is larger in short ones
        return 1
    return _refined(filled, next(lag for lag, value in strengths.items() if value >= 0.9 * best))


def _off_line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is about a line, not along it."""
    places = np.arange(len(values))
    return np.asarray(values - np.polynomial.Polynomial.fit(places, values, 1)(places))


def _excess(power: NDArray[np.float64], place: float) -> float:
    """How often the power at a frequency is that of half to twice the frequency."""
    middle = round(place)
    if not 2 <= middle < len(power) - 1:
        return 0.0
    around = power[max(2, middle // 2) : 2 * middle + 1]
    return float(power[middle - 1 : middle + 2].max() / (np.median(around) + 1e-12 * power.max()))


def _refined(values: NDArray[np.float64], lag: int) -> int:
    """The lag near by whose first three multiples are most alike."""
    curve = _autocorrelation(values, len(values) - 1)
    reach, longest = max(1, lag // 10), (len(values) - 1) // LEAST_CYCLES
    around = range(max(2, lag - reach), min(lag + reach, longest) + 1)
    return max(around, key=lambda near: float(curve[[near, 2 * near, 3 * near]].sum()))


def _autocorrelation(values: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    size = len(values)
    spectrum = np.fft.rfft(values - values.mean(), 2 * size)
    curve = np.fft.irfft(np.abs(spectrum) ** 2, 2 * size)[: longest + 2]
    return np.asarray(curve / max(curve[0], np.finfo(float).tiny), np.float64)


def _peaks(values: NDArray[np.float64], longest: int, most: int = 20) -> list[int]:
    """The lags at which the autocorrelation is higher than at both sides, the first high ones."""
    curve = _autocorrelation(values, longest)
    inner = curve[1:-1]
    lags = np.flatnonzero((inner > curve[:-2]) & (inner >= curve[2:]) & (inner > 0)) + 1
    lags = lags[lags > 1]
    if not len(lags):
        return []
    return [int(lag) for lag in lags[curve[lags] >= 0.5 * curve[lags].max()][:most]]


def _strength(values: NDArray[np.float64], period: int) -> float:
    """The correlation with one period before, once the moving average over a period is taken."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    smooth = (total[period:] - total[:-period]) / period
    if period % 2 == 0:
        smooth = (smooth[1:] + smooth[:-1]) / 2
    reach = period // 2
    rest = values[reach : reach + len(smooth)] - smooth
    if len(rest) < 2 * period:
        return 0.0
    now, before = rest[period:], rest[:-period]
    scale = np.sqrt((now @ now) * (before @ before))
    return float(now @ before / scale) if scale > 0 else 0.0
