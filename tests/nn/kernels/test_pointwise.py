from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.pointwise import exp, expm1, log1p_exp, sigmoid, tanh


@compiled
def every(x: Any, y: Any) -> None:
    for i in range(len(x)):
        y[0, i] = expm1(x[i])
        y[1, i] = sigmoid(x[i])
        y[2, i] = tanh(x[i])


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float32, 2e-7), (np.float64, 4e-16)])
def test_a_few_last_places_of_numpys(kind: type, tolerance: float) -> None:
    small = np.logspace(-9, 0, 500)
    x = np.concatenate([np.linspace(-40, 40, 20_001), small, -small, [0.0]]).astype(kind)
    y = np.empty((3, len(x)), kind)
    every(x, y)
    exact = x.astype(np.longdouble)
    expected = np.stack([np.expm1(exact), 1 / (1 + np.exp(-exact)), np.tanh(exact)])
    error = np.abs(y - expected) / np.maximum(np.abs(expected), np.finfo(kind).tiny)
    assert error.max() < tolerance


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_beyond_every_bound(kind: type) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], kind)
    y = np.empty((3, 5), kind)
    every(x, y)
    assert np.isnan(y[:, 0]).all()
    np.testing.assert_array_equal(y[2, 1:], [1, -1, 1, -1])
    np.testing.assert_allclose(y[1, 1:], [1, 0, 1, 0], atol=1e-37)
    np.testing.assert_array_equal(y[0, [2, 4]], -1)
    assert (y[0, [1, 3]] > 1e37).all()


def test_exponentials_of_what_is_not_above_zero() -> None:
    @compiled
    def every_exp(x: Any, y: Any) -> None:
        for i in range(len(x)):
            y[i] = exp(x[i])

    x = np.concatenate([np.linspace(-87, 0, 20_001), [-1e30, -np.inf, np.nan]]).astype(np.float32)
    y = np.empty_like(x)
    every_exp(x, y)
    np.testing.assert_allclose(y[:-3], np.exp(x[:-3].astype(np.float64)), rtol=1.5e-7)
    assert (y[-3:-1] == y[0]).all() and np.isnan(y[-1])


@compiled
def every_log1p_exp(x: Any, y: Any) -> None:
    for i in range(len(x)):
        y[i] = log1p_exp(x[i])


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(np.float32, 1.5e-7), (np.float64, 3e-16)], ids=["single", "double"]
)
def test_log1p_exp(kind: type, tolerance: float) -> None:
    x = np.concatenate([-np.logspace(-9, 4, 500), np.linspace(-40, 0, 5001)]).astype(kind)
    y = np.full_like(x, np.nan)
    every_log1p_exp(x, y)
    exact = np.log1p(np.exp(x.astype(np.longdouble)))
    assert y.dtype == kind
    assert np.abs(y - exact).max() < tolerance


def test_log1p_exp_of_what_is_no_number() -> None:
    y = np.zeros(2)
    every_log1p_exp(np.array([np.nan, -np.inf]), y)
    assert np.isnan(y[0])
    assert y[1] < 1e-300


def test_outside_of_compiled_code() -> None:
    assert tanh(np.float32(0.5)) == pytest.approx(np.tanh(0.5), rel=1e-6)
    assert sigmoid(0.0) == 0.5
    assert expm1(np.float64(1.0)) == pytest.approx(np.e - 1, rel=1e-15)
