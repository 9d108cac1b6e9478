"""N-grams as a language model: their state is the last words, their numbers those of the counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurra.language.ngram import KneserNey
from recurra.language.ngram_model import NgramModel, NgramState
from recurra.language.vocabulary import Vocabulary

WORDS = Vocabulary(["a", "b", "<eos>", "c", "<unk>", "d"])
V, EOS = len(WORDS), WORDS.eos


def text(length: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, V, length)


@pytest.fixture(params=[1, 2, 3, 5])
def model(request: pytest.FixtureRequest) -> NgramModel:
    order = int(request.param)
    return NgramModel(KneserNey.fit(text(500, seed=1), order, V, EOS), WORDS, "split")


def test_the_state_is_the_last_words(model: NgramModel) -> None:
    longest = model.counts.order - 1
    state = model.initial_state(2)
    assert isinstance(state, NgramState)
    read = [[-1] * longest, [-1] * longest]
    assert state.history.tolist() == read
    for token in (EOS, 0, 3, EOS, 1, 1):
        _, state = model.step(torch.tensor([token, 5]), state)
        read = [[*read[0], token][1:], [*read[1], 5][1:]] if longest else read
        assert state.history.tolist() == read


def test_a_step_is_the_distribution_of_the_counts(model: NgramModel) -> None:
    state, read = model.initial_state(), [EOS]
    log_probs, state = model.step(EOS, state)
    for token in text(40).tolist():
        # The counts put an <eos> before a document by themselves; the state says it aloud.
        expected = model.counts.distribution(read[1:])
        np.testing.assert_allclose(log_probs.numpy(), expected, rtol=0, atol=1e-12)
        log_probs, state = model.step(token, state)
        read.append(token)
    assert log_probs.dtype == torch.float64


def test_scores_are_those_of_the_counts(model: NgramModel) -> None:
    ids = text(100)
    assert np.array_equal(model.log_probs_of(ids), model.counts.log_probs_of(ids))


def test_saved_tensors_share_memory_with_the_counts(model: NgramModel) -> None:
    tensors = model.tensors()
    assert tensors["unigrams"].data_ptr() == model.counts.unigrams.ctypes.data
    restored = NgramModel.restore(WORDS, "split", model.facts(), tensors)
    assert restored.counts.order == model.counts.order
    assert model.facts() == {}
