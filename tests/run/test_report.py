"""The report: its keys, its verdict in words, its text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.run.config import LabelRun, LanguageRun, NgramRun, SeriesRun
from recurra.run.report import Judged, compose, figure, render, shown, table, verdict

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
        "extras": {"sample": "the company said\nit will"},
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
        "judged": {"metric": "perplexity", "better": "lower"},
        "verdict": "test perplexity 182.1 is 29% worse than kn5's 141.2",
        "sample": "the company said\nit will",
    }
    assert json.loads(json.dumps(report(), allow_nan=False)) == report()


def test_a_split_that_is_not_there_is_null():
    assert report(test=None)["test"] is None
    assert report(valid=None)["valid"] is None
    assert "sample" not in report(extras=None)


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


# Other tasks


def forecasts(mase: float | None, **changes) -> dict:
    entry = {"series": 414, "horizon": 48, "mase": mase, "smape": 9.5, "rmse": 1234.5678}
    return entry | {"crps": 0.0281, "coverage_95": 0.951} | changes


def series_report(**changes):
    given = {
        "test": forecasts(0.8421),
        "valid": forecasts(0.81),
        "baselines": {
            "seasonal_naive": forecasts(1.1932, smape=13.912, crps=0.0376),
            "naive": forecasts(None, coverage_95=None),
        },
        "judged": Judged("mase", "lower", "windows"),
        "extras": {
            "notes": ["running freely: RMSE 0.5", "Nothing else."],
            "pictures": ["curves.png", "forecast.png", "errors.png"],
        },
    }
    return report(SeriesRun(preset="m4-hourly"), **(given | changes))


def test_forecasts_are_judged_by_their_own_metric():
    found = series_report()
    assert found["judged"] == {"metric": "mase", "better": "lower"}
    assert found["throughput"]["unit"] == "windows/s"
    assert found["verdict"] == "test mase 0.842 is 29% better than seasonal_naive's 1.193"
    assert render(found).splitlines() == [
        "                test MASE    sMAPE      RMSE     CRPS  95% coverage",
        "m4-hourly           0.842    9.500   1,234.6   0.0281         0.951",
        "seasonal_naive      1.193   13.912   1,234.6   0.0376         0.951",
        "naive                   -    9.500   1,234.6   0.0281             -",
        "",
        "Test mase 0.842 is 29% better than seasonal_naive's 1.193.",
        "Running freely: RMSE 0.5.",
        "Nothing else.",
        "",
        "Trained 2,654 steps, 2 epochs, in 74.0 s (25,105 windows/s); "
        "the whole command took 93.5 s.",
        "",
        "model     runs/ptb-seed/model",
        "report    runs/ptb-seed/report.json",
        "curves    runs/ptb-seed/curves.png",
        "forecast  runs/ptb-seed/forecast.png",
        "errors    runs/ptb-seed/errors.png",
    ]


def test_the_squared_error_has_the_absolute_one_beside_it():
    rows = [("etth1", forecasts(0.9, mse=0.3514, mae=0.3901))]
    heading, row = table("series", "mse", "test", rows)
    assert heading.split()[:3] == ["test", "MSE", "MAE"]
    assert row.split()[:3] == ["etth1", "0.351", "0.390"]


@pytest.mark.parametrize(
    ("ours", "linear", "said"),
    [
        (0.987, 0.951, "test accuracy 0.987 is 3.6 points better than linear's 0.951"),
        (0.9, 0.951, "test accuracy 0.900 is 5.1 points worse than linear's 0.951"),
        (0.951, 0.951, "test accuracy 0.951 equals linear's 0.951"),
        (1.0, 0.3, "test accuracy 1.000 is 66.7 points better than majority's 0.333"),
    ],
)
def test_accuracies_are_compared_in_points_with_the_highest(ours, linear, said):
    baselines = {"majority": {"accuracy": 0.333}, "linear": {"accuracy": linear}}
    judged = {"metric": "accuracy", "better": "higher"}
    test = {"accuracy": ours, "log_loss": 0.1, "examples": 370}
    assert verdict({"test": test, "valid": None, "baselines": baselines, "judged": judged}) == said


def test_labels_read_well():
    test = {"examples": 1370, "accuracy": 0.987, "log_loss": 0.0512}
    lines = render(
        report(
            LabelRun(preset="vowels"),
            test=test,
            baselines={"linear": test | {"accuracy": 0.951, "log_loss": 0.2}},
            judged=Judged("accuracy", "higher", "examples"),
            extras=None,
        )
    ).splitlines()
    assert lines[:3] == [
        "        test accuracy  log loss  examples",
        "vowels          0.987    0.0512     1,370",
        "linear          0.951    0.2000     1,370",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (0.0014, 1e-12, "is 1.4e+09 times worse than ar's 1.00e-12"),
        (0.0014, 0.0, "is worse than ar's 0.000"),
        (0.0, 0.5, "is better than ar's 0.500"),
        (0.0, 0.0, "equals ar's 0.000"),
        (0.5, 0.5001, "equals ar's 0.500"),
        (None, 0.5, "test rmse could not be computed; ar's is 0.500"),
        (None, None, "test rmse could not be computed"),
    ],
)
def test_no_share_is_made_of_nothing_or_of_a_thousandfold(ours, theirs, said):
    judged = {"metric": "rmse", "better": "lower"}
    baselines = {"ar": {"rmse": theirs}}
    report = {"test": {"rmse": ours}, "valid": None, "baselines": baselines, "judged": judged}
    assert said in verdict(report)


def test_a_report_of_an_older_version_reads_too():
    old = report()
    del old["judged"]
    assert verdict(old) == old["verdict"]
    assert render(old) == render(report())


def test_no_throughput_reads_too():
    assert "in 0.0 s; the whole command" in render(report(train_seconds=0.0))


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("perplexity", None, "overflow"),
        ("nats_per_token", None, "overflow"),
        ("nats_per_token", 5.0, "5.0000"),
        ("mase", None, "-"),
        ("mase", 0.8424, "0.842"),
        ("smape", 13.9124, "13.912"),
        ("rmse", 123.456, "123.5"),
        ("rmse", 0.0014321, "0.00143"),
        ("rmse", 2.5e12, "2.50e+12"),
        ("accuracy", 1.0, "1.000"),
        ("accuracy", 0.05, "0.050"),
        ("coverage_95", 0.95, "0.950"),
        ("series", 414, "414"),
        ("tokens", 82_430, "82,430"),
    ],
)
def test_metrics_have_the_places_one_reads(metric, value, text):
    assert shown(metric, value) == text


def test_a_run_without_any_split_still_reads():
    assert "Neither" not in render(report(test=None, valid=None, baselines={}, extras=None))
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
