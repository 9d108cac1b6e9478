"""A packed network as a language model, beside the network itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurra.errors import CheckpointError, ConfigError, DataError, ShapeError
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.cache import cache
from recurra.language.models.network import Hidden, NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.models.prepacked import LINES, STEPS, PrepackedModel, prepacked
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.nn.cells.gru import GRUCell
from recurra.nn.prepacked import Precision

WORDS = Vocabulary([*(f"w{n}" for n in range(148)), "<eos>", "<unk>"])
V, EOS, UNK = len(WORDS), WORDS.eos, WORDS.unk
both = pytest.mark.parametrize("precision", ["float32", "int8"])


def network(rule: str = "split", **changes: Any) -> NetworkModel:
    given = {"hidden_size": 24, "init_scale": 0.5, "zero_bias": False, **changes}
    options = NetworkOptions(**given)
    built = LanguageNetwork(options, V, torch.Generator().manual_seed(2))
    return NetworkModel(built, options, WORDS, rule)


def text(length: int, seed: int = 0) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(0, V, length).astype(np.int32)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "gru", "tied": True},
        {"num_layers": 3, "residual": True, "dropout": 0.5},
        {"weight_dropout": 0.5, "layer_sizes": "30/7", "embedding_size": 11},
    ],
    ids=["lstm", "tied gru", "residual", "sizes"],
)
def test_in_float32_it_is_the_network(changes: dict[str, Any]) -> None:
    lm, ids = network(**changes), text(300)
    fast = prepacked(lm)
    np.testing.assert_allclose(fast.log_probs_of(ids), lm.log_probs_of(ids), rtol=0, atol=1e-5)
    state, own = lm.initial_state(), fast.initial_state()
    for token in ids[:20].tolist():
        expected, state = lm.step(token, state)
        found, own = fast.step(token, own)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_int8_loses_little() -> None:
    lm, ids = network(), text(600)
    nats = [float(-each.log_probs_of(ids).mean()) for each in (lm, prepacked(lm, precision="int8"))]
    assert nats[0] == pytest.approx(nats[1], abs=0.005)
    assert nats[0] != nats[1]


@both
def test_the_likeliest_are_those_of_the_step(precision: Precision) -> None:
    fast = prepacked(network(), precision=precision)
    state = fast.initial_state()
    for token in text(15).tolist():
        log_probs, after = fast.step(token, state)
        found, again = fast.top(token, state, 7)
        expected = log_probs.topk(7)
        assert found.ids.tolist() == expected.indices.tolist()
        torch.testing.assert_close(found.log_probs, expected.values, rtol=0, atol=2e-6)
        assert torch.equal(again.units, after.units)
        state = after
    tokens = torch.tensor([3, EOS, 9])
    found, _ = fast.top(tokens, fast.initial_state(3), 2)
    log_probs, _ = fast.step(tokens, fast.initial_state(3))
    assert torch.equal(found.ids, log_probs.topk(2).indices)
    assert fast.top(3, state, 10**6)[0].ids.shape == (V,)
    with pytest.raises(ConfigError, match="k is a whole number from 1, got 0"):
        fast.top(3, state, 0)


@both
def test_a_document_is_read_in_pieces_and_lines_side_by_side(precision: Precision) -> None:
    fast = prepacked(network(), precision=precision)
    ids = text(2 * STEPS + 3)
    spans = [*fast.spans(ids)]
    assert [len(span.hidden) for span in spans] == [STEPS, STEPS, 3]
    state, before = fast.initial_state(), EOS
    for token, nats in zip(ids.tolist(), fast.log_probs_of(ids)):
        log_probs, state = fast.step(before, state)
        assert float(log_probs[token]) == pytest.approx(nats, abs=2e-6)
        before = token
    lines = [text(n % 13, seed=n) for n in range(LINES + 20)]
    for line, nats in zip(lines, fast.log_probs_of_lines(lines), strict=True):
        np.testing.assert_allclose(nats, fast.log_probs_of(line), rtol=0, atol=1e-9)


def test_a_cache_works_over_it() -> None:
    lm, ids = network(), text(80)
    fast = prepacked(lm)
    assert isinstance(fast, Hidden)
    expected = cache(lm, window=20).log_probs_of(ids)
    np.testing.assert_allclose(cache(fast, window=20).log_probs_of(ids), expected, atol=1e-5)


@both
@pytest.mark.parametrize("written", ["", "w3 w5 ", "w3\nw4\n", "w3 w5", "w1", "unheard "])
def test_suggestions_are_those_of_the_steps(precision: Precision, written: str) -> None:
    fast = prepacked(network(), precision=precision)
    found, expected = fast.suggest(written, 6), LanguageModel.suggest(fast, written, 6)
    assert [each.token for each in found] == [each.token for each in expected]
    chances = [each.probability for each in expected]
    assert [each.probability for each in found] == pytest.approx(chances, rel=1e-5)
    assert "<unk>" not in [each.token for each in fast.suggest(written, V)]


def test_suggestions_of_characters_are_searched_for() -> None:
    fast = prepacked(network("characters"))
    assert fast.suggest("w", 3) == LanguageModel.suggest(fast, "w", 3)
    with pytest.raises(ConfigError, match="top is a whole number from 1"):
        prepacked(network()).suggest("", 0)


@both
def test_saved_as_its_network_and_packed_again(precision: Precision, tmp_path: Path) -> None:
    fast = prepacked(network(), precision=precision)
    fast.save_pretrained(tmp_path / "model")
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, PrepackedModel)
    assert loaded.precision == precision
    assert isinstance(loaded.inner[0], NetworkModel)
    assert np.array_equal(loaded.log_probs_of(text(50)), fast.log_probs_of(text(50)))


@pytest.mark.parametrize(
    ("facts", "inner"),
    [
        ({}, (network(),)),
        ({"precision": "int4"}, (network(),)),
        ({"precision": ["int8"]}, (network(),)),
        ({"precision": "int8"}, ()),
        ({"precision": "int8"}, (network(), network())),
        ({"precision": "int8", "more": 1}, (network(),)),
    ],
    ids=["none", "int4", "list", "no model", "two models", "more"],
)
def test_what_describes_none_is_refused(facts: dict[str, Any], inner: Any) -> None:
    with pytest.raises(CheckpointError):
        PrepackedModel.restore(Saved(WORDS, "split", facts, {}, inner))


def test_other_models_are_refused_in_one_line() -> None:
    counted = NgramModel(KneserNey.fit(text(200), 2, V, EOS), WORDS, "split")
    with pytest.raises(ConfigError, match=r"takes a network .*, got a ngram model; pack what"):
        prepacked(counted)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"got GRUCell; recurra.prepack packs cells"):
        prepacked(GRUCell(3, 5))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="got a ngram model in 'int8'"):
        PrepackedModel.restore(Saved(WORDS, "split", {"precision": "int8"}, {}, (counted,)))
    with pytest.raises(ConfigError, match="MixtureOfSoftmaxesHead cannot be packed"):
        prepacked(network(softmax="mixture", experts=2))
    with pytest.raises(ConfigError, match="AdaptiveHead cannot be packed"):
        prepacked(network(softmax="adaptive", cutoffs="20"))
    with pytest.raises(ConfigError, match="RNNCell cannot be packed"):
        prepacked(network(cell="rnn"))


def test_ids_and_states_that_do_not_fit_are_refused() -> None:
    fast = prepacked(network())
    for token in (V, -1, torch.tensor([V])):
        with pytest.raises(DataError, match=rf"ids lie in 0 ... {V - 1}, got"):
            fast.step(token, fast.initial_state())
    with pytest.raises(DataError):
        fast.log_probs_of(np.array([1, V + 7, 2]))
    for word in (V, V + 50, 10**6, 10**12, -1):
        for place in (0, 2, STEPS - 1, STEPS):  # the last of a stretch among them
            wrong = np.append(text(place), word)
            for ids in (wrong, np.append(wrong, 3)):
                with pytest.raises(DataError, match=rf"ids lie in 0 ... {V - 1}, got"):
                    fast.log_probs_of(ids)
                with pytest.raises(DataError, match=rf"ids lie in 0 ... {V - 1}, got"):
                    fast.log_probs_of_lines([text(3), ids])
    with pytest.raises(ShapeError, match="for 2 rows"):
        fast.step(torch.tensor([1, 2]), fast.initial_state(3))


def test_what_the_network_learns_later_it_does_not_know() -> None:
    lm = network()
    fast = prepacked(lm)
    before, _ = fast.step(3, fast.initial_state())
    with torch.no_grad():
        for parameter in lm.network.parameters():
            parameter.zero_()
    assert torch.equal(fast.step(3, fast.initial_state())[0], before)
