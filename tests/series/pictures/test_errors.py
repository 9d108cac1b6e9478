"""Errors by horizon and residuals."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.series.pictures import errors
from recurra.series.use.evidence import ForecastEvidence


def evidence(horizon=6, rivals=None, residuals=None) -> ForecastEvidence:
    ours = np.linspace(1, 2, horizon)
    rivals = {"theta": 2 * ours, "naive": 3 * ours} if rivals is None else rivals
    spread = np.linspace(-2, 3, 1001) if residuals is None else residuals
    return ForecastEvidence((), ours, rivals, spread)


def test_every_system_has_a_line_over_the_horizon_ours_first_in_the_legend(figure):
    errors.draw(figure, "mine", evidence())
    left, _ = figure.axes
    found = {line.get_label(): line.get_xydata() for line in left.get_lines()}
    assert found["network"].tolist() == [[k + 1, 1 + k / 5] for k in range(6)]
    assert found["naive"][:, 1].tolist() == pytest.approx([3 + 3 * k / 5 for k in range(6)])
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert names == ["network", "theta", "naive"]
    assert left.get_ylim()[0] == 0
    assert figure.get_suptitle() == "mine"


def test_a_single_step_has_a_bar_each(figure):
    errors.draw(figure, "mine", evidence(1, {"ar": np.array([4.0])}))
    left, _ = figure.axes
    assert [bar.get_width() for bar in left.patches] == [1.0, 4.0]
    assert [label.get_text() for label in left.get_yticklabels()] == ["network", "ar"]
    assert left.get_xscale() == "linear"


@pytest.mark.parametrize("horizon", [1, 6])
def test_what_differs_by_magnitudes_is_drawn_by_its_logarithm(figure, horizon):
    errors.draw(figure, "mine", evidence(horizon, {"ar": np.full(horizon, 1e-9)}))
    left = figure.axes[0]
    assert "log" in (left.get_xscale(), left.get_yscale())


@pytest.mark.parametrize("rival", [0.0, np.nan])
def test_a_rival_that_is_exact_or_unknown_is_no_fault(figure, rival):
    errors.draw(figure, "mine", evidence(6, {"ar": np.full(6, rival)}))
    assert figure.axes[0].get_yscale() == "linear"


def test_residuals_are_counted_but_for_the_farthest(figure):
    spread = np.concatenate([np.linspace(-1, 1, 998), [1e6, -1e6]])
    errors.draw(figure, "mine", evidence(residuals=spread))
    right = figure.axes[1]
    assert sum(bar.get_height() for bar in right.patches) == 998
    assert right.get_xlabel().endswith("\n2 of 1,000 lie beyond")
    assert right.get_xlim()[1] < 2


@pytest.mark.parametrize("residuals", [np.empty(0), np.full(9, np.nan), np.zeros(9)])
def test_no_residuals_and_none_that_differ_are_no_fault(figure, residuals):
    errors.draw(figure, "mine", evidence(residuals=residuals))
