"""What is learned from: which windows, in which order, and how it is judged meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import DataError
from recurra.randomness import generator
from recurra.series.data.windows import Windows
from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.trial import Trial
from recurra.series.network import learner as module
from recurra.series.network.conformal import corrected, fitted_corrections
from recurra.series.network.learner import SeriesLearner
from recurra.series.panel import Panel

PanelOf = Callable[..., Panel]
Made = Any
CPU = torch.device("cpu")


def learner_of(made: Made, batch_size: int = 7, seed: int = 3) -> SeriesLearner:
    shape = made.forecaster.network.shape
    channels = made.forecaster.features.channels(made.panel)
    windows = Windows(channels, shape.context, shape.horizon, made.forecaster.deviations)
    network = made.forecaster.network
    return SeriesLearner(network, made.dataset, windows, batch_size, seed, CPU)


@pytest.mark.parametrize(("season", "context", "least"), [(4, 12, 5), (1, 12, 2), (9, 4, 4)])
def test_every_window_whose_horizon_lies_in_a_training_part_is_learned_from(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Made],
    season: int,
    context: int,
    least: int,
) -> None:
    panel = panel_of((60, 30, 14), variables=2)
    made = forecaster_of(panel, horizon=3, data={"season": season, "test": 5}, context=context)
    learner = learner_of(made)
    expected = {
        (2 * s + v, origin)
        for s, length in enumerate((60, 30, 14))
        for v in (0, 1)
        for origin in range(least, length - 8 - 3 + 1)
    }
    found = list(zip(learner.rows.tolist(), learner.origins.tolist()))
    assert set(found) == expected
    assert len(found) == len(expected)
    assert learner.steps_per_epoch == -(-len(expected) // 7)


def test_nothing_after_the_training_part_is_learned_from(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    batches = []
    for moved in (0.0, np.nan, 1e9):
        panel = panel_of((60, 40), past=1)
        for one in panel.series:
            one.values[-12:] += moved
            one.past[-12:] += moved
        learner = learner_of(forecaster_of(panel))
        batches.append([learner.batch(0, k) for k in range(learner.steps_per_epoch)])
    for other in batches[1:]:
        for (_, *one), (_, *two) in zip(batches[0], other):
            for here, there in zip([*one[0], *one[1:]], [*two[0], *two[1:]]):
                np.testing.assert_array_equal(here, there)


def test_an_epoch_is_every_window_once_in_an_order_of_its_own(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    learner = learner_of(forecaster_of(panel_of()))
    orders = []
    for epoch in (0, 1):
        batches = [learner.batch(epoch, k) for k in range(learner.steps_per_epoch)]
        assert [len(b[2]) for b in batches[:-1]] == [7] * (len(batches) - 1)
        orders.append([tuple(row) for b in batches for row in b[2].tolist()])
    targets, _ = learner.windows.after(learner.rows, learner.origins)
    expected = Counter(tuple(row) for row in targets.tolist())
    assert Counter(orders[0]) == Counter(orders[1]) == expected
    assert orders[0] != orders[1]
    again = learner_of(forecaster_of(panel_of()))
    np.testing.assert_array_equal(again.batch(1, 2)[2], learner.batch(1, 2)[2])
    other = learner_of(forecaster_of(panel_of()), seed=4)
    assert not np.array_equal(other.batch(1, 2)[2], learner.batch(1, 2)[2])


def test_members_learn_in_turn(panel_of: PanelOf, forecaster_of: Callable[..., Made]) -> None:
    learner = learner_of(forecaster_of(panel_of(), members=3), batch_size=6)
    per_epoch = learner.steps_per_epoch
    assert per_epoch % 3, "so that a new epoch does not begin with the first"
    steps = [divmod(n, per_epoch) for n in range(2 * per_epoch)]
    assert [learner.batch(*step)[0] for step in steps] == [n % 3 for n in range(2 * per_epoch)]
    learner.model.train()
    loss, carry, items = learner.loss(learner.batch(0, 1), None, generator(1, "dropout"))
    loss.backward()  # type: ignore[no-untyped-call]
    learned = [p.grad is not None for p in learner.network.member(1).parameters()]
    others = [p.grad is not None for p in learner.network.member(0).parameters()]
    assert all(learned)
    assert not any(others)
    assert (carry, items) == (None, 6)


def test_a_batch_is_never_larger_than_the_data(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    learner = learner_of(forecaster_of(panel_of()), batch_size=10_000)
    assert learner.steps_per_epoch == 1
    assert len(learner.batch(0, 0)[2]) == len(learner.rows)


def test_series_too_short_to_learn_from_are_bad_data(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    made = forecaster_of(panel_of((22,), season=8), horizon=6)
    said = r"season is of 8 .*no series has 15 observations to learn from.*6 \+ 6 kept"
    with pytest.raises(DataError, match=said):
        learner_of(made)


def test_of_a_season_longer_than_the_series_the_season_is_to_blame(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    """`data.season=500` on 211 rows."""
    made = forecaster_of(panel_of((211,), season=500), horizon=12, context=504)
    said = r"a season is of 500 .* no series has 513 .* 187 at most; give a smaller data\.season"
    with pytest.raises(DataError, match=said):
        learner_of(made)


# Judged meanwhile


@pytest.mark.parametrize("head", ["quantiles", "student_t", "mean"])
def test_validation_is_the_score_and_the_quantile_loss_of_the_validation_windows(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Made],
    monkeypatch: pytest.MonkeyPatch,
    head: str,
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    made = forecaster_of(panel_of(gaps=0.1), data={"valid": 14, "stride": 1}, head=head, members=2)
    learner = learner_of(made)
    network = learner.network.eval()
    found = learner.validate()
    assert found is not None
    network.correction.zero_()
    trial = Trial.of(made.dataset, "valid")
    quantiles = made.forecaster.quantiles(learner.windows, trial.channels, trial.origins)
    expected = trial.score(quantiles).as_dict()
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    losses = []
    for w, (row, origin) in enumerate(zip(trial.channels, trial.origins)):
        window = learner.windows.before(torch.tensor([row]), torch.tensor([origin]))
        scaled = network.scaling.apply(window)
        change = max(0.05, float(scaled.change)) * float(scaled.scale)
        for h in range(6):
            errors = trial.actual[w, h] - quantiles[w, h]
            if np.isfinite(errors).all():
                losses.append(
                    np.maximum(np.array(LEVELS) * errors, (np.array(LEVELS) - 1) * errors).mean()
                    / change
                )
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_long_validation_looks_at_some_windows_only(
    panel_of: PanelOf, forecaster_of: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_VALIDATED", 5)
    made = forecaster_of(panel_of(), data={"valid": 20, "stride": 1})
    assert len(learner_of(made).trial) == 5


@pytest.mark.parametrize("head", ["quantiles", "student_t", "mean"])
def test_calibration_is_conformal_on_the_validation_windows(
    panel_of: PanelOf, forecaster_of: Callable[..., Made], head: str
) -> None:
    made = forecaster_of(
        panel_of((200, 150), gaps=0.1), data={"valid": 80, "stride": 1}, head=head, members=2
    )
    learner = learner_of(made)
    network = learner.network
    trial = Trial.of(made.dataset, "valid")
    windows = learner.windows.before(
        torch.from_numpy(trial.channels), torch.from_numpy(trial.origins)
    )
    scaled = network.scaling.apply(windows)
    with torch.no_grad():
        ahead = network.eval().in_units(windows)[0].double().numpy()
    actual = (trial.actual - scaled.centre.numpy()) / scaled.scale.numpy()
    units = np.maximum(0.05, scaled.change[:, 0].numpy())
    expected = fitted_corrections(actual, ahead, LEVELS, units)
    network.train()
    learner.calibrate()
    np.testing.assert_allclose(network.correction, expected, rtol=1e-4, atol=1e-5)
    told = made.forecaster.quantiles(learner.windows, trial.channels, trial.origins)
    moves = torch.from_numpy(units[:, None, None] * expected)
    again = corrected(torch.from_numpy(ahead), moves).numpy()
    back = scaled.centre.numpy()[..., None] + scaled.scale.numpy()[..., None] * again
    np.testing.assert_allclose(told, back, rtol=1e-5, atol=1e-4)
    coverage = trial.score(told).intervals
    assert 0.75 <= coverage.coverage_80 <= 0.85, "on what it was calibrated on it holds"
    assert coverage.coverage_95 >= 0.93


def test_its_fingerprint_is_the_series(
    panel_of: PanelOf, forecaster_of: Callable[..., Made]
) -> None:
    first, again, other = (
        learner_of(forecaster_of(panel_of(seed=seed))).fingerprint for seed in (0, 0, 1)
    )
    assert first == again != other
    learner = learner_of(forecaster_of(panel_of()))
    assert learner.pack(None) == {}
    assert learner.unpack({}) is None
