"""The copying memory: what is asked, and what is reached without memory."""

from __future__ import annotations

import math

import pytest
import torch

from recurra.bench.tasks.copying import Copying


@pytest.mark.parametrize(("copied", "delay", "letters"), [(5, 30, 8), (10, 1, 3), (1, 500, 2)])
def test_the_target_is_what_was_read_first(copied, delay, letters):
    task = Copying(copied, delay, letters)
    x, target = task.make(64, torch.Generator().manual_seed(1))
    assert x.shape == target.shape == (64, task.length) == (64, delay + 2 * copied)
    for read, said in zip(x.tolist(), target.tolist()):
        heard = read[:copied]
        assert read[copied:] == [letters] * (delay - 1) + [letters + 1] + [letters] * copied
        assert said == [letters] * (delay + copied) + heard
        assert max(heard) < letters
    assert set(x[:, :copied].unique().tolist()) == set(range(letters))
    assert (int(x.max()), int(target.max())) == (task.tokens - 1, task.outputs - 1)


def test_the_memoryless_strategy_has_the_loss_of_the_formula():
    task = Copying(copied=10, delay=100)
    (batch,) = task.held_out("test")
    strategy = torch.full((*batch.target.shape, task.outputs), -1e4)
    strategy[:, :-10, 8] = 0  # blanks, then any letter
    strategy[:, -10:, :8] = 0
    baseline = task.baselines()["memoryless"]
    assert baseline["loss"] == pytest.approx(10 * math.log(8) / 120)
    assert float(task.loss(strategy, batch.target)) == pytest.approx(baseline["loss"], rel=1e-5)
    assert task.metrics(strategy, batch.target)["accuracy"] == pytest.approx(1 / 8, abs=0.01)


def test_whoever_remembers_is_right():
    task = Copying()
    (batch,) = task.held_out("valid")
    said = 50.0 * torch.nn.functional.one_hot(batch.target, task.outputs)
    assert task.metrics(said, batch.target) == {"loss": pytest.approx(0), "accuracy": 1.0}
    said[:, -1] = said[:, -1].roll(1, dims=1)  # of five letters one is wrong
    assert task.metrics(said, batch.target)["accuracy"] == pytest.approx(0.8)


def test_batches_are_a_pure_function_of_seed_and_step():
    task = Copying()
    assert torch.equal(task.batch(1, 0, 3).x, Copying().batch(1, 0, 3).x)
    others = [task.batch(2, 0, 3), task.batch(1, 0, 4), *task.held_out("valid")]
    assert not any(torch.equal(task.batch(1, 0, 3).x, other.x[:32]) for other in others)
    valid, test = task.held_out("valid")[0], task.held_out("test")[0]
    assert len(valid.x) == 512 and not torch.equal(valid.x, test.x)
