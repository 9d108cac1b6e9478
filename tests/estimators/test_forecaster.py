from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.estimators.forecaster import SeriesForecaster
from recurra.learning.config import GIVEN
from recurra.run.session import evaluate
from recurra.series.options import SeriesOptions
from recurra.series.use.forecaster import Forecaster

QUICK = {"horizon": 4, "season": 6, "steps": 6, "random_state": 0}


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    steps = np.arange(80)
    wave = np.sin(2 * np.pi * steps / 6)
    return [10 + wave + 0.1 * rng.normal(size=80), 50 - 5 * wave[:60] + steps[:60] / 10]


@pytest.fixture(scope="module")
def fitted(pair):
    return SeriesForecaster(**QUICK).fit(pair)


def test_a_year_of_airline_passengers_beats_the_year_before():
    from recurra.series.datasets import open_panel

    values = open_panel(SeriesOptions(dataset="airline"))[0].series[0].values[:, 0]
    model = SeriesForecaster(horizon=12, steps=60, random_state=0).fit(values[:-12])
    ahead = model.predict(12)
    assert model.season_ == 12 and ahead.shape == (12,)
    ours, naive = (np.abs(told - values[-12:]).mean() for told in (ahead, values[-24:-12]))
    assert ours < 0.7 * naive == pytest.approx(0.7 * 47.8, abs=0.1)


def test_many_series_side_by_side(fitted):
    assert fitted.predict().shape == (2, 4)
    assert fitted.predict(9).shape == (2, 9)
    assert fitted.predict(9)[:, :4] == pytest.approx(fitted.predict())
    assert fitted.names_ == ("0", "1")
    assert (fitted.horizon_, fitted.season_, len(fitted.loss_curve_)) == (4, 6, 6)


def test_intervals_hold_the_median_and_widen(fitted):
    median = fitted.predict()
    (low95, high95), (low50, high50) = (fitted.predict_interval(level=p) for p in (95, 50))
    assert (low95 <= low50).all() and (low50 <= median).all()
    assert (median <= high50).all() and (high50 <= high95).all()
    assert (low95 < high95).all()


def test_rows_tell_stamps_and_intervals(fitted):
    rows = list(fitted.forecast(2, levels=[90]))
    assert [(row["unique_id"], row["ds"]) for row in rows] == [
        ("0", 80),
        ("0", 81),
        ("1", 60),
        ("1", 61),
    ]
    assert list(rows[0]) == ["unique_id", "ds", "yhat", "lo-90", "hi-90"]
    assert rows[0]["yhat"] == pytest.approx(fitted.predict(2)[0, 0])


def test_frames_in_long_form(pair):
    table = {
        "unique_id": ["b"] * 80 + ["a"] * 60,
        "ds": [*range(80), *range(60)],
        "y": np.concatenate(pair),
    }
    models = [SeriesForecaster(**QUICK).fit(make(table)) for make in (pd.DataFrame, pl.DataFrame)]
    assert np.array_equal(*(model.predict() for model in models))
    assert sorted(models[0].names_) == ["a", "b"]
    dated = {"when": pd.date_range("2020-01-31", periods=80, freq="ME"), "sold": pair[0]}
    columns = {"time_column": "when", "target": "sold"}
    model = SeriesForecaster(horizon=4, steps=3, **columns).fit(pd.DataFrame(dated))
    assert (model.season_, next(iter(model.forecast(1)))["ds"]) == (12, "2026-09-30")


def test_the_last_observations_are_seen_and_what_is_before_them_learned(pair):
    """Nothing is kept for a test: a change in any stretch but the last horizon moves weights."""
    first = clone_weights(SeriesForecaster(**QUICK).fit(pair[0]))
    changed = pair[0].copy()
    changed[-8:-4] += 5  # the horizon before the last: a test part would swallow it
    assert not torch.equal(first, clone_weights(SeriesForecaster(**QUICK).fit(changed)))
    seen = pair[0].copy()
    seen[-1] += 5
    later = SeriesForecaster(**QUICK).fit(seen)
    assert torch.equal(first, clone_weights(later))
    assert not np.array_equal(later.predict(), SeriesForecaster(**QUICK).fit(pair[0]).predict())


def clone_weights(model):
    members = model.forecaster_.network.members
    return torch.cat([p.detach().flatten() for p in members.parameters()])


def test_the_same_random_state_gives_the_same_numbers(pair, fitted):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = clone(fitted).fit(pair)
    assert np.array_equal(again.predict(), fitted.predict())
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    other = clone(fitted).set_params(random_state=1).fit(pair)
    assert not np.array_equal(other.predict(), fitted.predict())


def test_parameters_are_plain_and_clone():
    model = SeriesForecaster(horizon=3, hidden_size=4, optimizer="adam", fill="linear")
    params = clone(model).get_params()
    assert params == model.get_params()
    assert (params["hidden_size"], params["optimizer"], params["fill"]) == (4, "adam", "linear")
    assert params["members"] is params["learning_rate"] is params["target"] is None
    assert repr(model) == (
        "SeriesForecaster(fill='linear', hidden_size=4, horizon=3, optimizer='adam')"
    )


def test_the_given_settings_are_followed(pair):
    network = {"hidden_size": 5, "members": 1, "cell": "gru", "calibrate": False}
    train = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 8}
    model = SeriesForecaster(4, 6, 3, random_state=0, **network, **train).fit(pair)
    assert network.items() <= dict(model.forecaster_.options).items()
    assert model.forecaster_.options.dropout == 0.2  # as for so few data
    assert len(model.loss_curve_) == 3
    assert not model.forecaster_.network.correction.any()


def test_passes_in_place_of_steps(pair):
    model = SeriesForecaster(4, 6, epochs=2, batch_size=16, members=1, hidden_size=3).fit(pair)
    assert len(model.loss_curve_) == 14


def test_it_pickles(fitted):
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(7), fitted.predict(7))


def test_gaps_are_left_out(pair):
    gappy = pair[0].copy()
    gappy[[5, 30, 79]] = np.nan
    assert np.isfinite(SeriesForecaster(**QUICK).fit(gappy).predict()).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"horizon": 0}, "horizon is 0, but must be at least 1"),
        ({"season": -1}, "season is -1, but must be at least 1"),
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"cell": "grru"}, "no cell is named 'grru'. Did you mean 'gru'"),
        ({"members": 0}, "members is 0, but must be at least 1"),
        ({"fill": "zero"}, "fill is 'zero', but must be "),
        ({"random_state": "luck"}, "random_state: expected an integer"),
    ],
)
def test_a_parameter_out_of_range_is_named_at_fit(pair, settings, said):
    with pytest.raises(ConfigError, match=said):
        SeriesForecaster(**settings).fit(pair)


def test_series_that_are_too_short():
    with pytest.raises(DataError, match="longest series has"):
        SeriesForecaster(horizon=10).fit(np.arange(12.0))


def test_before_it_is_fitted():
    with pytest.raises(NotFittedError):
        SeriesForecaster().predict(3)


def test_what_it_saves_names_no_dataset(fitted, tmp_path):
    fitted.forecaster_.save_pretrained(tmp_path)
    assert Forecaster.from_pretrained(tmp_path).data.dataset == GIVEN
    with pytest.raises(CheckpointError, match="given"):
        evaluate(tmp_path)
