"""The presets of labelled sequences: what they promise, and how they answer to their data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from recurra.labels.entry import LabelRun
from recurra.labels.presets import labels
from recurra.labels.task import LabelTask
from recurra.learning.event import Finished
from recurra.run.presets import PRESETS, preset
from recurra.run.tasks import parse_config

NAMES = ["iris", "vowels", "labels"]


@pytest.fixture(autouse=True)
def alone():
    """One thread: the tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_found_and_read_back(name):
    config = preset(name)
    assert isinstance(config, LabelRun)
    assert config.preset == name
    assert parse_config(config.model_dump(mode="json")) == config
    assert PRESETS[name].__doc__


def test_iris_is_the_tutorials_and_good(tmp_path: Path):
    task = LabelTask(preset("iris"), torch.device("cpu"))
    train = task.config.train
    assert (train.steps, train.optimizer, train.learning_rate) == (800, "adam", 0.01)
    finished = list(task.fit(tmp_path / "checkpoints", lambda: False))[-1]
    assert isinstance(finished, Finished)
    assert finished.items == 800 * 120  # every step sees all the flowers
    assert task.measure("test")["accuracy"] >= 0.96
    folds = task.extras()["folds"]
    assert len(folds["accuracy"]) == 5
    assert folds["mean"] >= 0.96


def test_softmax_twice_costs_what_the_docstring_says():
    probability = math.e / (math.e + 2)  # logits of 1, 0, 0: all that a first softmax can give
    assert probability == pytest.approx(0.58, abs=0.005)
    assert -math.log(probability) == pytest.approx(math.log(1 + 2 / math.e))
    assert -math.log(probability) == pytest.approx(0.55, abs=0.005)
    text = PRESETS["iris"].__doc__
    assert "0.58" in text
    assert "0.55" in text
    assert "twice" in text


def test_ones_own_data_set_the_width_and_the_passes():
    small, large = labels(size=200_000), labels(size=80_000_000)
    assert small.network.hidden_size < large.network.hidden_size
    assert small.train.epochs > large.train.epochs >= 1
    assert labels(size=10).train.epochs <= 100
    assert labels().data.valid_fraction == 0


def test_data_and_minutes_are_taken_over(tmp_path: Path):
    path = tmp_path / "signs.csv"
    path.write_text(
        "x,label\n" + "".join(f"{n},{'plus' if n > 0 else 'minus'}\n" for n in range(-20, 21))
    )
    config = preset("labels", data=path, minutes=0.01)
    assert config.data.dataset == str(path)
    task = LabelTask(config, torch.device("cpu"))
    assert task.config.train.steps >= 1
    list(task.fit(tmp_path / "checkpoints", lambda: False))
    assert task.measure("test")["accuracy"] >= 0.85
