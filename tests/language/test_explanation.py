"""What a model makes of a text: the numbers are the model's own, the gates make its states."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import ConfigError, DataError
from recurra.language.explanation import MOST, Explanation, explain
from recurra.language.models.base import LanguageModel
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.nn.state import State
from recurra.nn.unroll import plan
from recurra.storage.files import json_bytes

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat", "dog", "barked"])
V, EOS, UNK = len(WORDS), WORDS.eos, WORDS.unk
TEXT = "The cat sat on a zebra\nthe <unk> barked"
TOKENS = ["the", "cat", "sat", "on", "a", "zebra", "<eos>", "the", "<unk>", "barked", "<eos>"]


@pytest.fixture(autouse=True, scope="module")
def _own_cells_can_be_imported() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "nn"))
        yield


def network(**changes: Any) -> NetworkModel:
    options = NetworkOptions(hidden_size=7, init_scale=1.0, zero_bias=False, **changes)
    return NetworkModel(
        LanguageNetwork(options, V, torch.Generator().manual_seed(2)), options, WORDS, "words"
    )


def ngram() -> NgramModel:
    ids = np.random.default_rng(1).integers(0, V, 400).astype(np.int32)
    return NgramModel(KneserNey.fit(ids, 3, V, EOS), WORDS, "words")


class Halves(LanguageModel):
    """The mean of two models' distributions: any model made of models."""

    kind = "halves"

    def __init__(self, *inner: LanguageModel) -> None:
        super().__init__(inner[0].vocabulary, inner[0].rule)
        self.inner = inner

    def initial_state(self, batch_size: int = 1) -> State:
        return tuple(each.initial_state(batch_size) for each in self.inner)

    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        stepped = [each.step(token, part) for each, part in zip(self.inner, state)]
        both = torch.stack([log_probs.double() for log_probs, _ in stepped])
        return both.logsumexp(0) - math.log(len(stepped)), tuple(after for _, after in stepped)


def distributions(model: LanguageModel, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """`(N, V)`: what the model held for likely before each token."""
    state, found = model.initial_state(), []
    for before in [EOS, *ids[:-1].tolist()]:
        log_probs, state = model.step(before, state)
        found.append(log_probs.double().exp().numpy())
    return np.stack(found)


MODELS = {
    "lstm": network,
    "gru": lambda: network(cell="gru"),
    "rnn": lambda: network(cell="rnn", num_layers=1),
    "own cell": lambda: network(cell="own_cells:FastWeightCell", num_layers=1),
    "ngram": ngram,
    "mixture": lambda: Halves(ngram(), Halves(network(), ngram())),
}


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return MODELS[request.param]()


# Surprise


def test_surprise_is_what_the_model_says_of_each_token(model: LanguageModel) -> None:
    seen = explain(model, TEXT, top=4)
    ids = WORDS.encode(TOKENS)
    probabilities = distributions(model, ids)
    assert seen.tokens == TOKENS
    assert seen.oov.tolist() == [token == "zebra" for token in TOKENS]
    chosen = probabilities[np.arange(len(ids)), ids]
    np.testing.assert_allclose(seen.log_probs, np.log(chosen), rtol=1e-9)
    assert seen.ranks.tolist() == [
        1 + int((row > p).sum()) for row, p in zip(probabilities, chosen)
    ]
    entropies = -(probabilities * np.log(probabilities)).sum(axis=1)
    np.testing.assert_allclose(seen.entropies, entropies, rtol=1e-9)
    for row, alternatives in zip(probabilities, seen.alternatives):
        assert len(alternatives) == 4
        shown = [p for _, p in alternatives]
        np.testing.assert_allclose(shown, np.sort(row)[::-1][:4], rtol=1e-9)
        np.testing.assert_allclose(shown, row[WORDS.encode([t for t, _ in alternatives])])


def test_it_is_the_batch_form_s_surprise(model: LanguageModel) -> None:
    if not isinstance(model, Halves):
        expected = model.log_probs_of(WORDS.encode(TOKENS))
        np.testing.assert_allclose(explain(model, TEXT).log_probs, expected, rtol=0, atol=5e-6)


@given(st.lists(st.sampled_from([*WORDS.tokens[2:5], "zebra", "\n"]), min_size=1, max_size=12))
def test_surprise_of_any_text_is_bounded_by_what_probabilities_are(words: list[str]) -> None:
    text = " ".join(words)
    if not text.strip():
        return
    seen = explain(ngram(), text, top=V)
    assert (seen.log_probs < 0).all()
    assert ((seen.entropies >= 0) & (seen.entropies <= math.log(V) + 1e-9)).all()
    for n, alternatives in enumerate(seen.alternatives):
        assert sum(p for _, p in alternatives) == pytest.approx(1)
        _, p = alternatives[seen.ranks[n] - 1]
        assert math.log(p) == pytest.approx(seen.log_probs[n])


def test_the_last_line_is_closed_once() -> None:
    model = ngram()
    open_, closed = explain(model, "the cat"), explain(model, "the cat\n")
    assert open_.tokens == closed.tokens == ["the", "cat", "<eos>"]
    assert np.array_equal(open_.log_probs, closed.log_probs)


# Gates and states


def test_an_lstms_gates_make_its_states() -> None:
    model = network()
    _, start = model.step(EOS, model.initial_state())
    layers = explain(model, TEXT).layers
    assert [layer.cell for layer in layers] == ["LSTMCell", "LSTMCell"]
    for layer, before in zip(layers, start):
        assert list(layer.gates) == ["i", "f", "g", "o"] and list(layer.states) == ["h", "c"]
        i, f, g, o = layer.gates.values()
        h, c = layer.states.values()
        assert h.shape == (len(TOKENS), 7)
        earlier = np.concatenate([before.c.numpy(), c[:-1]])
        np.testing.assert_allclose(c, f * earlier + i * g, atol=1e-6)
        np.testing.assert_allclose(h, o * np.tanh(c), atol=1e-6)
        for gate in (i, f, o):
            assert ((gate > 0) & (gate < 1)).all()


def test_a_grus_gates_make_its_states() -> None:
    model = network(cell="gru")
    _, start = model.step(EOS, model.initial_state())
    for layer, before in zip(explain(model, TEXT).layers, start, strict=True):
        (h,) = layer.states.values()
        r, z, n = layer.gates.values()
        earlier = np.concatenate([before.h.numpy(), h[:-1]])
        np.testing.assert_allclose(h, (1 - z) * n + z * earlier, atol=1e-6)
        assert ((r > 0) & (r < 1)).all()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_what_the_last_layer_holds_at_a_token_predicts_the_next(cell: str) -> None:
    model = network(cell=cell)
    seen = explain(model, TEXT)
    h = torch.from_numpy(seen.layers[-1].states["h"]).float()
    head = model.tensors()
    logits = F.linear(h, head["head.weight"], head["head.bias"])
    nats = F.cross_entropy(logits[:-1], torch.from_numpy(WORDS.encode(TOKENS[1:])).long(),
                           reduction="none")  # fmt: skip
    np.testing.assert_allclose(seen.log_probs[1:], -nats.numpy(), atol=1e-5)


def test_a_layer_without_gates_shows_its_states_alone() -> None:
    (layer,) = explain(network(cell="rnn", num_layers=1), TEXT).layers
    assert (layer.cell, layer.gates, list(layer.states)) == ("RNNCell", {}, ["h"])
    (own,) = explain(network(cell="own_cells:FastWeightCell", num_layers=1), TEXT).layers
    assert (own.cell, own.gates) == ("FastWeightCell", {})
    assert own.states["memory"].shape == (len(TOKENS), 49)


def test_a_step_that_was_changed_shows_no_inherited_gates() -> None:
    layers = explain(network(cell="own_cells:PeepholeCell"), TEXT).layers
    assert [(layer.gates, list(layer.states)) for layer in layers] == [({}, ["h", "c"])] * 2


def test_an_ngram_has_no_layers() -> None:
    assert explain(ngram(), TEXT).layers == []


def test_a_mixtures_gates_are_those_of_the_first_network_in_it() -> None:
    inside = network()
    found = explain(Halves(ngram(), Halves(inside, network(cell="gru"))), TEXT).layers
    expected = explain(inside, TEXT).layers
    for ours, theirs in zip(found, expected, strict=True):
        for name, values in {**theirs.gates, **theirs.states}.items():
            assert np.array_equal({**ours.gates, **ours.states}[name], values)


def test_nothing_is_left_on_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    before = plan(model.network.recurrence), model.log_probs_of(WORDS.encode(TOKENS))
    explain(model, TEXT)
    cell = model.network.recurrence.cells[0].cells[0]
    monkeypatch.setattr(type(cell), "gates", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explain(model, TEXT)
    monkeypatch.undo()
    assert not any(part._forward_hooks for part in model.network.modules())
    assert plan(model.network.recurrence) == before[0]
    assert np.array_equal(model.log_probs_of(WORDS.encode(TOKENS)), before[1])
    assert not any(weight.grad is not None for weight in model.network.parameters())


# At the doors


@pytest.mark.parametrize("text", ["", " ", "\n", " \n\t\n"])
def test_a_text_without_tokens_is_bad_data(text: str) -> None:
    with pytest.raises(DataError, match="no tokens in the text"):
        explain(ngram(), text)


def test_too_long_a_text_is_bad_data() -> None:
    assert len(explain(ngram(), "the " * (MOST - 1)).tokens) == MOST
    with pytest.raises(DataError, match=r"the text has 2,001 tokens, more than the 2,000"):
        explain(ngram(), "the " * MOST)


def test_how_many_alternatives() -> None:
    with pytest.raises(ConfigError, match="from 0, got -1"):
        explain(ngram(), TEXT, top=-1)
    assert explain(ngram(), "the", top=0).alternatives == [[], []]
    assert len(explain(ngram(), "the", top=99).alternatives[0]) == V


def test_as_json(model: LanguageModel) -> None:
    seen = explain(model, TEXT)
    found = json.loads(json_bytes(seen.as_dict()))
    assert found["log_prob"] == pytest.approx(seen.log_probs.sum())
    assert found["perplexity"] == pytest.approx(math.exp(-seen.log_probs.mean()))
    assert [each["token"] for each in found["tokens"]] == TOKENS
    assert found["tokens"][5] == {
        "token": "zebra",
        "oov": True,
        "log_prob": seen.log_probs[5],
        "rank": seen.ranks[5],
        "entropy": seen.entropies[5],
        "alternatives": [{"token": t, "probability": p} for t, p in seen.alternatives[5]],
    }
    for layer, own in zip(found["layers"], seen.layers, strict=True):
        assert layer["cell"] == own.cell
        for name, values in own.gates.items():
            assert np.array_equal(layer["gates"][name], values)
        for name, values in own.states.items():
            assert np.array_equal(layer["states"][name], values)


def test_a_perplexity_beyond_floats_is_null() -> None:
    nothing = np.array([-800.0])
    seen = Explanation(["a"], np.array([False]), nothing, np.array([1]), -nothing, [[]], [])
    assert json.loads(json_bytes(seen.as_dict()))["perplexity"] is None
