from __future__ import annotations

import numpy as np

from recurra.series.calendar.seasons import infer_season
from recurra.series.datasets.sine import SineSource
from recurra.series.options import SeriesOptions


def values():
    return SineSource(SeriesOptions()).open().series[0].values[:, 0]


def test_the_tutorial_s_points():
    found = values()
    # Both ends of both stretches are sampled; 100, which is in both, is kept once.
    assert found.shape == (10_999,)
    assert found[0] == 0 and found[9_999] != found[10_000]
    assert np.allclose(found[[9_999, -1]], np.sin([100.0, 110.0]), atol=1e-5)
    assert np.abs(found[5000] - np.sin(5000 * 100 / 9999)) < 1e-5
    assert np.abs(found[10_499] - np.sin(100 + 500 * 10 / 999)) < 1e-5
    assert (found == found.astype(np.float32)).all()


def test_two_lags_foretell_each_stretch():
    found = values()
    for stretch, step in ((found[:10_000], 100 / 9999), (found[9_999:], 10 / 999)):
        foretold = 2 * np.cos(step) * stretch[1:-1] - stretch[:-2]
        assert np.abs(foretold - stretch[2:]).max() < 2e-5  # of float32 abscissae near 100


def test_season_and_split():
    panel = SineSource(SeriesOptions()).open()
    assert (
        panel.frequency.season == infer_season([values()[:10_000]]) == round(2 * np.pi / 0.010001)
    )
    split = SineSource.split
    assert (split.horizon, split.valid, split.test, split.stride) == (1, 1_000, 999, 1)
