"""The curves: what is averaged, what is drawn, on which scale."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recurra.run.plot import learning
from recurra.run.plot.learning import _averaged

STEPS = [{"step": k, "epoch": k / 10, "loss": 1 / k} for k in range(1, 41)]
VALID = [
    {"step": 10 * k, "epoch": k, "valid": {"loss": 2.0 / k, "mase": 1.0 + 1 / k}, "best": True}
    for k in range(1, 5)
]


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_training_is_averaged_to_at_most_200_points():
    steps = [{"epoch": k / 10, "loss": math.log(k + 1)} for k in range(1000)]
    points = _averaged(steps)
    assert len(points) == 200
    first = math.exp(sum(math.log(k + 1) for k in range(5)) / 5)
    assert points[0] == (0.4, pytest.approx(first))
    assert points[-1][0] == 99.9
    assert len(_averaged(steps[:7])) == 7
    assert _averaged(steps, "loss")[0] == (0.4, pytest.approx(math.log(first)))


def test_the_loss_stands_above_and_the_metric_below_with_its_baseline(figure):
    records = [*STEPS, *VALID]
    assert learning.panels(records, "mase") == 2
    learning.draw(figure, records, "mine", "mase", ("seasonal_naive", 1.7))
    above, below = figure.axes
    assert (above.get_ylabel(), below.get_ylabel()) == ("loss", "mase")
    assert (above.get_title(loc="center"), below.get_title(loc="center")) == ("mine", "")
    training, validation = lines(above).values()
    assert training.tolist() == [[k / 10, 1 / k] for k in range(1, 41)]
    assert validation.tolist() == [[k, 2 / k] for k in range(1, 5)]
    found = lines(below)
    assert found["validation, 1.25 at last"].tolist() == [[k, 1 + 1 / k] for k in range(1, 5)]
    assert found["seasonal_naive on validation, 1.7"][:, 1].tolist() == [1.7, 1.7]


def test_perplexity_is_the_loss_so_both_share_a_panel(figure):
    records = [*STEPS, {"step": 9, "epoch": 0.9, "valid": {"perplexity": 7.0}, "best": True}]
    assert learning.panels(records, "perplexity") == 1
    learning.draw(figure, records, "mine", "perplexity", ("kn5", 9.0))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "perplexity"
    training, validation, baseline = lines(axes).values()
    assert training[0].tolist() == [0.1, math.e]
    assert (validation.tolist(), baseline[0, 1]) == ([[0.9, 7.0]], 9.0)


def test_a_loss_of_ones_own_stands_apart_from_perplexity(figure):
    records = [
        {"step": 1, "epoch": 1.0, "loss": 5.0},
        {"step": 1, "epoch": 1.0, "valid": {"perplexity": 9.0, "loss": 2.2}, "best": True},
    ]
    assert learning.panels(records, "perplexity", "mine:focal") == 2
    learning.draw(figure, records, "mine", "perplexity", None, "mine:focal")
    above, below = figure.axes
    assert (above.get_ylabel(), below.get_ylabel()) == ("loss (mine:focal)", "perplexity")
    assert [line.get_ydata()[0] for axes in (above, below) for line in axes.lines] == [5.0, 9.0]


def test_without_validation_there_is_one_panel_and_no_baseline(figure):
    assert learning.panels(STEPS, "mase") == 1
    learning.draw(figure, STEPS, "mine", "mase", ("naive", 1.7))
    (axes,) = figure.axes
    assert list(lines(axes)) == ["training"]


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([9.0, 1.0], "log"), ([2.0, 1.0], "linear"), ([9.0, -1.0], "linear"), ([9.0, 0.0], "linear")],
)
def test_a_wide_range_of_what_is_positive_is_drawn_by_its_logarithm(figure, losses, scale):
    records = [{"step": k, "epoch": k, "loss": loss} for k, loss in enumerate(losses)]
    learning.draw(figure, records, "mine", "mase", None)
    assert figure.axes[0].get_yscale() == scale
