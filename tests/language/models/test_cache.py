"""Caches: as the papers say, in numpy, whatever the batch; nothing of the wrapped model changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recurra.errors import CheckpointError, ConfigError
from recurra.language.models import cache as cache_model
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.cache import (
    CacheModel,
    cache,
    pointer_log_probs,
)
from recurra.language.models.dynamic import dynamic
from recurra.language.models.network import NetworkModel, Span
from recurra.language.models.ngram import NgramModel
from recurra.language.models.unigram_cache import UnigramCacheModel, unigram_cache
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey

WORDS = Vocabulary([*(f"w{n}" for n in range(10)), "<eos>", "<unk>"])
V, EOS = len(WORDS), WORDS.eos
Ids = NDArray[np.int32]


def text(length: int, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(0, V, length).astype(np.int32)


def network(**changes: Any) -> NetworkModel:
    options = NetworkOptions(hidden_size=6, init_scale=1.2, zero_bias=False, **changes)
    made = LanguageNetwork(options, V, torch.Generator().manual_seed(2))
    return NetworkModel(made, options, WORDS, "split")


def ngram() -> NgramModel:
    return NgramModel(KneserNey.fit(text(300, 1), 3, V, EOS), WORDS, "split")


def stepped(model: LanguageModel, ids: Ids) -> NDArray[np.float64]:
    state, found = model.initial_state(), []
    for before, token in zip([EOS, *ids[:-1].tolist()], ids):
        log_probs, state = model.step(before, state)
        assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-5)
        found.append(float(log_probs[token]))
    return np.array(found)


def by_numpy(span: Span, ids: Ids, weight: float, theta: float, window: int) -> NDArray[np.float64]:
    """Grave et al., equations 2 and 3, as they stand."""
    h, found = span.hidden.double().numpy(), np.exp(span.log_probs)
    for t in range(1, len(ids)):
        i = np.arange(max(0, t - window), t)  # the word after h_i is ids[i]
        scores = np.exp(theta * (h[i] @ h[t]))
        p_cache = scores[ids[i] == ids[t]].sum() / scores.sum()
        found[t] = (1 - weight) * found[t] + weight * p_cache
    return np.log(found)


def whole(model: NetworkModel, ids: Ids) -> Span:
    (span,) = model.spans(ids)
    return span


SETTINGS = [(0.1, 1.0, 500), (0.4, 0.3, 7), (0.9, 2.0, 1), (0.5, 0.0, 20)]


@pytest.mark.parametrize(("weight", "theta", "window"), SETTINGS)
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_a_document_is_what_the_paper_says(
    monkeypatch: pytest.MonkeyPatch, weight: float, theta: float, window: int, rows: int
) -> None:
    monkeypatch.setattr(cache_model, "ROWS", rows)
    lm, ids = network(), text(60)
    model = cache(lm, weight=weight, theta=theta, window=window)
    expected = by_numpy(whole(lm, ids), ids, weight, theta, window)
    np.testing.assert_allclose(model.log_probs_of(ids), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(stepped(model, ids), expected, rtol=0, atol=5e-6)
    assert np.abs(expected - lm.log_probs_of(ids)).max() > 0.05


def test_with_theta_zero_the_pointer_counts_words_of_the_window() -> None:
    lm, ids = network(), text(80, 3)
    _, (found,) = pointer_log_probs(lm, ids, [(0.0, 9)])
    for t in range(1, 80):
        share = np.mean(ids[max(0, t - 9) : t] == ids[t])
        assert math.exp(found[t]) == pytest.approx(share, abs=1e-6)


def test_many_caches_in_one_pass_are_each_alone() -> None:
    lm, ids = network(), text(70)
    settings = [(1.0, 500), (0.2, 5), (3.0, 2)]
    own, cached = pointer_log_probs(lm, ids, settings)
    assert np.array_equal(own, lm.log_probs_of(ids))
    assert cached.shape == (3, 70)
    for row, (theta, window) in zip(cached, settings, strict=True):
        alone = cache(lm, weight=1.0, theta=theta, window=window).log_probs_of(ids)
        np.testing.assert_allclose(row, alone, rtol=0, atol=1e-12)
        mixed = np.logaddexp(np.log(0.7) + own, np.log(0.3) + row)
        model = cache(lm, weight=0.3, theta=theta, window=window)
        np.testing.assert_allclose(model.log_probs_of(ids), mixed, rtol=0, atol=1e-12)


def test_alone_the_cache_gives_what_it_never_saw_nothing() -> None:
    lm, ids = network(), np.array([1, 2, 1, 3], np.int32)
    model = cache(lm, weight=1.0)
    found = model.log_probs_of(ids)
    assert found[0] == lm.log_probs_of(ids)[0]  # nothing is in the cache yet
    assert found[1] == found[3] == -math.inf
    assert -10 < found[2] < 0
    np.testing.assert_allclose(stepped(model, ids), found, rtol=0, atol=1e-6)
    assert np.array_equal(cache(lm, weight=0.0).log_probs_of(ids), lm.log_probs_of(ids))


def test_very_long_hidden_vectors_overflow_nothing() -> None:
    hidden = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) * 1e4
    ids = text(30)
    own, cached = cache_model._look_up([Span(hidden, np.full(30, -2.0))], ids, [(1.0, 10)])
    assert np.isfinite(own).all() and not np.isnan(cached).any()
    assert cached.max() <= 1e-6
    scores = (hidden @ hidden.T).numpy()
    nearest = [t - 10 + scores[t, t - 10 : t].argmax() for t in range(10, 30)]
    same = ids[nearest] == ids[10:]
    np.testing.assert_allclose(np.exp(cached[0, 10:]), same, atol=1e-6)


@pytest.mark.parametrize("make", [network, lambda: dynamic(network(), learning_rate=0.5)])
def test_lines_are_each_alone(make: Any) -> None:
    model = cache(make(), weight=0.3, window=4)
    lines = [text(length, seed=length) for length in (5, 0, 9, 1)]
    for found, line in zip(model.log_probs_of_lines(lines), lines, strict=True):
        np.testing.assert_allclose(found, model.log_probs_of(line), rtol=0, atol=1e-5)


def test_rows_side_by_side_are_each_alone_even_where_some_have_read_nothing() -> None:
    model = cache(network(), weight=0.4, window=3)
    _, old = model.step(2, model.initial_state())
    for token in (5, 5, 1, 7):
        _, old = model.step(token, old)
    new = model.initial_state()
    both = cache_model.CacheState(
        tuple(type(a)(*map(_joined, a, b)) for a, b in zip(old.inner, new.inner, strict=True)),
        _joined(old.words, new.words),
        _joined(old.hidden, new.hidden),
    )
    found, _ = model.step(torch.tensor([5, 5]), both)
    for row, state in zip(found, (old, new), strict=True):
        torch.testing.assert_close(row, model.step(5, state)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], model.lm.step_with_hidden(5, new.inner)[0][0])


def _joined(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cat([a, b])


def test_the_cache_of_a_dynamic_model_looks_at_its_vectors() -> None:
    lm = dynamic(network(), learning_rate=0.5)
    ids = text(40)
    spans = [*lm.spans(ids)]
    span = Span(
        torch.cat([span.hidden for span in spans]),
        np.concatenate([span.log_probs for span in spans]),
    )
    model = cache(lm, weight=0.3)
    expected = by_numpy(span, ids, 0.3, 0.3, 500)
    np.testing.assert_allclose(model.log_probs_of(ids), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(stepped(model, ids), expected, rtol=0, atol=2e-5)
    assert model.most_rows == 1
    assert cache(network()).most_rows is None


# The unigram cache


def decayed(ids: Ids, half_life: float) -> NDArray[np.float64]:
    read, found = np.concatenate([[EOS], ids]), []
    for t in range(1, len(read)):
        weights = 0.5 ** ((t - np.arange(t)) / half_life)
        found.append(weights[read[:t] == read[t]].sum() / weights.sum())
    return np.array(found)


@pytest.mark.parametrize("make", [network, ngram])
@pytest.mark.parametrize(("weight", "half_life"), [(0.12, 90.0), (0.7, 2.5), (0.2, 1e6), (0.0, 1)])
def test_a_unigram_cache_counts_what_was_read(make: Any, weight: float, half_life: float) -> None:
    lm, ids = make(), text(90)
    model = unigram_cache(lm, weight=weight, half_life=half_life)
    p = (1 - weight) * np.exp(lm.log_probs_of(ids)) + weight * decayed(ids, half_life)
    np.testing.assert_allclose(model.log_probs_of(ids), np.log(p), rtol=0, atol=1e-10)
    tolerance = 1e-10 if isinstance(lm, NgramModel) else 5e-6
    np.testing.assert_allclose(stepped(model, ids), np.log(p), rtol=0, atol=tolerance)
    lines = [ids[:20], ids[:0], ids[20:]]
    for found, line in zip(model.log_probs_of_lines(lines), lines, strict=True):
        np.testing.assert_allclose(found, model.log_probs_of(line), rtol=0, atol=1e-5)


@settings(max_examples=30)
@given(st.lists(st.integers(0, V - 1), min_size=1, max_size=30), st.floats(0.0, 0.99))
def test_any_text_has_finite_log_probs_that_steps_agree_with(read: list[int], w: float) -> None:
    ids = np.array(read, np.int32)
    model = unigram_cache(NGRAM, weight=w, half_life=3.0)
    found = model.log_probs_of(ids)
    assert (found < 0).all() and np.isfinite(found).all()
    np.testing.assert_allclose(stepped(model, ids), found, rtol=0, atol=1e-10)


NGRAM = ngram()


def test_kneser_ney_and_unigram_cache_on_ptb(data_root: Path) -> None:
    splits = {name: words_of(data_root, name) for name in ("train", "valid", "test")}
    vocabulary = Vocabulary.count([splits["train"]])
    ids = {name: vocabulary.encode(words) for name, words in splits.items()}
    counts = KneserNey.fit(ids["train"], 5, len(vocabulary), vocabulary.eos)
    model = unigram_cache(NgramModel(counts, vocabulary, "split"))
    for split, perplexity in (("valid", 128.56), ("test", 125.18)):
        found = math.exp(-model.log_probs_of(ids[split]).mean())
        assert found == pytest.approx(perplexity, abs=0.02)


def words_of(data_root: Path, split: str) -> list[str]:
    lines = (data_root / "ptb" / f"ptb.{split}.txt").read_text().splitlines()
    return [word for line in lines for word in [*line.split(), "<eos>"]]


# Faults


def test_a_pointer_needs_hidden_vectors() -> None:
    with pytest.raises(ConfigError, match="hidden vectors, which a ngram model has not"):
        cache(ngram())


@pytest.mark.parametrize(
    "changes", [{"weight": 1.1}, {"weight": -0.1}, {"theta": math.nan}, {"window": 0}]
)
def test_options_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        cache(network(), **changes)
    if "theta" in changes:
        with pytest.raises(ConfigError, match="theta"):
            pointer_log_probs(network(), text(5), [(math.nan, 5)])


@pytest.mark.parametrize("changes", [{"weight": 2.0}, {"half_life": 0.0}, {"half_life": math.inf}])
def test_a_unigram_caches_options_too(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        unigram_cache(ngram(), **changes)


@pytest.mark.parametrize("kind", [CacheModel, UnigramCacheModel], ids=lambda kind: kind.kind)
def test_what_was_saved_is_restored_and_nothing_else(kind: Any) -> None:
    lm, ids = network(), text(30)
    model = cache(lm, weight=0.3, window=5) if kind is CacheModel else unigram_cache(lm)
    restored = kind.restore(Saved(WORDS, "split", model.facts(), model.tensors(), (lm,)))
    assert np.array_equal(restored.log_probs_of(ids), model.log_probs_of(ids))
    assert (restored.kind, restored.inner) == (kind.kind, (lm,))
    broken: list[tuple[dict[str, Any], dict[str, Any], tuple[LanguageModel, ...]]] = [
        ({**model.facts(), "weight": 7}, {}, (lm,)),
        ({**model.facts(), "more": 7}, {}, (lm,)),
        (model.facts(), {"x": torch.zeros(1)}, (lm,)),
        (model.facts(), {}, ()),
        (model.facts(), {}, (lm, lm)),
    ]
    for facts, tensors, inner in broken:
        with pytest.raises(CheckpointError):
            kind.restore(Saved(WORDS, "split", facts, tensors, inner))
    if kind is CacheModel:
        with pytest.raises(CheckpointError, match="hidden vectors"):
            kind.restore(Saved(WORDS, "split", model.facts(), {}, (ngram(),)))
