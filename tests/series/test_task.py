"""The task: from a config to a forecaster, resumed to the bit, beside its baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.learning.event import Event, Finished, Stepped, Stopped, Validated, Warned
from recurra.learning.options import TrainOptions
from recurra.series.baselines import BASELINES
from recurra.series.entry import SeriesRun
from recurra.series.judging.metrics import LEVELS
from recurra.series.judging.trial import Trial
from recurra.series.network.conformal import fitted_corrections
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel, Series
from recurra.series.task import SAME_WINDOWS, SeriesTask
from recurra.series.use.forecaster import Forecaster

PanelOf = Callable[..., Panel]
CPU = torch.device("cpu")


def config(**changes: dict[str, Any] | Any) -> SeriesRun:
    run = SeriesRun(
        preset="mine",
        data=SeriesOptions(dataset="(given)", horizon=6, season=4),
        network=ForecastOptions(hidden_size=6, context=12, segment=4),
        train=TrainOptions(
            steps=9,
            batch_size=8,
            optimizer="adam",
            learning_rate=0.01,
            validate_epochs=0.2,
        ),
    )
    for part, settings in changes.items():
        if isinstance(settings, dict):
            settings = getattr(run, part).model_copy(update=settings)
        run = run.model_copy(update={part: settings})
    return run


def fit(task: SeriesTask, folder: Path, stop_after: int | None = None) -> list[Event]:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == stop_after

    return list(task.fit(folder / "checkpoints", should_stop))


def weights(task: SeriesTask) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in task.network.state_dict().items()}


# Learning


@pytest.mark.parametrize(
    ("network", "keep", "stop_after"),
    [
        ({"members": 3, "dropout": 0.3, "num_layers": 2}, "best", 4),
        ({"decoder": "segments", "cell": "gru", "head": "student_t"}, "last", 5),
        ({"decoder": "recursive", "members": 2, "calibrate": False}, "last", 1),
    ],
)
def test_stopped_midway_it_resumes_to_the_bit(
    tmp_path: Path, panel_of: PanelOf, network: dict[str, Any], keep: str, stop_after: int
) -> None:
    run = config(network=network, train={"keep": keep})
    whole = SeriesTask(run, CPU, panel_of())
    untouched = weights(whole)
    expected = [e for e in fit(whole, tmp_path / "whole") if isinstance(e, Stepped | Validated)]
    first = SeriesTask(run, CPU, panel_of())
    events = fit(first, tmp_path / "parts", stop_after)
    assert isinstance(events[-1], Stopped)
    assert len([e for e in events if isinstance(e, Stepped)]) == stop_after
    second = SeriesTask(run, CPU, panel_of())
    events += fit(second, tmp_path / "parts")
    found = [e for e in events if isinstance(e, Stepped | Validated)]
    for one, other in zip(found, expected, strict=True):
        assert (one.step, getattr(one, "loss", None)) == (other.step, getattr(other, "loss", None))
        assert getattr(one, "metrics", None) == getattr(other, "metrics", None)
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(second)[name], tensor), name
    correction = whole.network.correction
    assert bool(correction.any()) == whole.config.network.calibrate
    for n in range(run.network.members):
        name = f"members.{n}.head.linear.weight"
        assert not torch.equal(untouched[name], weights(whole)[name]), "each member has learned"


def test_it_learns_what_repeats_beyond_a_season(tmp_path: Path) -> None:
    """A season of 4 whose level doubles back every third one: seasonal naive cannot know."""
    t = np.arange(240)
    values = 10 + np.sin(t * np.pi / 2) + np.array([0.0, 3.0, 1.0])[(t // 4) % 3]
    run = config(
        network={"hidden_size": 12},
        train={"steps": 100, "batch_size": 32, "learning_rate": 0.02, "validate_epochs": 9.0},
    )
    task = SeriesTask(run, CPU, values)
    fit(task, tmp_path)
    ours, theirs = task.measure("test"), task.baselines()["seasonal_naive"]["test"]
    assert ours is not None
    assert ours["mae"] is not None
    assert theirs["mae"] is not None
    assert ours["mae"] < 0.25 * theirs["mae"]


@pytest.mark.parametrize("head", ["quantiles", "student_t", "mean"])
def test_series_that_are_zero_for_long_or_constant_or_full_of_gaps_are_learned(
    tmp_path: Path, head: str
) -> None:
    draw = np.random.default_rng(0)
    intermittent = np.where(draw.random(80) < 0.05, 7.0, 0.0)
    series = [
        Series("zero", np.zeros(60)),
        Series("constant", np.full(60, 1e6)),
        Series("intermittent", intermittent),
        Series("late", np.append(np.zeros(50), np.full(30, 1e5))),
        Series("gaps", np.where(draw.random(80) < 0.6, np.nan, 5 + draw.normal(size=80))),
        Series("nothing", np.append(np.full(70, np.nan), np.ones(10))),
    ]
    task = SeriesTask(config(network={"head": head}), CPU, Panel(tuple(series)))
    events = fit(task, tmp_path)
    steps = [event for event in events if isinstance(event, Stepped)]
    assert len(steps) == 9, "no step is skipped"
    assert all(bool(tensor.isfinite().all()) for tensor in weights(task).values())
    metrics = task.measure("test")
    assert metrics is not None
    assert metrics["mase"] is not None
    quantiles = task.model.predict().quantiles
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    np.testing.assert_allclose(quantiles[0], 0.0, atol=1e-3)
    np.testing.assert_allclose(quantiles[1], 1e6, rtol=0.02)


# Judging


def test_it_is_measured_by_the_trial_of_its_forecasts(tmp_path: Path, panel_of: PanelOf) -> None:
    panel = panel_of((60, 47), gaps=0.1)
    task = SeriesTask(config(data={"test": 11, "stride": 2, "judge": "rmse"}), CPU, panel)
    fit(task, tmp_path)
    assert (task.metric, task.unit) == ("rmse", "windows")
    for split in ("valid", "test"):
        trial = Trial.of(task.dataset, split)
        windows = task.model.windows(panel)
        quantiles = task.model.quantiles(windows, trial.channels, trial.origins)
        same = {"calibrated": 1} if split == "valid" else {}
        assert task.measure(split) == trial.score(quantiles).as_dict() | same
    rivals = task.baselines()
    assert set(rivals) == set(BASELINES.places)
    for name, found in rivals.items():
        for split in ("valid", "test"):
            trial = Trial.of(task.dataset, split)
            assert found[split] == trial.score(trial.rival(name)).as_dict()


def test_a_split_without_a_window_is_not_measured(tmp_path: Path, panel_of: PanelOf) -> None:
    task = SeriesTask(config(train={"steps": 1}), CPU, panel_of())
    task.dataset.valid = 1000
    task.learner.trial = Trial.of(task.dataset, "valid")
    assert task.measure("valid") is None
    assert task.measure("test") is not None
    assert set(task.baselines()["naive"]) == {"test"}


@pytest.mark.parametrize("scale", ["window", "series"])
def test_saved_it_is_evaluated_as_it_was_measured(
    tmp_path: Path, panel_of: PanelOf, scale: str
) -> None:
    panel = panel_of((60, 47), past=1, future=1, static=1, stamps="irregular")
    run = config(network={"scale": scale, "members": 2}, data={"test": 11, "stride": 1})
    task = SeriesTask(run, CPU, panel)
    fit(task, tmp_path)
    task.model.save_pretrained(tmp_path / "model")
    for split in ("valid", "test"):
        found = SeriesTask.evaluate(tmp_path, run, panel, split, "document")
        assert found == {k: v for k, v in task.measure(split).items() if k != "calibrated"}
        assert SeriesTask.evaluate(tmp_path, run, panel, split, "document") == found
    with pytest.raises(DataError, match="measured on --split valid or test"):
        SeriesTask.evaluate(tmp_path, run, panel, "train", "document")
    with pytest.raises(DataError, match="has past none; the forecaster learned from p0"):
        SeriesTask.evaluate(tmp_path, run, panel_of(), "test", "document")


def test_it_is_evaluated_on_a_file(tmp_path: Path, panel_of: PanelOf) -> None:
    panel = panel_of((60,))
    task = SeriesTask(config(train={"steps": 1}), CPU, panel)
    fit(task, tmp_path)
    task.model.save_pretrained(tmp_path / "model")
    values = panel.series[0].values[:, 0].tolist()
    path = tmp_path / "again.csv"
    path.write_text("y\n" + "".join(f"{value!r}\n" for value in values))
    found = SeriesTask.evaluate(tmp_path, None, str(path), "test", "document")
    assert found == pytest.approx(task.measure("test"), rel=1e-6)


def test_calibrated_it_is_as_conformal_says(tmp_path: Path, panel_of: PanelOf) -> None:
    panel = panel_of((60, 47))
    run = config(data={"valid": 15, "stride": 1})
    plain = SeriesTask(
        config(data={"valid": 15, "stride": 1}, network={"calibrate": False}), CPU, panel
    )
    task = SeriesTask(run, CPU, panel)
    fit(plain, tmp_path / "plain")
    assert not any(isinstance(e, Warned) for e in fit(task, tmp_path / "calibrated"))
    assert not plain.network.correction.any()
    trial = Trial.of(task.dataset, "valid")
    window = task.learner.windows.before(
        torch.from_numpy(trial.channels), torch.from_numpy(trial.origins)
    )
    with torch.no_grad():
        ahead, scaled = plain.network.in_units(window)
    actual = (trial.actual - scaled.centre.numpy()) / scaled.scale.numpy()
    units = scaled.change[:, 0].clamp_min(0.05).numpy()
    expected = fitted_corrections(actual, ahead.double().numpy(), LEVELS, units)
    np.testing.assert_allclose(task.network.correction, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "calibrate", "promised"),
    [
        ({}, True, ["6 validation points can promise intervals of 85.7% at most"]),
        ({"valid": 18}, True, ["18 validation points can promise intervals of 94.7% at most"]),
        ({"valid": 19, "stride": 1}, True, []),
        ({}, False, []),
    ],
)
def test_of_too_few_windows_it_says_once_what_they_can_promise(
    tmp_path: Path,
    panel_of: PanelOf,
    data: dict[str, Any],
    calibrate: bool,
    promised: list[str],
) -> None:
    task = SeriesTask(config(data=data, network={"calibrate": calibrate}), CPU, panel_of((60,)))
    events = fit(task, tmp_path)
    said = [event.message.partition(":")[0] for event in events if isinstance(event, Warned)]
    assert said == promised
    if promised:
        inner, outer = (task.model.predict().interval(percent) for percent in (80, 95))
        assert (outer[0] < inner[0]).all() and (inner[1] < outer[1]).all()


@pytest.mark.parametrize("lengths", [(60, 47), (60,)])
def test_pictures_are_of_the_test_and_several_series_in_their_own_scales(
    tmp_path: Path, panel_of: PanelOf, lengths: tuple[int, ...]
) -> None:
    panel = panel_of(lengths)
    for one in panel.series:
        one.values[-1] = np.nan  # nothing at the last step
    task = SeriesTask(config(train={"steps": 1}), CPU, panel)
    fit(task, tmp_path)
    evidence = task.evidence()
    trial = Trial.of(task.dataset, "test")
    assert evidence.scaled == (len(lengths) > 1)
    scales = trial.scales[:, None] if evidence.scaled else 1.0
    quantiles = task.model.quantiles(task.learner.windows, trial.channels, trial.origins)
    errors = np.abs(trial.actual - quantiles[..., 5]) / scales
    np.testing.assert_allclose(evidence.errors_by_horizon[:5], errors[:, :5].mean(0), rtol=1e-12)
    assert np.isnan(evidence.errors_by_horizon[5])
    assert set(evidence.baseline_errors) == {"seasonal_naive", "ar", "theta"}
    rival = np.abs(trial.actual - trial.rival("ar")[..., 5]) / scales
    np.testing.assert_allclose(evidence.baseline_errors["ar"][:5], rival[:, :5].mean(0))
    np.testing.assert_allclose(np.abs(evidence.residuals), errors[:, :5].flatten(), rtol=1e-12)
    assert [one.unique_id for one in evidence.series] == [one.unique_id for one in panel.series]
    assert evidence.points is None
    assert task.extras() == {"notes": [SAME_WINDOWS]}


def test_of_one_series_it_is_told_how_far_it_runs_freely(tmp_path: Path, panel_of: PanelOf) -> None:
    task = SeriesTask(config(train={"steps": 1}, data={"test": 18}), CPU, panel_of((60,)))
    fit(task, tmp_path)
    points = task.evidence().points
    assert points is not None
    assert points.free is not None
    rmse = float(np.sqrt(np.mean((points.free - points.actual) ** 2)))
    assert task.extras() == {
        "free_running": {"steps": 18, "rmse": pytest.approx(rmse)},
        "notes": [
            f"Running freely on its own predictions over 18 steps: RMSE {rmse:.4g}.",
            SAME_WINDOWS,
        ],
    }


# From a config


def test_facts_are_words(panel_of: PanelOf) -> None:
    task = SeriesTask(config(network={"members": 2, "num_layers": 3}), CPU, panel_of())
    facts = task.facts()
    assert facts["network"] == (
        "2 of 3 x 6 lstm, sees 12 steps (3 segments of 4), corrects the last season, "
        "direct decoding, quantiles"
    )
    assert facts["forecast"] == "6 steps ahead, steps, season of 4"


def test_the_seed_chooses_the_weights_and_each_member_has_its_own(panel_of: PanelOf) -> None:
    run = config(network={"members": 2})
    one, same, other = (
        weights(SeriesTask(run.model_copy(update={"seed": seed}), CPU, panel_of()))
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["members.0.read.weight"], other["members.0.read.weight"])
    assert not torch.equal(one["members.0.read.weight"], one["members.1.read.weight"])


def test_features_and_deviations_are_of_the_training_part(panel_of: PanelOf) -> None:
    found = []
    for shift in (0.0, 1e6):
        panel = panel_of((60, 47, 10), past=1, static=1)
        for one in panel.series:
            one.values[-12:] += shift
            one.past[-12:] += shift
        found.append(SeriesTask(config(), CPU, panel))
    assert found[0].features == found[1].features
    np.testing.assert_array_equal(found[0].deviations, found[1].deviations)
    expected = [one.values[: len(one) - 12].std() for one in found[0].dataset.panel.series[:2]]
    np.testing.assert_allclose(found[0].deviations[:2], expected, rtol=1e-12)
    assert np.isnan(found[0].deviations[2]), "of a series that is all test there is none"


def test_it_begins_with_another_runs_weights_and_features(
    tmp_path: Path, panel_of: PanelOf
) -> None:
    first = SeriesTask(config(network={"members": 2}), CPU, panel_of(past=1))
    fit(first, tmp_path)
    first.model.save_pretrained(tmp_path / "first" / "model")
    run = config(network={"members": 2}, start_from=str(tmp_path / "first"), seed=77)
    second = SeriesTask(run, CPU, panel_of((80, 50), past=1, seed=5))
    assert second.features == first.features
    for name, tensor in first.network.named_parameters():
        assert torch.equal(dict(second.network.named_parameters())[name], tensor)
    fit(second, tmp_path / "second")
    again = Forecaster.from_pretrained(tmp_path / "first")
    for name, tensor in weights(first).items():
        assert torch.equal(again.network.state_dict()[name], tensor)
    with pytest.raises((CheckpointError, ConfigError), match="members"):
        SeriesTask(config(start_from=str(tmp_path / "first")), CPU, panel_of(past=1))


def test_minutes_freeze_the_steps_and_change_nothing_that_is_learned(
    tmp_path: Path, panel_of: PanelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurra.learning.plan import measure_seconds_per_step

    original = measure_seconds_per_step
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step",
        lambda *given: 0 * original(*given, warmup=1, least_seconds=0.001) + 10.0,
    )
    minutes = config(train={"steps": None, "minutes": 0.75}, network={"dropout": 0.2})
    measured = SeriesTask(minutes, CPU, panel_of())
    assert measured.config.train.steps == 4  # of 45 seconds, 95% are planned
    plain = SeriesTask(config(train={"steps": 4}, network={"dropout": 0.2}), CPU, panel_of())
    fit(measured, tmp_path / "a")
    events = fit(plain, tmp_path / "b")
    assert isinstance(events[-1], Finished)
    for name, tensor in weights(plain).items():
        assert torch.equal(weights(measured)[name], tensor)


def test_a_network_too_large_for_the_memory_is_refused_before_it_is_built(
    panel_of: PanelOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recurra.learning.weights.available_memory", lambda: 10**9)
    run = config(network={"hidden_size": 20_000, "num_layers": 4, "members": 3})
    with pytest.raises(ConfigError, match=r"hidden_size=20000, .*num_layers=4.* GB, more than the"):
        SeriesTask(run, CPU, panel_of())


def test_weights_are_taken_with_the_sizes_they_were_learned_in(
    tmp_path: Path, panel_of: PanelOf
) -> None:
    first = SeriesTask(config(network={"context": None, "segment": None}), CPU, panel_of())
    fit(first, tmp_path)
    first.model.save_pretrained(tmp_path / "first" / "model")
    longer = Panel((Series("a", np.sin(np.arange(400.0)) + 3),))
    again = SeriesTask(config(start_from=str(tmp_path / "first")), CPU, longer)
    assert again.network.shape == first.network.shape
    assert float(again.network.correction.abs().max()) == 0  # that of the other data
    other = config(start_from=str(tmp_path / "first"), data={"horizon": 5})
    with pytest.raises(ConfigError, match=r"that network forecasts 6 steps, by seasons of 4"):
        SeriesTask(other, CPU, longer)


@pytest.mark.parametrize("wrong", [0.0, -2.5])
def test_what_has_no_logarithm_is_refused(wrong: float) -> None:
    values = np.arange(1.0, 61.0)
    values[9] = wrong
    panel = Panel((Series("a", np.arange(1.0, 61.0)), Series("b", values)))
    with pytest.raises(DataError, match=rf"series 2 has {wrong:g} at observation 10"):
        SeriesTask(config(network={"logarithm": True}), CPU, panel)


def test_deviations_of_logarithms_are_of_logarithms(panel_of: PanelOf) -> None:
    values = np.exp(np.random.default_rng(1).normal(size=60))
    task = SeriesTask(config(network={"logarithm": True}), CPU, Panel((Series("a", values),)))
    assert task.deviations == pytest.approx([np.log(values[:48]).std()])


@pytest.mark.parametrize(("there", "here"), [(0, 1), (0, 2), (2, 0)])
def test_weights_are_not_taken_for_other_covariates(
    tmp_path: Path, panel_of: PanelOf, there: int, here: int
) -> None:
    first = SeriesTask(config(), CPU, panel_of(past=there))
    first.model.save_pretrained(tmp_path / "first" / "model")
    other = config(start_from=str(tmp_path / "first"))
    with pytest.raises(DataError, match=r"the history has past .*; the forecaster learned"):
        SeriesTask(other, CPU, panel_of(past=here))


def test_torchs_own_generator_is_not_moved(panel_of: PanelOf) -> None:
    before = torch.random.get_rng_state()
    SeriesTask(config(), CPU, panel_of())
    assert torch.equal(torch.random.get_rng_state(), before)
