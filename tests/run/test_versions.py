"""What an earlier version wrote, in `tests/golden/written`: it loads, and goes on where it stopped.

The numbers are those that version gave, with one thread.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recurra as rc
from recurra.run.tasks import load_model

RUNS = Path(__file__).parents[1] / "golden" / "written"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs, as the current folder, beside the text that they learned from."""
    shutil.copytree(RUNS, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("run", "log_prob"),
    [
        ("words", -8.333172082901001),
        ("words/mixture", -7.570264843406872),
        ("kn2", -7.570287597648386),
    ],
)
def test_language_models_score_as_before(runs: Path, run: str, log_prob: float) -> None:
    (scored,) = rc.LanguageModel.from_pretrained(run).score(["the cat sat"])
    assert scored.log_prob == pytest.approx(log_prob, rel=1e-6)


def test_a_forecaster_forecasts_as_before(runs: Path) -> None:
    told = [row["yhat"] for row in rc.Forecaster.from_pretrained("airline").predict(3)]
    before = [420.9968384245196, 395.5546199889494, 432.9431124688587]
    assert told == pytest.approx(before, rel=1e-5)


def test_a_classifier_classifies_as_before(runs: Path) -> None:
    flowers = [np.array([[5.1, 3.5, 1.4, 0.2]]), np.array([[6.7, 3.0, 5.2, 2.3]])]
    told = rc.Classifier.from_pretrained("iris").predict_proba(flowers)
    before = [[0.59202784, 0.20092955, 0.20704261], [0.12309699, 0.40064691, 0.47625610]]
    assert told == pytest.approx(np.array(before), rel=1e-5)


@pytest.mark.parametrize("run", ["words", "kn2", "airline", "iris"])
def test_a_finished_run_is_measured_as_it_was(runs: Path, run: str) -> None:
    kept: dict[str, Any] = json.loads((runs / run / "report.json").read_text())
    assert rc.evaluate(run) == pytest.approx(kept["test"], rel=1e-5)
    config = rc.preset(kept["preset"]).__class__.model_validate_json(
        (runs / run / "config.json").read_text()
    )
    (reported,) = rc.train(config, out=run)
    assert reported.report == kept


def test_a_run_that_was_stopped_goes_on(runs: Path) -> None:
    config = rc.preset("words").__class__.model_validate_json(
        (runs / "stopped" / "config.json").read_text()
    )
    *events, reported = rc.train(config, out="stopped")
    assert events[1].step == 20
    assert reported.report["valid"]["perplexity"] == pytest.approx(9.68075402650533, rel=1e-4)


def test_every_kind_of_model_says_what_it_can_do(runs: Path) -> None:
    assert load_model("words", "suggest").kind == "network"
    with pytest.raises(rc.errors.CheckpointError, match=r"iris holds a classifier, which cannot "):
        load_model("iris", "forecast")
    with pytest.raises(rc.errors.CheckpointError, match="it can backtest, forecast, step"):
        load_model("airline", "score")
