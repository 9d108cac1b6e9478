"""The adding problem: what is asked, and what the mean reaches."""

from __future__ import annotations

import pytest
import torch

from recurra.bench.tasks.adding import Adding


@pytest.mark.parametrize("length", [2, 7, 50])
def test_two_numbers_are_marked_one_in_each_half(length):
    x, target = Adding(length).make(200, torch.Generator().manual_seed(1))
    assert x.shape == (200, length, 2)
    for row, said in zip(x.tolist(), target.tolist()):
        marked = [t for t, (_, mark) in enumerate(row) if mark == 1]
        assert len(marked) == 2 and marked[0] < length // 2 <= marked[1]
        assert sum(mark for _, mark in row) == 2
        assert said == pytest.approx(row[marked[0]][0] + row[marked[1]][0], abs=1e-6)
        assert all(0 <= number < 1 for number, _ in row)


def test_always_saying_1_has_the_error_and_the_share_of_the_formulas():
    task = Adding()
    x, target = task.make(200_000, torch.Generator().manual_seed(1))
    always = task.metrics(torch.ones(len(x), 1, 1), target)
    baseline = task.baselines()["always 1"]
    assert baseline["mse"] == pytest.approx(1 / 6)
    assert always == {name: pytest.approx(value, rel=0.02) for name, value in baseline.items()}


def test_right_is_less_than_four_hundredths_off():
    task = Adding()
    outputs = torch.tensor([1.0, 1.039, 1.041, 0.5]).view(4, 1, 1)
    found = task.metrics(outputs, torch.ones(4))
    assert found["accuracy"] == 0.5
    errors = (0.039**2 + 0.041**2 + 0.25) / 4
    assert found["mse"] == found["loss"] == pytest.approx(errors, rel=1e-4)
    (held_out,) = task.held_out("test")
    exact = (held_out.x[:, :, 0] * held_out.x[:, :, 1]).sum(dim=1)
    assert task.metrics(exact.view(-1, 1, 1), held_out.target)["accuracy"] == 1


def test_batches_are_a_pure_function_of_seed_and_step():
    task = Adding()
    assert torch.equal(task.batch(1, 0, 3).x, Adding().batch(1, 0, 3).x)
    assert not torch.equal(task.batch(1, 0, 3).x, task.batch(1, 0, 4).x)
