"""The loop with a learner that knows no task: a few numbers, a carried state, random masks.

`Copier` learns with a recurrent step of three units; every quantity a real task has is there, so
that resuming can be held to the bit and every accident can be staged.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import CheckpointError, ConfigError, ResourceError, RunError
from recurra.learning import loop
from recurra.learning.checkpoint import Checkpoint, Checkpoints
from recurra.learning.event import (
    Averaged,
    Event,
    Finished,
    Saved,
    Saving,
    Started,
    Stepped,
    Stopped,
    Validated,
    Warned,
)
from recurra.learning.loop import learn
from recurra.learning.optimization import learning_rate
from recurra.learning.options import TrainOptions
from recurra.learning.plan import measure_seconds_per_step, with_steps
from recurra.learning.weights import load_weights
from recurra.work import heard

Kind = TypeVar("Kind")

PER_EPOCH = 4
OPTIONS = TrainOptions(epochs=2.5, learning_rate=0.3, validate_epochs=0.5, save_seconds=0)


class Copier:
    """A recurrence of three units over five inputs, with masks on its inputs."""

    def __init__(self, validations: Iterable[float | None] | None = None, width: int = 3) -> None:
        stream = torch.Generator().manual_seed(11)
        self.model: nn.Module = nn.Linear(2 + width, width)
        for parameter in self.model.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5, generator=stream)
        self.width = width
        self.steps_per_epoch = PER_EPOCH
        self.fingerprint: Mapping[str, str] = {"text": "a", "vocabulary": "b"}
        self.validations = None if validations is None else iter(validations)
        self.asked: list[tuple[int, int]] = []
        self.given: list[Tensor] = []
        self.spoil: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def batch(self, epoch: int, step: int) -> tuple[int, Tensor]:
        self.asked.append((epoch, step))
        stream = torch.Generator().manual_seed(step)
        return epoch * PER_EPOCH + step, torch.randn(6, 2, generator=stream)

    def initial_carry(self) -> Tensor:
        return torch.zeros(6, self.width)

    def loss(
        self, batch: tuple[int, Tensor], carry: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, int]:
        assert self.model.training
        number, x = batch
        self.given.append(carry)
        both = torch.cat([x, carry], dim=1)
        mask = (torch.rand(both.shape, generator=generator) > 0.3).float()
        h = torch.tanh(self.model(both * mask))
        loss, after = (h - x[:, :1]).square().mean(), h.detach()
        if self.spoil is not None:
            loss, after = self.spoil(number, loss, after)
        return loss, after, 6

    def validate(self) -> Mapping[str, float | int | None] | None:
        assert not self.model.training
        if self.validations is not None:
            return {"loss": next(self.validations), "tokens": 1}
        with torch.no_grad():
            weight = next(self.model.parameters())
            return {"loss": float((weight - 0.1).square().mean()), "tokens": 6}

    def pack(self, carry: Tensor) -> dict[str, Tensor]:
        return {"h": carry}

    def unpack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return tensors["h"].clone()


class Uneven(Copier):
    """Epochs of 4, 2 and 5 steps, in turn; steps whose rates differ."""

    def steps_in(self, epoch: int) -> int:
        return (4, 2, 5)[epoch % 3]

    def rate_factor(self, epoch: int, step: int) -> float:
        return 1 / (1 + epoch + step)


class Unvalidated(Copier):
    def validate(self) -> None:
        return None


def run(
    folder: Path,
    options: TrainOptions = OPTIONS,
    learner: Copier | None = None,
    stop_after: int | None = None,
) -> list[Event]:
    """Train to the end, or until the given step; return the events with their seconds at 0."""
    learner = Copier() if learner is None else learner
    steps: list[int] = []

    def should_stop() -> bool:
        steps.append(1)
        return stop_after is not None and len(steps) >= stop_after

    events = learn(learner, options, 7, Checkpoints(folder), should_stop)
    return [timeless(event) for event in events]


def timeless(event: Event) -> Event:
    return replace(event, seconds=0.0) if hasattr(event, "seconds") else event


def of(events: Iterable[Event], kind: type[Kind]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def state(folder: Path) -> dict[str, str]:
    """Return what a training has come to: the hash of every tensor file of the last checkpoint."""
    newest = sorted(folder.glob("step-*"))[-1]
    facts = json.loads((newest / "facts.json").read_text())["facts"]
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in newest.glob("*.safetensors")
    }
    del facts["seconds"]
    return {**hashes, "step": newest.name, "facts": json.dumps(facts)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about power losses, so no disk is waited for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


# Events


def test_events_come_in_this_order_with_these_fields(tmp_path: Path) -> None:
    learner = Copier()
    events = run(tmp_path, learner=learner)
    kinds = [type(event).__name__ for event in events]
    saved = ["Saving", "Saved"]
    plain, validated = ["Stepped", *saved], ["Stepped", "Validated", *saved]
    assert kinds == ["Started", *(plain + validated) * 5, "Finished"]
    assert events[0] == Started(0, 10, PER_EPOCH, 18, "cpu")
    assert events[-1] == Finished(10, 2.5, 0.0, 60)
    for number, step in enumerate(of(events, Stepped), start=1):
        assert (step.step, step.epoch) == (number, number / PER_EPOCH)
        assert (step.items, step.learning_rate) == (6, 0.3)
        assert 0 < step.loss < 5
        assert 0 < step.gradient_norm < 10
    assert [(v.step, v.epoch) for v in of(events, Validated)] == [
        (step, step / PER_EPOCH) for step in (2, 4, 6, 8, 10)
    ]
    saved = of(events, Saved)
    assert [save.step for save in saved] == list(range(1, 11))
    assert [save.path.name for save in saved[-2:]] == ["step-00000009", "step-00000010"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [p.path.name for p in saved[-2:]]
    assert learner.asked == [divmod(step, PER_EPOCH) for step in range(10)]
    assert not learner.model.training


def test_seconds_are_of_training_alone_and_grow(tmp_path: Path) -> None:
    events = list(learn(Copier(), OPTIONS, 7, Checkpoints(tmp_path)))
    seconds = [step.seconds for step in of(events, Stepped)]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert of(events, Finished)[0].seconds == seconds[-1]


def test_a_step_is_what_plain_torch_does(tmp_path: Path) -> None:
    """The weights after ten steps against a transcription without the loop."""
    learner, plain = Copier(), Copier()
    run(tmp_path, OPTIONS.model_copy(update={"clip_norm": 0.05}), learner)
    optimizer = torch.optim.SGD(plain.model.parameters(), lr=0.3)
    carry = plain.initial_carry()
    for step in range(10):
        epoch, position = divmod(step, PER_EPOCH)
        carry = plain.initial_carry() if position == 0 else carry
        masks = loop.generator(7, "dropout", epoch, position)
        optimizer.zero_grad()
        loss, carry, _ = plain.loss(plain.batch(epoch, position), carry, masks)
        loss.backward()
        nn.utils.clip_grad_norm_(plain.model.parameters(), 0.05)
        optimizer.step()
    for ours, theirs in zip(learner.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_carry_goes_on_within_an_epoch_and_starts_anew_with_each(tmp_path: Path) -> None:
    learner = Copier()
    run(tmp_path, learner=learner)
    for number, carry in enumerate(learner.given):
        assert bool(carry.abs().sum() == 0) == (number % PER_EPOCH == 0)
        assert not carry.requires_grad


def test_every_step_of_every_epoch_has_masks_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[object, ...]] = []
    original = loop.generator

    def spy(*arguments: Any) -> torch.Generator:
        drawn.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(loop, "generator", spy)
    run(tmp_path)
    assert drawn == [
        (7, "dropout", *divmod(step, PER_EPOCH), torch.device("cpu")) for step in range(10)
    ]
    first = {float(torch.rand(1, generator=original(*arguments))) for arguments in drawn}
    assert len(first) == 10


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"epochs": 1}, 4),
        ({"epochs": 0.6}, 2),
        ({"epochs": 0.01}, 1),
        ({"epochs": 9, "steps": 3}, 3),
    ],
)
def test_how_many_steps_there_are(tmp_path: Path, changes: dict[str, Any], steps: int) -> None:
    events = run(tmp_path, OPTIONS.model_copy(update=changes))
    assert of(events, Started)[0].steps == len(of(events, Stepped)) == steps
    assert of(events, Finished)[0].step == steps


@pytest.mark.parametrize(
    ("every", "at"),
    [(1.0, [4, 8, 10]), (0.25, list(range(1, 11))), (0.01, list(range(1, 11))), (50, [10])],
)
def test_validation_is_as_often_as_asked_and_always_at_the_end(
    tmp_path: Path, every: float, at: list[int]
) -> None:
    events = run(tmp_path, OPTIONS.model_copy(update={"validate_epochs": every}))
    assert [event.step for event in of(events, Validated)] == at


@pytest.mark.parametrize(("wanted", "at"), [(1, [10]), (3, [4, 8, 10]), (99, list(range(1, 11)))])
def test_so_many_validations_are_spread_over_the_run(
    tmp_path: Path, wanted: int, at: list[int]
) -> None:
    events = run(tmp_path, OPTIONS.model_copy(update={"validations": wanted}))
    assert [event.step for event in of(events, Validated)] == at


def test_without_a_validation_split_there_are_no_validations(tmp_path: Path) -> None:
    learner = Unvalidated()
    options = OPTIONS.model_copy(update={"keep": "best", "patience": 1})
    events = run(tmp_path, options, learner)
    assert of(events, Validated) == []
    assert of(events, Finished)[0].step == 10


def test_checkpoints_are_as_far_apart_as_asked_but_the_last_is_always_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    # One look at the clock a step, ten seconds apart, and one as a checkpoint is written.
    events = run(tmp_path, OPTIONS.model_copy(update={"save_seconds": 30.0}))
    assert [event.step for event in of(events, Saved)] == [3, 6, 9, 10]
    monkeypatch.undo()
    events = run(tmp_path / "b", OPTIONS.model_copy(update={"save_seconds": 3600.0}))
    assert [event.step for event in of(events, Saved)] == [10]


# Resuming

RESUMED = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "adagrad": {"optimizer": "adagrad"},
    "adam": {"optimizer": "adam", "learning_rate": 0.05},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.05, "weight_decay": 0.1},
    "tutorial": {"schedule": "tutorial", "flat_epochs": 1, "decay": 0.5},
    "linear": {"schedule": "linear", "warmup_steps": 3},
    "cosine": {"schedule": "cosine", "keep": "best", "clip_norm": 0.1},
    "best": {"optimizer": "adam", "keep": "best", "patience": 100},
    "ema": {"average": "ema", "average_decay": 0.9, "average_start": 0.3},
    "ema, the best": {"optimizer": "adam", "average": "ema", "keep": "best"},
    "asgd": {"average": "asgd", "average_patience": 1, "validate_epochs": 0.25},
    "asgd, the best": {"average": "asgd", "average_patience": 0, "keep": "best"},
}


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, Copier) for name in RESUMED), ("linear", Uneven), ("asgd", Uneven)]
)
def test_stopped_after_any_step_it_resumes_to_the_bit(
    tmp_path: Path, name: str, kind: type[Copier]
) -> None:
    options = OPTIONS.model_copy(update=RESUMED[name])
    if kind is Uneven:
        options = options.model_copy(update={"epochs": 2.8})  # 4 + 2 + 4 steps
    whole = kind()
    uninterrupted = run(tmp_path / "whole", options, whole)
    expected = state(tmp_path / "whole")
    for step in range(1, 10):
        folder = tmp_path / str(step)
        first = run(folder, options, kind(), stop_after=step)
        assert first[-1] == Stopped(step)
        learner = kind()
        second = run(folder, options, learner)
        assert of(second, Started)[0].step == step
        assert of(second, Warned) == []
        for event in (Stepped, Validated, Averaged, Finished):
            assert of(first, event) + of(second, event) == of(uninterrupted, event)
        assert state(folder) == expected
        for ours, theirs in zip(learner.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)


class GivenUp(Copier):
    """One that is interrupted in its n-th validation, as it is begun, or in its n-th loss."""

    def __init__(self, validation: int = 0, loss: int = 0, begun: int = 0) -> None:
        super().__init__()
        self.left = {"validate": validation, "loss": loss, "begun": begun}

    def count(self, what: str) -> None:
        self.left[what] -= 1
        if self.left[what] == 0:
            raise KeyboardInterrupt

    def validate(self) -> Mapping[str, float | int | None] | None:
        self.count("validate")
        return super().validate()

    def loss(
        self, batch: tuple[int, Tensor], carry: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, int]:
        self.count("loss")
        return super().loss(batch, carry, generator)


@pytest.mark.parametrize("name", ["sgd", "ema, the best", "asgd, the best"])
@pytest.mark.parametrize(
    "given_up",
    [{"validation": 1}, {"validation": 3}, {"begun": 1}, {"begun": 3}, {"loss": 1}, {"loss": 5}],
)
def test_interrupted_within_a_validation_or_a_step_it_resumes_to_the_bit(
    tmp_path: Path, name: str, given_up: dict[str, int]
) -> None:
    rarely = {"save_seconds": 3600.0}  # so that only the interruption can have saved
    options = OPTIONS.model_copy(update={**RESUMED[name], **rarely})
    uninterrupted = run(tmp_path / "whole", options)
    first: list[Event] = []
    learner, place = GivenUp(**given_up), tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt), heard(lambda now: now and learner.count("begun")):
        for event in learn(learner, options, 7, Checkpoints(place)):
            first.append(timeless(event))
    assert [type(event) for event in first[-2:]] == [Saving, Saved]  # so that the log is synced
    second = run(place, options)
    assert of(second, Started)[0].unjudged == ("loss" not in given_up)
    assert of(second, Started)[0].step == len(of(first, Stepped))
    for kind in (Stepped, Validated, Averaged, Finished):
        assert of(first, kind) + of(second, kind) == of(uninterrupted, kind)
    assert state(place) == state(tmp_path / "whole")


def test_interrupted_within_an_update_nothing_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(learn(Copier(), OPTIONS, 7, Checkpoints(tmp_path / "cut")))
    assert not (tmp_path / "cut").exists()


def test_a_run_cut_short_between_saves_takes_the_steps_since_again(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    options = OPTIONS.model_copy(update={"save_seconds": 3600.0})
    folder = tmp_path / "cut"
    run(folder, stop_after=3)
    begun = learn(Copier(), options, 7, Checkpoints(folder))
    lost = [next(begun) for _ in range(6)]
    assert of(lost, Stepped)[-1].step == 6
    begun.close()  # as a kill would: nothing is saved
    assert [path.name for path in sorted(folder.iterdir())][-1] == "step-00000003"
    again = run(folder, options)
    assert of(again, Stepped) == of(whole, Stepped)[3:]
    assert state(folder) == state(tmp_path / "whole")


def test_many_stops_are_as_good_as_none(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"optimizer": "adam", "keep": "best"})
    run(tmp_path / "whole", options)
    for _ in range(10):
        run(tmp_path / "parts", options, stop_after=1)
    assert state(tmp_path / "parts") == state(tmp_path / "whole")


def test_a_finished_training_is_finished_again_without_a_step(tmp_path: Path) -> None:
    learner, again = Copier(), Copier()
    options = OPTIONS.model_copy(update={"keep": "best"})
    first = run(tmp_path, options, learner)
    second = run(tmp_path, options, again)
    assert second == [Started(10, 10, PER_EPOCH, 18, "cpu"), first[-1]]
    assert again.asked == []
    for ours, theirs in zip(again.model.parameters(), learner.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_learning_rates_go_on_where_they_were(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"schedule": "cosine", "warmup_steps": 2})
    run(tmp_path, options, stop_after=6)
    rates = [step.learning_rate for step in of(run(tmp_path, options), Stepped)]
    assert rates == [learning_rate(options, step, 10, step // PER_EPOCH) for step in range(6, 10)]


# Epochs of different lengths


def test_epochs_of_different_lengths_are_walked_as_they_are(tmp_path: Path) -> None:
    learner = Uneven()
    options = OPTIONS.model_copy(update={"epochs": 4.0, "validate_epochs": 1.0})
    events = run(tmp_path, options, learner)
    walked = [(e, k) for e, length in enumerate((4, 2, 5, 4)) for k in range(length)]
    assert learner.asked == walked
    assert of(events, Started)[0].steps == 15
    assert [v.step for v in of(events, Validated)] == [4, 6, 11, 15]
    assert [v.epoch for v in of(events, Validated)] == [1, 2, 3, 4]
    assert of(events, Stepped)[4].epoch == 1.5
    assert [step.learning_rate for step in of(events, Stepped)] == [
        0.3 * (1 / (1 + epoch + k)) for epoch, k in walked
    ]
    for (_, position), carry in zip(walked, learner.given, strict=True):
        assert bool(carry.abs().sum() == 0) == (position == 0)


def test_the_tutorials_decay_sets_in_with_the_epochs_as_they_are(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(
        update={"epochs": 3.0, "schedule": "tutorial", "flat_epochs": 1, "decay": 0.5}
    )
    learner = Uneven()
    events = run(tmp_path, options, learner)
    rates = [
        step.learning_rate / learner.rate_factor(*place)
        for step, place in zip(of(events, Stepped), learner.asked, strict=True)
    ]
    assert rates == pytest.approx([0.3] * 4 + [0.15] * 2 + [0.075] * 5)


# Averages of weights


class Recorded(Copier):
    """Remembers its weights after every step, and those it was validated with."""

    def __init__(self, validations: Iterable[float | None] | None = None) -> None:
        super().__init__(validations)
        self.stepped: list[Tensor] = []
        self.validated: list[Tensor] = []

    def batch(self, epoch: int, step: int) -> tuple[int, Tensor]:
        self.stepped.append(self.now())
        return super().batch(epoch, step)

    def validate(self) -> Mapping[str, float | int | None] | None:
        self.validated.append(self.now())
        return super().validate()

    def now(self) -> Tensor:
        named = sorted(self.model.named_parameters())
        return torch.cat([parameter.detach().flatten() for _, parameter in named])


def weights_of(folder: Path, part: str) -> Tensor:
    checkpoint, _ = Checkpoints(folder).newest()
    assert checkpoint is not None
    named = sorted(checkpoint.tensors[part].items())
    return torch.cat([tensor.flatten() for _, tensor in named])


def test_averaging_leaves_the_steps_themselves_alone(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain")
    for average in ("ema", "asgd"):
        options = OPTIONS.model_copy(update={"average": average, "average_patience": 0})
        events = run(tmp_path / average, options)
        assert of(events, Stepped) == of(plain, Stepped)


def test_an_average_begins_at_its_share_of_the_training_and_is_what_is_validated_and_kept(
    tmp_path: Path,
) -> None:
    learner = Recorded()
    options = OPTIONS.model_copy(
        update={"average": "ema", "average_decay": 0.5, "average_start": 0.5}
    )
    run(tmp_path, options, learner)
    after = [*learner.stepped[1:], weights_of(tmp_path, "weights")]
    expected = after[4]  # the weights after half of the ten steps
    for k, weights in enumerate(after[5:], start=1):
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(learner.now(), expected)
    assert torch.equal(learner.now(), learner.validated[-1])
    assert torch.equal(learner.now(), weights_of(tmp_path, "average"))
    assert torch.equal(learner.validated[1], after[3])
    assert not torch.equal(learner.validated[2], after[5])


def test_asgd_averages_from_the_validation_that_was_worse(tmp_path: Path) -> None:
    learner = Recorded([3.0, 2.0, 2.5, 1.9, 1.8])
    options = OPTIONS.model_copy(update={"average": "asgd", "average_patience": 0})
    events = run(tmp_path, options, learner)
    assert of(events, Averaged) == [Averaged(6, 1.5)]
    at = events.index(Averaged(6, 1.5))
    assert isinstance(events[at - 1], Validated)
    after = [*learner.stepped[1:], weights_of(tmp_path, "weights")]
    for validated, until in ((3, 8), (4, 10)):
        mean = torch.stack(after[5:until]).mean(0)
        torch.testing.assert_close(learner.validated[validated], mean)
    for validated, until in ((0, 2), (1, 4), (2, 6)):
        assert torch.equal(learner.validated[validated], after[until - 1])
    assert torch.equal(learner.now(), learner.validated[-1])


@pytest.mark.parametrize(("losses", "chosen"), [([3, 1, 2, 1.5, 1.2], 1), ([3, 1, 2, 0.9, 1.2], 3)])
def test_the_best_is_an_average_where_that_was_the_best(
    tmp_path: Path, losses: list[float], chosen: int
) -> None:
    learner = Recorded(losses)
    options = OPTIONS.model_copy(update={"average": "asgd", "average_patience": 0, "keep": "best"})
    run(tmp_path, options, learner)
    assert torch.equal(learner.now(), learner.validated[chosen])


def test_a_finished_average_is_there_again_without_a_step(tmp_path: Path) -> None:
    learner, again = Recorded(), Recorded()
    options = OPTIONS.model_copy(update={"average": "ema"})
    run(tmp_path, options, learner)
    run(tmp_path, options, again)
    assert again.stepped == []
    assert torch.equal(again.now(), learner.now())


def test_a_checkpoint_without_averages_says_nothing_of_them(tmp_path: Path) -> None:
    run(tmp_path)
    checkpoint, _ = Checkpoints(tmp_path).newest()
    assert checkpoint is not None
    assert "average" not in checkpoint.facts
    assert "average" not in checkpoint.tensors


def test_a_step_that_is_not_finite_does_not_enter_the_average(tmp_path: Path) -> None:
    learner = spoiled([2, 5, 6], "nan")
    run(tmp_path, OPTIONS.model_copy(update={"average": "asgd", "average_patience": 0}), learner)
    options = OPTIONS.model_copy(update={"average": "ema"})
    run(tmp_path / "ema", options, spoiled([2, 5, 6], "nan"))
    checkpoint, _ = Checkpoints(tmp_path / "ema").newest()
    assert checkpoint is not None
    assert checkpoint.facts["average"]["entered"] == 7
    assert torch.isfinite(weights_of(tmp_path / "ema", "average")).all()


def test_measuring_counts_the_average_in_and_leaves_the_model_as_it_was() -> None:
    options = OPTIONS.model_copy(update={"average": "ema", "average_start": 0.9})
    learner, plain = Copier(), Copier()
    measure_seconds_per_step(learner, options, warmup=1, least_seconds=0.001)
    for ours, theirs in zip(learner.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# Which weights are kept


def test_the_best_validated_weights_become_the_model(tmp_path: Path) -> None:
    weights: list[Tensor] = []

    class Watched(Copier):
        def validate(self) -> Mapping[str, float | int | None] | None:
            weights.append(self.model.weight.detach().clone())
            return super().validate()

    losses = [3.0, 1.5, 2.0, 1.5, 4.0]
    for keep, chosen in (("best", 1), ("last", 4)):
        weights.clear()
        learner = Watched(losses)
        events = run(tmp_path / keep, OPTIONS.model_copy(update={"keep": keep}), learner)
        assert [v.best for v in of(events, Validated)] == [True, True, False, False, False]
        assert [v.metrics["loss"] for v in of(events, Validated)] == losses
        assert torch.equal(learner.model.weight, weights[chosen])


def test_a_validation_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    learner = Copier([math.nan, None, 5.0, math.inf, math.nan])
    events = run(tmp_path, OPTIONS.model_copy(update={"keep": "best"}), learner)
    assert [v.best for v in of(events, Validated)] == [False, False, True, False, False]


def test_a_validation_loss_of_zero_is_the_best_there_can_be(tmp_path: Path) -> None:
    events = run(tmp_path, learner=Copier([1.0, 0.0, 0.5, 0.0, 1.0]))
    assert [v.best for v in of(events, Validated)] == [True, True, False, False, False]


def test_patience_ends_training_and_stays_ended(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"keep": "best", "patience": 2})
    losses = [3.0, 1.0, 2.0, 1.0, 0.1]
    learner = Copier(losses)
    events = run(tmp_path / "whole", options, learner)
    assert of(events, Finished) == [Finished(8, 2.0, 0.0, 48)]
    assert of(events, Saved)[-1].step == 8
    assert run(tmp_path / "whole", options)[1:] == [Finished(8, 2.0, 0.0, 48)]

    run(tmp_path / "parts", options, Copier(losses), stop_after=6)
    resumed = run(tmp_path / "parts", options, Copier(losses[3:]))
    assert of(resumed, Finished) == [Finished(8, 2.0, 0.0, 48)]
    assert state(tmp_path / "parts") == state(tmp_path / "whole")


# Numbers that are not finite


def spoiled(numbers: Iterable[int], how: str) -> Copier:
    chosen = set(numbers)

    def spoil(number: int, loss: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        if number not in chosen:
            return loss, carry
        if how == "gradient":  # the loss is as it was, its derivative is 0 x infinity
            return loss + 0 * (loss - loss).sqrt(), carry
        return loss * float(how), carry * math.nan

    learner = Copier()
    learner.spoil = spoil
    return learner


@pytest.mark.parametrize("how", ["nan", "inf", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_and_is_told(tmp_path: Path, how: str) -> None:
    options = OPTIONS.model_copy(update={"optimizer": "adam", "learning_rate": 0.05})
    learner = spoiled([2, 5, 6], how)
    before: dict[int, list[Tensor]] = {}
    events: list[Event] = []
    for event in learn(learner, options, 7, Checkpoints(tmp_path)):
        events.append(timeless(event))
        if isinstance(event, Stepped | Warned):
            before[len(before) + 1] = [p.detach().clone() for p in learner.model.parameters()]
    for step in range(2, 11):
        same = all(map(torch.equal, before[step], before[step - 1]))
        assert same == (step in (3, 6, 7))
    assert [step.step for step in of(events, Stepped)] == [1, 2, 4, 5, 8, 9, 10]
    assert of(events, Finished) == [Finished(10, 2.5, 0.0, 42)]
    warned = [event.message for event in of(events, Warned)]
    loss = {"nan": "nan", "inf": "inf", "gradient": r"0\.\d+"}[how]
    for message, step in zip(warned, (3, 6, 7), strict=True):
        pattern = rf"step {step}: loss {loss}, gradient norm (nan|inf), learning rate 0.05: "
        assert re.fullmatch(pattern + "update skipped", message)
    assert all(torch.isfinite(p).all() for p in learner.model.parameters())


def test_a_carry_that_is_not_finite_is_not_carried_on(tmp_path: Path) -> None:
    learner = spoiled([1, 6], "nan")
    run(tmp_path, learner=learner)
    assert all(torch.isfinite(carry).all() for carry in learner.given)
    assert torch.equal(learner.given[2], learner.given[1])
    assert torch.equal(learner.given[7], learner.given[6])


@pytest.mark.parametrize("how", ["nan", "gradient"])
def test_three_in_a_row_end_the_run_and_spare_the_checkpoints(tmp_path: Path, how: str) -> None:
    events: list[Event] = []
    with pytest.raises(RunError) as caught:
        events.extend(learn(spoiled([5, 6, 7], how), OPTIONS, 7, Checkpoints(tmp_path)))
    message = str(caught.value)
    assert message.startswith("3 steps in a row were not finite (step 8: loss ")
    assert "gradient norm nan" in message
    assert "learning rate 0.3)" in message
    assert "\n" not in message
    assert caught.value.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]
    healthy, notes = Checkpoints(tmp_path).newest()
    assert healthy is not None
    assert notes == []
    assert all(torch.isfinite(tensor).all() for tensor in healthy.tensors["weights"].values())
    # and from there the same training, its numbers healed, ends well
    assert of(run(tmp_path), Finished) == [Finished(10, 2.5, 0.0, 60)]


def test_nothing_is_saved_while_the_numbers_are_not_finite(tmp_path: Path) -> None:
    events = run(tmp_path, learner=spoiled([2, 5, 6], "nan"))
    assert [event.step for event in of(events, Saved)] == [1, 2, 4, 5, 8, 9, 10]


def test_three_in_a_row_are_counted_through_a_stop(tmp_path: Path) -> None:
    spoilt = [3, 4, 5]
    first = run(tmp_path, learner=spoiled(spoilt, "nan"), stop_after=5)
    assert first[-1] == Stopped(5)
    with pytest.raises(RunError, match="step 6: loss nan"):
        run(tmp_path, learner=spoiled(spoilt, "nan"))


# Disks


class FullDisk(Checkpoints):
    """Refuses the saves whose numbers, from 1, are given."""

    def __init__(self, directory: Path, refused: Iterable[int]) -> None:
        super().__init__(directory)
        self.refused = set(refused)
        self.tries = 0

    def save(self, checkpoint: Checkpoint) -> Path:
        self.tries += 1
        if self.tries in self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().save(checkpoint)


def test_a_full_disk_costs_a_warning_and_the_next_save_tries_again(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    disk = FullDisk(tmp_path / "full", [3, 4, 9])
    events = [timeless(event) for event in learn(Copier(), OPTIONS, 7, disk)]
    assert [event.step for event in of(events, Saved)] == [1, 2, 5, 6, 7, 8, 10]
    assert [event.message for event in of(events, Warned)] == [
        f"checkpoint of step {step} not written: [Errno 28] No space left on device; will try again"
        for step in (3, 4, 9)
    ]
    assert state(tmp_path / "full") == state(tmp_path / "whole")


@pytest.mark.parametrize("stop_after", [None, 6])
def test_when_the_last_save_fails_the_run_says_so_and_older_ones_are_intact(
    tmp_path: Path, stop_after: int | None
) -> None:
    last = stop_after or 10
    disk = FullDisk(tmp_path, [last])
    asked = iter(range(1, 100))
    with pytest.raises(ResourceError) as caught:
        list(learn(Copier(), OPTIONS, 7, disk, lambda: next(asked) == stop_after))
    assert caught.value.exit_code == 5
    assert f"the checkpoint of step {last} cannot be written: [Errno 28]" in str(caught.value)
    found, notes = Checkpoints(tmp_path).newest()
    assert found is not None
    assert (found.step, notes) == (last - 1, [])
    assert of(run(tmp_path), Finished) == [Finished(10, 2.5, 0.0, 60)]


# Stopping


def test_it_is_asked_once_a_step_and_stops_after_the_step_in_progress(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"save_seconds": 3600.0})
    events = run(tmp_path, options, stop_after=6)
    assert [type(event).__name__ for event in events[-5:]] == [
        "Stepped",
        "Validated",
        "Saving",
        "Saved",
        "Stopped",
    ]
    assert [event.step for event in of(events, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in of(events, Saved)] == [6]


def test_a_stop_at_the_last_step_comes_too_late(tmp_path: Path) -> None:
    events = run(tmp_path, stop_after=10)
    assert of(events, Stopped) == []
    assert of(events, Finished) == [Finished(10, 2.5, 0.0, 60)]
    assert [event.step for event in of(events, Saved)].count(10) == 1


# What does not belong together


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({"text": "other", "vocabulary": "b"}, "text"),
        ({"text": "other", "vocabulary": "other"}, "text, vocabulary"),
        ({"text": "a"}, "vocabulary"),
        ({"text": "a", "vocabulary": "b", "order": "c"}, "order"),
    ],
)
def test_other_data_are_refused_by_name(tmp_path: Path, now: dict[str, str], changed: str) -> None:
    run(tmp_path, stop_after=3)
    learner = Copier()
    learner.fingerprint = now
    before = [p.clone() for p in learner.model.parameters()]
    with pytest.raises(ConfigError, match=f"other data, so it cannot go on: {changed} changed"):
        run(tmp_path, learner=learner)
    assert all(map(torch.equal, learner.model.parameters(), before))


def test_weights_of_another_network_are_refused_and_none_is_loaded(tmp_path: Path) -> None:
    run(tmp_path, stop_after=3)
    learner = Copier(width=4)
    before = [p.clone() for p in learner.model.parameters()]
    with pytest.raises(CheckpointError) as caught:
        run(tmp_path, learner=learner)
    assert str(caught.value) == (
        "the weights do not fit the model: weight is (3, 5), expected (4, 6); "
        "bias is (3,), expected (4,)"
    )
    assert all(map(torch.equal, learner.model.parameters(), before))


def test_missing_and_unexpected_weights_are_listed() -> None:
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, {"weight": torch.ones(1, 2), "scale": torch.ones(1)})
    assert str(caught.value) == ("the weights do not fit the model: missing bias; unexpected scale")
    assert torch.equal(model.weight, before)


def test_the_state_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    run(tmp_path, OPTIONS.model_copy(update={"optimizer": "adam"}), stop_after=3)
    with pytest.raises(CheckpointError, match="expected the state of SGD, found 'Adam'"):
        run(tmp_path)


def test_a_checkpoint_of_a_gpu_goes_on_here_with_a_word_about_the_bits(tmp_path: Path) -> None:
    run(tmp_path, stop_after=4)
    checkpoints = Checkpoints(tmp_path)
    made, _ = checkpoints.newest()
    assert made is not None
    checkpoints.save(replace(made, facts={**made.facts, "device": "cuda"}))
    events = run(tmp_path)
    assert events[0] == Warned(
        "the checkpoint was made on cuda, this is cpu: training goes on, but the same bits come "
        "out on the same device only"
    )
    assert isinstance(events[1], Started)
    assert of(events, Finished) == [Finished(10, 2.5, 0.0, 60)]


def test_a_damaged_newest_checkpoint_costs_a_warning_and_the_steps_since(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "hurt", stop_after=7)
    file = tmp_path / "hurt" / "step-00000007" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (tmp_path / "hurt" / "step-00000008.tmp-0123abcd").mkdir()
    events = run(tmp_path / "hurt")
    notes = [event.message for event in of(events, Warned)]
    assert notes[0].startswith("removed ")
    assert notes[1].startswith(f"passed over step-00000007: {file}: expected SHA-256 ")
    assert of(events, Started)[0].step == 6
    assert state(tmp_path / "hurt") == state(tmp_path / "whole")


def test_when_no_checkpoint_is_intact_nothing_is_trained_over_them(tmp_path: Path) -> None:
    run(tmp_path, stop_after=4)
    for file in tmp_path.glob("*/facts.json"):
        file.write_bytes(b"{}")
    learner = Copier()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact"):
        run(tmp_path, learner=learner)
    assert learner.asked == []


# Measuring


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_measuring_a_step_leaves_everything_as_it_was(
    tmp_path: Path, optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = OPTIONS.model_copy(update={"optimizer": optimizer, "weight_decay": 0.5})
    measured, fresh = Copier(), Copier()
    seconds = measure_seconds_per_step(measured, options, warmup=2, least_seconds=0.02)
    assert 1e-6 < seconds < 1
    assert len(measured.asked) >= 5
    assert measured.model.training
    for ours, theirs in zip(measured.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.grad is None
    assert run(tmp_path / "a", options, measured) == [
        replace(event, path=tmp_path / "a" / event.path.name) if isinstance(event, Saved) else event
        for event in run(tmp_path / "b", options, fresh)
    ]


def test_measuring_leaves_the_first_steps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([second for n in range(100) for second in (0.0, 9.0 if n < 5 else 0.5)])
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))
    learner = Copier()
    assert measure_seconds_per_step(learner, OPTIONS) == pytest.approx(0.5)
    assert len(learner.asked) == 5 + 4  # two seconds at half a second each


# Weights that have blown up


def blowing(learner: Copier, at: int) -> Copier:
    """A learner whose weights become infinite as the given step is taken, and whose loss is 0."""

    def spoil(number: int, loss: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        if number == at:
            learner.model.bias.data.fill_(math.inf)  # type: ignore[union-attr]
        return loss * 0 if math.isfinite(float(loss.detach())) else loss, carry

    learner.spoil = spoil
    return learner


def test_weights_that_blew_up_are_not_saved_over_good_ones(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"validate_epochs": 100.0})
    events: list[Event] = []
    with pytest.raises(RunError):
        events.extend(learn(blowing(Copier(), 5), options, 7, Checkpoints(tmp_path)))
    assert sorted(path.name for path in tmp_path.glob("step-*"))[-1] == "step-00000005"
    found, notes = Checkpoints(tmp_path).newest()
    assert found is not None and found.step == 5 and notes == []


def test_the_last_step_leaves_weights_that_are_finite_or_none(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"steps": 6, "validate_epochs": 100.0})
    with pytest.raises(
        RunError, match=r"the training ends with weights that are not finite \(weights: bias"
    ):
        run(tmp_path / "last", options, blowing(Copier([None] * 9), 5))
    best = options.model_copy(update={"keep": "best", "validate_epochs": 0.25})
    learner = blowing(Copier([3.0, 2.0, 1.0, 2.0, 3.0, math.nan]), 5)
    events = run(tmp_path / "best", best, learner)
    assert all(bool(weight.isfinite().all()) for weight in learner.model.parameters())
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, None])
def test_a_validation_that_is_no_number_is_never_the_best(tmp_path: Path, loss: float) -> None:
    options = OPTIONS.model_copy(update={"keep": "best", "steps": 4, "validate_epochs": 0.25})
    events = run(tmp_path, options, Copier([loss, 2.0, loss, 3.0]))
    assert [event.best for event in of(events, Validated)] == [False, True, False, False]


# Minutes


@pytest.mark.parametrize(("minutes", "seconds", "steps"), [(2.0, 1.0, 114), (0.001, 5.0, 1)])
def test_minutes_become_the_steps_that_fit_with_a_reserve(
    monkeypatch: pytest.MonkeyPatch, minutes: float, seconds: float, steps: int
) -> None:
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step", lambda learner, options: seconds
    )
    options = OPTIONS.model_copy(update={"minutes": minutes})
    found = with_steps(options, Copier())
    assert found == options.model_copy(update={"steps": steps, "left_out": {}})


def test_steps_that_are_known_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step", lambda *_: pytest.fail("measured")
    )
    for update in ({}, {"steps": 3}, {"steps": 3, "minutes": 1.0, "left_out": {}}):
        options = OPTIONS.model_copy(update=update)
        assert with_steps(options, Copier()) is options


def test_becoming_steps_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    original = measure_seconds_per_step
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step",
        lambda learner, options: original(learner, options, warmup=1, least_seconds=0.001),
    )
    learner, plain = Copier(), Copier()
    found = with_steps(OPTIONS.model_copy(update={"minutes": 0.01}), learner)
    assert found.steps is not None
    assert found.steps > 1
    for ours, theirs in zip(learner.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_without_checkpoints_nothing_is_kept_and_the_same_is_learned(tmp_path: Path) -> None:
    kept, free = Copier(), Copier()
    run(tmp_path, learner=kept)
    events = list(learn(free, OPTIONS, 7, None))
    assert not of(events, Saved)
    assert isinstance(events[-1], Finished)
    for ours, theirs in zip(free.model.parameters(), kept.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
