"""Mixtures: the arithmetic, the climb to the best weights, buckets, and what is refused."""

from __future__ import annotations

import json
import math
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from recurra.errors import CheckpointError, ConfigError, DataError, ShapeError
from recurra.language.entry import FORMAT
from recurra.language.models.base import NESTED, LanguageModel
from recurra.language.models.mixture import (
    MixtureModel,
    by_previous,
    climb,
    fit_weights,
    mixed,
    mixture,
)
from recurra.language.models.ngram import NgramModel
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.storage.files import json_bytes
from recurra.storage.sealed import seal
from recurra.storage.tensors import load_tensors, write_tensors

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat"])
V, EOS = len(WORDS), WORDS.eos
Floats = NDArray[np.float64]


def text(length: int, seed: int = 0) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(0, V, length, dtype=np.int32)


def ngram(order: int, words: Vocabulary = WORDS, rule: str = "split") -> NgramModel:
    counts = KneserNey.fit(text(300, seed=order), order, len(words), words.eos)
    return NgramModel(counts, words, rule)


def random_parts(K: int, N: int, seed: int = 0) -> Floats:
    """Return log-probabilities of which each part is the best of some tokens."""
    draws = np.random.default_rng(seed)
    return np.log(draws.beta(0.5, 2.0, (K, N)) + 1e-9)


def likelihood(parts: Floats, weights: Floats) -> float:
    return float(np.log(weights @ np.exp(parts)).mean())


# What a mixture says


def test_a_mixture_is_the_weighted_mean_of_probabilities() -> None:
    parts = [ngram(1), ngram(2), ngram(3)]
    both = mixture(parts, [0.5, 0.3, 0.2])
    log_probs, _ = both.step(EOS, both.initial_state())
    each = [part.step(EOS, part.initial_state())[0].exp().numpy() for part in parts]
    expected = 0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2]
    np.testing.assert_allclose(log_probs.exp().numpy(), expected, rtol=1e-12)
    ids = text(50)
    scores = [np.exp(part.log_probs_of(ids)) for part in parts]
    expected = 0.5 * scores[0] + 0.3 * scores[1] + 0.2 * scores[2]
    np.testing.assert_allclose(np.exp(both.log_probs_of(ids)), expected, rtol=1e-12)


def test_the_token_before_chooses_the_weights() -> None:
    parts = [ngram(1), ngram(3)]
    buckets = np.array([0, 1, 1, 0, 2, 2, 0, 1])
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]])
    model = MixtureModel(parts, rows, buckets)
    ids = text(60)
    one, other = (np.exp(part.log_probs_of(ids)) for part in parts)
    w = rows[buckets[[EOS, *ids[:-1]]]]
    np.testing.assert_allclose(
        np.exp(model.log_probs_of(ids)), w[:, 0] * one + w[:, 1] * other, rtol=1e-12
    )
    assert model.buckets_of(ids).tolist() == buckets[[EOS, *ids[:-1]]].tolist()
    state = model.initial_state(3)
    rows_of, _ = model.step(torch.tensor([0, 1, 4]), state)
    for n, token in enumerate([0, 1, 4]):
        alone, _ = model.step(token, model.initial_state())
        torch.testing.assert_close(rows_of[n], alone, rtol=0, atol=1e-12)


def test_without_weights_all_parts_count_the_same() -> None:
    assert mixture([ngram(1), ngram(2), ngram(3)]).weights.tolist() == [[1 / 3] * 3]


def test_a_mixture_of_one_is_that_model() -> None:
    ids = text(40)
    alone = ngram(3)
    np.testing.assert_allclose(
        mixture([alone]).log_probs_of(ids), alone.log_probs_of(ids), rtol=0, atol=1e-13
    )


def test_rarer_tokens_fall_into_later_buckets() -> None:
    table = by_previous(10_000)
    assert [int(table[rank]) for rank in (0, 1, 2, 3, 6, 7, 9_999)] == [0, 1, 1, 2, 2, 3, 13]
    assert np.bincount(table)[:5].tolist() == [1, 2, 4, 8, 16]
    assert by_previous(1).tolist() == [0]


# Mixing log-probabilities


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_mixed_is_the_plain_sum(K: int, N: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    parts, rows = random_parts(K, N, seed), draws.dirichlet(np.ones(K), 3)
    buckets = draws.integers(0, 3, N)
    expected = (rows[buckets].T * np.exp(parts)).sum(axis=0)
    np.testing.assert_allclose(np.exp(mixed(parts, rows, buckets)), expected, rtol=1e-12)
    first = np.exp(mixed(parts, rows[0]))
    np.testing.assert_allclose(first, rows[0] @ np.exp(parts), rtol=1e-12)


def test_what_a_part_finds_impossible_counts_nothing() -> None:
    parts = np.array([[-math.inf, math.log(0.5), -math.inf], [math.log(0.25), -1e4, -math.inf]])
    found = mixed(parts, [0.5, 0.5])
    np.testing.assert_allclose(found, [math.log(0.125), math.log(0.25), -math.inf], rtol=1e-12)
    only = mixed(parts, [1.0, 0.0])
    assert only.tolist() == [-math.inf, math.log(0.5), -math.inf]


def test_probabilities_below_the_smallest_float_are_mixed_too() -> None:
    found = mixed(np.array([[-2000.0], [-2001.0]]), [0.5, 0.5])
    assert found[0] == pytest.approx(-2000 + math.log(0.5 * (1 + math.exp(-1))))
    assert mixed(np.zeros((2, 0)), [0.5, 0.5]).shape == (0,)


# Learning weights


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_every_step_of_the_climb_is_higher_and_the_bound_holds(K: int, N: int, seed: int) -> None:
    parts = random_parts(K, N, seed)
    path = list(islice(climb(np.exp(parts)), 150))
    heights = [likelihood(parts, weights) for weights, _ in path]
    assert all(b >= a - 1e-12 for a, b in pairwise(heights))
    for height, (weights, ahead) in zip(heights, path):
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()
        assert heights[-1] - height <= ahead + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_are_those_that_a_general_optimizer_finds(seed: int) -> None:
    parts = random_parts(4, 500, seed)
    found = fit_weights(parts)

    def cost(free: Floats) -> float:
        weights = np.exp(free - free.max())
        return -likelihood(parts, weights / weights.sum())

    best = optimize.minimize(cost, np.zeros(4), method="BFGS")
    assert -likelihood(parts, found) <= best.fun + 1e-6
    expected = np.exp(best.x - best.x.max())
    np.testing.assert_allclose(found, expected / expected.sum(), atol=5e-3)


def test_known_weights_are_found_again() -> None:
    """Tokens drawn from the mixture of two dice, whose weights are then learned."""
    draws = np.random.default_rng(1)
    dice = draws.dirichlet(np.ones(12) * 0.4, 3)
    true = np.array([0.6, 0.3, 0.1])
    tokens = draws.choice(12, 100_000, p=true @ dice)
    np.testing.assert_allclose(fit_weights(np.log(dice[:, tokens])), true, atol=0.015)


def test_a_part_that_adds_nothing_has_no_weight() -> None:
    parts = random_parts(2, 400)
    worse = np.vstack([parts, np.minimum(*parts) - 0.5])
    found = fit_weights(worse)
    assert found[2] < 1e-3
    np.testing.assert_allclose(found[:2], fit_weights(parts), atol=2e-3)


def test_the_unit_of_a_tokens_probabilities_does_not_matter() -> None:
    parts = random_parts(3, 200)
    shifted = parts - np.random.default_rng(2).uniform(0, 3000, 200)
    np.testing.assert_allclose(fit_weights(shifted), fit_weights(parts), rtol=1e-9)


def test_tokens_that_no_part_finds_possible_are_left_out() -> None:
    parts = random_parts(3, 200)
    parts[0, ::3] = -math.inf
    holes = parts.copy()
    holes[:, 10:20] = -math.inf
    expected = fit_weights(np.delete(parts, np.s_[10:20], axis=1))
    np.testing.assert_allclose(fit_weights(holes), expected, rtol=1e-12)
    buckets = np.arange(200) % 4
    of_holes = fit_weights(holes, buckets)
    of_rest = fit_weights(np.delete(parts, np.s_[10:20], axis=1), np.delete(buckets, np.s_[10:20]))
    np.testing.assert_allclose(of_holes, of_rest, rtol=1e-12)
    with pytest.raises(DataError, match="no token that any part finds possible"):
        fit_weights(np.full((2, 5), -math.inf))
    with pytest.raises(DataError):
        fit_weights(np.zeros((2, 0)))


def test_buckets_have_weights_of_their_own_and_empty_ones_the_common() -> None:
    draws = np.random.default_rng(5)
    buckets = draws.choice([0, 1, 3], 30_000)
    parts = random_parts(2, 30_000, 6)
    parts[1, buckets == 1] -= 2  # there the first part is much better
    rows = fit_weights(parts, buckets, 5)
    common = fit_weights(parts)
    assert rows.shape == (5, 2)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    np.testing.assert_allclose(rows[[2, 4]], [common, common], atol=1e-6)
    assert rows[1, 0] > common[0] > rows[0, 0]
    for c in (0, 1, 3):
        own = fit_weights(parts[:, buckets == c])
        np.testing.assert_allclose(rows[c], own, atol=0.02)  # 100 tokens of 10,000 are the prior's
    gained = mixed(parts, rows, buckets).mean() - mixed(parts, common).mean()
    assert gained > 0.001
    assert fit_weights(parts, np.zeros(30_000, int)).tolist() == [common.tolist()]


def test_a_bucket_of_few_tokens_keeps_near_the_common_weights() -> None:
    parts = random_parts(2, 1000)
    parts[0, :3] = 0
    buckets = np.r_[np.ones(3, int), np.zeros(997, int)]
    rows, common = fit_weights(parts, buckets), fit_weights(parts)
    assert np.abs(rows[1] - common).max() < 0.05
    assert rows[1, 0] > common[0]


def test_log_probabilities_of_another_shape_are_refused() -> None:
    for parts, buckets in [
        (np.zeros(5), None),
        (np.zeros((2, 5, 1)), None),
        (np.zeros((2, 5)), np.zeros(4, int)),
    ]:
        with pytest.raises(ShapeError, match=r"\(K, N\)"):
            fit_weights(parts, buckets)


def test_a_validation_text_as_long_as_ptbs_is_fitted_in_seconds() -> None:
    parts = random_parts(6, 74_000)
    parts[1] = np.logaddexp(parts[0] + math.log(0.9), parts[2] + math.log(0.1))  # nearly the same
    steps = sum(1 for _, ahead in climb(np.exp(parts)) if ahead > 1e-6)
    assert steps < 1500


# What is refused


def test_parts_of_another_vocabulary_or_rule_are_refused() -> None:
    larger = Vocabulary([*WORDS.tokens, "more"])
    with pytest.raises(ConfigError, match=r"part 1 .*9 tokens.* another vocabulary than part 0"):
        mixture([ngram(1), ngram(1, larger)])
    swapped = Vocabulary(["cat", "<eos>", "the", *WORDS.tokens[3:]])
    with pytest.raises(ConfigError, match="another vocabulary"):
        mixture([ngram(1), ngram(1, swapped)])
    with pytest.raises(ConfigError, match="by rule characters"):
        mixture([ngram(1), ngram(1, rule="characters")])
    with pytest.raises(ConfigError, match="no parts"):
        mixture([])


@pytest.mark.parametrize(
    ("weights", "buckets", "error", "message"),
    [
        ([1.0], None, ShapeError, r"of 2 parts are \(2,\)"),
        ([[[0.5, 0.5]]], None, ShapeError, "parts are"),
        ([0.5, 0.6], None, ConfigError, "sum to one"),
        ([1.5, -0.5], None, ConfigError, "at least 0"),
        ([math.nan, 1.0], None, ConfigError, "sum to one"),
        ([math.inf, 1.0], None, ConfigError, "sum to one"),
        ([[0.5, 0.5]] * 2, None, ConfigError, "2 rows of weights need buckets"),
        ([[0.5, 0.5]] * 2, [0, 1], ShapeError, r"buckets are \(8,\)"),
        ([[0.5, 0.5]] * 2, [0, 1, 2, 0, 0, 0, 0, 0], ConfigError, "buckets are 0 to 1"),
        ([[0.5, 0.5]] * 2, [0, 1, -1, 0, 0, 0, 0, 0], ConfigError, "buckets are 0 to 1"),
    ],
)
def test_weights_and_buckets_that_do_not_fit_are_refused(
    weights: Any, buckets: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mixture([ngram(1), ngram(2)], weights, buckets)


def test_a_damaged_mixture_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "model"
    mixture([ngram(1), ngram(2)], [0.5, 0.5]).save_pretrained(place)
    facts = json.loads((place / "model.json").read_bytes())
    tensors = load_tensors(place / "weights.safetensors")
    words = (place / "vocabulary.json").read_bytes()

    def refusal(**changed: Any) -> str:
        weights = {name: t for name, t in {**tensors, **changed}.items() if t is not None}
        seal(
            place,
            {
                "model.json": json_bytes(facts),
                "vocabulary.json": words,
                "weights.safetensors": lambda sink: write_tensors(weights, sink),
            },
            FORMAT.name,
            NESTED,
        )
        with pytest.raises(CheckpointError) as caught:
            LanguageModel.from_pretrained(place)
        return str(caught.value)

    half = tensors["2/weights"]
    assert "weights and buckets" in refusal(**{"2/weights": None})
    assert "weights and buckets" in refusal(**{"2/more": half})
    assert "float64" in refusal(**{"2/weights": half.float()})
    assert "int64" in refusal(**{"2/buckets": tensors["2/buckets"].int()})
    assert "(C, K)" in refusal(**{"2/weights": half[0]})
    assert "sum to one" in refusal(**{"2/weights": half * 1.1})
    assert "(C, K)" in refusal(**{"2/weights": torch.ones(1, 3, dtype=torch.float64) / 3})
    assert "buckets are 0 to 0" in refusal(**{"2/buckets": tensors["2/buckets"] + 1})
    assert "(V,)" in refusal(**{"2/buckets": tensors["2/buckets"][:5]})


# What is not a number


class Sick(NgramModel):
    """N-grams that are NaN wherever the word before is `cat`."""

    def step(self, token, state):
        log_probs, state = super().step(token, state)
        before = torch.as_tensor(token).view(-1)
        sick = (before == WORDS.ids["cat"]).unsqueeze(1)
        odd = log_probs.view(len(before), -1).masked_fill(sick, math.nan)
        return odd.view(log_probs.shape), state

    def log_probs_of(self, ids):
        before = np.concatenate([[EOS], ids[:-1]])
        return np.where(before == WORDS.ids["cat"], math.nan, super().log_probs_of(ids))


def test_where_a_part_is_nan_the_others_share_its_weight() -> None:
    counts = KneserNey.fit(text(300, seed=3), 3, V, EOS)
    whole = [ngram(1), ngram(2), NgramModel(counts, WORDS, "split")]
    sick = mixture([*whole[:2], Sick(counts, WORDS, "split")], [0.5, 0.3, 0.2])
    rest = mixture(whole[:2], [0.625, 0.375])
    sound = mixture(whole, [0.5, 0.3, 0.2])
    ids = text(60, seed=9)
    before = np.concatenate([[EOS], ids[:-1]])
    expected = np.where(before == WORDS.ids["cat"], rest.log_probs_of(ids), sound.log_probs_of(ids))
    with pytest.warns(UserWarning, match="a mixture does without part 2 where that is not a num"):
        found = sick.log_probs_of(ids)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    state, stepped = sick.initial_state(), []
    with pytest.warns(UserWarning, match="without part 2"):
        for token, following in zip(before.tolist(), ids.tolist()):
            log_probs, state = sick.step(token, state)
            stepped.append(float(log_probs[following]))
    np.testing.assert_allclose(stepped, expected, rtol=1e-9)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_are_not_learned_from_what_is_no_log_probability(value: float) -> None:
    parts = random_parts(3, 40)
    parts[1, 5] = value
    for buckets in (None, np.zeros(40, np.int64)):
        with pytest.raises(DataError, match=f"part 1 gives token 6 a log-probability of {value:g}"):
            fit_weights(parts, buckets)
