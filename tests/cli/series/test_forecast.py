"""`recurra forecast` and `recurra backtest`, on a run of the airline passengers."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from recurra.learning.options import TrainOptions
from recurra.run.session import train
from recurra.series.entry import SeriesRun
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.use.backtest import backtest
from recurra.series.use.forecaster import Forecaster


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("airline")
    config = SeriesRun(
        preset="tiny",
        threads=1,
        data=SeriesOptions(dataset="airline"),
        network=ForecastOptions(hidden_size=4, calendar=True),
        train=TrainOptions(steps=3, batch_size=8, optimizer="adam", learning_rate=0.01),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURRA_CACHE", str(folder / "cache"))
        list(train(config, out=folder / "run"))
    return folder / "run"


def test_a_forecast_is_csv_on_stdout(recurra, run):
    answer = recurra("forecast", run)
    assert (answer.code, answer.err) == (0, "")
    rows = list(csv.DictReader(answer.out.splitlines()))
    assert list(rows[0]) == ["unique_id", "ds", "yhat", "lo-80", "hi-80", "lo-95", "hi-95"]
    assert [row["ds"] for row in rows] == [str(date(1961, month, 1)) for month in range(1, 13)]
    expected = Forecaster.from_pretrained(run).predict()
    assert [float(row["yhat"]) for row in rows] == expected.median[0].tolist()
    for row in rows:
        bounds = [float(row[name]) for name in ("lo-95", "lo-80", "yhat", "hi-80", "hi-95")]
        assert bounds == sorted(bounds)


def test_a_forecast_is_json_too(recurra, run):
    answer = recurra("forecast", run, "--horizon=3", "--levels=50", "--json")
    rows = answer.json["forecasts"]
    assert len(rows) == 3
    assert list(rows[0]) == ["unique_id", "ds", "yhat", "lo-50", "hi-50"]
    expected = Forecaster.from_pretrained(run).predict(3)
    assert [row["yhat"] for row in rows] == expected.median[0].tolist()


def test_csv_in_csv_out(recurra, run, tmp_path):
    lines = [f"{name},2020-{month:02}-01,{100 + month}" for name in "ab" for month in range(1, 13)]
    (tmp_path / "in.csv").write_text("unique_id,ds,y\n" + "\n".join(lines))
    answer = recurra("forecast", run, "--data=in.csv", "--out=out.csv", "--plot=fan.png")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "24 steps of 2 series are in out.csv\n"
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["unique_id"] for row in rows] == ["a"] * 12 + ["b"] * 12
    assert rows[0]["ds"] == "2021-01-01"
    assert [row["yhat"] for row in rows[:12]] == [row["yhat"] for row in rows[12:]]
    assert (tmp_path / "fan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--levels=80,100"], 2, "give a level between 0 and 100"),
        (["--levels=0.8"], 2, "a level of 0.8 is in percent: did you mean 80?"),
        (["--levels=80,0.95"], 2, "a level of 0.95 is in percent: did you mean 95?"),
        (["--data=empty.csv"], 3, "empty.csv"),
        (["--out=nowhere/out.csv"], 1, "nowhere is not there; make it, or give another with --out"),
    ],
)
def test_what_cannot_be_forecast_is_one_line(recurra, run, tmp_path, words, code, said):
    (tmp_path / "empty.csv").write_text("")
    answer = recurra("forecast", run, *words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    assert said in answer.err


def test_a_backtest_is_that_of_the_library_with_a_verdict(recurra, run):
    found = recurra("backtest", run, "--windows=2", "--step=6", "--json").json
    options = SeriesOptions(dataset="airline")
    expected = backtest(Forecaster.from_pretrained(run), options, windows=2, step=6).as_dict()
    assert found["ours"] == pytest.approx(expected["ours"])
    assert found["baselines"].keys() == expected["baselines"].keys() >= {"seasonal_naive"}
    assert [fold["steps_before_end"] for fold in found["folds"]] == [18, 12]
    assert (found["run"], found["refit"]) == (str(run), False)
    assert found["verdict"].startswith(f"over 2 windows, mase {found['ours']['mase']:.3f} is ")


def test_a_backtest_reads_well(recurra, run):
    lines = recurra("backtest", run, "--windows=2").out.splitlines()
    assert lines[0].split()[:2] == ["MASE", "sMAPE"]
    assert lines[1].split()[0] == "run"
    heading = lines.index("mase by origin, in steps from the end")
    assert lines[heading + 1].split() == ["-24", "-12"]
    whole, *folds = float(lines[1].split()[1]), *map(float, lines[heading + 2].split()[1:])
    assert np.mean(folds) == pytest.approx(whole, abs=2e-3)
    assert any(line.startswith("Over 2 windows, mase") for line in lines)
    assert "--refit trains anew" in lines[-1]


def test_refitting_trains_at_each_origin_on_what_was_before_it(recurra, run, tmp_path):
    answer = recurra("backtest", run, "--windows=2", "--refit", "--json")
    assert answer.err.splitlines() == [
        "training on 120 observations",
        "training on 132 observations",
    ]
    assert answer.json["refit"] is True
    assert answer.json["ours"] != recurra("backtest", run, "--windows=2", "--json").json["ours"]
    assert not list(tmp_path.glob("*.safetensors"))


def test_other_series_are_backtested(recurra, run, tmp_path):
    lines = [f"{2000 + k // 12}-{k % 12 + 1:02}-01,{k % 12}" for k in range(90)]
    (tmp_path / "in.csv").write_text("ds,y\n" + "\n".join(lines))
    found = recurra("backtest", run, "--data=in.csv", "--windows=1", "--json").json
    assert found["baselines"]["seasonal_naive"]["mae"] == pytest.approx(0, abs=1e-9)


def test_series_without_dates_are_nothing_to_what_saw_the_calendar(recurra, run, tmp_path):
    (tmp_path / "in.csv").write_text("y\n" + "\n".join(str(k % 12) for k in range(90)))
    for command in ("forecast", "backtest"):
        answer = recurra(command, run, "--data=in.csv")
        assert (answer.code, answer.err.count("\n")) == (3, 1)
        assert "has no dates" in answer.err


def test_data_that_have_no_name_are_asked_for(recurra, run, tmp_path):
    forecaster = Forecaster.from_pretrained(run)
    forecaster.data = forecaster.data.model_copy(update={"dataset": "(given)"})
    forecaster.save_pretrained(tmp_path / "model")
    answer = recurra("backtest", ".")
    assert answer.code == 2 and "give --data FILE" in answer.err
    assert recurra("forecast", ".").out == recurra("forecast", run).out


def test_too_many_windows_are_bad_data(recurra, run):
    answer = recurra("backtest", run, "--windows=99")
    assert answer.code == 3 and "give fewer windows" in answer.err


def test_one_place_takes_one_result_and_no_input(recurra, run, tmp_path):
    for option in ("--plot", "--data"):
        place = tmp_path / "same.png"
        place.write_text("unique_id,ds,yhat\n" if option == "--data" else "")
        before = place.read_text()
        done = recurra("forecast", run, "--out", place, option, place)
        assert done.code == 2 and f"--out and {option} are both" in done.err
        assert place.read_text() == before


def test_a_table_that_only_begins_as_a_forecast_is_not_replaced(recurra, run, tmp_path):
    place = tmp_path / "notes.csv"
    place.write_text("unique_id,ds,yhat,my notes\n")
    done = recurra("forecast", run, "--out", place)
    assert done.code == 2 and "none that Recurra wrote" in done.err


def test_out_knows_the_home_that_a_shell_leaves_after_an_equals_sign(
    recurra, run, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in "ab":  # and a forecast of ours is replaced
        assert recurra("forecast", run, "--out=~/ahead.csv").code == 0
    assert (tmp_path / "ahead.csv").is_file() and not Path("~").exists()
    assert recurra("forecast", run, "--out=~nobody-of-this-name/a.csv").code == 2
