"""Baselines that fail are a line, not the end; what they take is told by a part of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.baselines import BASELINES
from recurra.series.baselines.base import Baseline
from recurra.series.baselines.naive import Naive
from recurra.series.data.dataset import SeriesDataset
from recurra.series.judging.rivals import costs_of_rivals, require_finite, rivals
from recurra.series.judging.trial import Trial
from recurra.series.options import SeriesOptions


class Raising(Baseline):
    def learn(self, values, season):
        raise ZeroDivisionError("a season of nothing")


class Infinite(Naive):
    def learn(self, values, season):
        values = values.copy()
        values[-1] = math.inf
        return super().learn(values, season)


@pytest.fixture(scope="module")
def trials() -> dict[str, Trial]:
    values = [10 + np.sin(np.arange(60.0) + n) for n in range(4)]
    dataset = SeriesDataset.open(SeriesOptions(horizon=4, season=6), values)
    return {split: Trial.of(dataset, split) for split in ("valid", "test")}


def test_one_that_raises_or_is_not_finite_is_named_and_the_others_are_told(trials):
    out = {"drift": "would take 300 s, 45 s were left"}
    names = ["naive", f"{__name__}:Raising", "drift", f"{__name__}:Infinite"]
    found = rivals(trials, names, out)
    assert list(found) == ["naive"] and list(found["naive"]) == ["valid", "test"]
    np.testing.assert_array_equal(found["naive"]["test"], trials["test"].rival("naive"))
    assert out[f"{__name__}:Raising"] == "failed with ZeroDivisionError: a season of nothing"
    assert "the forecast of series '0', 1 steps ahead, is" in out[f"{__name__}:Infinite"]
    assert out["drift"].startswith("would take")


def test_forecasts_that_are_not_finite_are_refused_by_series_and_step(trials):
    told = trials["test"].rival("naive")
    require_finite(trials["test"], told)
    told[2, 1, 3] = -math.inf
    with pytest.raises(DataError, match="the forecast of series '2', 2 steps ahead, is -inf"):
        require_finite(trials["test"], told)


def test_every_baseline_has_its_cost(trials):
    found = {name: measure() for name, measure in costs_of_rivals(trials.values())}
    assert list(found) == list(BASELINES)
    assert all(0 < seconds < 60 for seconds in found.values())
