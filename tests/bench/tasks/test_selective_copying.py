"""Selective copying: what is asked, and what chance reaches."""

from __future__ import annotations

import math

import pytest
import torch

from recurra.bench.tasks.selective_copying import SelectiveCopying


@pytest.mark.parametrize(("copied", "within", "letters"), [(5, 35, 8), (3, 3, 2), (1, 100, 16)])
def test_the_target_is_the_letters_in_their_order(copied, within, letters):
    task = SelectiveCopying(copied, within, letters)
    x, target = task.make(64, torch.Generator().manual_seed(1))
    assert x.shape == (64, within + copied) == (64, task.length)
    assert target.shape == (64, copied) == (64, task.read)
    for read, said in zip(x.tolist(), target.tolist()):
        assert read[within:] == [letters + 1] * copied
        assert [token for token in read[:within] if token != letters] == said
        assert max(said) < letters


def test_the_letters_lie_anywhere():
    task = SelectiveCopying(2, 10)
    x, _ = task.make(4000, torch.Generator().manual_seed(1))
    share = (x[:, :10] < task.letters).double().mean(dim=0)
    assert share.tolist() == pytest.approx([0.2] * 10, abs=0.03)


def test_chance_and_memory():
    task = SelectiveCopying()
    (batch,) = task.held_out("test")
    flat = torch.zeros(*batch.target.shape, task.outputs)
    chance = task.baselines()["chance"]
    assert chance == {"loss": math.log(8), "accuracy": 1 / 8}
    assert float(task.loss(flat, batch.target)) == pytest.approx(chance["loss"])
    assert task.metrics(flat, batch.target)["accuracy"] == pytest.approx(1 / 8, abs=0.02)
    perfect = 50.0 * torch.nn.functional.one_hot(batch.target, task.outputs)
    assert task.metrics(perfect, batch.target)["accuracy"] == 1
    assert not torch.equal(batch.x, task.held_out("valid")[0].x)
