from __future__ import annotations

import math

import numpy as np
import pytest

from recurra.series.baselines.drift import Drift

ONE_SIGMA = 0.8413447460685429


def test_by_hand():
    # changes 2, 4, 0: slope 2, residuals 0, 2, -2
    quantiles = Drift().fit([1, 3, 7, 7], season=1).predict([[7.0, 10.0]], 3, [0.5, ONE_SIGMA])[0]
    assert quantiles[:, 0] == pytest.approx([12, 14, 16])
    sigma = math.sqrt(8 / 3)
    deviations = [sigma * math.sqrt(h * (1 + h / 3)) for h in (1, 2, 3)]
    assert quantiles[:, 1] - quantiles[:, 0] == pytest.approx(deviations)


def test_a_line_is_carried_on_without_doubt():
    line = 3 - 0.5 * np.arange(20)
    quantiles = Drift().fit(line, season=4).predict(line[None], 4, [0.025, 0.975])[0]
    assert quantiles == pytest.approx(np.repeat(3 - 0.5 * np.arange(20, 24)[:, None], 2, axis=1))


def test_the_slope_is_that_from_the_first_to_the_last():
    y = np.array([5.0, 100.0, -30.0, 8.0])
    assert Drift().fit(y, 1).predict(y[None], 1, [0.5]).item() == pytest.approx(9)


def test_one_observation_has_no_slope():
    assert Drift().fit([4.0], 1).predict([[4.0]], 2, [0.1])[0, :, 0].tolist() == [4, 4]
