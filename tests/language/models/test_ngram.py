"""N-grams as a language model: their state is the last words, their numbers those of the counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurra.errors import CheckpointError, ConfigError, DataError, ShapeError
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.ngram import NgramModel, NgramState
from recurra.language.options import NgramOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import BackoffNgrams, KneserNey

WORDS = Vocabulary(["a", "b", "<eos>", "c", "<unk>", "d"])
V, EOS = len(WORDS), WORDS.eos


def text(length: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, V, length)


@pytest.fixture(params=[1, 2, 3, 5])
def model(request: pytest.FixtureRequest) -> NgramModel:
    order = int(request.param)
    return NgramModel(KneserNey.fit(text(500, seed=1), order, V, EOS), WORDS, "split")


def test_the_state_is_what_the_text_ends_in(model: NgramModel) -> None:
    state = model.initial_state(2)
    assert isinstance(state, NgramState)
    assert state.contexts.tolist() == [[-1] * (model.counts.order - 1)] * 2
    read: list[int] = []
    for token in (EOS, 0, 3, EOS, 1, 1):
        _, state = model.step(torch.tensor([token, 5]), state)
        read.append(token)
        for n, rank in enumerate(state.contexts[0].tolist(), start=1):
            found = (
                np.flatnonzero((model.ngrams.grams(n) == read[-n:]).all(1))
                if n <= len(read)
                else []
            )
            assert rank == (found[0] if len(found) else -1)


def test_a_step_changes_no_state_and_knows_its_rows(model: NgramModel) -> None:
    state = model.initial_state(2)
    _, after = model.step(torch.tensor([EOS, 1]), state)
    again, _ = model.step(torch.tensor([3, 3]), after)
    assert (state.contexts == -1).all()
    assert torch.equal(model.step(torch.tensor([3, 3]), after)[0], again)
    with pytest.raises(ShapeError, match="got 1 tokens, and a state of 2 texts"):
        model.step(1, after)
    with pytest.raises(DataError, match=f"token id {V}"):
        model.step(torch.tensor([V, 0]), after)


def test_a_step_is_the_distribution_of_the_counts(model: NgramModel) -> None:
    state, read = model.initial_state(), [EOS]
    log_probs, state = model.step(EOS, state)
    for token in text(40).tolist():
        # The counts put an <eos> before a document by themselves; the state says it aloud.
        expected = model.counts.distribution(read[1:])
        np.testing.assert_array_equal(log_probs.numpy(), expected)
        log_probs, state = model.step(token, state)
        read.append(token)
    assert log_probs.dtype == torch.float64


def test_scores_are_those_of_the_counts(model: NgramModel) -> None:
    ids = text(100)
    assert np.array_equal(model.log_probs_of(ids), model.counts.log_probs_of(ids))


def test_saved_tensors_share_memory_with_the_counts(model: NgramModel) -> None:
    tensors = model.tensors()
    assert tensors["unigrams"].data_ptr() == model.counts.unigrams.ctypes.data
    restored = NgramModel.restore(Saved(WORDS, "split", model.facts(), tensors))
    assert restored.counts.order == model.counts.order
    assert model.facts() == {}


def test_lines_are_as_each_alone(model: NgramModel) -> None:
    ends = [text(length, seed=length).astype(np.int32) for length in (0, 1, 7, 30, 0)]
    lines = [*ends, np.append(text(9), EOS)]
    found = model.log_probs_of_lines(lines)
    assert model.log_probs_of_lines([]) == []
    for line, log_probs in zip(lines, found, strict=True):
        np.testing.assert_array_equal(log_probs, model.log_probs_of(line))


def test_counted_as_the_options_say() -> None:
    ids = text(3000, seed=1)
    plain = NgramModel.count(ids, NgramOptions(order=3), WORDS, "split")
    assert np.array_equal(plain.log_probs_of(ids), KneserNey.fit(ids, 3, V, EOS).log_probs_of(ids))
    cut = NgramModel.count(ids, NgramOptions(order=3, cutoffs="0/0/16"), WORDS, "split")
    assert isinstance(cut.counts, KneserNey)
    assert cut.ngrams.sizes[1] == plain.ngrams.sizes[1]
    assert 0 < cut.ngrams.sizes[2] < plain.ngrams.sizes[2]
    small = NgramModel.count(ids, NgramOptions(order=3, prune=1e-3), WORDS, "split")
    assert isinstance(small.counts, BackoffNgrams)
    assert sum(small.ngrams.sizes) < sum(plain.ngrams.sizes)
    with pytest.raises(ConfigError, match="the first is 0"):
        NgramModel.count(ids, NgramOptions(cutoffs="0/3/1"), WORDS, "split")
    for bad in ({"cutoffs": "1"}, {"cutoffs": "0/"}, {"prune": -1.0}, {"prune": 1.0}):
        with pytest.raises(ValueError, match="NgramOptions"):
            NgramOptions.model_validate(bad)


def test_pruned_saved_and_loaded_is_the_same(model: NgramModel, tmp_path: Path) -> None:
    ids = text(500, seed=1)
    small = model.pruned(1e-3, ids)
    small.save_pretrained(tmp_path / "model")
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, NgramModel)
    assert np.array_equal(loaded.log_probs_of(ids), small.log_probs_of(ids))


@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_by_way_of_an_arpa_file(model: NgramModel, tmp_path: Path, name: str) -> None:
    model.to_arpa(tmp_path / name)
    again = LanguageModel.from_pretrained(tmp_path / name)
    assert isinstance(again, NgramModel)
    assert (again.vocabulary, again.rule) == (WORDS, "split")
    with pytest.raises(ConfigError, match="give the vocabulary"):
        NgramModel.from_arpa(tmp_path / name, "bpe")
    assert NgramModel.from_arpa(tmp_path / name, "bpe", WORDS).vocabulary is WORDS
    ids = text(200)
    np.testing.assert_allclose(again.log_probs_of(ids), model.log_probs_of(ids), rtol=1e-12)
    log_probs, _ = again.step(EOS, again.initial_state())
    np.testing.assert_allclose(log_probs, model.counts.distribution([]), rtol=1e-12)


def test_n_grams_of_other_words_are_refused(model: NgramModel) -> None:
    tensors = model.tensors()
    with pytest.raises(CheckpointError, match="counted over 6 words with <eos> at 2"):
        NgramModel.restore(Saved(Vocabulary(["<eos>", "<unk>"]), "split", {}, tensors))
    with pytest.raises(CheckpointError, match="is made of no model, but 1 are given"):
        NgramModel.restore(Saved(WORDS, "split", {}, tensors, (model,)))
