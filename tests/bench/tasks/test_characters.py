"""Characters: streams of a text, their entropy, and that of 5-grams."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recurra.bench.tasks.characters import MOST_HELD_OUT, Characters
from recurra.ngram.kneser_ney import KneserNey


@pytest.fixture
def task():
    return Characters("grammar", length=20)


def test_streams_go_on_from_batch_to_batch(task):
    first, second = task.batch(1, 0, 0), task.batch(2, 0, 1)
    assert first.x.shape == first.target.shape == (32, 20)
    assert torch.equal(first.x[:, 1:], first.target[:, :-1])
    assert torch.equal(first.target[:, -1], second.x[:, 0])
    text = "".join(task.data.vocabulary.decode(first.x[0]))
    assert text.startswith("".join(task.data.vocabulary.decode(task.data.ids("train")[:20])))
    assert task.tokens == task.outputs == len(task.data.vocabulary)


def test_held_out_text_is_read_once(task):
    for split in ("valid", "test"):
        batches = task.held_out(split)
        streams = torch.cat([each.x for each in batches], dim=1).flatten().numpy()
        ids = task.data.ids(split)[:MOST_HELD_OUT]
        length = len(ids) // 32
        for row in range(32):
            part = streams[row * len(streams) // 32 :][: len(batches) * 20]
            assert (part == ids[row * length :][: len(part)]).all()
            assert length - len(part) <= 20


def test_bits_and_nats(task):
    (first, *_) = task.held_out("test")
    flat = torch.zeros(*first.target.shape, task.outputs)
    found = task.metrics(flat, first.target)
    assert found["nats_per_char"] == found["loss"] == pytest.approx(math.log(task.outputs))
    assert found["bits_per_char"] == pytest.approx(math.log2(task.outputs))


def test_the_baseline_is_kneser_ney_of_all_training_characters(task):
    ids, test = (np.asarray(task.data.ids(split)) for split in ("train", "test"))
    model = KneserNey.fit(ids, 5, task.tokens, task.data.vocabulary.eos)
    bits = -model.log_probs_of(test[:MOST_HELD_OUT]).mean() / math.log(2)
    assert task.baselines()["kn5"]["bits_per_char"] == pytest.approx(bits)
    assert 0.2 < bits < 2
