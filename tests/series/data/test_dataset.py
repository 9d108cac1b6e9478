"""Where series are cut, which windows are scored, and what is seen beside the values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError, DataError
from recurra.learning.written import typed
from recurra.series.calendar.frequency import STEPS, Frequency
from recurra.series.data.dataset import Features, SeriesDataset
from recurra.series.datasets.base import Split
from recurra.series.judging.trial import Trial
from recurra.series.options import SeriesOptions
from recurra.series.panel import Panel, Series

PanelOf = Callable[..., Panel]


def ramps(*lengths: int, season: int = 1, variables: int = 1) -> Panel:
    series = [
        Series(str(n), np.arange(float(length * variables)).reshape(length, variables))
        for n, length in enumerate(lengths)
    ]
    names = tuple(f"y{v}" for v in range(variables))
    return Panel(tuple(series), names, replace(STEPS, season=season))


def cut(panel: Panel, published: Split | None = None, **options: int) -> SeriesDataset:
    return SeriesDataset(panel, SeriesOptions(**options), published)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    horizon=st.integers(1, 5),
    more=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    stride=st.integers(1, 8),
)
def test_windows_are_all_those_of_a_part_counted_back_from_its_end(
    lengths: list[int], horizon: int, more: tuple[int, int], stride: int
) -> None:
    test, valid = horizon + more[0], horizon + more[1]
    panel = ramps(*lengths, 80)
    dataset = cut(panel, horizon=horizon, test=test, valid=valid, stride=stride)
    for split, begin, end in (("test", test, 0), ("valid", test + valid, test)):
        expected = []
        for row, one in enumerate(panel.series):
            first, stop = len(one) - begin, len(one) - end
            if first < 1:
                continue
            starts = range(first, stop - horizon + 1)
            expected += [(row, s) for s in starts if (stop - horizon - s) % stride == 0]
        rows, origins = dataset.origins(split)
        assert list(zip(rows.tolist(), origins.tolist())) == expected
    kept = dataset.end("test") - dataset.end("valid"), dataset.end("valid") - dataset.end("train")
    assert [set(part.tolist()) for part in kept] == [{test}, {valid}]
    assert dataset.end("test").tolist() == [*lengths, 80]


def test_every_window_of_the_etth1_protocol_is_scored() -> None:
    panel = ramps(8640 + 2880 + 2880, variables=7)
    split = Split(horizon=96, valid=2880, test=2880, stride=1, standardize=True)
    trial = Trial.of(cut(panel, split), "test")
    assert trial.actual.shape == (2785 * 7, 96)
    assert trial.origins.min() == 11520
    assert trial.origins.max() == 14400 - 96
    assert len(Trial.of(cut(panel, split), "valid")) == 2785 * 7


@pytest.mark.parametrize(
    ("season", "lengths", "expected"),
    [(12, (200, 100), 12), (12, (200, 30), 6), (1, (400, 80), 10), (1, (400,), 12), (1, (40,), 5)],
)
def test_a_horizon_that_nobody_gave_is_a_season_or_a_share_of_the_shortest_series(
    season: int, lengths: tuple[int, ...], expected: int
) -> None:
    dataset = cut(ramps(*lengths, season=season))
    assert dataset.horizon == expected
    assert (dataset.test, dataset.valid, dataset.stride) == (expected,) * 3


def test_options_go_before_what_was_published_and_parts_hold_a_horizon() -> None:
    split = Split(horizon=3, valid=6, test=9, stride=2)
    published = cut(ramps(60), split)
    assert (published.horizon, published.valid, published.test) == (3, 6, 9)
    assert published.stride == 2
    own = cut(ramps(60, season=5), split, horizon=8, test=10, season=7, stride=1)
    assert (own.horizon, own.valid, own.test, own.stride, own.season) == (8, 8, 10, 1, 7)
    assert not own.standardize


@pytest.mark.parametrize("part", ["test", "valid"])
def test_a_part_that_is_asked_for_holds_a_horizon(part: str) -> None:
    with pytest.raises(ConfigError, match=f"data.{part} is 1, less than the horizon of 8 steps"):
        cut(ramps(60), horizon=8, **{part: 1})


def test_series_without_room_for_a_single_window_are_bad_data() -> None:
    assert len(Trial.of(cut(ramps(17), horizon=5), "test")) == 1
    with pytest.raises(DataError, match=r"longest series has 16 .* needs 17; give a smaller"):
        cut(ramps(16, 3), horizon=5)


def test_a_series_too_short_for_the_test_is_scored_nowhere_but_others_are() -> None:
    dataset = cut(ramps(40, 8, 4), horizon=4)
    assert dataset.origins("test")[0].tolist() == [0, 1]
    assert dataset.origins("valid")[0].tolist() == [0]


# The scaling of a published protocol


def test_errors_are_scaled_by_the_training_parts_mean_and_deviation(panel_of: PanelOf) -> None:
    panel = panel_of((50, 30, 9), variables=3, gaps=0.2)
    dataset = cut(panel, Split(horizon=4, valid=5, test=6, standardize=True))
    known = np.vstack([panel.series[0].values[:39], panel.series[1].values[:19]])
    mean, deviation = dataset.scaling()
    np.testing.assert_allclose(mean, np.nanmean(known, axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation, np.nanstd(known, axis=0), rtol=1e-12)
    plain = cut(panel, Split(horizon=4, valid=5, test=6)).scaling()
    assert [part.tolist() for part in plain] == [[0] * 3, [1] * 3]


def test_a_variable_that_is_constant_or_never_observed_is_left_as_it_is() -> None:
    values = np.column_stack([np.full(40, 7.0), np.full(40, np.nan), np.arange(40.0)])
    panel = Panel((Series("a", values),), ("x", "y", "z"))
    dataset = cut(panel, Split(horizon=4, valid=4, test=4, standardize=True))
    mean, deviation = dataset.scaling()
    assert mean.tolist() == [7.0, 0.0, 15.5]
    assert deviation.tolist()[:2] == [1.0, 1.0]


# What is seen beside the values


def test_covariates_are_scaled_by_their_training_part(panel_of: PanelOf) -> None:
    panel = panel_of((40, 30), past=2, future=1, static=2)
    panel.series[0].past[3:9, 0] = np.nan
    features = Features.fit(panel, [25, 10], calendar=True)
    moving = np.vstack(
        [np.hstack([one.past[:n], one.future[:n]]) for one, n in zip(panel.series, [25, 10])]
    )
    static = np.stack([one.static for one in panel.series])
    means = [*np.nanmean(moving, axis=0), *static.mean(axis=0)]
    deviations = [*np.nanstd(moving, axis=0), *static.std(axis=0)]
    np.testing.assert_allclose(features.means, means, rtol=1e-12)
    np.testing.assert_allclose(features.deviations, deviations, rtol=1e-12)
    assert (features.calendar, features.delta) == (False, False)
    first, second = features.channels(panel, ahead=6)
    expected = (np.hstack([panel.series[1].past, panel.series[1].future[:30]]) - means[:3]) / (
        deviations[:3]
    )
    np.testing.assert_allclose(second.seen, expected, rtol=1e-12)
    ahead = (panel.series[1].future[:36] - means[2]) / deviations[2]
    np.testing.assert_allclose(second.known, ahead, rtol=1e-12)
    np.testing.assert_allclose(second.static, (static[1] - means[3:]) / deviations[3:], rtol=1e-12)
    assert (first.seen[3:9, 0] == 0).all(), "what is not known is as the mean"
    assert [first.series, second.series] == [0, 1]
    np.testing.assert_array_equal(second.values, panel.series[1].values[:, 0])


def test_a_series_that_is_shorter_than_what_is_kept_back_teaches_no_scale(
    panel_of: PanelOf,
) -> None:
    panel = panel_of((40, 10), past=1, future=1)
    alone = panel_of((40,), past=1, future=1)
    fitted = Features.fit(panel, [20, -4], calendar=False)
    assert fitted == Features.fit(alone, [20], calendar=False)


@given(st.integers(0, 10_000), st.integers(1, 39))
def test_nothing_after_the_training_part_enters_the_scale_of_a_feature(seed: int, end: int) -> None:
    draw = np.random.default_rng(seed)
    past, future = draw.normal(size=(40, 2)), draw.normal(size=(44, 1))
    panels = []
    for shift in (0.0, 1e6):
        moved = past.copy(), future.copy()
        for part in moved:
            part[end:] += shift
        series = Series("a", np.zeros(40), past=moved[0], future=moved[1])
        panels.append(Panel((series,), past=("p", "q"), future=("f",)))
    assert Features.fit(panels[0], [end], False) == Features.fit(panels[1], [end], False)


def test_constant_and_missing_covariates_become_zero() -> None:
    past = np.column_stack([np.full(30, 4.0), np.full(30, np.nan)])
    panel = Panel((Series("a", np.arange(30.0), past=past),), past=("p", "q"))
    features = Features.fit(panel, [20], calendar=False)
    assert features.deviations == (1.0, 1.0)
    assert not features.channels(panel)[0].seen.any()


def test_what_is_known_ahead_is_repeated_where_it_ends() -> None:
    future = np.arange(10.0)[:, None]
    panel = Panel((Series("a", np.zeros(8), future=future),), future=("f",))
    known = Features(False, False, (0.0,), (1.0,)).channels(panel, ahead=5)[0].known
    assert known[:, 0].tolist() == [*range(10), 9, 9, 9]


def test_dates_are_seen_as_a_calendar_that_is_known_ahead(panel_of: PanelOf) -> None:
    panel = panel_of((40,), past=1, future=1, stamps="hours")
    features = Features.fit(panel, [20], calendar=True)
    one = features.channels(panel, ahead=6)[0]
    stamps = np.datetime64("2024-02-27", "ns") + np.arange(46) * np.timedelta64(1, "h")
    calendar = panel.frequency.calendar(stamps)
    assert calendar.shape[1] == 8  # of day, week, month and year, two waves each
    np.testing.assert_array_equal(one.known[:, 1:], calendar)
    np.testing.assert_array_equal(one.seen[:, 2:], calendar[:40])
    without = Features.fit(panel, [20], calendar=False).channels(panel)[0]
    assert (without.seen.shape[1], without.known.shape[1]) == (2, 1)


def test_irregular_stamps_are_seen_as_the_logarithm_of_the_time_between(panel_of: PanelOf) -> None:
    panel = panel_of((30,), past=1, future=1, stamps="irregular")
    assert not panel.frequency.regular
    features = Features.fit(panel, [20], calendar=True)
    assert features.delta
    assert not features.calendar
    seen = features.channels(panel)[0].seen
    stamps = panel.series[0].stamps
    assert stamps is not None
    between = np.diff(stamps) / np.median(np.diff(stamps))
    np.testing.assert_allclose(seen[1:, 1], np.log1p(between), rtol=1e-12)
    assert seen[0, 1] == pytest.approx(np.log(2))
    assert features.channels(panel)[0].known.shape[1] == 1, "it is not known ahead"


def test_every_variable_is_a_channel_that_shares_its_series_features(panel_of: PanelOf) -> None:
    panel = panel_of((30, 20), variables=3, past=1)
    channels = Features.fit(panel, [20, 10], calendar=True).channels(panel)
    assert [(c.series, c.variable) for c in channels] == [(s, v) for s in (0, 1) for v in range(3)]
    np.testing.assert_array_equal(channels[4].values, panel.series[1].values[:, 1])
    assert channels[3].seen is channels[4].seen


def test_series_without_the_stamps_that_features_are_made_of_are_bad_data(
    panel_of: PanelOf,
) -> None:
    plain = panel_of((30,))
    with pytest.raises(DataError, match="'s0' has no dates"):
        Features(True, False, (), ()).channels(plain)
    with pytest.raises(DataError, match="'s0' has no stamps"):
        Features(False, True, (), ()).channels(plain)


def test_features_are_the_same_once_read_back(panel_of: PanelOf) -> None:
    features = Features.fit(panel_of((30,), past=2, static=1), [20], calendar=True)
    facts = {name: getattr(features, name) for name in features.__slots__}
    assert typed(Features, json.loads(json.dumps(facts)), "facts") == features


# In words


def test_facts_say_what_is_forecast() -> None:
    panel = replace(ramps(40, 30, season=4, variables=2), notes=("2 gaps", "sorted"))
    facts = cut(panel, horizon=3, test=5).facts()
    assert facts == {
        "series": "2 of 2 variables, 70 observations; the last steps kept: 5 for the test, "
        "3 for validation",
        "forecast": "3 steps ahead, steps, season of 4",
        "notes": "2 gaps; sorted",
    }
    assert cut(ramps(40)).facts()["forecast"].endswith("no season")


def test_it_opens_what_options_name_or_what_is_given() -> None:
    airline = SeriesDataset.open(SeriesOptions(dataset="airline"))
    assert (airline.horizon, airline.season, airline.lengths.tolist()) == (12, 12, [144])
    given = SeriesDataset.open(SeriesOptions(horizon=2, season=3), [np.arange(30.0), np.ones(20)])
    assert (given.season, given.lengths.tolist()) == (3, [30, 20])
    assert isinstance(given.panel.frequency, Frequency)


def test_variables_that_are_never_below_zero_before_the_test() -> None:
    values = np.column_stack([np.arange(30.0), np.arange(30.0) - 5, np.arange(30.0)])
    values[-1, 2] = -1.0  # in the test, of which nothing is to be known
    panel = Panel((Series("a", values),), ("u", "v", "w"))
    for asked, expected in ((None, (0, 2)), (True, (0, 1, 2)), (False, ())):
        options = SeriesOptions(horizon=3, nonnegative=asked)
        assert SeriesDataset(panel, options, None).nonnegative == expected
