"""Words: streams of a text, their perplexity, and that of 5-grams."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recurra.bench.tasks.words import MOST_HELD_OUT, Words
from recurra.ngram.kneser_ney import KneserNey

pytestmark = pytest.mark.usefixtures("knows_grammar")


@pytest.fixture
def task():
    return Words("grammar", length=20, vocabulary=None)


def test_streams_go_on_from_batch_to_batch(task):
    first, second = task.batch(1, 0, 0), task.batch(2, 0, 1)
    assert first.x.shape == first.target.shape == (32, 20)
    assert torch.equal(first.x[:, 1:], first.target[:, :-1])
    assert torch.equal(first.target[:, -1], second.x[:, 0])
    assert task.tokens == task.outputs == len(task.data.vocabulary)
    held = torch.cat([each.x for each in task.held_out("valid")], dim=1)
    ids = task.data.ids("valid")[:MOST_HELD_OUT]
    assert (held[0].numpy() == ids[: held.shape[1]]).all() and held.shape[0] == 32


def test_perplexity_is_that_of_the_loss_and_stays_finite(task):
    (first, *_) = task.held_out("test")
    flat = torch.zeros(*first.target.shape, task.outputs)
    found = task.metrics(flat, first.target)
    assert found["loss"] == pytest.approx(math.log(task.outputs))
    assert found["perplexity"] == pytest.approx(task.outputs)
    sure = torch.zeros_like(flat)
    sure[:, :, 0] = 1e5
    assert math.isfinite(task.metrics(sure, first.target)["perplexity"])


def test_the_baseline_is_kneser_ney_of_all_training_words(task):
    data = task.data
    ids, test = (np.asarray(data.ids(split)) for split in ("train", "test"))
    model = KneserNey.fit(ids, 5, task.tokens, data.vocabulary.eos)
    perplexity = math.exp(-model.log_probs_of(test[:MOST_HELD_OUT]).mean())
    assert task.baselines()["kn5"]["perplexity"] == pytest.approx(perplexity)


def test_words_beyond_the_vocabulary_are_one():
    small = Words("grammar", length=20, vocabulary=12)
    assert small.tokens == 12 and "12 told apart" in small.title
    unknown = small.data.vocabulary.unk
    assert any((each.x == unknown).any() for each in small.held_out("test"))
