"""A network as a language model: however its scoring is divided, the numbers are the same."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ResourceError
from recurra.language.models import network as network_model
from recurra.language.models.network import NetworkModel, _batches
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.dataset import SplitFacts
from recurra.language.text.vocabulary import Vocabulary
from recurra.nn.kernels.losses import target_log_probs

WORDS = Vocabulary([*(f"w{n}" for n in range(28)), "<eos>", "<unk>"])
V, EOS = len(WORDS), WORDS.eos


def make(**changes: Any) -> NetworkModel:
    options = NetworkOptions(hidden_size=9, init_scale=0.9, zero_bias=False, **changes)
    network = LanguageNetwork(options, V, torch.Generator().manual_seed(2))
    return NetworkModel(network, options, WORDS, "split")


def text(length: int, seed: int = 0) -> NDArray[np.int32]:
    weights = np.full(V, 0.85 / (V - 1))
    weights[EOS] = 0.15
    return np.random.default_rng(seed).choice(V, length, p=weights).astype(np.int32)


@pytest.fixture
def model() -> NetworkModel:
    return make()


def by_torch(model: NetworkModel, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """Score one text with torch's own modules in float64, all of it at once."""
    weights = {name: tensor.double() for name, tensor in model.tensors().items()}
    lstm = nn.LSTM(9, 9, num_layers=2, batch_first=True).double()
    lstm.load_state_dict(
        {
            f"{name}_l{layer}": weights[f"recurrence.cells.{layer}.cells.0.{name}"]
            for layer in range(2)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
    )
    targets = torch.from_numpy(ids.astype(np.int64))
    inputs = torch.cat([torch.tensor([EOS]), targets[:-1]])
    with torch.no_grad():
        hidden, _ = lstm(weights["embedding"][inputs].unsqueeze(0))
        logits = hidden[0] @ weights["head.weight"].T + weights["head.bias"]
        return -F.cross_entropy(logits, targets, reduction="none").numpy()


def test_a_document_scored_by_torchs_own_modules(model: NetworkModel) -> None:
    ids = text(400)
    expected, found = by_torch(model, ids), model.log_probs_of(ids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert math.exp(-found.mean()) == pytest.approx(math.exp(-expected.mean()), rel=1e-6)


@pytest.mark.parametrize("steps", [1, 7, 399, 400, 401])
def test_how_many_steps_a_kernel_takes_at_once_changes_nothing(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    ids = text(400)
    whole = model.log_probs_of(ids)
    monkeypatch.setattr(network_model, "STEPS", steps)
    np.testing.assert_allclose(model.log_probs_of(ids), whole, rtol=0, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 20, 64, 10**9])
def test_how_many_lines_stand_side_by_side_changes_nothing(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    lines = np.split(text(300), np.flatnonzero(text(300) == EOS) + 1)
    expected = [by_torch(model, line) if len(line) else line for line in lines]
    monkeypatch.setattr(network_model, "BATCH", batch)
    for found, own in zip(model.log_probs_of_lines(lines), expected, strict=True):
        np.testing.assert_allclose(found, own, rtol=0, atol=1e-5)


def test_lines_are_grouped_by_length_and_none_is_lost() -> None:
    lengths = [5, 0, 3, 700, 5, 1, 0, 16_384, 20_000, 2, 5]
    groups = list(_batches(lengths))
    assert sorted(n for group in groups for n in group) == [0, 2, 3, 4, 5, 7, 8, 9, 10]
    for group in groups:
        padded = len(group) * max(lengths[n] for n in group)
        assert padded <= network_model.BATCH or len(group) == 1
    assert list(_batches([])) == list(_batches([0, 0])) == []


def test_the_most_logits_held_at_once_changes_nothing(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = text(100)
    whole = model.log_probs_of(ids)
    for chunk in (1, V, 7 * V, 99 * V):
        monkeypatch.setattr(target_log_probs, "CHUNK", chunk)
        np.testing.assert_allclose(model.log_probs_of(ids), whole, rtol=0, atol=2e-6)


# Short memory


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Let logits of more than `most` rows fail; return the rows that were asked for."""
    original, asked = F.linear, []

    def linear(x: Tensor, *rest: Tensor) -> Tensor:
        if len(rest[0]) == V:
            asked.append(len(x))
            if len(x) > most:
                raise error
        return original(x, *rest)

    monkeypatch.setattr(F, "linear", linear)
    return asked


ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("most", [1, 30, 299])
def test_where_memory_is_short_the_chunks_are_halved_and_the_numbers_the_same(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception
) -> None:
    ids = text(300)
    whole = model.log_probs_of(ids)
    monkeypatch.setattr(target_log_probs, "CHUNK", 256 * V)
    asked = short_of_memory(monkeypatch, most, error)
    np.testing.assert_allclose(model.log_probs_of(ids), whole, rtol=0, atol=2e-6)
    assert max(n for n in asked if n <= most) > most / 2 or most == 299
    assert sum(n for n in asked if n <= most) >= 300


def test_where_not_even_one_token_fits_it_says_so(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 0, MemoryError())
    with pytest.raises(ResourceError, match="out of memory while scoring a single token") as caught:
        model.log_probs_of(text(5))
    assert caught.value.exit_code == 5


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = short_of_memory(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        model.log_probs_of(text(5))
    assert asked == [5]


# Precision, time, space


def test_evaluation_is_in_float32_whatever_the_training_is_in() -> None:
    ids = text(200)
    one, other = make(precision="bfloat16"), make(precision="float32")
    assert np.array_equal(one.log_probs_of(ids), other.log_probs_of(ids))
    for _ in range(3):
        first, state = one.step(EOS, one.initial_state())
        assert first.dtype == state[0].h.dtype == torch.float32
        assert torch.equal(first, other.step(EOS, other.initial_state())[0])


def test_perplexity_is_finite_where_a_probability_underflows() -> None:
    model = make()
    with torch.no_grad():
        model.network.head.bias[3] = 4000.0
    ids = np.array([5, 3, 7], np.int32)
    metrics = model.evaluate(ids, SplitFacts(3, 0, 9, 0))
    assert 2000 < metrics.nats_per_token < 3000
    assert metrics.as_dict()["perplexity"] is None
    assert metrics.as_dict()["bits_per_char"] == pytest.approx(metrics.nats_per_token / math.log(8))


def test_a_document_takes_less_than_a_tenth_of_the_time_of_its_tokens_one_by_one() -> None:
    options = NetworkOptions(hidden_size=64)
    model = NetworkModel(LanguageNetwork(options, V, torch.Generator()), options, WORDS, "split")
    ids = text(600)

    def at_once() -> None:
        model.log_probs_of(ids)

    def one_by_one() -> None:
        state = model.initial_state()
        for token in ids.tolist():
            _, state = model.step(token, state)

    def least_seconds(work: Any) -> float:
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
        return min(times)

    assert least_seconds(at_once) < least_seconds(one_by_one) / 10


def test_no_more_than_a_chunk_of_logits_or_of_steps_is_ever_held(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_model, "STEPS", 64)
    monkeypatch.setattr(target_log_probs, "CHUNK", 16 * V)
    steps: list[int] = []
    original = LanguageNetwork.forward

    def spy(self: LanguageNetwork, ids: Tensor, *rest: Any) -> Any:
        steps.append(ids.shape[1])
        return original(self, ids, *rest)

    monkeypatch.setattr(LanguageNetwork, "forward", spy)
    asked = short_of_memory(monkeypatch, 10**9, MemoryError())
    model.log_probs_of(text(1000))
    assert max(steps) == 64
    assert max(asked) == 16
    assert sum(asked) == sum(steps) == 1000


def test_making_a_model_ends_the_networks_training() -> None:
    options = NetworkOptions(hidden_size=4, dropout=0.5)
    network = LanguageNetwork(options, V, torch.Generator()).train()
    assert not NetworkModel(network, options, WORDS, "split").network.training


# Hidden vectors


@pytest.mark.parametrize("length", [0, 1, 13, 60])
def test_spans_are_the_document_with_the_vectors_it_was_predicted_from(
    model: NetworkModel, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(network_model, "STEPS", 13)
    ids = text(length)
    spans = [*model.spans(ids)]
    assert [len(span.hidden) for span in spans] == [len(span.log_probs) for span in spans]
    assert sum(len(span.log_probs) for span in spans) == length
    for span in spans:
        assert span.log_probs.dtype == np.float64
        assert span.hidden.shape[1] == model.hidden_size == 9
        assert not span.hidden.requires_grad
    if length:
        found = np.concatenate([span.log_probs for span in spans])
        assert np.array_equal(found, model.log_probs_of(ids))
        hidden = torch.cat([span.hidden for span in spans])
        state = model.initial_state()
        for n, before in enumerate([EOS, *ids[:-1].tolist()]):
            log_probs, vector, state = model.step_with_hidden(before, state)
            assert (log_probs.shape, vector.shape) == ((1, V), (1, 9))
            torch.testing.assert_close(vector[0], hidden[n], rtol=0, atol=1e-5)
            torch.testing.assert_close(model.network.head.log_probs(vector), log_probs)


def test_spans_of_lines_are_those_of_each_line_alone(model: NetworkModel) -> None:
    lines = [text(length, seed=length) for length in (3, 0, 11, 5, 5, 1)]
    found = dict(model.spans_of_lines(lines))
    assert sorted(found) == [0, 2, 3, 4, 5]
    for n, span in found.items():
        (alone,) = model.spans(lines[n])
        torch.testing.assert_close(span.hidden, alone.hidden, rtol=0, atol=1e-5)
        np.testing.assert_allclose(span.log_probs, alone.log_probs, rtol=0, atol=1e-5)


def test_a_step_with_hidden_of_many_rows_is_the_step(model: NetworkModel) -> None:
    rows = torch.tensor([1, EOS, 4])
    log_probs, hidden, state = model.step_with_hidden(rows, model.initial_state(3))
    expected, after = model.step(rows, model.initial_state(3))
    assert torch.equal(log_probs, expected)
    assert hidden.shape == (3, 9)
    assert torch.equal(state[1].h, after[1].h)
