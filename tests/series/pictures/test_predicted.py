"""Predicted against real."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.series.pictures import predicted
from recurra.series.use.evidence import ShownPoints

REAL = np.sin(np.arange(100) / 10)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_both_are_drawn_with_their_difference_below(figure):
    predicted.draw(figure, "sine", ShownPoints(REAL, REAL + 0.25))
    upper, lower = figure.axes
    found = lines(upper)
    assert set(found) == {"real", "one step ahead, RMSE 0.25"}
    assert np.array_equal(found["real"], REAL)
    off = lower.get_lines()[0]
    assert off.get_ydata() == pytest.approx(np.full(100, 0.25))


def test_what_runs_freely_is_drawn_and_leaves_the_picture_where_it_runs_away(figure):
    free = REAL + np.linspace(0, 1000, 100)
    predicted.draw(figure, "sine", ShownPoints(REAL, REAL, free))
    upper, lower = figure.axes
    (name,) = [name for name in lines(upper) if name.startswith("on its own predictions")]
    assert name.endswith(f"RMSE {np.sqrt(np.mean((free - REAL) ** 2)):.3g}")
    assert upper.get_ylim()[1] < 3 and upper.get_ylim()[0] < -1
    assert lower.get_ylim()[1] < 5


def test_blocks_are_called_blocks_and_the_verdict_s_baseline_stands_below(figure):
    """sine-free tells 50 steps at once: that is not one step ahead."""
    rival = ("ar2", REAL + 1e-5)
    predicted.draw(figure, "sine", ShownPoints(REAL, REAL + 0.002, None, 50, rival))
    upper, lower = figure.axes
    assert set(lines(upper)) == {"real", "in blocks of 50 steps ahead, RMSE 0.002"}
    below = lines(lower)
    assert below["ar2, RMSE 1e-05"] == pytest.approx(np.full(100, 1e-5))
    assert lower.get_yscale() == "log"  # on a linear axis both were at 0, and one could not be told
    assert lower.get_ylim()[0] < 1e-5


def test_gaps_are_left_out_of_the_error(figure):
    gappy = REAL.copy()
    gappy[3] = np.nan
    predicted.draw(figure, "sine", ShownPoints(gappy, REAL + 0.5, gappy + 0.1))
    assert any(name.endswith("RMSE 0.5") for name in lines(figure.axes[0]))


def test_a_constant_series_is_no_fault(figure):
    predicted.draw(figure, "flat", ShownPoints(np.ones(5), np.ones(5), np.ones(5)))
