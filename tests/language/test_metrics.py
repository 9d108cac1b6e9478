from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.language.metrics import TextMetrics, format_perplexity


def test_numbers():
    metrics = TextMetrics(tokens=100, oov=3, nats_per_token=math.log(8), characters=600)
    assert metrics.perplexity == pytest.approx(8)
    assert metrics.bits_per_char == pytest.approx(0.5)
    assert metrics.as_dict() == {
        "tokens": 100,
        "oov": 3,
        "nats_per_token": pytest.approx(2.0794415),
        "perplexity": pytest.approx(8),
        "bits_per_char": pytest.approx(0.5),
    }


@pytest.mark.parametrize("characters", [None, 0])
def test_unknown_characters_are_left_out(characters):
    metrics = TextMetrics(10, 0, 1.0, characters)
    assert metrics.bits_per_char is None
    assert list(metrics.as_dict()) == ["tokens", "oov", "nats_per_token", "perplexity"]


def test_overflow_is_null_beside_the_nats():
    metrics = TextMetrics(10, 0, 710.0)
    assert metrics.perplexity == math.inf
    assert metrics.as_dict()["perplexity"] is None
    assert metrics.as_dict()["nats_per_token"] == 710.0


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
