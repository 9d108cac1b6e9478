"""A sweep's table: means and deviations of seeds, and the choice by validation."""

from __future__ import annotations

import csv
import io
import math
import statistics

import pytest

from recurra.tune.grid import Request, grid
from recurra.tune.result import as_csv, compose, tell

CELLS = grid(Request("labels", assignments=["network.cell=gru,lstm"], seeds=3))
ONE = grid(Request("labels", seeds=3))


def report(valid, test, metric="accuracy", better="higher", seconds=1.0, **others):
    told = {
        "valid": None if valid is None else {metric: valid},
        "test": None if test is None else {metric: test},
        "baselines": {"linear": {metric: 0.9}, "majority": {metric: 0.3}},
        "judged": {"metric": metric, "better": better},
        "steps": 40,
        "train_seconds": seconds,
    }
    return told | others


GRU = {
    f"cell=gru,seed={n}": report(v, t) for n, v, t in ((1, 0.8, 0.5), (2, 0.9, 0.6), (3, 0.7, 0.7))
}
LSTM = {f"cell=lstm,seed={n}": report(0.7, 0.95) for n in (1, 2, 3)}


def test_a_row_joins_the_seeds_of_a_setting():
    gru, lstm = compose(CELLS, "out", GRU | LSTM, {})["rows"]
    assert gru["settings"] == {"network.cell": "gru"}
    assert gru["valid"]["mean"] == pytest.approx(0.8)
    assert gru["valid"]["deviation"] == pytest.approx(statistics.stdev([0.8, 0.9, 0.7]))
    assert gru["test"]["mean"] == pytest.approx(0.6)
    assert lstm["test"] == {"mean": pytest.approx(0.95), "deviation": pytest.approx(0.0)}
    assert [run["run"] for run in gru["runs"]] == [f"out/cell=gru,seed={n}" for n in (1, 2, 3)]
    assert (gru["steps"], gru["seconds"]) == (40, 1.0)
    assert gru["parameters"] == CELLS.settings[0].counted.parameters


def test_the_choice_is_by_validation_and_never_by_the_test():
    result = compose(CELLS, "out", GRU | LSTM, {})
    assert [row["best"] for row in result["rows"]] == [True, False]  # though the test says lstm
    assert result["verdict"] == (
        "best by validation: cell=gru; test accuracy 0.600 is 30.0 points worse than linear's 0.900"
    )
    lower = {
        name: report(-told["valid"]["accuracy"], 1.0, "log_loss", "lower")
        for name, told in (GRU | LSTM).items()
    }
    assert compose(CELLS, "out", lower, {})["rows"][0]["best"]


def test_a_best_rate_at_the_edge_of_what_was_tried_is_said_for_each_cell():
    rates = grid(Request("labels", assignments=[
        "network.cell=gru,lstm,rnn", "train.learning_rate=0.1,1,0.01"]))  # fmt: skip
    valid = {"gru": (0.7, 0.9, 0.8), "lstm": (0.9, 0.8, 0.7), "rnn": (0.8, 0.8, 0.9)}
    told = {
        name: report(valid[each.network.cell][(0.1, 1, 0.01).index(each.train.learning_rate)], 0.5)
        for name, each in rates.configs.items()
    }
    assert compose(rates, "out", told, {})["notes"] == [
        "the best rate of gru is the highest that was tried, 1",
        "the best rate of rnn is the lowest that was tried, 0.01",
    ]
    last = [*told][-1]
    some = {name: each for name, each in told.items() if name != last}
    assert len(compose(rates, "out", some, {})["notes"]) == 1  # rnn is not finished
    assert len(compose(rates, "out", some, {last: "ran away"})["notes"]) == 1  # 0.8 is within
    alone = grid(Request("labels", assignments=["train.learning_rate=0.1,1"]))
    told = dict(zip(alone.configs, (report(0.5, 0.5), report(0.6, 0.5))))
    said = ["the best rate is the highest that was tried, 1"]
    assert compose(alone, "out", told, {})["notes"] == said
    assert compose(CELLS, "out", GRU | LSTM, {})["notes"] == []


def test_a_setting_of_which_a_seed_failed_is_not_chosen():
    reports = {name: told for name, told in (GRU | LSTM).items() if name != "cell=gru,seed=2"}
    result = compose(CELLS, "out", reports, {"cell=gru,seed=2": "ran away"})
    assert result["finished"] and [row["best"] for row in result["rows"]] == [False, True]
    run = result["rows"][0]["runs"][1]
    assert (run["state"], run["reason"]) == ("failed", "ran away")
    assert "0.750 ± 0.071 (2)" in "\n".join(tell(result))


def test_what_is_not_finished_is_said():
    result = compose(CELLS, "out", GRU, {})
    assert not result["finished"]
    assert {run["state"] for run in result["rows"][1]["runs"]} == {"unfinished"}
    nothing = compose(CELLS, "out", {}, {})
    assert nothing["judged"] is None and list(tell(nothing)) == []
    assert nothing["verdict"].startswith("no setting is finished")


def test_without_validation_nothing_is_chosen():
    tests = {name: report(None, 0.5) for name in CELLS.configs}
    result = compose(CELLS, "out", tests, {})
    assert not any(row["best"] for row in result["rows"])
    assert result["verdict"].startswith("there is no validation split, so no setting is chosen")


def test_the_table_fits_and_is_read():
    lines = list(tell(compose(CELLS, "out", GRU | LSTM, {}), 100))
    assert lines[0].split() == [
        "cell", "validation", "test", "parameters", "state", "seconds", "steps"
    ]  # fmt: skip
    assert lines[1].split()[:4] == ["gru", "0.800", "±", "0.10"] and " * " in lines[1]
    assert [line.split()[0] for line in lines[1:]] == ["gru", "lstm", "linear", "majority"]
    for width in (60, 80, 100):
        assert all(len(line) <= width for line in tell(compose(CELLS, "out", GRU, {}), width))
    assert next(iter(tell(compose(ONE, "out", {"seed=1": report(0.5, 0.5)}, {})))).split()[0] != ""


def test_seeds_alone_are_a_row_named_by_the_preset():
    done = {f"seed={n}": report(0.7 + n / 10, 0.6) for n in (1, 2)} | {"seed=3": report(0.8, 0.6)}
    result = compose(ONE, "out", done, {})
    assert list(tell(result))[1].split()[0] == "labels"
    assert result["verdict"] == "test accuracy 0.600 is 30.0 points worse than linear's 0.900"


def test_a_figure_that_overflowed_is_said_and_not_chosen():
    text = grid(Request("words", data="grammar", assignments=["network.cell=gru,lstm"]))
    told = {
        "cell=gru,seed=1": report(50.0, 60.0, "perplexity", "lower")
        | {"valid": {"perplexity": None}},
        "cell=lstm,seed=1": report(50.0, 60.0, "perplexity", "lower"),
    }
    result = compose(text, "out", told, {})
    assert [row["best"] for row in result["rows"]] == [False, True]
    assert list(tell(result))[1].split()[:2] == ["gru", "overflow"]


def test_perplexities_of_several_vocabularies_are_not_compared():
    text = grid(Request("words", data="grammar", assignments=["data.vocabulary_size=50,60"]))
    told = {
        name: report(p, p, "perplexity", "lower")
        | {split: {"perplexity": p, "bits_per_char": b} for split in ("valid", "test")}
        for name, p, b in zip(text.configs, (20.0, 30.0), (1.5, 1.4))
    }  # fmt: skip
    result = compose(text, "out", told, {})
    assert result["judged"]["metric"] == "bits_per_char"
    assert [row["best"] for row in result["rows"]] == [False, True]


def test_baselines_that_differ_between_runs_stand_in_no_table():
    reports = GRU | LSTM
    reports["cell=lstm,seed=3"] = report(0.7, 0.9, baselines={"linear": {"accuracy": 0.1}})
    assert compose(CELLS, "out", reports, {})["baselines"] == {}


def test_the_csv_has_a_row_a_setting():
    rows = list(csv.DictReader(io.StringIO(as_csv(compose(CELLS, "out", GRU | LSTM, {})))))
    assert [row["network.cell"] for row in rows] == ["gru", "lstm"]
    assert [row["best"] for row in rows] == ["1", "0"]
    assert math.isclose(float(rows[0]["valid_mean"]), 0.8)
    assert (rows[0]["seeds"], rows[0]["failed"], rows[0]["metric"]) == ("3", "0", "accuracy")


def test_seconds_are_the_middle_seed_s():
    slow = {**GRU, "cell=gru,seed=1": report(0.8, 0.5, seconds=60.0)}  # it compiled
    assert compose(CELLS, "out", slow, {})["rows"][0]["seconds"] == 1.0
