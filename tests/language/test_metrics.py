from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.language.metrics import TextMetrics, format_perplexity
from recurra.language.text.dataset import SplitFacts


def test_numbers():
    metrics = TextMetrics(tokens=100, oov=3, nats_per_token=math.log(8), characters=600)
    assert metrics.perplexity == pytest.approx(8)
    assert metrics.bits_per_char == pytest.approx(0.5)
    assert metrics.as_dict() == {
        "tokens": 100,
        "oov": 3,
        "oov_rate": 0.03,
        "nats_per_token": pytest.approx(2.0794415),
        "perplexity": pytest.approx(8),
        "bits_per_char": pytest.approx(0.5),
    }


@pytest.mark.parametrize("characters", [None, 0])
def test_unknown_characters_are_left_out(characters):
    metrics = TextMetrics(10, 0, 1.0, characters)
    assert metrics.bits_per_char is None
    assert list(metrics.as_dict()) == ["tokens", "oov", "oov_rate", "nats_per_token", "perplexity"]


def test_overflow_is_null_beside_the_nats():
    metrics = TextMetrics(10, 0, 710.0)
    assert metrics.perplexity == math.inf
    assert metrics.as_dict()["perplexity"] is None
    assert metrics.as_dict()["nats_per_token"] == 710.0


def test_words_that_are_left_out_are_spelled():
    kept = TextMetrics(tokens=100, oov=0, nats_per_token=6.0, characters=600)
    left_out = TextMetrics(100, 20, nats_per_token=5.0, characters=600, spelling_nats=150.0)
    assert left_out.perplexity < kept.perplexity
    assert left_out.bits_per_char == pytest.approx((100 * 5 + 150) / 600 / math.log(2))
    assert left_out.bits_per_char > kept.bits_per_char


def facts(tokens, **others):
    return SplitFacts(
        **{"tokens": tokens, "oov": 0, "characters": 5 * tokens, "replaced": 0} | others
    )


def correlated(size, seed=0, carry=0.9):
    """Log-probabilities whose neighbours depend on each other: x_t = carry x_{t-1} + noise."""
    noise = np.random.default_rng(seed).normal(size=size + 500)
    values = np.zeros(size + 500)
    for t in range(1, size + 500):
        values[t] = carry * values[t - 1] + noise[t]
    return values[500:] - 10.0


class TestOf:
    def test_counts_are_taken_over(self):
        metrics = TextMetrics.of(np.full(10, -2.0), facts(10, oov=4, spelling_nats=30.0))
        assert (metrics.tokens, metrics.oov, metrics.oov_rate) == (10, 4, 0.4)
        assert metrics.nats_per_token == 2.0
        assert metrics.bits_per_char == pytest.approx(50 / 50 / math.log(2))
        assert metrics.interval == pytest.approx((2.0, 2.0))

    def test_against_a_plain_bootstrap(self):
        log_probs = correlated(1_000)
        found = TextMetrics.of(log_probs, facts(1_000)).interval
        random, L = np.random.default_rng(1), 31
        means = []
        for _ in range(3_000):
            starts = random.integers(1_000, size=33)  # 32.3 blocks are a text; 33 are drawn
            means.append(np.mean([-log_probs[(start + np.arange(L)) % 1_000] for start in starts]))
        width = np.quantile(means, 0.975) - np.quantile(means, 0.025)
        assert found[1] - found[0] == pytest.approx(width, rel=0.08)
        assert found[0] == pytest.approx(np.quantile(means, 0.025), abs=0.05 * width)

    def test_of_independent_tokens_it_is_the_normal_one(self):
        log_probs = -np.random.default_rng(2).gamma(2.0, 2.0, 40_000)
        low, high = TextMetrics.of(log_probs, facts(40_000)).interval
        error = 1.96 * log_probs.std() / math.sqrt(40_000)
        assert (high - low) / 2 == pytest.approx(error, rel=0.15)
        assert (low + high) / 2 == pytest.approx(-log_probs.mean(), abs=0.2 * error)

    def test_it_covers_the_truth_though_neighbours_depend(self):
        within = naive = 0
        for seed in range(60):
            log_probs = correlated(4_000, seed)
            low, high = TextMetrics.of(log_probs, facts(4_000)).interval
            within += low <= 10.0 <= high
            error = 1.96 * log_probs.std() / math.sqrt(4_000)
            naive += abs(log_probs.mean() + 10.0) <= error
        assert within >= 0.85 * 60 > 0.6 * 60 > naive  # tokens drawn one by one claim too much

    def test_is_a_function_of_the_seed(self):
        log_probs = correlated(500)
        first, again = (TextMetrics.of(log_probs, facts(500)) for _ in range(2))
        assert first == again
        assert TextMetrics.of(log_probs, facts(500), seed=2).interval != first.interval

    def test_as_dict(self):
        entry = TextMetrics.of(correlated(500), facts(500)).as_dict()
        names = ["tokens", "oov", "oov_rate", "nats_per_token", "perplexity"]
        assert list(entry) == [*names, "perplexity_low", "perplexity_high", "bits_per_char"]
        assert entry["perplexity_low"] < entry["perplexity"] < entry["perplexity_high"]

    @pytest.mark.parametrize("values", [[], [-1.0], [-1.0, -math.inf, -1.0], [math.nan, -1.0]])
    def test_where_nothing_can_be_told_it_is_null(self, values):
        entry = TextMetrics.of(np.array(values), facts(len(values))).as_dict()
        assert entry["perplexity_low"] is entry["perplexity_high"] is None
        json.dumps(entry, allow_nan=False)

    @given(st.lists(st.floats(-50, 0), min_size=2, max_size=60))
    def test_it_holds_between_the_extremes(self, values):
        low, high = TextMetrics.of(np.array(values), facts(len(values))).interval
        assert -max(values) - 1e-9 <= low <= high <= -min(values) + 1e-9

    def test_overflow_of_a_bound(self):
        values = np.repeat([-700.0, -718.0], 50)
        entry = TextMetrics.of(values, facts(100)).as_dict()
        assert entry["perplexity_low"] < entry["perplexity"] == pytest.approx(math.exp(709))
        assert entry["perplexity_high"] is None

    def test_is_quick(self):
        log_probs = correlated(82_430)
        TextMetrics.of(log_probs, facts(82_430))
        begun = time.process_time()
        TextMetrics.of(log_probs, facts(82_430))
        assert time.process_time() - begun < 0.3


@pytest.mark.parametrize("nats", [math.inf, math.nan])
def test_what_is_not_finite_is_null(nats):
    entry = TextMetrics(0, 0, nats, 5).as_dict()
    assert entry["nats_per_token"] is entry["perplexity"] is entry["bits_per_char"] is None
    json.dumps(entry, allow_nan=False)


@pytest.mark.parametrize(
    ("nats", "text"),
    [
        (0.0, "1.0"),
        (math.log(141.23), "141.2"),
        (math.log(999_999), "999999.0"),
        (math.log(2.5e6), "2.50e+6"),
        (1000.0, "1.97e+434"),
        (1e6, "3.03e+434294"),
        (math.log(9.9999e9), "9.99e+9"),
        (math.inf, "infinite"),
        (math.nan, "not a number"),
    ],
)
def test_text(nats, text):
    assert format_perplexity(nats) == text


@given(st.floats(0, 700))
def test_text_is_the_number(nats):
    assert float(format_perplexity(nats)) == pytest.approx(math.exp(nats), rel=0.05)
