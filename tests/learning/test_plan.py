"""What minutes freeze into a run: steps, validations, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from recurra.learning.config import RunConfig, differences
from recurra.learning.loop import Learner
from recurra.learning.options import TrainOptions
from recurra.learning.plan import measure_seconds_per_step, with_steps


class Still(Learner):
    """One weight, and a validation that says how often it was asked."""

    steps_per_epoch = 100

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1)
        self.fingerprint = {"data": "none"}
        self.asked = 0

    def batch(self, epoch, step):
        return torch.ones(1, 1)

    def loss(self, batch, carry, generator):
        return self.model(batch).square().mean(), None, 1

    def validate(self):
        self.asked += 1
        return {"loss": 1.0}


@pytest.fixture
def steps_of_10_ms(monkeypatch):
    place = "recurra.learning.plan.measure_seconds_per_step"
    monkeypatch.setattr(place, lambda learner, options: 0.01)


def costs() -> Iterator[tuple[str, Callable[[], float]]]:
    yield "test", lambda: 10.0
    yield "dynamic", lambda: 300.0


def test_what_is_left_out_is_frozen_and_not_asked_again(steps_of_10_ms):
    found = with_steps(TrainOptions(minutes=0.2), Still(), costs)
    assert found.left_out == {"dynamic": "would take 300 s, 26 s were left"}
    assert found.steps == 1139
    again = with_steps(found, Still(), lambda: pytest.fail("asked"), lambda: pytest.fail("asked"))
    assert again is found
    known = with_steps(TrainOptions(minutes=0.2, steps=5), Still(), costs)
    assert (known.steps, known.left_out) == (5, found.left_out)
    assert with_steps(TrainOptions(steps=5), Still(), lambda: pytest.fail("asked")).left_out is None


def test_there_are_as_many_validations_as_half_the_minutes_hold(steps_of_10_ms):
    options = TrainOptions(minutes=1.0, validations=10)
    assert with_steps(options, Still(), validation=lambda: 2.0).validations == 10
    assert with_steps(options, Still(), validation=lambda: 8.0).validations == 3
    assert with_steps(options, Still(), validation=lambda: 500.0).validations == 1
    every_epoch = TrainOptions(minutes=1.0)  # 5,700 steps of 100 an epoch
    assert with_steps(every_epoch, Still(), validation=lambda: 0.1).validations is None
    assert with_steps(every_epoch, Still(), validation=lambda: 1.0).validations == 30


def test_sizing_counts_within_the_minutes_but_half_is_training(steps_of_10_ms):
    options = TrainOptions(minutes=1.0)
    assert with_steps(options, Still(), spent=20.0).steps == pytest.approx(4000, abs=20)
    assert with_steps(options, Still(), spent=500.0).steps == 3000


def test_a_slow_step_is_not_measured_longer_than_the_minutes_allow(monkeypatch):
    learner = Still()
    clock = iter(float(n) for n in range(1000))  # each step takes a second
    monkeypatch.setattr("recurra.learning.loop.time.perf_counter", lambda: next(clock))
    seconds = measure_seconds_per_step(learner, TrainOptions(minutes=0.1))
    assert seconds == 1.0
    assert next(clock) <= 10


def test_what_was_frozen_is_no_other_run():
    class Run(RunConfig):
        train: TrainOptions = TrainOptions()

    there = Run(
        preset="a",
        task="b",
        train=TrainOptions(minutes=1, steps=7, validations=2, left_out={"x": "why"}),
    )
    same = there.model_copy(update={"train": TrainOptions(minutes=1, validations=10)})
    assert differences(there, same) == []
    fewer = there.model_copy(update={"train": TrainOptions(minutes=1, validations=1)})
    assert differences(there, fewer) == ["train.validations: 2 there, 1 asked"]
