"""Backtests against a loop over series and origins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, DataError
from recurra.series.baselines import BASELINES
from recurra.series.data.fills import filled
from recurra.series.judging.metrics import LEVELS, mase_scale, score
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel
from recurra.series.use.backtest import backtest
from recurra.series.use.forecaster import Forecaster

PanelOf = Callable[..., Panel]
Made = Any
RIVALS = ("seasonal_naive", "ar")


def by_hand(
    panel: Panel, end: int, forecasts: Callable[[Panel, int], Any], season: int, horizon: int
) -> tuple[list[Any], ...]:
    """What came, what was said and the scales, of every channel that has a season before."""
    actual, told, scales = [], [], []
    for s, one in enumerate(panel.series):
        origin = len(one) - end
        if origin < max(2, season + 1):
            continue
        for v in range(len(panel.targets)):
            values = one.values[:, v]
            actual.append(values[origin : origin + horizon])
            told.append(forecasts(until(panel, end), s * len(panel.targets) + v))
            scales.append(mase_scale(values[:origin], season))
    return actual, told, scales


def until(panel: Panel, end: int) -> Panel:
    series = [
        replace(
            one,
            values=one.values[: max(1, len(one) - end)],
            past=one.past[: max(1, len(one) - end)],
            stamps=None if one.stamps is None else one.stamps[: max(1, len(one) - end)],
        )
        for one in panel.series
    ]
    return replace(panel, series=tuple(series))


@pytest.mark.parametrize(("windows", "step"), [(1, None), (3, None), (4, 2), (2, 9)])
def test_it_is_a_forecast_from_every_origin_as_it_stood_then(
    panel_of: PanelOf, forecaster_of: Callable[..., Made], windows: int, step: int | None
) -> None:
    panel = panel_of((60, 33, 14), variables=2, past=1, future=1, gaps=0.05)
    fc: Forecaster = forecaster_of(panel).forecaster
    found = backtest(
        fc,
        SeriesOptions(season=4, nonnegative=False),
        panel,
        windows=windows,
        step=step,
        baselines=RIVALS,
    )
    ends = [6 + (step or 6) * back for back in reversed(range(windows))]
    assert [fold.steps_before_end for fold in found.folds] == ends
    every: tuple[list[Any], ...] = ([], [], [])
    for fold, end in zip(found.folds, ends):
        parts = by_hand(panel, end, lambda p, n: fc.predict(history=p).quantiles[n], 4, 6)
        names = sum(len(one) - end >= 5 for one in panel.series)
        expected = score(*map(np.array, parts[:2]), LEVELS, np.array(parts[2]), names)
        assert fold.ours.as_dict() == pytest.approx(expected.as_dict(), rel=1e-5)
        for whole, part in zip(every, parts):
            whole.extend(part)
        for name in RIVALS:
            rival = []
            for one in panel.series:
                origin = len(one) - end
                if origin >= 5:
                    for values in one.values.T:
                        seen = torch.from_numpy(values[None, :origin])
                        whole = filled(seen.nan_to_num(), ~seen.isnan(), 4, "season").numpy()
                        fitted = BASELINES[name]().fit(whole[0], 4)
                        rival.append(fitted.predict(whole, 6, LEVELS)[0])
            wanted = score(np.array(parts[0]), np.array(rival), LEVELS, np.array(parts[2]), names)
            assert fold.baselines[name].as_dict() == pytest.approx(wanted.as_dict(), rel=1e-6)
    names = sum(len(one) - ends[-1] >= 5 for one in panel.series)
    together = score(*map(np.array, every[:2]), LEVELS, np.array(every[2]), names)
    assert found.ours.as_dict() == pytest.approx(together.as_dict(), rel=1e-5)
    assert not found.refit


def test_nothing_after_an_origin_changes_its_fold(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    """The first fold's figures stay, whatever is observed after its horizon."""
    fc: Forecaster = forecaster_of(panel_of((60, 60), past=1), scale="series").forecaster
    folds = []
    for shift in (0.0, 1e7):
        panel = panel_of((60, 45), past=1, seed=5)
        panel = replace(panel, series=(panel.series[0], replace(panel.series[1], unique_id="new")))
        for one in panel.series:
            one.values[-12:] += shift
            one.past[-18:] += shift
        found = backtest(fc, SeriesOptions(season=4), panel, windows=3, baselines=tuple(BASELINES))
        folds.append(found.folds[0])
    assert folds[0] == folds[1]


def test_all_windows_of_all_series_go_through_the_network_at_once(
    panel_of: PanelOf, forecaster_of: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    fc: Forecaster = forecaster_of(panel_of()).forecaster
    asked = []
    quantiles = fc.network.quantiles

    def spy(window: Any) -> Any:
        asked.append(len(window.values))
        return quantiles(window)

    monkeypatch.setattr(fc.network, "quantiles", spy)
    backtest(fc, SeriesOptions(season=4), panel_of(), windows=4, step=1, baselines=())
    assert asked == [8]


def test_refitted_it_learns_anew_from_what_was_before_each_origin(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    panel = panel_of((70, 50, 14), future=1, stamps="hours")
    given: list[Panel] = []
    made: list[Forecaster] = []

    def refit(past: Panel) -> Forecaster:
        given.append(past)
        made.append(forecaster_of(past, seed=len(given)).forecaster)
        return made[-1]

    first = forecaster_of(panel).forecaster
    found = backtest(
        first, SeriesOptions(season=4), panel, windows=2, step=8, refit=refit, baselines=RIVALS
    )
    assert found.refit
    for past, end in zip(given, (14, 6)):
        kept = [one for one in panel.series if len(one) > end]
        assert [one.unique_id for one in past.series] == [one.unique_id for one in kept]
        for one, whole in zip(past.series, kept):
            np.testing.assert_array_equal(one.values, whole.values[: len(whole) - end])
            np.testing.assert_array_equal(one.future, whole.future)
            assert one.stamps is not None
            assert len(one.stamps) == len(one) == len(one.past)
    for fold, fc, end in zip(found.folds, made, (14, 6)):
        parts = by_hand(panel, end, lambda p, n, fc=fc: fc.predict(history=p).quantiles[n], 4, 6)
        expected = score(*map(np.array, parts[:2]), LEVELS, np.array(parts[2]), len(parts[0]))
        assert fold.ours.as_dict() == pytest.approx(expected.as_dict(), rel=1e-5)
    other = backtest(first, SeriesOptions(season=4), panel, windows=2, step=8, baselines=())
    assert found.folds[0].ours != other.folds[0].ours


def test_it_is_told_as_json(panel_of: PanelOf, forecaster_of: Callable[..., Made]) -> None:
    made = forecaster_of(panel_of())
    found = backtest(made.forecaster, SeriesOptions(), made.panel, windows=2, baselines=("naive",))
    facts = json.loads(json.dumps(found.as_dict()))
    assert facts["refit"] is False
    assert facts["ours"] == found.ours.as_dict()
    assert [fold["steps_before_end"] for fold in facts["folds"]] == [12, 6]
    assert facts["folds"][1]["baselines"]["naive"] == found.folds[1].baselines["naive"].as_dict()
    assert set(facts["baselines"]) == {"naive"}


def test_origins_before_there_was_anything_are_bad_data(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    made = forecaster_of(panel_of())
    with pytest.raises(DataError, match=r"no series has an origin 60 steps before its end.*fewer"):
        backtest(made.forecaster, SeriesOptions(season=4), made.panel, windows=10)


@pytest.mark.parametrize("wrong", [{"windows": 0}, {"windows": 10**6}, {"step": 0}, {"step": -1}])
def test_no_windows_or_steps_are_refused(
    panel_of: PanelOf, forecaster_of: Callable[..., Made], wrong: dict[str, int]
) -> None:
    made = forecaster_of(panel_of())
    with pytest.raises(ConfigError, match="give 1 to 1,000 windows"):
        backtest(made.forecaster, SeriesOptions(), made.panel, **wrong)
