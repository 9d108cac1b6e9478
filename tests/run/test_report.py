"""The report: its keys, its verdict in words, its text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.run.config import LanguageRun, NgramRun
from recurra.run.report import compose, figure, render, verdict

VALID = {"tokens": 900, "oov": 0, "nats_per_token": 5.25, "perplexity": 190.6}
TEST = {"tokens": 1000, "oov": 12, "nats_per_token": 5.2045, "perplexity": 182.1}
KN5 = {"tokens": 1000, "oov": 12, "nats_per_token": 4.9502, "perplexity": 141.2}


def report(config=None, **changes):
    given = {
        "steps": 2654,
        "epochs": 2.0,
        "seconds": 93.4567,
        "train_seconds": 74.0,
        "items": 1_857_800,
        "valid": VALID,
        "test": TEST,
        "baselines": {"kn5": KN5},
        "sample": "the company said\nit will",
    }
    run = Path("runs/ptb-seed")
    return compose(config or LanguageRun(preset="ptb-seed", seed=3), run, **(given | changes))


def test_it_has_the_keys_that_programs_read():
    assert report() == {
        "run": "runs/ptb-seed",
        "preset": "ptb-seed",
        "task": "language",
        "seed": 3,
        "steps": 2654,
        "epochs": 2.0,
        "seconds": 93.457,
        "train_seconds": 74.0,
        "throughput": {"value": 25105.4, "unit": "tokens/s"},
        "valid": VALID,
        "test": TEST,
        "baselines": {"kn5": KN5},
        "verdict": "test perplexity 182.1 is 29% worse than kn5's 141.2",
        "sample": "the company said\nit will",
    }
    assert json.loads(json.dumps(report(), allow_nan=False)) == report()


def test_a_split_that_is_not_there_is_null():
    assert report(test=None)["test"] is None
    assert report(valid=None)["valid"] is None
    assert "sample" not in report(sample=None)


def test_no_time_is_no_throughput():
    assert report(train_seconds=0.0)["throughput"]["value"] is None


@pytest.mark.parametrize(
    ("ours", "baselines", "said"),
    [
        (100.0, {"kn5": 141.2}, "test perplexity 100.0 is 29% better than kn5's 141.2"),
        (140.0, {"kn5": 141.2}, "test perplexity 140.0 is 0.8% better than kn5's 141.2"),
        (141.2, {"kn5": 141.2}, "test perplexity 141.2 equals kn5's 141.2"),
        (99.0, {"kn5": 141.2, "kn5_cache": 90.0}, "99.00 is 10% worse than kn5_cache's 90.00"),
        (None, {"kn5": 141.2}, "test perplexity overflow is worse than kn5's 141.2"),
        (9.0, {"kn5": None}, "test perplexity 9.00; there is no baseline beside it"),
        (9.0, {}, "test perplexity 9.00; there is no baseline beside it"),
    ],
)
def test_the_verdict_compares_with_the_best_baseline(ours, baselines, said):
    rivals = {name: {"perplexity": value} for name, value in baselines.items()}
    assert said in verdict({"test": {"perplexity": ours}, "valid": None, "baselines": rivals})


def test_without_a_test_the_validation_is_judged():
    said = verdict({"test": None, "valid": {"perplexity": 50.0}, "baselines": {"kn5": KN5}})
    assert said == "validation perplexity 50.00 is 65% better than kn5's 141.2"
    said = verdict({"test": None, "valid": None, "baselines": {}})
    assert said == "there is neither a test nor a validation split to judge by"


def test_it_reads_well():
    assert render(report()).splitlines() == [
        "                test perplexity  nats per token",
        "ptb-seed                  182.1          5.2045",
        "kn5                       141.2          4.9502",
        "",
        "Test perplexity 182.1 is 29% worse than kn5's 141.2.",
        "",
        "Trained 2,654 steps, 2 epochs, in 74.0 s (25,105 tokens/s); "
        "the whole command took 93.5 s.",
        "12 of 1,000 test tokens became <unk>.",
        "",
        "A sample:",
        "  the company said",
        "  it will",
        "",
        "model   runs/ptb-seed/model",
        "report  runs/ptb-seed/report.json",
        "curves  runs/ptb-seed/curves.png",
    ]


def test_bits_are_shown_where_they_are_known():
    lines = render(report(test=TEST | {"bits_per_char": 1.2345})).splitlines()
    assert lines[0].endswith("bits per char") and lines[1].endswith("1.2345")


def test_n_grams_are_counted_not_trained():
    lines = render(report(NgramRun(preset="kn5"), steps=1, baselines={}))
    assert "Counted in 74.0 s" in lines and "curves" not in lines


def test_a_run_without_any_split_still_reads():
    assert "Neither" not in render(report(test=None, valid=None, baselines={}, sample=None))
    assert "There is neither" in render(report(test=None, valid=None, baselines={}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.1234, "7.12"),
        (99.99, "99.99"),
        (100.04, "100.0"),
        (10_000, "10,000.0"),
        (None, "overflow"),
        (float("inf"), "overflow"),
        (float("nan"), "overflow"),
    ],
)
def test_figures_have_the_places_one_reads(value, text):
    assert figure(value) == text
    assert figure(2.0, 4) == "2.0000"
