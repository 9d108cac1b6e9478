"""Schedules against their formulas, optimizers and clipping against torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.learning.optimization import (
    clip_gradients,
    learning_rate,
    make_optimizer,
    take_step,
    takes_sparse_gradients,
)
from recurra.learning.options import OPTIMIZERS, TrainOptions


def rates(options: TrainOptions, steps: int, per_epoch: int) -> list[float]:
    return [learning_rate(options, step, steps, step // per_epoch) for step in range(steps)]


def test_constant() -> None:
    assert rates(TrainOptions(learning_rate=0.3), 7, 3) == [0.3] * 7


@pytest.mark.parametrize(
    ("flat", "decay", "epochs"), [(4, 0.5, 13), (6, 0.8, 39), (14, 1 / 1.15, 55), (0, 0.5, 3)]
)
def test_tutorial(flat: int, decay: float, epochs: int) -> None:
    """As the program of 2017: lr_decay ** max(i + 1 - max_epoch, 0.0), assigned once an epoch."""
    options = TrainOptions(
        learning_rate=20, schedule="tutorial", flat_epochs=flat, decay=decay, epochs=epochs
    )
    expected = []
    for i in range(epochs):
        expected += [20 * decay ** max(i + 1 - flat, 0.0)] * 3
    assert rates(options, 3 * epochs, 3) == pytest.approx(expected, rel=1e-15)


def test_linear_falls_evenly_and_would_reach_zero_at_the_step_after_the_last() -> None:
    options = TrainOptions(learning_rate=2.0, schedule="linear")
    found = rates(options, 8, 4)
    assert found == pytest.approx([2 * (1 - step / 8) for step in range(8)], rel=1e-15)
    assert min(found) > 0


def test_cosine() -> None:
    options = TrainOptions(learning_rate=2.0, schedule="cosine")
    expected = [1 + math.cos(math.pi * step / 50) for step in range(50)]
    found = rates(options, 50, 7)
    assert found == pytest.approx(expected, rel=1e-14)
    assert found[0] == 2.0
    assert found[25] == pytest.approx(1.0)
    assert 0 < found[-1] < 0.01


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_warmup_rises_from_a_share_to_the_peak_and_the_schedule_begins_there(schedule: Any) -> None:
    options = TrainOptions(learning_rate=3.0, schedule=schedule, warmup_steps=4)
    found = rates(options, 20, 5)
    assert found[:4] == pytest.approx([0.75, 1.5, 2.25, 3.0])
    plain = TrainOptions(learning_rate=3.0, schedule=schedule)
    assert found[4:] == rates(plain, 16, 5)
    assert max(found) == found[4] == 3.0


def test_warmup_of_the_tutorial_does_not_shift_its_epochs() -> None:
    options = TrainOptions(
        learning_rate=1.0, schedule="tutorial", flat_epochs=1, decay=0.5, warmup_steps=2
    )
    assert rates(options, 9, 3) == [0.5, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_warmup_as_long_as_the_training_or_longer() -> None:
    assert rates(TrainOptions(schedule="linear", warmup_steps=4), 4, 4) == [0.25, 0.5, 0.75, 1.0]
    assert rates(TrainOptions(schedule="cosine", warmup_steps=8), 4, 4)[-1] == 0.5


@given(
    st.sampled_from(["constant", "tutorial", "linear", "cosine"]),
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(0, 50),
    st.integers(0, 4),
    st.floats(0.1, 1.0),
)
def test_every_rate_lies_above_zero_and_at_most_at_the_peak(
    schedule: Any, steps: int, per_epoch: int, warmup: int, flat: int, decay: float
) -> None:
    options = TrainOptions(
        learning_rate=0.7,
        schedule=schedule,
        warmup_steps=warmup,
        flat_epochs=flat,
        decay=decay,
    )
    found = rates(options, steps, per_epoch)
    assert all(0 <= rate <= 0.7 for rate in found)
    assert found[0] > 0
    falling = found[min(warmup, steps - 1) :]
    assert falling == sorted(falling, reverse=True)


TORCH: dict[str, tuple[dict[str, Any], Callable[[Any], torch.optim.Optimizer]]] = {
    "sgd": ({}, lambda p: torch.optim.SGD(p, lr=0.1)),
    "sgd with all": (
        {"momentum": 0.9, "weight_decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    ),
    "adagrad": ({}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "adagrad as the tutorial's": (
        {"optimizer_options": {"initial_accumulator_value": 0.1}},
        lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    ),
    "adagrad with decay": (
        {"weight_decay": 0.01},
        lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.01),
    ),
    "adam": ({}, lambda p: torch.optim.Adam(p, lr=0.1)),
    "adam with all": (
        {"momentum": 0.8, "weight_decay": 0.01},
        lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.999), weight_decay=0.01),
    ),
    "adamw": ({"weight_decay": 0.01}, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01)),
    "adamw without decay": ({}, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.0)),
}


def regression() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def train(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for step in range(10):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step)).double()
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", TORCH)
def test_each_optimizer_takes_the_steps_of_torchs_own(name: str) -> None:
    constants, make = TORCH[name]
    ours, theirs = regression(), regression()
    options = TrainOptions(optimizer=name.split()[0], learning_rate=0.1, **constants)
    train(ours, make_optimizer(ours.parameters(), options))
    train(theirs, make(theirs.parameters()))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        # ours are the fused kernels, which round in another order
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_every_name_of_the_options_is_an_optimizer() -> None:
    assert {name.split()[0] for name in TORCH} == set(OPTIMIZERS)
    assert all(TrainOptions(optimizer=name).optimizer == name for name in OPTIMIZERS)


def with_gradients(scale: float = 1.0) -> list[nn.Parameter]:
    stream = torch.Generator().manual_seed(5)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in [(3, 4), (7,), (2, 2), (5,)]]
    for parameter in parameters[:3]:  # the last takes no part in the loss
        parameter.grad = scale * torch.randn(parameter.shape, generator=stream)
    return parameters


def gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@pytest.mark.parametrize("most", [0.01, 1.0, 4.0, 1e6])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_clipping_is_torchs(most: float, scale: float) -> None:
    ours, theirs = with_gradients(scale), with_gradients(scale)
    norm = clip_gradients(ours, most)
    expected = nn.utils.clip_grad_norm_(theirs, most)
    assert float(norm) == float(expected)
    for mine, other in zip(gradients(ours), gradients(theirs), strict=True):
        # torch divides by norm + 1e-6
        torch.testing.assert_close(mine, other, rtol=2e-6 / min(1.0, float(norm)), atol=0)


def test_a_clipped_gradient_has_the_norm_asked_for_and_the_direction_it_had() -> None:
    before, parameters = gradients(with_gradients()), with_gradients()
    norm = float(clip_gradients(parameters, 0.5))
    clipped = gradients(parameters)
    assert math.sqrt(sum(float(g.double().square().sum()) for g in clipped)) == pytest.approx(0.5)
    for was, now in zip(before, clipped, strict=True):
        torch.testing.assert_close(now * (norm / 0.5), was)


def test_a_small_gradient_is_left_to_the_bit() -> None:
    for most in (None, 1e3, float(clip_gradients(with_gradients(), None))):
        parameters = with_gradients()
        clip_gradients(parameters, most)
        for now, was in zip(gradients(parameters), gradients(with_gradients()), strict=True):
            assert torch.equal(now, was)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_told(bad: float) -> None:
    parameters = with_gradients()
    gradients(parameters)[1][0] = bad
    assert not torch.isfinite(clip_gradients(parameters, 1.0))


def test_no_gradient_at_all_has_norm_zero() -> None:
    assert clip_gradients([nn.Parameter(torch.zeros(2))], 1.0) == 0


def embedded(sparse: bool) -> tuple[nn.Parameter, nn.Parameter]:
    stream = torch.Generator().manual_seed(2)
    table = nn.Parameter(torch.randn(9, 4, generator=stream))
    weight = nn.Parameter(torch.randn(4, generator=stream))
    ids = torch.tensor([1, 1, 1, 3, 8, 3])
    (F.embedding(ids, table, sparse=sparse) @ weight).square().sum().backward()
    return table, weight


@pytest.mark.parametrize("most", [None, 0.1, 1e6])
def test_a_sparse_gradient_is_clipped_and_stepped_as_the_dense_one_it_is(
    most: float | None,
) -> None:
    options = TrainOptions(learning_rate=0.5)
    assert takes_sparse_gradients(options)
    results = []
    for sparse in (False, True):
        parameters = embedded(sparse)
        assert parameters[0].grad is not None
        assert parameters[0].grad.is_sparse == sparse
        norm = clip_gradients(parameters, most)
        make_optimizer(parameters, options).step()
        results.append((norm, *deepcopy(parameters)))
    for dense, thin in zip(*results, strict=True):
        torch.testing.assert_close(thin, dense, rtol=1e-5, atol=1e-6)


def test_only_an_update_that_leaves_absent_rows_alone_takes_sparse_gradients() -> None:
    assert not takes_sparse_gradients(TrainOptions(momentum=0.5))
    assert not takes_sparse_gradients(TrainOptions(weight_decay=1e-6))
    for name in ("adagrad", "adam", "adamw"):
        assert not takes_sparse_gradients(TrainOptions(optimizer=name))


BOUNDS = {
    "epochs": ([1e-6, 100_000], [0, -1, 100_001, math.nan, math.inf, "many", None]),
    "steps": ([1, None, 10**9], [0, -5, 1.5, "none", 10**9 + 1]),
    "minutes": ([0.01, None], [0, -1, math.inf]),
    "left_out": ([None, {}, {"dynamic": "would take 300 s"}], ["dynamic", {"a": 1}]),
    "sized": ([False, True], ["perhaps", None]),
    "batch_size": ([1, 1_000_000], [0, -20, 1_000_001, 2.5]),
    "optimizer": (["sgd", "adagrad", "adam", "adamw", "mine:Opt"], ["SGD", "rmsprop", "a:", 3]),
    "optimizer_options": (
        [{}, {"eps": 1e-6, "n": None, "word": "a"}],
        [None, {"a": [1]}, {"a b": 1}],
    ),
    "learning_rate": ([1e-9, 10_000], [0, -1, 10_001, math.nan, math.inf]),
    "momentum": ([0, 0.999], [-0.1, 1, math.nan]),
    "weight_decay": ([0, 1], [-1e-9, 1.1]),
    "schedule": (
        ["constant", "tutorial", "linear", "cosine", "a.b:c"],
        ["step", "", ":c", "a:b:c"],
    ),
    "schedule_options": ([{"a": True}], [{"a": math.nan}, {"a": 2**63}, {1: 1}]),
    "loss": ([None, "mine:loss"], ["mine", "nll"]),
    "loss_options": ([{}], [{"a": {}}]),
    "regulariser": ([None, "mine:penalty"], ["mine.penalty"]),
    "regulariser_options": ([{}], [{"a": "b" * 1001}]),
    "warmup_steps": ([0, 10], [-1, 0.5]),
    "flat_epochs": ([0, 14], [-1]),
    "decay": ([1e-3, 1], [0, 1.01]),
    "clip_norm": ([None, 1e-3], [0, -1, math.inf]),
    "validate_epochs": ([0.01, 5], [0, -1]),
    "validations": ([None, 1], [0, 1.5]),
    "keep": (["last", "best"], ["worst"]),
    "patience": ([None, 1], [0]),
    "average": (["none", "ema", "asgd"], ["swa", None]),
    "average_decay": ([1e-6, 0.9999], [0, 1, math.nan]),
    "average_start": ([0, 0.99], [-0.1, 1]),
    "average_patience": ([0, 5], [-1, 1.5]),
    "average_steps": ([1, 10], [0, 2.5]),
    "save_seconds": ([0, 3600], [-1]),
}


def test_the_options_have_these_bounds() -> None:
    assert set(BOUNDS) == set(TrainOptions.model_fields)
    for name, (inside, outside) in BOUNDS.items():
        for value in inside:
            assert getattr(TrainOptions(**{name: value}), name) == value
        for value in outside:
            with pytest.raises(ValidationError, match=name):
                TrainOptions(**{name: value})


def test_the_options_are_frozen_described_and_know_no_other_key() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainOptions().epochs = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        TrainOptions(epoch=3)
    assert all(field.description for field in TrainOptions.model_fields.values())


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_step_is_clip_then_update_with_weight_decay_unclipped(
    optimizer: Any, clip_norm: float | None, momentum: float, decay: float
) -> None:
    options = TrainOptions(
        optimizer=optimizer, clip_norm=clip_norm, momentum=momentum, weight_decay=decay
    )
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    stepper, reference = make_optimizer([ours], options), make_optimizer([theirs], options)
    for gradient in ([3.0, 4.0], [0.3, 0.1], [-2.0, 1.0]):
        ours.grad, theirs.grad = torch.tensor(gradient), torch.tensor(gradient)
        norm = take_step(stepper, options, rate=0.25)
        assert norm == pytest.approx(sum(part**2 for part in gradient) ** 0.5)
        if clip_norm is not None:
            nn.utils.clip_grad_norm_([theirs], clip_norm)
        reference.param_groups[0]["lr"] = 0.25
        reference.step()
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_updates_nothing(value: float) -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, value])
    options = TrainOptions(clip_norm=1.0)
    assert not math.isfinite(take_step(make_optimizer([weight], options), options, 0.5))
    assert torch.equal(weight, torch.ones(2))
