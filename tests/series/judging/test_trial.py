"""Trials: which windows, what came after them, their scales, and what rivals may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recurra.series.baselines import BASELINES
from recurra.series.data.dataset import SeriesDataset
from recurra.series.datasets.base import Split
from recurra.series.judging import trial as module
from recurra.series.judging.metrics import LEVELS, mase_scale, score
from recurra.series.judging.trial import Trial
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel, Series

PanelOf = Callable[..., Panel]


def cut(panel: Panel, published: Split | None = None, **options: int) -> SeriesDataset:
    return SeriesDataset(panel, SeriesOptions(**options), published)


def told(trial: Trial, seed: int = 0) -> np.ndarray:
    """Quantiles about the truth, as if someone had forecast."""
    draw = np.random.default_rng(seed)
    middle = np.nan_to_num(trial.actual, nan=20.0) + draw.normal(size=trial.actual.shape)
    return middle[..., None] + np.linspace(-3, 3, len(LEVELS))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_it_holds_every_variable_of_every_window_and_what_came(
    panel_of: PanelOf, split: str
) -> None:
    panel = panel_of((50, 40), variables=2, gaps=0.1)
    dataset = cut(panel, horizon=4, test=9, valid=7, stride=2, season=3)
    trial = Trial.of(dataset, split)
    series, origins = dataset.origins(split)
    expected = [(s * 2 + v, o) for s, o in zip(series, origins) for v in (0, 1)]
    assert list(zip(trial.channels, trial.origins)) == expected
    assert len(trial) == 2 * len(series)
    for w, (channel, origin) in enumerate(expected):
        column = panel.series[channel // 2].values[:, channel % 2]
        np.testing.assert_array_equal(trial.actual[w], column[origin : origin + 4])
        before = len(column) - (16 if split == "valid" else 9)
        assert trial.scales[w] == mase_scale(column[:before], 3)


def test_scales_are_mean_seasonal_changes_before_an_end(panel_of: PanelOf) -> None:
    panel = panel_of((40, 30), variables=2)
    dataset = cut(panel, horizon=4, season=4)
    where = np.array([0, 1]), np.array([20, 10]), np.array([20, 3])
    found = Trial.at(dataset, *where).scales.reshape(2, 2)
    for v in range(2):
        y = panel.series[0].values[:20, v]
        assert found[0, v] == pytest.approx(np.mean([abs(y[t] - y[t - 4]) for t in range(4, 20)]))
        short = panel.series[1].values[:3, v]
        assert found[1, v] == pytest.approx(np.abs(np.diff(short)).mean())


def test_scales_know_nothing_of_the_part_that_is_scored(panel_of: PanelOf) -> None:
    for split, kept in (("valid", 16), ("test", 9)):
        pair = []
        for shift in (0.0, 1e7):
            panel = panel_of((50, 40), variables=2)
            for one in panel.series:
                one.values[-kept:] += shift * np.arange(kept)[:, None]
            dataset = cut(panel, horizon=4, test=9, valid=7, season=3)
            pair.append(Trial.of(dataset, split).scales)
        np.testing.assert_array_equal(pair[0], pair[1])


def test_of_too_many_windows_evenly_spaced_ones_are_kept(panel_of: PanelOf) -> None:
    dataset = cut(panel_of((60,)), horizon=4, test=20, stride=1)
    whole, some = Trial.of(dataset, "test"), Trial.of(dataset, "test", most=5)
    assert len(whole) == 17
    assert some.origins.tolist() == [40, 44, 48, 52, 56]
    np.testing.assert_array_equal(some.actual, whole.actual[::4])
    assert len(Trial.of(dataset, "test", most=17)) == 17


def test_parts_make_the_whole_again(panel_of: PanelOf) -> None:
    dataset = cut(panel_of((60, 50)), horizon=4, test=12)
    whole = Trial.of(dataset, "test")
    parts = [whole.only(np.array([0, 1])), whole.only(np.arange(2, 6))]
    again = Trial.together(parts)
    for name in ("channels", "origins", "actual", "scales"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    quantiles = told(whole)
    assert again.score(quantiles) == whole.score(quantiles)


def test_no_series_may_be_long_enough_for_a_window(panel_of: PanelOf) -> None:
    dataset = replace_lengths(panel_of((60, 50)))
    trial = Trial.of(dataset, "valid")
    assert len(trial) == 0
    assert trial.actual.shape == (0, 4)


def replace_lengths(panel: Panel) -> SeriesDataset:
    dataset = cut(panel, horizon=4)
    dataset.valid, dataset.test = 40, 40  # more than any series has
    return dataset


# Scores


def test_scores_are_those_of_the_metrics_with_each_series_counted_once(panel_of: PanelOf) -> None:
    panel = panel_of((50, 40), variables=2, gaps=0.1)
    trial = Trial.of(cut(panel, horizon=4, test=9, stride=1), "test")
    quantiles = told(trial)
    found = trial.score(quantiles)
    assert found == score(trial.actual, quantiles, LEVELS, trial.scales, 2)
    assert trial.only(np.arange(3)).score(quantiles[:3]).series == 1


def test_standardized_scores_are_scores_of_scaled_values(panel_of: PanelOf) -> None:
    split = Split(horizon=4, valid=7, test=9, stride=1, standardize=True)
    panel = panel_of((80,), variables=3)
    trial = Trial.of(cut(panel, split), "test")
    mean, deviation = panel.series[0].values[:64].mean(0), panel.series[0].values[:64].std(0)
    scaled = replace(panel.series[0], values=(panel.series[0].values - mean) / deviation)
    plain = Trial.of(
        cut(replace(panel, series=(scaled,)), replace(split, standardize=False)), "test"
    )
    variables = trial.channels % 3
    quantiles = told(plain)
    back = quantiles * deviation[variables][:, None, None] + mean[variables][:, None, None]
    expected, found = plain.score(quantiles).as_dict(), trial.score(back).as_dict()
    assert found == pytest.approx(expected, rel=1e-9)
    assert found["mse"] != pytest.approx(
        Trial.of(cut(panel, horizon=4), "test")
        .score(told(Trial.of(cut(panel, horizon=4), "test")))
        .mse,
        rel=0.1,
    )


def test_a_constant_variable_has_scores_without_a_warning(panel_of: PanelOf) -> None:
    panel = panel_of((60,), variables=2)
    panel.series[0].values[:, 1] = 5.0
    trial = Trial.of(cut(panel, Split(4, 4, 4, standardize=True)), "test")
    found = trial.score(told(trial)).as_dict()
    assert found["mse"] is not None
    assert found["mase"] is not None


# Rivals


@pytest.mark.parametrize("name", sorted(BASELINES.places))
def test_a_rival_sees_nothing_after_an_origin_and_is_fitted_before_the_first(
    panel_of: PanelOf, name: str
) -> None:
    pair = []
    for shift in (0.0, 1e4):
        panel = panel_of((70, 60), gaps=0.05)
        for one in panel.series:
            one.values[-8:] += shift  # the second of the two windows, and what comes after it
        trial = Trial.of(cut(panel, horizon=8, test=16, season=4), "test")
        pair.append(trial.rival(name))
    np.testing.assert_array_equal(pair[0][::2], pair[1][::2])
    np.testing.assert_array_equal(pair[0][1::2], pair[1][1::2])
    assert np.isfinite(pair[0]).all()


def test_every_window_of_a_rival_goes_on_from_what_was_just_before_it(panel_of: PanelOf) -> None:
    panel = panel_of((70, 60), variables=2)
    trial = Trial.of(cut(panel, horizon=6, test=20, stride=3, season=4), "test")
    found = trial.rival("seasonal_naive")
    assert found.shape == (len(trial), 6, len(LEVELS))
    for w, (channel, origin) in enumerate(zip(trial.channels, trial.origins)):
        column = panel.series[channel // 2].values[:, channel % 2]
        expected = [column[origin - 4 + h % 4] for h in range(6)]
        np.testing.assert_allclose(found[w, :, LEVELS.index(0.5)], expected, rtol=1e-12)


def test_a_rival_is_what_the_baseline_says_of_each_window_alone(
    panel_of: PanelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HISTORY", 30)
    panel = panel_of((70,))
    trial = Trial.of(cut(panel, horizon=6, test=20, stride=7, season=4), "test")
    found = trial.rival("ar")
    values = panel.series[0].values[:, 0]
    fitted = BASELINES["ar"]().fit(values[:50], 4)
    for w, origin in enumerate(trial.origins):
        alone = fitted.predict(values[origin - 30 : origin][None], 6, LEVELS)
        np.testing.assert_allclose(found[w], alone[0], rtol=1e-9)


def test_a_series_is_judged_only_where_it_has_begun() -> None:
    late, early = np.arange(1.0, 61.0), np.arange(1.0, 61.0)
    late[:53] = np.nan
    panel = Panel((Series("late", late), Series("early", early)))
    dataset = cut(panel, horizon=2, test=10, valid=10, stride=2, season=1)
    assert np.unique(Trial.of(dataset, "valid").channels).tolist() == [1]
    trial = Trial.of(dataset, "test")
    assert list(zip(trial.channels, trial.origins))[:3] == [(0, 54), (0, 56), (0, 58)]
    for name in BASELINES:
        assert np.isfinite(trial.rival(name)).all(), name
