"""What pictures are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.trial import Trial
from recurra.series.panel import Panel
from recurra.series.use.evidence import in_blocks, mean_error, running_freely, shown

PanelOf = Callable[..., Panel]
Made = Any


def told(trial: Trial) -> np.ndarray:
    return trial.actual[..., None] + np.arange(float(len(LEVELS)))


@pytest.mark.parametrize(
    ("lengths", "names"),
    [
        ((60,) * 3, ["s0", "s1", "s2"]),
        ((60,) * 11, ["s0", "s2", "s4", "s6", "s8", "s10"]),
        ((60,), ["s0"] * 6),
    ],
)
def test_some_series_are_shown_each_once_or_one_at_several_origins(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Made],
    lengths: tuple[int, ...],
    names: list[str],
) -> None:
    made = forecaster_of(panel_of(lengths), horizon=3, data={"test": 24})
    trial = Trial.of(made.dataset, "test")
    found = shown(trial, told(trial), context=12)
    assert [one.unique_id for one in found] == names
    for one in found:
        values = made.panel.series[int(one.unique_id[1:])].values[:, 0]
        joined = np.concatenate([one.history, one.actual])
        start = next(t for t in range(60) if values[t] == joined[0])
        np.testing.assert_array_equal(joined, values[start : start + len(joined)])
        assert len(one.history) == 12  # the context, longer than three horizons
        np.testing.assert_array_equal(one.quantiles, one.actual[:, None] + np.arange(11.0))
        assert one.stamps is None
        assert one.levels == LEVELS


def test_variables_are_told_apart_and_stamps_go_along(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    made = forecaster_of(panel_of((60,), variables=2, stamps="hours"), horizon=4)
    trial = Trial.of(made.dataset, "test")
    found = shown(trial, told(trial), context=1000)
    assert [one.unique_id for one in found] == ["s0/y0", "s0/y1"]
    stamps = made.panel.series[0].stamps
    np.testing.assert_array_equal(found[1].stamps, stamps[-36:])  # eight horizons at most
    assert len(found[1].history) == 32


def test_one_series_is_run_freely_over_its_test(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    made = forecaster_of(panel_of((60,), gaps=0.1), horizon=3, data={"test": 17})
    trial = Trial.of(made.dataset, "test")
    points = running_freely(made.forecaster, trial)
    assert points is not None
    assert points.free is not None
    values = made.panel.series[0].values[:, 0]
    np.testing.assert_array_equal(points.actual, values[-17:])
    windows = made.forecaster.windows(made.panel)
    for start in range(43, 60, 3):
        ahead = made.forecaster.quantiles(windows, np.array([0]), np.array([start]))[0, :, 5]
        steps = min(3, 60 - start)
        np.testing.assert_allclose(points.predicted[start - 43 :][:steps], ahead[:steps], rtol=1e-6)
    np.testing.assert_array_equal(points.free, made.forecaster.run_freely(made.panel, 43, 17))
    np.testing.assert_allclose(points.free[:3], points.predicted[:3], rtol=1e-6)
    assert not np.allclose(points.free[3:], points.predicted[3:])


@pytest.mark.parametrize(
    ("lengths", "variables", "options"),
    [
        ((60, 60), 1, {"test": 12}),
        ((60, 5), 1, {"test": 12}),  # the second has no window, but is there
        ((60,), 2, {"test": 12}),
        ((60,), 1, {}),  # a single horizon
        ((60,), 1, {"test": 12, "stride": 5}),
    ],
)
def test_what_does_not_follow_on_is_not_run_freely(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Made],
    lengths: tuple[int, ...],
    variables: int,
    options: dict[str, int],
) -> None:
    made = forecaster_of(panel_of(lengths, variables=variables), horizon=3, data=options)
    assert running_freely(made.forecaster, Trial.of(made.dataset, "test")) is None


def test_a_baseline_is_shown_in_blocks_as_the_network_is(
    panel_of: Callable[..., Panel], forecaster_of: Callable[..., Any]
) -> None:
    dataset = forecaster_of(panel_of((60,)), horizon=4, data={"test": 12, "stride": 1}).dataset
    trial = Trial.of(dataset, "test")
    medians = trial.origins[:, None] + np.arange(4.0)  # each step told by its own number
    assert in_blocks(trial, medians).tolist() == list(range(48, 60))
    gappy = trial.only(np.array([0, 8]))
    assert (
        np.isnan(in_blocks(gappy, medians[[0, 8]])).tolist()
        == [False] * 4 + [True] * 4 + [False] * 4
    )


def test_the_mean_error_of_a_step_is_of_what_is_known() -> None:
    found = mean_error(np.array([[1.0, np.nan, np.nan], [-3.0, -2.0, np.nan]]))
    np.testing.assert_array_equal(found, [2.0, 2.0, np.nan])
