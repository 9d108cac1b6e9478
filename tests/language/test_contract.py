"""One contract for every kind of language model, alone and made of others.

A kind is a function that makes a small one over ten words; its numbers come from random weights
or a random text, and none is right or wrong but by agreeing with the same model asked otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.language.models.base import MODELS, LanguageModel
from recurra.language.models.cache import cache
from recurra.language.models.dynamic import dynamic
from recurra.language.models.mixture import MixtureModel, by_previous, mixture
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.models.prepacked import prepacked
from recurra.language.models.temperature import TemperatureModel
from recurra.language.models.unigram_cache import unigram_cache
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.nn.state import flatten, index, unflatten, where
from recurra.storage.tensors import load_tensors, write_tensors

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat", "dog", "barked"])
V, EOS = len(WORDS), WORDS.eos
Ids = NDArray[np.int32]


def text(length: int, seed: int = 0) -> Ids:
    """Return ids whose lines have about five words; a line may be empty."""
    draws = np.random.default_rng(seed)
    weights = np.full(V, 0.8 / (V - 1))
    weights[EOS] = 0.2
    return draws.choice(V, length, p=weights).astype(np.int32)


def network(seed: int = 2, **changes: Any) -> NetworkModel:
    given = {"hidden_size": 7, "init_scale": 1.0, "zero_bias": False, **changes}
    options = NetworkOptions(**given)
    return NetworkModel(
        LanguageNetwork(options, V, torch.Generator().manual_seed(seed)), options, WORDS, "words"
    )


def ngram(order: int = 3) -> NgramModel:
    return NgramModel(KneserNey.fit(text(400, seed=1), order, V, EOS), WORDS, "words")


def of_three() -> MixtureModel:
    lm = network()
    rows = np.random.default_rng(3).dirichlet(np.ones(3), 4)
    return MixtureModel([lm, cache(lm), ngram()], rows, by_previous(V))


ROWS: dict[str, Callable[[], LanguageModel]] = {
    "network": network,
    "network tied gru": lambda: network(tied=True, cell="gru", num_layers=1),
    "network with dropout": lambda: network(dropout=0.5, variational=True, num_layers=3),
    "network mixture of softmaxes": lambda: network(softmax="mixture", experts=3),
    "network adaptive softmax": lambda: network(softmax="adaptive", cutoffs="4/7"),
    "network of layers 5/4/7": lambda: network(layer_sizes="5/4/7", tied=True),
    "prepacked": lambda: prepacked(network()),
    "prepacked int8": lambda: prepacked(network(cell="gru", residual=True), precision="int8"),
    "ngram 5": lambda: ngram(5),
    "ngram 2": lambda: ngram(2),
    "ngram 1": lambda: ngram(1),
    "cache": lambda: cache(network(), weight=0.3, theta=0.2, window=9),
    "cache of prepacked": lambda: cache(prepacked(network(), precision="int8")),
    "cache alone": lambda: cache(network(), weight=1.0),
    "unigram cache": lambda: unigram_cache(ngram()),
    "unigram cache of a cache": lambda: unigram_cache(cache(network())),
    "mixture": of_three,
    "mixture of one": lambda: mixture([ngram(2)]),
    "mixture of mixtures": lambda: mixture([of_three(), mixture([ngram(1), network()])]),
    "temperature": lambda: TemperatureModel(network(), 0.7),
    "temperature of a mixture": lambda: TemperatureModel(of_three(), 1.6),
    "mixture of temperatures": lambda: mixture(
        [TemperatureModel(ngram(), 2.0), TemperatureModel(network(), 0.5)], [0.2, 0.8]
    ),
}
"""Models that read any number of texts side by side."""

ONE: dict[str, Callable[[], LanguageModel]] = {
    "dynamic": lambda: dynamic(network()),
    "dynamic of a tied gru": lambda: dynamic(network(tied=True, cell="gru", num_layers=1)),
    "cache of dynamic": lambda: cache(dynamic(network())),
    "mixture with dynamic": lambda: mixture(
        [ngram(2), cache(dynamic(network())), network(3)], [0.2, 0.5, 0.3]
    ),
    "temperature of dynamic": lambda: TemperatureModel(dynamic(network()), 1.2),
}
"""Models that adapt to one text."""

KINDS = ROWS | ONE
EXACT = ("ngram 5", "ngram 2", "ngram 1", "unigram cache", "mixture of one")


def close(name: str) -> dict[str, float]:
    """Return how near the same model asked otherwise must come: float64 where nothing is less."""
    return {"rtol": 0, "atol": 1e-9 if name in EXACT else 1e-5}


@once
def made(name: str) -> LanguageModel:
    return KINDS[name]()


every = pytest.mark.parametrize("name", KINDS)
every_of_rows = pytest.mark.parametrize("name", ROWS)


def stepped(model: LanguageModel, ids: Ids) -> NDArray[np.float64]:
    """Return every token's log-probability by one `step` at a time, as the definition says."""
    state, found = model.initial_state(), []
    for before, token in zip([EOS, *ids[:-1]], ids):
        log_probs, state = model.step(int(before), state)
        found.append(float(log_probs[token]))
    return np.array(found)


def test_every_kind_in_the_table_is_here() -> None:
    def kinds(model: LanguageModel) -> set[str]:
        return {model.kind}.union(*(kinds(part) for part in model.inner))

    assert set().union(*(kinds(made(name)) for name in KINDS)) == set(MODELS)


# One step


@every
def test_a_step_gives_a_distribution_over_the_vocabulary(name: str) -> None:
    model = made(name)
    state = model.initial_state()
    for token in [EOS, *text(40).tolist()]:
        log_probs, state = model.step(token, state)
        assert log_probs.shape == (V,)
        assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-6)
        assert not torch.isnan(log_probs).any()


@every
@pytest.mark.parametrize("words", ["the", ["the"], None], ids=repr)
def test_words_are_no_ids(name: str, words: Any) -> None:
    model = made(name)
    with pytest.raises(ShapeError, match=r"^a step takes an id or \(B,\) ids, got .*encode"):
        model.step(words, model.initial_state())


@every_of_rows
def test_a_step_of_many_rows_is_that_of_each(name: str) -> None:
    model = made(name)
    assert model.most_rows is None
    rows = [text(12, seed=seed) for seed in range(4)]
    together = model.initial_state(4)
    alone = [model.initial_state() for _ in rows]
    for column in np.stack(rows, 1):
        log_probs, together = model.step(torch.from_numpy(column.astype(np.int64)), together)
        assert log_probs.shape == (4, V)
        for n, token in enumerate(column):
            expected, alone[n] = model.step(int(token), alone[n])
            torch.testing.assert_close(log_probs[n], expected, **close(name))


@pytest.mark.parametrize("name", ONE)
def test_what_adapts_to_one_text_refuses_two(name: str) -> None:
    model = made(name)
    assert model.most_rows == 1
    with pytest.raises(ConfigError):
        model.initial_state(2)
    row, _ = model.step(torch.tensor([EOS]), model.initial_state())
    alone, _ = model.step(EOS, model.initial_state())
    assert row.shape == (1, V)
    torch.testing.assert_close(row[0], alone, **close(name))


@every
def test_a_step_leaves_the_model_and_the_state_it_was_given(name: str) -> None:
    model = made(name)
    state = model.initial_state()
    for token in text(13).tolist():
        _, state = model.step(token, state)
    before = {part: tensor.clone() for part, tensor in flatten(state).items()}
    learned = {part: tensor.clone() for part, tensor in model.tensors().items()}
    first, _ = model.step(2, state)
    other, _ = model.step(3, state)
    again, _ = model.step(2, state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other) or name == "ngram 1"
    for part, tensor in flatten(state).items():
        assert torch.equal(tensor, before[part])
    for part, tensor in model.tensors().items():
        assert torch.equal(tensor, learned[part])


@every
def test_a_step_keeps_no_gradients(name: str) -> None:
    model = made(name)
    log_probs, state = model.step(EOS, model.initial_state())
    assert not log_probs.requires_grad
    assert not any(tensor.requires_grad for tensor in flatten(state).values())


# The state


@every
def test_the_state_can_be_saved_and_gone_on_from(name: str, tmp_path: Path) -> None:
    model = made(name)
    state = model.initial_state()
    for token in text(17).tolist():
        _, state = model.step(token, state)
    with (tmp_path / "state").open("wb") as out:
        write_tensors({part: each.contiguous() for part, each in flatten(state).items()}, out)
    loaded = unflatten(load_tensors(tmp_path / "state"), model.initial_state())
    for token in text(9, seed=5).tolist():
        expected, state = model.step(token, state)
        found, loaded = model.step(token, loaded)
        assert torch.equal(found, expected)


@every
def test_every_tensor_of_the_state_has_its_rows_first(name: str) -> None:
    model = made(name)
    count = model.most_rows or 3
    state = model.initial_state(count)
    for _ in range(7):
        assert all(len(tensor) == count for tensor in flatten(state).values())
        shapes = {part: tensor.shape for part, tensor in flatten(state).items()}
        _, state = model.step(torch.arange(count), state)
        assert {part: tensor.shape for part, tensor in flatten(state).items()} == shapes


@every_of_rows
def test_rows_of_the_state_can_be_chosen_and_replaced(name: str) -> None:
    """As a beam does with its hypotheses, and a server with its clients."""
    model = made(name)
    state = model.initial_state(3)
    for column in text(24).reshape(8, 3):
        _, state = model.step(torch.from_numpy(column.astype(np.int64)), state)
    token = torch.tensor([4, 0, 6])
    expected, _ = model.step(token, state)
    order = [2, 0, 2, 1]
    found, _ = model.step(token[order], index(state, order))
    torch.testing.assert_close(found, expected[order], **close(name))
    begun = where(torch.tensor([False, True, False]), model.initial_state(3), state)
    found, _ = model.step(token, begun)
    first, _ = model.step(0, model.initial_state())
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]], **close(name))
    torch.testing.assert_close(found[1], first, **close(name))


# A document and its lines


@every
@pytest.mark.parametrize("length", [1, 4, 5, 6, 120])
def test_a_document_at_once_is_the_same_as_token_by_token(name: str, length: int) -> None:
    model, ids = made(name), text(length)
    expected, found = stepped(model, ids), model.log_probs_of(ids)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, **close(name))


@every
def test_a_document_twice_is_the_same_twice(name: str) -> None:
    model, ids = made(name), text(60)
    assert np.array_equal(model.log_probs_of(ids), model.log_probs_of(ids.copy()))


def lines_of(ids: Ids) -> list[Ids]:
    ends = (np.flatnonzero(ids == EOS) + 1).tolist()
    return [ids[a:b] for a, b in zip([0, *ends], [*ends, len(ids)]) if b > a]


@every
@pytest.mark.parametrize("length", [1, 2, 90])
def test_lines_are_each_a_document_of_one_line(name: str, length: int) -> None:
    model = made(name)
    lines = lines_of(text(length))
    found = model.log_probs_of_lines(lines)
    for scores, line in zip(found, lines, strict=True):
        np.testing.assert_allclose(scores, model.log_probs_of(line), **close(name))
    backwards = model.log_probs_of_lines(lines[::-1])[::-1]
    for scores, own in zip(backwards, found, strict=True):
        np.testing.assert_allclose(scores, own, **close(name))


@every
def test_no_line_and_an_empty_line_have_no_scores(name: str) -> None:
    model = made(name)
    assert model.log_probs_of_lines([]) == []
    nothing = text(3)[:0]
    between = model.log_probs_of_lines([text(3), nothing, text(4)])
    assert [len(scores) for scores in between] == [3, 0, 4]
    assert len(model.log_probs_of(nothing)) == 0


@given(
    st.sampled_from(list(KINDS)),
    st.lists(st.integers(0, V - 1), min_size=1, max_size=12),
    st.integers(0, V - 1),
)
def test_what_comes_later_changes_no_score(name: str, begun: list[int], later: int) -> None:
    model = made(name)
    ids = np.array([*begun, later], np.int32)
    found = model.log_probs_of(ids)[:-1]
    np.testing.assert_allclose(found, model.log_probs_of(ids[:-1]), **close(name))


# Saved and loaded


@every
def test_what_is_saved_is_loaded_to_the_bit(name: str, tmp_path: Path) -> None:
    model = made(name)
    model.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "manifest.json",
        "model.json",
        "vocabulary.json",
        "weights.safetensors",
    ]
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert_same(loaded, model)
    assert np.array_equal(loaded.log_probs_of(text(60)), model.log_probs_of(text(60)))
    assert loaded.generate(12) == model.generate(12)
    loaded.save_pretrained(tmp_path / "again")
    for path in (tmp_path / "model").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def assert_same(one: LanguageModel, other: LanguageModel) -> None:
    assert type(one) is type(other)
    assert (one.vocabulary, one.rule, one.facts()) == (WORDS, "words", other.facts())
    assert one.most_rows == other.most_rows
    mine, theirs = one.tensors(), other.tensors()
    assert mine.keys() == theirs.keys()
    for part, tensor in mine.items():
        assert isinstance(tensor, Tensor)
        assert torch.equal(tensor, theirs[part]), part
    for inner, others in zip(one.inner, other.inner, strict=True):
        assert_same(inner, others)
