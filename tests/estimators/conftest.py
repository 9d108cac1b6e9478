"""Data of the estimators' tests."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def overlapping():
    """Three classes that no plane parts, so that the best weights are finite."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=150)
    return rng.normal(y[:, None] * [0.7, -0.4], 1.0) * [3, 0.2] + [50, -2], y


@pytest.fixture(scope="module")
def ragged():
    """Sequences of 3 to 9 steps of 2 features; the class is the sign of the first one's sum."""
    rng = np.random.default_rng(0)
    X = [rng.normal(0.5 - n % 2, 1, size=(3 + n % 7, 2)) for n in range(48)]
    return X, np.array(["up" if x[:, 0].sum() > 0 else "down" for x in X])
