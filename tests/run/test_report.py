"""The report: its keys, its verdict in words, its text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.labels.entry import LabelRun
from recurra.language.entry import LanguageRun, NgramRun
from recurra.learning.event import Finished
from recurra.run.asked import Asked
from recurra.run.presets import preset
from recurra.run.report import Judged, compose, render, verdict

VALID = {"tokens": 900, "oov": 0, "nats_per_token": 5.25, "perplexity": 190.6}
TEST = {"tokens": 1000, "oov": 12, "nats_per_token": 5.2045, "perplexity": 182.1}
KN5 = {"tokens": 1000, "oov": 12, "nats_per_token": 4.9502, "perplexity": 141.2}


def report(config=None, **changes):
    given = {
        "finished": Finished(2654, 2.0, seconds=74.0, items=1_857_800),
        "seconds": 93.4567,
        "valid": VALID,
        "test": TEST,
        "baselines": {"kn5": KN5},
        "extras": {"sample": "the company said\nit will"},
    }
    seed = preset("ptb-seed").model_copy(update={"seed": 3})
    return compose(Asked(config or seed, Path("runs/mine")), **(given | changes))


def test_it_has_the_keys_that_programs_read():
    assert report() == {
        "run": "runs/mine",
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
        "command": "recurra train ptb-seed --out=runs/mine --seed=3",
        "sample": "the company said\nit will",
    }
    assert json.loads(json.dumps(report(), allow_nan=False)) == report()


def test_a_split_that_is_not_there_is_null():
    assert report(test=None)["test"] is None
    assert report(valid=None)["valid"] is None
    assert "sample" not in report(extras=None)


def test_no_time_is_no_throughput():
    assert (
        report(finished=Finished(2654, 2.0, seconds=0.0, items=1_857_800))["throughput"]["value"]
        is None
    )


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
        "          test perplexity  nats per token",
        "ptb-seed            182.1          5.2045",
        "kn5                 141.2          4.9502",
        "",
        "Test perplexity 182.1 is 29% worse than kn5's 141.2.",
        "",
        "12 of 1,000 test tokens became <unk> (1.2%).",
        "Trained 2,654 steps, 2 epochs, in 74.0 s (25,105 tokens/s); "
        "the whole command took 93.5 s.",
        "Again: recurra train ptb-seed --out=runs/mine --seed=3",
        "",
        "A sample:",
        "  the company said",
        "  it will",
        "",
        "model   runs/mine/model",
        "report  runs/mine/report.json",
        "curves  runs/mine/curves.png",
    ]


def test_bits_are_shown_where_they_are_known():
    lines = render(report(test=TEST | {"bits_per_char": 1.2345})).splitlines()
    assert lines[0].endswith("bits per char") and lines[1].endswith("1.2345")


def test_n_grams_are_counted_not_trained():
    lines = render(report(NgramRun(preset="kn5"), baselines={}))
    assert "Counted in 74.0 s" in lines and "curves" not in lines


def test_the_interval_stands_beside_the_perplexity():
    test = TEST | {"perplexity_low": 175.25, "perplexity_high": 189.9}
    heading, ours, rival = render(report(test=test)).splitlines()[:3]
    assert heading.split() == ["test", "perplexity", "95%", "interval", "nats", "per", "token"]
    assert ours.split() == ["ptb-seed", "182.1", "175.2", "-", "189.9", "5.2045"]
    assert rival.split() == ["kn5", "141.2", "-", "4.9502"]
    unknown = TEST | {"perplexity_low": None, "perplexity_high": None}
    assert "interval" not in render(report(test=unknown))


@pytest.mark.parametrize(
    ("oov", "said"),
    [
        (0, "1,000 test tokens, none outside the vocabulary."),
        (200, "200 of 1,000 test tokens became <unk> (20.0%)."),
        (
            201,
            "201 of 1,000 test tokens became <unk> (20.1%). So many say that the perplexity means "
            "little: look at the bits per character.",
        ),
    ],
)
def test_what_was_scored_is_said(oov, said):
    text = render(report(test=TEST | {"oov": oov}))
    assert said in " ".join(text.split())


MIXTURE = {
    "valid": VALID | {"perplexity": 88.0},
    "test": TEST | {"perplexity": 84.0, "nats_per_token": 4.4308},
    "parts": {
        "network": {
            "weight": 0.55,
            "valid_perplexity": 190.6,
            "test_perplexity": 182.1,
            "without": 120.5,
        },
        "kn5": {"weight": 0.45, "valid_perplexity": 150, "test_perplexity": 141.2, "without": None},
    },
}


def test_a_mixture_is_judged_and_its_parts_are_told():
    found = report(extras={"mixture": MIXTURE})
    assert found["verdict"] == (
        "test perplexity 182.1 is 29% worse than kn5's 141.2; mixed with others it is 84.00, "
        "which is 54% better than alone"
    )
    lines = render(found).splitlines()
    assert lines[1:4] == [
        "ptb-seed            182.1          5.2045",
        "mixture             84.00          4.4308",
        "kn5                 141.2          4.9502",
    ]
    start = lines.index("part     weight  alone  mixture without it")
    assert lines[start + 1 : start + 4] == [
        "network   0.550  182.1      120.5 (+43.5%)",
        "kn5       0.450  141.2                   -",
        "",
    ]


def test_a_mixture_without_a_test_is_judged_on_validation():
    lone = MIXTURE | {"test": None}
    found = report(test=None, extras={"mixture": lone})
    assert found["verdict"].endswith(
        "mixed with others it is 88.00, which is 54% better than alone"
    )
    assert "network   0.550  190.6" in render(found)
    unknown = MIXTURE | {"test": TEST | {"perplexity": None}}
    assert "mixed" not in report(extras={"mixture": unknown})["verdict"]
    render(report(extras={"mixture": unknown}))
    lost = report(test=TEST | {"perplexity": None}, baselines={}, extras={"mixture": MIXTURE})
    assert lost["verdict"].endswith("mixed with others it is 84.00")


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
    return report(preset("m4-hourly"), **(given | changes))


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
        "Again: recurra train m4-hourly --out=runs/mine",
        "",
        "model     runs/mine/model",
        "report    runs/mine/report.json",
        "curves    runs/mine/curves.png",
        "forecast  runs/mine/forecast.png",
        "errors    runs/mine/errors.png",
    ]


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
        (0.0014, 1e-12, "is worse than ar's 1.00e-12, 1.40e+09 times as high"),
        (8.554, 1.0, "is worse than ar's 1.000, 8.6 times as high"),
        (1.99, 1.0, "is 99% worse than ar's 1.000"),
        (0.0014, 1.0, "is better than ar's 1.000, which is 714 times as high"),
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
    assert "in 0.0 s; the whole command" in render(
        report(finished=Finished(2654, 2.0, seconds=0.0, items=1_857_800))
    )


def test_a_run_without_any_split_still_reads():
    assert "Neither" not in render(report(test=None, valid=None, baselines={}, extras=None))
    assert "There is neither" in render(report(test=None, valid=None, baselines={}))


def test_without_a_command_nothing_is_said_of_doing_it_again():
    assert "Again" in render(report())
    assert "Again" not in render(report(LanguageRun(preset="mine")))


def test_what_was_left_out_is_named_with_its_reason():
    left = {"network_dynamic": "would take 300 s, 45 s were left", "kn5": "failed with X: y"}
    text = render(report() | {"left_out": left})
    assert "left out: network_dynamic (would take 300 s, 45 s were left)\n" in text
    assert "left out: kn5 (failed with X: y)\n" in text
    assert "left out" not in render(report())
