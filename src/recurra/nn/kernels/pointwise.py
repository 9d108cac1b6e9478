"""Exponential, logistic function and tanh of one number, for loops of compiled kernels: the
compiler makes vectors of them, which it cannot of the C library's.

All are made of e^y with y = n ln 2 + r, |r| <= ln(2) / 2, where e^r - 1 is its Taylor polynomial.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra.nn.kernels.compiler.compiled import ByPrecision, Compiled

__all__ = ["exp", "expm1", "log1p_exp", "sigmoid", "tanh"]

LOG2_E = 1.4426950408889634
# ln 2 in two parts, so that n times the first is exact.
LN2_HIGH_SINGLE, LN2_LOW_SINGLE = np.float32(0.693359375), np.float32(-2.12194440e-4)
LN2_HIGH_DOUBLE, LN2_LOW_DOUBLE = 6.93147180369123816490e-01, 1.90821492927058770002e-10

EXACT = {"contract", "nsz"}
"""What the compiler may assume here: other orders would lose what ln 2 in two parts gains."""


def _parts_of_exp(y: Any) -> Any:
    """Return e^r - 1 and 2^n, for y up to 88."""
    y = np.float32(-87.0) if y < np.float32(-87.0) else y
    n = np.floor(y * np.float32(LOG2_E) + np.float32(0.5))
    r = (y - n * LN2_HIGH_SINGLE) - n * LN2_LOW_SINGLE
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    return r + r * r * p, np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


_parts = Compiled(_parts_of_exp, fastmath=EXACT)


def _exp_single(y: Any) -> Any:
    p, power = _parts(y)
    return (np.float32(1) + p) * power


exp = Compiled(_exp_single, fastmath=EXACT)
"""e^y for float32 y <= 0; below -87, that of -87."""


def _expm1_single(y: Any) -> Any:
    p, power = _parts(np.float32(88.0) if y > np.float32(88.0) else y)
    return p * power + (power - np.float32(1))


def _expm1_double(y: Any) -> Any:
    y = -708.0 if y < -708.0 else y
    y = 709.0 if y > 709.0 else y
    n = np.floor(y * LOG2_E + 0.5)
    r = (y - n * LN2_HIGH_DOUBLE) - n * LN2_LOW_DOUBLE
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = r + r * r * p
    power = np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)
    return p * power + (power - 1.0)


expm1 = ByPrecision(
    Compiled(_expm1_single, fastmath=EXACT), Compiled(_expm1_double, fastmath=EXACT)
)
"""e^y - 1, finite for every y but NaN."""


def _sigmoid_single(x: Any) -> Any:
    return np.float32(1) / (np.float32(2) + expm1(-x))


def _sigmoid_double(x: Any) -> Any:
    return 1.0 / (2.0 + expm1(-x))


def _tanh_single(x: Any) -> Any:
    e = expm1(x + x)
    return e / (e + np.float32(2))


def _tanh_double(x: Any) -> Any:
    e = expm1(x + x)
    return e / (e + 2.0)


# A bare 1 beside a float32 would make the whole float64.
sigmoid = ByPrecision(Compiled(_sigmoid_single), Compiled(_sigmoid_double))
"""1 / (1 + e^-x)."""

tanh = ByPrecision(Compiled(_tanh_single), Compiled(_tanh_double))
"""(e^2x - 1) / (e^2x + 1)."""


def _log1p_exp_single(x: Any) -> Any:
    e = expm1(x) + np.float32(1)
    w = e / (e + np.float32(2))
    s = w * w
    p = np.float32(1 / 15)
    p = p * s + np.float32(1 / 13)
    p = p * s + np.float32(1 / 11)
    p = p * s + np.float32(1 / 9)
    p = p * s + np.float32(1 / 7)
    p = p * s + np.float32(1 / 5)
    p = p * s + np.float32(1 / 3)
    return np.float32(2) * (w + w * s * p)


def _log1p_exp_double(x: Any) -> Any:
    e = expm1(x) + 1.0
    w = e / (e + 2.0)
    s = w * w
    p = 1 / 33
    p = p * s + 1 / 31
    p = p * s + 1 / 29
    p = p * s + 1 / 27
    p = p * s + 1 / 25
    p = p * s + 1 / 23
    p = p * s + 1 / 21
    p = p * s + 1 / 19
    p = p * s + 1 / 17
    p = p * s + 1 / 15
    p = p * s + 1 / 13
    p = p * s + 1 / 11
    p = p * s + 1 / 9
    p = p * s + 1 / 7
    p = p * s + 1 / 5
    p = p * s + 1 / 3
    return 2.0 * (w + w * s * p)


log1p_exp = ByPrecision(Compiled(_log1p_exp_single), Compiled(_log1p_exp_double))
"""log(1 + e^x) for x <= 0: with w = e^x / (e^x + 2), twice the series of artanh w."""
