"""Averages against sums over every set of weights, and the trigger against the paper's rule."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recurra.errors import CheckpointError
from recurra.learning.averaging import WeightAverage
from recurra.learning.options import TrainOptions


def parameters() -> dict[str, nn.Parameter]:
    stream = torch.Generator().manual_seed(3)
    return {
        name: nn.Parameter(torch.randn(shape, generator=stream, dtype=torch.float64))
        for name, shape in {"embedding": (5, 3), "bias": (4,)}.items()
    }


def walk(
    average: WeightAverage, steps: int, seed: int = 0
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Move the weights about at random; return them after each step, and the average at last."""
    stream = torch.Generator().manual_seed(seed)
    seen = []
    for _ in range(steps):
        for parameter in average.parameters.values():
            noise = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
            parameter.data.add_(noise)
        average.add()
        seen.append({k: p.detach().clone() for k, p in average.parameters.items()})
    with average.applied():
        return seen, {k: p.detach().clone() for k, p in average.parameters.items()}


@pytest.mark.parametrize("every", [1, 3])
def test_asgd_is_the_mean_of_all_weights_from_where_it_began(every: int) -> None:
    options = TrainOptions(average="asgd", average_steps=every)
    average = WeightAverage(parameters(), options)
    walk(average, 4)
    assert not average.begun
    first = {k: p.detach().clone() for k, p in average.parameters.items()}
    average.begin()
    seen, found = walk(average, 13, seed=1)
    entered = [first, *seen[every - 1 :: every]]
    assert average.entered == len(entered)
    for name, value in found.items():
        expected = torch.stack([weights[name] for weights in entered]).mean(0)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("every", [1, 4])
def test_ema_is_the_recursion_written_out(every: int) -> None:
    options = TrainOptions(average="ema", average_decay=0.8, average_steps=every)
    average = WeightAverage(parameters(), options)
    expected = {k: p.detach().clone() for k, p in average.parameters.items()}
    average.begin()
    seen, found = walk(average, 60)
    for step, weights in enumerate(seen, start=1):
        if step % every == 0:
            kept = min(0.8, (1 + step) / (10 + step)) ** every
            expected = {k: kept * expected[k] + (1 - kept) * weights[k] for k in weights}
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)


def test_a_long_ema_of_still_weights_forgets_where_it_began() -> None:
    average = WeightAverage(parameters(), TrainOptions(average="ema", average_decay=0.9))
    average.begin()
    for parameter in average.parameters.values():
        parameter.data.fill_(2.0)
    for _ in range(300):
        average.add()
    with average.applied():
        for parameter in average.parameters.values():
            torch.testing.assert_close(parameter.data, torch.full_like(parameter, 2.0))


def test_weights_and_average_change_places_without_a_copy_and_back_whatever_happens() -> None:
    average = WeightAverage(parameters(), TrainOptions(average="ema"))
    average.begin()
    walk(average, 3)
    weights = [p.data_ptr() for p in average.parameters.values()]
    averages = [value.data_ptr() for value in average.values]
    with pytest.raises(KeyError), average.applied():
        assert [p.data_ptr() for p in average.parameters.values()] == averages
        raise KeyError
    assert [p.data_ptr() for p in average.parameters.values()] == weights
    assert [value.data_ptr() for value in average.values] == averages
    average.settle()
    assert [p.data_ptr() for p in average.parameters.values()] == averages
    assert not average.begun


def test_before_it_has_begun_nothing_changes() -> None:
    average = WeightAverage(parameters(), TrainOptions(average="asgd"))
    seen, found = walk(average, 3)
    assert all(torch.equal(found[name], value) for name, value in seen[-1].items())
    average.settle()
    assert all(torch.equal(p, seen[-1][name]) for name, p in average.parameters.items())


def triggered(losses: list[float], patience: int) -> int | None:
    """The paper's algorithm 1, word for word: logs, and v > min over logs[0 : t - n]."""
    logs: list[float] = []
    for t, v in enumerate(losses):
        if t > patience and v > min(logs[: t - patience]):
            return t
        logs.append(v)
    return None


@given(st.lists(st.integers(0, 9), max_size=25), st.integers(0, 6))
def test_it_begins_when_a_validation_is_worse_than_the_best_but_the_last_few(
    losses: list[int], patience: int
) -> None:
    average = WeightAverage(parameters(), TrainOptions(average="asgd", average_patience=patience))
    began = [n for n, loss in enumerate(losses) if average.judge(float(loss))]
    expected = triggered([float(loss) for loss in losses], patience)
    assert began == ([] if expected is None else [expected])
    assert average.begun == bool(began)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_that_is_not_finite_begins_nothing(value: float) -> None:
    average = WeightAverage(parameters(), TrainOptions(average="asgd", average_patience=0))
    assert not any(average.judge(loss) for loss in (1.0, value, 0.5, value))
    assert average.judge(0.6)


@pytest.mark.parametrize("kind", ["none", "ema"])
def test_only_asgd_looks_at_validation(kind: str) -> None:
    average = WeightAverage(parameters(), TrainOptions(average=kind, average_patience=0))
    assert not any(average.judge(loss) for loss in (1.0, 2.0, 3.0))


@pytest.mark.parametrize("kind", ["ema", "asgd"])
@pytest.mark.parametrize("begun", [False, True])
def test_unpacked_it_goes_on_to_the_bit(kind: str, begun: bool) -> None:
    options = TrainOptions(average=kind, average_patience=1, average_steps=2)
    whole = WeightAverage(parameters(), options)
    for loss in (1.0, 0.9, 0.95):
        whole.judge(loss)
    if begun:
        whole.begin()
    walk(whole, 5)
    tensors, facts = whole.pack()
    facts = json.loads(json.dumps(facts))
    held = {name: tensor.clone() for name, tensor in tensors.items()}
    second = WeightAverage(parameters(), options)
    for name, parameter in second.parameters.items():
        parameter.data.copy_(whole.parameters[name].data)
    second.unpack(held, facts)
    assert [second.judge(loss) for loss in (0.8, 0.93)] == [
        whole.judge(loss) for loss in (0.8, 0.93)
    ]
    assert second.begun == whole.begun
    (_, first), (_, other) = walk(whole, 6, seed=9), walk(second, 6, seed=9)
    assert all(torch.equal(other[name], value) for name, value in first.items())
    assert second.pack()[1] == whole.pack()[1]
    assert all(torch.equal(held[name], tensor) for name, tensor in held.items())


def test_an_average_of_another_model_is_refused() -> None:
    average = WeightAverage(parameters(), TrainOptions(average="ema"))
    average.begin()
    tensors, facts = average.pack()
    for wrong in ({"bias": tensors["bias"]}, {**tensors, "bias": torch.zeros(3)}):
        with pytest.raises(CheckpointError, match="names and shapes"):
            average.unpack(wrong, facts)
