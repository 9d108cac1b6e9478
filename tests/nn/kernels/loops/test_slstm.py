from __future__ import annotations

import numpy as np
import pytest

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.loops.slstm import log1p_exp


@compiled
def each(x: np.ndarray, y: np.ndarray) -> None:
    for j in range(len(x)):
        y[j] = log1p_exp(x[j])


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(np.float32, 1.5e-7), (np.float64, 3e-16)], ids=["single", "double"]
)
def test_log1p_exp(kind: type, tolerance: float) -> None:
    x = np.concatenate([-np.logspace(-9, 4, 500), np.linspace(-40, 0, 5001)]).astype(kind)
    y = np.full_like(x, np.nan)
    each(x, y)
    exact = np.log1p(np.exp(x.astype(np.longdouble)))
    assert y.dtype == kind
    assert np.abs(y - exact).max() < tolerance


def test_log1p_exp_of_what_is_no_number() -> None:
    y = np.zeros(2)
    each(np.array([np.nan, -np.inf]), y)
    assert np.isnan(y[0])
    assert y[1] < 1e-300
