"""`recurra compare`: several runs and their baselines in one table."""

from __future__ import annotations

import pytest

from recurra.run.config import LabelRun, LanguageRun, RunConfig, SeriesRun, with_data
from recurra.run.directory import RunDirectory
from recurra.run.report import Judged, compose

NAIVE = {"mase": 1.2, "crps": 0.04}


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A function that leaves a finished run of these metrics."""
    monkeypatch.chdir(tmp_path)

    def leave(name: str, config: RunConfig, judged: Judged, **results) -> None:
        directory = RunDirectory(name)
        directory.path.mkdir()
        directory.write_config(config)
        given = {"valid": None, "test": None, "baselines": {}, **results}
        report = compose(
            config, directory.path, steps=1, epochs=1.0, seconds=1.0, train_seconds=1.0, items=1,
            judged=judged, **given,
        )  # fmt: skip
        directory.write_report(report)

    return leave


MASE = Judged("mase", "lower", "windows")
SERIES = SeriesRun(preset="mine")


def test_the_best_is_first_and_a_baseline_stands_there_once(recurra, finished):
    finished("wide", SERIES, MASE, test={"mase": 0.9, "crps": 0.03}, baselines={"naive": NAIVE})
    finished("deep", SERIES, MASE, test={"mase": 0.8, "crps": 0.02}, baselines={"naive": NAIVE})
    finished("lost", SERIES, MASE, test={"mase": None}, baselines={"naive": NAIVE})
    answer = recurra("compare", "wide", "deep", "lost", "wide/")
    assert answer.err == ""
    assert answer.out.splitlines() == [
        "       test MASE     CRPS",
        "deep       0.800   0.0200",
        "wide       0.900   0.0300",
        "naive      1.200   0.0400",
        "lost           -        -",
    ]
    found = recurra("compare", "wide", "deep", "--json").json
    assert found["judged"] == {"metric": "mase", "better": "lower"}
    assert [row["name"] for row in found["systems"]] == ["deep", "wide", "naive"]
    assert [row["run"] for row in found["systems"]] == ["deep", "wide", None]
    assert found["systems"][0] | {"split": "test"} == found["systems"][0]
    assert found["systems"][2]["metrics"] == NAIVE


def test_the_highest_accuracy_is_the_best(recurra, finished):
    judged = Judged("accuracy", "higher", "examples")
    for name, accuracy in (("a", 0.9), ("b", 0.97)):
        finished(name, LabelRun(preset="mine"), judged, test={"accuracy": accuracy})
    lines = recurra("compare", "a", "b").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["b", "a"]


def test_baselines_of_different_data_are_told_apart(recurra, finished):
    finished("a", SERIES, MASE, test={"mase": 0.9}, baselines={"naive": {"mase": 1.0}})
    other = with_data(SERIES, "sunspots")
    finished("b", other, MASE, valid={"mase": 0.7}, baselines={"naive": {"mase": 2.0}})
    answer = recurra("compare", "a", "b")
    assert answer.err == "these runs learned from different data: airline, sunspots\n"
    names = [line.rpartition(")")[0] + ")" for line in answer.out.splitlines()[1:]]
    assert names == ["b (validation)", "a (test)", "naive of a (test)", "naive of b (validation)"]


def test_different_metrics_do_not_compare(recurra, finished):
    finished("a", SERIES, MASE, test={"mase": 0.9})
    finished("b", LanguageRun(preset="mine"), Judged(), test={"perplexity": 90.0})
    answer = recurra("compare", "a", "b")
    assert (answer.code, answer.out) == (2, "")
    assert "judged by different metrics: a by mase, b by perplexity" in answer.err


def test_an_unfinished_run_is_named(recurra, finished, tmp_path):
    finished("a", SERIES, MASE, test={"mase": 0.9})
    (tmp_path / "b").mkdir()
    answer = recurra("compare", "a", "b")
    assert answer.code == 1
    assert "b has no report.json: it is not a run, or not finished" in answer.err
