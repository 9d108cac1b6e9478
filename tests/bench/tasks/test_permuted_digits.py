"""Permuted digits: the images are scikit-learn's, in one order, split once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from recurra.bench.tasks.permuted_digits import PermutedDigits


@pytest.fixture(scope="module")
def task():
    return PermutedDigits()


def test_the_splits_are_all_images_once_in_one_order_of_pixels(task):
    parts = [task.part(split) for split in ("train", "valid", "test")]
    assert [len(x) for x, _ in parts] == [len(digits) for _, digits in parts] == [1200, 297, 300]
    pixels, digits = load_digits(return_X_y=True)
    # the order of the pixels, found again: no two columns of all images are alike but empty ones
    order = torch.randperm(64, generator=_stream()).numpy()
    ours = np.concatenate([x.numpy() for x, _ in parts]) * 16
    back = np.empty_like(ours)
    back[:, order] = ours
    names = np.concatenate([digits.numpy() for _, digits in parts])
    assert _sorted(back, names) == _sorted(pixels, digits)
    assert not (order == np.arange(64)).all()


def _stream():
    from recurra.randomness import generator

    return generator(0, "permuted digits")


def _sorted(pixels, digits):
    return sorted((*map(int, row), int(digit)) for row, digit in zip(pixels, digits))


def test_a_pass_sees_each_image_once_and_every_seed_the_same_split(task):
    steps = task.steps_per_epoch
    batches = [task.batch(1, 0, step) for step in range(steps)]
    assert {tuple(b.x.shape) for b in batches} == {(32, 64, 1)}
    seen = {tuple(row) for b in batches for row in b.x[:, :, 0].tolist()}
    train = {tuple(row) for row in task.part("train")[0].tolist()}
    assert seen <= train and len(seen) > 0.98 * steps * 32
    assert not torch.equal(task.batch(1, 1, 0).x, batches[0].x)
    assert not torch.equal(task.batch(2, 0, 0).x, batches[0].x)
    assert torch.equal(PermutedDigits().batch(1, 0, 0).x, batches[0].x)
    (test,) = task.held_out("test")
    assert test.x.shape == (300, 64, 1) and test.target.shape == (300, 1)


def test_the_baselines(task):
    found = task.baselines()
    assert found["majority"]["accuracy"] == pytest.approx(0.1, abs=0.04)
    assert 0.93 < found["linear"]["accuracy"] < 1
