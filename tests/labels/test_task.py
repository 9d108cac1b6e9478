"""The task of labels, from its config to its report, and what interrupts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from recurra.errors import ConfigError, DataError, RunError
from recurra.labels import task as module
from recurra.labels.classifier import Classifier
from recurra.labels.entry import LabelRun
from recurra.labels.options import LabelNetworkOptions, LabelOptions
from recurra.labels.task import LabelTask
from recurra.learning.event import Event, Finished, Saved, Started, Stopped, Validated
from recurra.learning.options import TrainOptions
from recurra.table import Table

CPU = torch.device("cpu")
SMALL = LabelNetworkOptions(hidden_size=6, pooling="attention", dropout=0.3, noise=0.2, members=2)
QUICK = TrainOptions(
    steps=12, batch_size=7, optimizer="adam", learning_rate=0.02, validate_epochs=1, save_seconds=0
)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """One thread: the tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_waves(folder: Path, count: int = 30, seed: int = 0) -> str:
    """Rising and falling sequences of 3 to 8 steps, as a TRAIN and a TEST file."""
    draws = np.random.default_rng(seed)
    for part in ("TRAIN", "TEST"):
        lines = ["@classLabel true up down", "@data"]
        for number in range(count):
            slope = 1 if number % 2 else -1
            values = draws.normal(0, 0.3) + slope * np.arange(draws.integers(3, 9))
            lines.append(",".join(map(repr, values.tolist())) + (":up" if slope > 0 else ":down"))
        (folder / f"waves_{part}.ts").write_text("\n".join(lines))
    return str(folder / "waves_TRAIN.ts")


@pytest.fixture
def waves(tmp_path: Path) -> LabelRun:
    data = LabelOptions(dataset=write_waves(tmp_path), valid_fraction=0.2)
    return LabelRun(preset="mine", data=data, network=SMALL, train=QUICK)


def change(run: LabelRun, **changes: Any) -> LabelRun:
    for part, settings in changes.items():
        if isinstance(settings, dict):
            settings = getattr(run, part).model_copy(update=settings)
        run = run.model_copy(update={part: settings})
    return run


def fit(task: LabelTask, folder: Path) -> list[Event]:
    return list(task.fit(folder / "checkpoints", lambda: False))


# From the config to the report


def test_it_learns_what_there_is_to_learn(waves, tmp_path):
    task = LabelTask(change(waves, train={"steps": 60}), CPU)
    events = fit(task, tmp_path)
    assert isinstance(events[-1], Finished)
    assert events[-1].items == 60 * 6  # 24 examples in batches of 7, 7, 7 and 3
    for split in ("train", "valid", "test"):
        metrics = task.measure(split)
        assert metrics["accuracy"] == 1
        assert metrics["log_loss"] < 0.3
    assert task.measure("test")["examples"] == 30
    validated = [event.metrics for event in events if isinstance(event, Validated)]
    assert validated[-1] == {"loss": task.measure("valid")["log_loss"], **task.measure("valid")}
    assert task.extras() == {}


def test_the_protocol_of_tasks(waves):
    task = LabelTask(waves, CPU)
    assert (task.metric, task.unit) == ("accuracy", "examples")
    assert task.config == change(waves, threads=1)
    assert task.facts() == {
        "dataset": waves.data.dataset,
        "examples": "24 train, 30 test, 6 valid",
        "classes": "2",
        "sequences": "1 feature, 3 to 8 steps",
        "network": "1 x 6 bidirectional lstm, attention pooling, 2 of them averaged",
        "start": "lstm's own",
    }
    without = LabelTask(change(waves, data={"valid_fraction": 0.0}), CPU)
    assert without.measure("valid") is None
    assert set(without.baselines()["linear"]) == {"test"}


def test_baselines_are_measured_like_the_network(waves):
    task = LabelTask(waves, CPU)
    found = task.baselines()
    assert set(found) == {"majority", "linear"}
    assert found["majority"]["test"]["accuracy"] == 0.5
    assert found["majority"]["test"]["log_loss"] == pytest.approx(np.log(2))
    assert found["linear"]["test"]["accuracy"] == 1
    assert set(found["linear"]) == {"valid", "test"}
    assert set(found["linear"]["test"]) == set(task.measure("test"))


def test_the_picture_is_the_confusion_of_the_test_split(waves, tmp_path):
    task = LabelTask(change(waves, train={"steps": 2}), CPU)
    fit(task, tmp_path)
    (drawn,) = task.pictures()
    assert drawn.name == "confusion.png" and drawn.draw.keywords["classes"] == ("up", "down")
    counts = drawn.draw.keywords["counts"]
    assert counts.sum() == 30
    assert counts.sum(axis=1).tolist() == [15, 15]
    assert np.trace(counts) / 30 == pytest.approx(task.measure("test")["accuracy"])


def test_iris_by_softmax_regression_and_five_folds(tmp_path):
    run = LabelRun(
        preset="iris",
        data=LabelOptions(dataset="iris", folds=5),
        network=LabelNetworkOptions(kind="softmax", standardize=False),
        train=TrainOptions(steps=100, batch_size=128, optimizer="adam", learning_rate=0.1),
    )
    task = LabelTask(run, CPU)
    fit(task, tmp_path)
    assert task.measure("test")["accuracy"] >= 0.93
    extras = task.extras()
    assert len(extras["folds"]["accuracy"]) == 5
    assert extras["folds"]["mean"] == pytest.approx(np.mean(extras["folds"]["accuracy"]))
    assert extras["folds"]["mean"] >= 0.95
    assert extras["notes"][0].startswith("accuracy over 5 stratified folds: mean 0.9")
    assert task.extras() == extras
    assert task.facts()["network"] == "softmax regression"
    assert task.facts()["sequences"] == "4 features, 1 step"


def test_folds_never_see_a_published_test(waves, monkeypatch):
    seen: list[int] = []
    original = module.SequenceLearner

    def learner(network: Any, sequences: Any, *rest: Any, **named: Any) -> Any:
        seen.append(len(sequences))
        return original(network, sequences, *rest, **named)

    task = LabelTask(change(waves, data={"folds": 3}, train={"steps": 1}), CPU)
    monkeypatch.setattr(module, "SequenceLearner", learner)
    task.extras()
    assert seen == [20, 20, 20]  # of the 30 of the training file


def test_more_folds_than_examples_of_a_class_are_refused(waves):
    task = LabelTask(change(waves, data={"folds": 16}), CPU)
    with pytest.raises(DataError, match="16 folds need 16 examples of every class"):
        task.extras()


# Interrupted


@pytest.mark.parametrize("kind", ["recurrent", "softmax"])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_it_goes_on_to_the_bit(waves, tmp_path, kind, stop):
    run = change(waves, train={"keep": "best", "schedule": "linear"})
    if kind == "softmax":
        run = change(run, data=LabelOptions(dataset="iris"), network={"kind": "softmax"})
    whole = LabelTask(run, CPU)
    fit(whole, tmp_path / "whole")
    halted = LabelTask(run, CPU)
    steps = iter(range(1, 100))
    events = list(halted.fit(tmp_path / "parts", lambda: next(steps) >= stop))
    assert isinstance(events[-1], Stopped)
    assert events[-1].step == stop
    resumed = LabelTask(run, CPU)
    events = list(resumed.fit(tmp_path / "parts", lambda: False))
    assert isinstance(events[0], Started)
    assert events[0].step == stop
    assert any(isinstance(event, Saved) for event in events)
    ours, theirs = (task.learner.model.state_dict() for task in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed.measure("test") == whole.measure("test")


def test_other_data_are_not_gone_on_with(waves, tmp_path):
    steps = iter(range(1, 100))
    list(LabelTask(waves, CPU).fit(tmp_path / "c", lambda: next(steps) >= 3))
    path = Path(waves.data.dataset)
    path.write_text(path.read_text().replace(":up", ":upwards").replace(" up ", " upwards "))
    test = path.with_name("waves_TEST.ts")
    test.write_text(test.read_text().replace(":up", ":upwards").replace(" up ", " upwards "))
    with pytest.raises(ConfigError, match="begun on other data, so it cannot go on: classes chang"):
        list(LabelTask(waves, CPU).fit(tmp_path / "c", lambda: False))
    write_waves(path.parent, seed=1)
    with pytest.raises(ConfigError, match="cannot go on: examples, validation examples changed"):
        list(LabelTask(waves, CPU).fit(tmp_path / "c", lambda: False))


def test_the_same_seed_gives_the_same_network_and_another_another(waves, tmp_path):
    first, again, other = (
        LabelTask(change(waves, seed=seed, train={"steps": 3}), CPU) for seed in (1, 1, 2)
    )
    for number, task in enumerate((first, again, other)):
        fit(task, tmp_path / str(number))
    sequences = first.data.split("test").sequences
    assert (first.model.log_probs(sequences) == again.model.log_probs(sequences)).all()
    assert (first.model.log_probs(sequences) != other.model.log_probs(sequences)).any()


# Budget, memory, other runs


@pytest.mark.parametrize(("minutes", "expected"), [(0.5, 2850), (1e-6, 1)])
def test_minutes_freeze_the_steps_that_fit(waves, monkeypatch, minutes, expected):
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step", lambda learner, options: 0.01
    )
    task = LabelTask(change(waves, train={"minutes": minutes, "steps": None}), CPU)
    assert task.config.train.steps == expected


def test_measuring_leaves_the_network_as_it_was(waves):
    run = change(waves, train={"minutes": 1.0, "steps": None})
    measured, plain = LabelTask(run, CPU), LabelTask(waves, CPU)
    ours, theirs = (task.learner.model.state_dict() for task in (measured, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert measured.config.train.steps > 100


def test_a_network_that_does_not_fit_into_memory_is_refused(waves, monkeypatch):
    monkeypatch.setattr("recurra.learning.weights.available_memory", lambda: 10**6)
    with pytest.raises(ConfigError, match=r"network\.hidden_size=500.*make .* parameters"):
        LabelTask(change(waves, network={"hidden_size": 500}), CPU)


def test_it_starts_from_another_runs_weights(waves, tmp_path):
    first = LabelTask(waves, CPU)
    fit(first, tmp_path)
    first.model.save_pretrained(tmp_path / "run" / "model")
    second = LabelTask(change(waves, seed=7, start_from=str(tmp_path / "run")), CPU)
    assert second.measure("test") == first.measure("test")
    with pytest.raises(ConfigError, match="it learned up, down, these data have setosa"):
        LabelTask(change(waves, data=LabelOptions(), start_from=str(tmp_path / "run")), CPU)


def test_ragged_sequences_have_no_softmax_regression(waves):
    with pytest.raises(ConfigError, match="takes sequences of one length, these differ"):
        LabelTask(change(waves, network={"kind": "softmax"}), CPU)


def test_data_may_be_handed_over(waves):
    sequences = [np.arange(length, dtype=float) for length in (3, 4, 5, 6) * 5]
    labels = ["short", "short", "long", "long"] * 5
    run = change(waves, data=LabelOptions(dataset="(given)"))
    task = LabelTask(run, CPU, (sequences, labels))
    assert task.facts()["examples"] == "16 train, 4 test"
    assert task.data.classes == ("long", "short")


def test_the_noise_follows_from_the_steps_where_it_is_left_open(waves):
    def noise(run: LabelRun, **data: Any) -> float | None:
        return LabelTask(run, CPU, **data).learner.network.options.noise

    open_noise = change(waves, network={"noise": None})
    lengths = [len(s) for s in LabelTask(waves, CPU).data.split("train").sequences]
    assert noise(open_noise) == pytest.approx(0.3 * np.mean(lengths) ** 0.5)
    assert noise(change(open_noise, data=LabelOptions())) == pytest.approx(0.3)
    long = (np.zeros((8, 100)) + np.arange(8)[:, None], ["a", "b"] * 4)
    assert noise(change(open_noise, data=LabelOptions()), data=long) == 1.0
    assert noise(change(open_noise, network={"noise": 0.0})) == 0.0
    assert LabelTask(open_noise, CPU).config == change(open_noise, threads=1)


# Evaluated afterwards


@pytest.fixture
def finished(waves, tmp_path) -> tuple[LabelTask, Path]:
    task = LabelTask(change(waves, train={"steps": 3}), CPU)
    fit(task, tmp_path)
    task.model.save_pretrained(tmp_path / "run" / "model")
    return task, tmp_path / "run"


def test_evaluating_on_its_own_data_is_what_was_reported(finished):
    task, run = finished
    for split in ("train", "valid", "test"):
        assert LabelTask.evaluate(run, task.config, None, split, "document") == task.measure(split)
    with pytest.raises(DataError, match="the data have no wave split"):
        LabelTask.evaluate(run, task.config, None, "wave", "document")


def test_evaluating_on_another_file(finished, tmp_path):
    task, run = finished
    folder = tmp_path / "other"
    folder.mkdir()
    other = write_waves(folder, count=12, seed=5)
    both = [
        LabelTask.evaluate(run, task.config, other, split, "document")
        for split in ("train", "test")
    ]
    assert [metrics["examples"] for metrics in both] == [12, 12]
    alone = Path(other).rename(folder / "waves.ts")
    metrics = LabelTask.evaluate(run, None, str(alone), "test", "document")  # the whole file
    assert metrics == both[0]
    lines = alone.read_text().splitlines()[2:]
    sequences = [np.array(line.split(":")[0].split(","), float)[:, None] for line in lines]
    names = [line.split(":")[1] for line in lines]
    predicted = Classifier.from_pretrained(run).predict(sequences)
    assert metrics["accuracy"] == accuracy_score(names, predicted)


def test_evaluating_on_what_was_never_learned(finished, tmp_path):
    task, run = finished
    path = tmp_path / "other.ts"
    path.write_text("@classLabel true\n@data\n1,2:sideways\n3,4:up\n")
    with pytest.raises(DataError, match=r"no example of 'sideways' \(1\) was there to learn"):
        LabelTask.evaluate(run, task.config, str(path), "test", "document")
    with pytest.raises(DataError, match="iris has the classes setosa, versicolor, virginica, the"):
        LabelTask.evaluate(run, task.config, "iris", "test", "document")
    with pytest.raises(ConfigError, match="does not say what it learned from: give --data"):
        LabelTask.evaluate(run, None, None, "test", "document")


# Real data


def test_vowels_are_ready_to_be_learned(data_root):
    run = LabelRun(preset="v", data=LabelOptions(dataset="vowels"), network=SMALL, train=QUICK)
    task = LabelTask(run, CPU)
    assert task.facts()["examples"] == "270 train, 370 test"
    assert task.facts()["sequences"] == "12 features, 7 to 29 steps"
    baselines = task.baselines()
    assert baselines["majority"]["test"]["accuracy"] == pytest.approx(31 / 370)
    assert baselines["linear"]["test"]["accuracy"] > 0.9


def test_arrays_are_evaluated_whole(waves: LabelRun, tmp_path: Path):
    task = LabelTask(waves, CPU)
    task.model.save_pretrained(tmp_path / "given" / "model")
    test = task.data.split("test")
    names = [test.classes[label] for label in test.labels]
    found = LabelTask.evaluate(
        tmp_path / "given", waves, (test.sequences, names), "test", "document"
    )
    assert found == task.measure("test")
    with pytest.raises(DataError, match="no example of 'other'"):
        LabelTask.evaluate(
            tmp_path / "given", None, (test.sequences[:1], ["other"]), "test", "document"
        )


class Raising:
    def __init__(self, train):
        raise ValueError("nothing to learn from")


class Undefined(Raising):
    def __init__(self, train):
        self.classes = len(train.classes)

    def log_probs(self, sequences):
        return np.full((len(sequences), self.classes), np.nan)


def test_a_baseline_that_fails_is_a_line(waves, monkeypatch):
    places = {"majority": module.BASELINES.places["majority"]}
    places |= {"raising": f"{__name__}:Raising", "linear": f"{__name__}:Undefined"}
    monkeypatch.setattr(module, "BASELINES", Table("baseline", places))
    task = LabelTask(waves, CPU)
    assert list(task.baselines()) == ["majority"]
    assert task.left_out() == {
        "raising": "failed with ValueError: nothing to learn from",
        "linear": "failed with DataError: what it says of test example 1 is no number",
    }


def test_minutes_leave_out_by_name_what_does_not_fit(waves, monkeypatch):
    monkeypatch.setattr(module, "_seconds_of", lambda name, data: {"linear": 1e4}.get(name, 0.1))
    run = change(waves, train={"minutes": 0.01, "steps": 3}, data={"folds": 5})
    task = LabelTask(run, CPU)
    assert task.config.train.left_out == {"linear": "would take 10,000 s, 36 s were left"}
    assert list(task.baselines()) == ["majority"]
    again = LabelTask(task.config, CPU)
    assert again.left_out() == task.left_out()


def test_a_network_that_has_blown_up_has_no_figures(waves):
    task = LabelTask(waves, CPU)
    with torch.no_grad():
        for parameter in task.learner.network.parameters():
            parameter.fill_(np.nan)
    with pytest.raises(RunError, match="the network has blown up on the valid split: sequence 1"):
        task.measure("valid")


@pytest.mark.parametrize("value", ["1e300", "3e38", "-1e31", "inf", "nan"])
def test_training_on_odd_numbers_names_the_example(tmp_path, value):
    path = tmp_path / "odd.csv"
    path.write_text("x,label\n1,a\n2,b\n3,a\n4,b\n".replace("3,a", f"{value},a"))
    with pytest.raises(DataError, match="example 3, step 1, feature 1 is "):
        LabelTask(LabelRun(preset="mine", data=LabelOptions(dataset=str(path))), CPU)
