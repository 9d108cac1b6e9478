"""Dynamic evaluation: what the paper says, step by step or by segments; nothing else moves."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.language.models.adaptation import (
    AdaptedNetwork,
    Segment,
    Statistics,
    gradient_statistics,
    learned,
)
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.dynamic import DynamicModel, dynamic
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.nn.state import flatten

WORDS = Vocabulary([*(f"w{n}" for n in range(10)), "<eos>", "<unk>"])
V, H, EOS = len(WORDS), 6, WORDS.eos
Ids = NDArray[np.int32]


def text(length: int, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(0, V, length).astype(np.int32)


def network(**changes: Any) -> NetworkModel:
    options = NetworkOptions(hidden_size=H, init_scale=0.9, zero_bias=False, **changes)
    made = LanguageNetwork(options, V, torch.Generator().manual_seed(2))
    return NetworkModel(made, options, WORDS, "split")


def statistics(lm: NetworkModel) -> Statistics:
    return gradient_statistics(lm.network, text(600, 7), rows=4)


def stepped(model: LanguageModel, ids: Ids) -> NDArray[np.float64]:
    state, found = model.initial_state(), []
    for before, token in zip([EOS, *ids[:-1].tolist()], ids):
        log_probs, state = model.step(before, state)
        assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-5)
        found.append(float(log_probs[token]))
    return np.array(found)


class Transcription:
    """The paper's algorithm on torch's own modules, in float64."""

    def __init__(self, lm: NetworkModel) -> None:
        trained = lm.network.state_dict()
        self.tied = lm.network.head.weight is lm.network.embedding
        self.w = {name: trained[name].double().requires_grad_() for name in learned(lm.network)}
        self.fixed = {n: t.double() for n, t in trained.items() if n not in self.w}
        self.w_0 = {name: tensor.detach().clone() for name, tensor in self.w.items()}
        self.state: Any = None

    def log_probs(self, inputs: Tensor, targets: Tensor) -> Tensor:
        w = {**self.fixed, **self.w}
        x, ends = F.embedding(inputs, w["embedding"]), []
        for n in range(2):
            layer = nn.LSTM(H, H, batch_first=True).double()
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            own = {f"{name}_l0": w[f"recurrence.cells.{n}.cells.0.{name}"] for name in names}
            before = None if self.state is None else self.state[n]
            x, end = torch.func.functional_call(layer, own, (x, before))
            ends.append(tuple(part.detach() for part in end))
        self.state = ends
        weight = w["embedding" if self.tied else "head.weight"]
        log_probs = F.log_softmax(x @ weight.T + w["head.bias"], dim=1)
        return log_probs[torch.arange(len(targets)), targets]

    def run(self, ids: Ids, n: int, update: Any) -> NDArray[np.float64]:
        text, found = torch.tensor([EOS, *ids.tolist()]), []
        for at in range(0, len(ids), n):
            targets = text[at + 1 : at + 1 + n]
            log_probs = self.log_probs(text[at : at + len(targets)], targets)
            found.append(log_probs.detach().numpy())
            gradients = torch.autograd.grad(-log_probs.mean(), list(self.w.values()))
            for (name, w), g in zip(self.w.items(), gradients, strict=True):
                w.data = torch.from_numpy(
                    update(name, w.detach().numpy(), g.numpy(), self.w_0[name].numpy())
                )
        return np.concatenate(found)


CASES: dict[str, dict[str, Any]] = {"tied": {"tied": True}, "own softmax": {"tied": False}}
every_network = pytest.mark.parametrize("changes", CASES.values(), ids=list(CASES))


@every_network
@pytest.mark.parametrize("segment", [1, 5, 8])
def test_sgd_is_what_the_paper_says(changes: dict[str, Any], segment: int) -> None:
    lm, ids = network(**changes), text(43)
    rate, decay = 0.7, 0.05
    model = dynamic(lm, learning_rate=rate, decay=decay, segment=segment)
    expected = Transcription(lm).run(
        ids, segment, lambda _, w, g, w_0: w - rate * g + decay * (w_0 - w)
    )
    np.testing.assert_allclose(model.log_probs_of(ids), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(stepped(model, ids), expected, rtol=0, atol=1e-5)
    assert np.abs(expected - lm.log_probs_of(ids)).max() > 0.1


@every_network
def test_rms_is_what_the_paper_says(changes: dict[str, Any]) -> None:
    lm, ids = network(**changes), text(43)
    rms = {name: tensor.double().numpy() for name, tensor in statistics(lm).items()}
    rate, decay, epsilon = 0.02, 0.4, 0.003
    mean = np.concatenate([each.ravel() for each in rms.values()]).mean()

    def update(name: str, w: Any, g: Any, w_0: Any) -> Any:
        share = np.minimum(rms[name] / mean, 1 / decay)
        return w - rate * g / (rms[name] + epsilon) + decay * share * (w_0 - w)

    model = dynamic(lm, statistics(lm), learning_rate=rate, decay=decay, epsilon=epsilon, segment=5)
    expected = Transcription(lm).run(ids, 5, update)
    np.testing.assert_allclose(model.log_probs_of(ids), expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(stepped(model, ids), expected, rtol=0, atol=2e-5)
    assert any((decay * each / mean > 1).any() for each in rms.values())
    assert np.abs(expected - lm.log_probs_of(ids)).max() > 0.1


OTHERS: dict[str, dict[str, Any]] = {
    "gru": {"cell": "gru", "num_layers": 1},
    "mixture of softmaxes": {"softmax": "mixture", "experts": 2},
    "trained with dropout": {"dropout": 0.5, "tied": True},
    "adaptive": {"softmax": "adaptive", "cutoffs": "2/9"},
}


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("changes", OTHERS.values(), ids=list(OTHERS))
def test_one_by_one_is_the_document_for_other_networks(
    changes: dict[str, Any], measured: bool
) -> None:
    lm, ids = network(**changes), text(33)
    given, rate = (statistics(lm), 0.01) if measured else (None, 0.2)
    model = dynamic(lm, given, learning_rate=rate, segment=5)
    found = model.log_probs_of(ids)
    np.testing.assert_allclose(stepped(model, ids), found, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found[:5], lm.log_probs_of(ids[:5]), rtol=0, atol=2e-6)
    assert np.abs(found[5:] - lm.log_probs_of(ids)[5:]).max() > 1e-3


def test_a_cluster_that_no_target_is_in_stays_as_it_is() -> None:
    lm = network(softmax="adaptive", cutoffs="2/9")
    ids = np.zeros(40, np.int32)
    found = dynamic(lm, gradient_statistics(lm.network, ids, rows=4), segment=5)
    assert np.isfinite(found.log_probs_of(ids)).all()
    assert found.statistics is not None
    assert not found.statistics["head.softmax.tail.0.0.weight"].any()
    plain = dynamic(lm, segment=5)
    np.testing.assert_allclose(stepped(plain, ids), plain.log_probs_of(ids), rtol=0, atol=2e-5)


def test_a_text_that_repeats_itself_is_learned() -> None:
    lm, ids = network(), np.tile(text(10), 20)
    for model in (dynamic(lm, learning_rate=0.5), dynamic(lm, statistics(lm), learning_rate=0.01)):
        found = model.log_probs_of(ids)
        assert found[-50:].mean() > found[:50].mean() + 0.3


def test_at_rate_zero_it_is_the_network() -> None:
    lm, ids = network(), text(33)
    found = dynamic(lm, learning_rate=0.0).log_probs_of(ids)
    np.testing.assert_allclose(found, lm.log_probs_of(ids), rtol=0, atol=2e-6)
    far = dynamic(lm, learning_rate=0.0, decay=1.0).log_probs_of(ids)
    np.testing.assert_allclose(far, found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("measured", [False, True])
def test_the_wrapped_network_and_the_state_given_stay_as_they_are(measured: bool) -> None:
    lm, ids = network(tied=True), text(24)
    before = {name: tensor.clone() for name, tensor in lm.tensors().items()}
    given = statistics(lm) if measured else None
    model = dynamic(lm, given, learning_rate=0.1)
    model.log_probs_of(ids)
    state = model.initial_state()
    states = []
    for token in ids.tolist():
        held = {name: tensor.clone() for name, tensor in flatten(state).items()}
        _, after = model.step(token, state)
        states.append((state, held))
        state = after
    for state, held in states:
        for name, tensor in flatten(state).items():
            assert torch.equal(tensor, held[name])
    for name, tensor in lm.tensors().items():
        assert torch.equal(tensor, before[name])
        assert lm.network.get_parameter(name).grad is None
    moved = states[-1][0].weights
    assert not torch.equal(moved[0][0], before["embedding"])


def test_every_line_starts_from_the_trained_weights() -> None:
    model = dynamic(network(), learning_rate=1.0)
    lines = [text(length, seed=length) for length in (12, 0, 7, 5)]
    for found, line in zip(model.log_probs_of_lines(lines), lines, strict=True):
        assert np.array_equal(found, model.log_probs_of(line))
    spans = dict(model.spans_of_lines(lines))
    assert sorted(spans) == [0, 2, 3]
    for n, span in spans.items():
        assert np.array_equal(span.log_probs, model.log_probs_of(lines[n]))
        assert span.hidden.shape == (len(lines[n]), H)
        assert not span.hidden.requires_grad


def test_in_a_text_only_the_segment_is_held_however_long_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, alive = dynamic(network(), learning_rate=0.1), weakref.WeakSet[Segment]()
    original, most = AdaptedNetwork.read, 0

    def read(self: AdaptedNetwork, *rest: Any) -> Segment:
        nonlocal most
        segment = original(self, *rest)
        alive.add(segment)
        most = max(most, len(alive))
        return segment

    monkeypatch.setattr(AdaptedNetwork, "read", read)
    model.log_probs_of(text(200))
    assert most <= 2


def test_statistics_are_the_roots_of_mean_squares_of_chunks() -> None:
    lm, ids = network(), text(31)
    found = gradient_statistics(lm.network, ids, rows=2, steps=5)
    squares = {name: np.zeros(tuple(w.shape)) for name, w in learned(lm.network).items()}
    transcription = Transcription(lm)
    rows = [torch.from_numpy(ids[r * 15 : r * 15 + 16].astype(np.int64)) for r in range(2)]
    states: list[Any] = [None, None]
    for start in (0, 5, 10):
        losses = []
        for r, row in enumerate(rows):
            transcription.state = states[r]
            at = slice(start, start + 5)
            losses.append(-transcription.log_probs(row[:-1][at], row[1:][at]).mean())
            states[r] = transcription.state
        gradients = torch.autograd.grad(sum(losses) / 2, list(transcription.w.values()))
        for name, gradient in zip(squares, gradients, strict=True):
            squares[name] += gradient.numpy() ** 2
    assert list(found) == list(squares)
    for name, square in squares.items():
        expected = np.sqrt(square / 3)
        # Products may be in bfloat16: three digits.
        np.testing.assert_allclose(found[name], expected, rtol=0.1, atol=0.02 * expected.max())


# Faults


def test_one_text_at_a_time() -> None:
    model = dynamic(network())
    assert model.most_rows == 1
    with pytest.raises(ConfigError, match="follows 1 text at a time, not 2"):
        model.initial_state(2)


def test_only_networks_are_evaluated_dynamically() -> None:
    ngram: Any = NgramModel(KneserNey.fit(text(50), 2, V, EOS), WORDS, "split")
    with pytest.raises(ConfigError, match="only a network is evaluated dynamically, got a ngram"):
        dynamic(ngram)


@pytest.mark.parametrize(
    "changes", [{"learning_rate": -1.0}, {"decay": 1.5}, {"epsilon": 0.0}, {"segment": 0}]
)
def test_options_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        dynamic(network(), **changes)


@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf])
def test_statistics_that_are_none_are_refused(value: float) -> None:
    lm = network()
    found = statistics(lm)
    found["embedding"][1, 2] = value
    with pytest.raises(ConfigError, match="finite and not negative"):
        dynamic(lm, found)
    with pytest.raises(CheckpointError, match="finite and not negative"):
        DynamicModel.restore(Saved(WORDS, "split", dynamic(lm).facts(), found, (lm,)))


def test_statistics_of_another_network_are_refused() -> None:
    lm = network()
    other = statistics(network(num_layers=1))
    with pytest.raises(ConfigError, match="gradient statistics of another network"):
        dynamic(lm, other)
    with pytest.raises(CheckpointError, match="gradient statistics of another network"):
        DynamicModel.restore(Saved(WORDS, "split", dynamic(lm).facts(), other, (lm,)))


def test_a_text_too_short_for_statistics_is_refused() -> None:
    with pytest.raises(DataError, match="chunks of 500 tokens, got a text of 400"):
        gradient_statistics(network().network, text(400))


@pytest.mark.parametrize("measured", [False, True])
def test_what_was_saved_is_restored_exactly_and_nothing_else(measured: bool) -> None:
    lm, ids = network(), text(30)
    given = statistics(lm) if measured else None
    model = dynamic(lm, given, learning_rate=0.05, decay=0.1, segment=4)
    tensors = {name: tensor.clone() for name, tensor in reversed(model.tensors().items())}
    restored = DynamicModel.restore(Saved(WORDS, "split", model.facts(), tensors, (lm,)))
    assert np.array_equal(restored.log_probs_of(ids), model.log_probs_of(ids))
    assert restored.inner == (lm,)
    broken: list[tuple[dict[str, Any], tuple[LanguageModel, ...]]] = [
        ({**model.facts(), "segment": 0}, (lm,)),
        ({**model.facts(), "rate": 1}, (lm,)),
        (model.facts(), ()),
        (model.facts(), (model,)),
        (model.facts(), (lm, lm)),
    ]
    for facts, inner in broken:
        with pytest.raises(CheckpointError):
            DynamicModel.restore(Saved(WORDS, "split", facts, tensors, inner))


def test_defaults_depend_on_whether_there_are_statistics() -> None:
    lm = network()
    plain, measured = dynamic(lm).options, dynamic(lm, statistics(lm)).options
    assert plain.learning_rate > 10 * measured.learning_rate
    assert math.isclose(measured.epsilon, 0.001)


@pytest.mark.parametrize("softmax", ["adaptive", "full"])
def test_one_bad_segment_does_not_poison_the_rest(monkeypatch, softmax: str) -> None:
    lm = network(softmax=softmax, cutoffs="4/8" if softmax == "adaptive" else None)
    model = dynamic(lm, learning_rate=0.1, segment=5)
    ids = text(40, 3)
    sound = model.log_probs_of(ids)
    learned_from: list[bool] = []
    original = AdaptedNetwork.learn

    def learn(self: AdaptedNetwork, segment: Segment) -> bool:
        if len(learned_from) == 2:
            segment.scored.data.fill_(math.nan)
        before = [weight.clone() for weight in self.learned.values()]
        learned_from.append(original(self, segment))
        if not learned_from[-1]:
            for weight, was in zip(self.learned.values(), before):
                assert torch.equal(weight, was)
        return learned_from[-1]

    monkeypatch.setattr(AdaptedNetwork, "learn", learn)
    found = model.log_probs_of(ids)
    assert learned_from == [True, True, False, True, True, True, True]
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:15], sound[:15])


def test_a_gradient_that_overflows_changes_no_weight(monkeypatch) -> None:
    lm = network()
    adapted = AdaptedNetwork(lm.network, dynamic(lm).rates)
    ids = torch.tensor([1, 2, 3])
    segment = adapted.read(ids[:2], ids[1:], lm.initial_state())
    before = [weight.clone() for weight in adapted.learned.values()]
    gradients = adapted._gradients(segment)
    dense = next(n for n, each in enumerate(gradients) if each.dense is not None)
    gradients[dense].dense.fill_(1e30)
    monkeypatch.setattr(adapted, "_gradients", lambda segment: gradients)
    assert not adapted.learn(segment)
    for weight, was in zip(adapted.learned.values(), before):
        assert torch.equal(weight, was)


def test_a_state_that_became_nan_is_not_carried_on() -> None:
    lm = network()
    model = dynamic(lm, segment=5)
    ids = text(30, 4)
    read = AdaptedNetwork.read
    calls: list[int] = []

    def spoiled(self, inputs, targets, state):
        segment = read(self, inputs, targets, state)
        calls.append(1)
        if len(calls) == 2:
            segment.scored.data.fill_(math.nan)
            for tensor in flatten(segment.state).values():
                tensor.fill_(math.nan)
        return segment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdaptedNetwork, "read", spoiled)
        found = model.log_probs_of(ids)
    assert np.isnan(found[5:10]).all() and np.isfinite(np.delete(found, range(5, 10))).all()
