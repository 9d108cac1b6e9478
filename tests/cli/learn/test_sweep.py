"""`recurra sweep`, `train --seeds` and `train --parameters`, as one uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recurra.learning.config import settings
from recurra.run.directory import RunDirectory

SMALL = (
    "--data=iris", "--set=data.valid_fraction=.2", "--set=network.hidden_size=3",
    "--set=network.members=1", "--set=train.steps=8", "--set=train.save_seconds=0",
)  # fmt: skip
SWEEP = ("sweep", "labels", *SMALL, "--set=network.cell=rnn,gru", "--seeds=2", "--out=s")


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key != "seconds"}
    return [timeless(each) for each in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("in_this_process")
def test_what_was_understood_the_runs_and_a_table(recurra, tmp_path):
    answer = recurra(*SWEEP)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("2 settings, 2 seeds: 4 runs on ")
    assert lines[1:3] == ["network.cell  rnn, gru", "seeds         1, 2"]
    assert sum(line.startswith(f"{n}/4 cell=") for n, line in enumerate(lines, -2)) <= 4
    assert [line.split()[0] for line in lines if "/4 cell=" in line] == ["1/4", "2/4", "3/4", "4/4"]
    assert "mean and deviation of 2 seeds; * is the best by validation" in answer.out
    assert "Best by validation: cell=" in answer.out
    assert answer.out.rstrip().endswith("picture s/results.png")

    told = recurra(*SWEEP, "--json")  # finished: nothing is done again
    assert "4 runs on " in told.err and "4 finished already" in told.err
    assert told.json == json.loads((tmp_path / "s" / "results.json").read_text())
    assert [row["settings"]["network.cell"] for row in told.json["rows"]] == ["rnn", "gru"]
    measured = recurra("evaluate", "s/cell=rnn,seed=1", "--json").json
    assert measured["accuracy"] == told.json["rows"][0]["runs"][0]["test"]

    compared = recurra("compare", *sorted(str(path) for path in Path("s").iterdir()), "--json").json
    assert compared == recurra("compare", "s", "--json").json
    names = [row["name"] for row in compared["systems"] if " seeds" in row["name"]]
    assert {name.partition(", 2 seeds")[0] for name in names} == {"cell=rnn", "cell=gru"}

    other = recurra(*SWEEP, "--set=train.batch_size=7")
    assert other.code == 2 and "train.batch_size: 32 there, 7 asked" in other.err


@pytest.mark.usefixtures("in_this_process")
def test_failures_are_told_below_the_table_and_all_of_them_end_in_1(recurra, tmp_path):
    cell = "from recurra.nn.cells.rnn import RNNCell\nclass Lost(RNNCell):\n"
    cell += "    def forward(self, x, state):\n        raise KeyError('lost')\n"
    (tmp_path / "cli_sweeps_own.py").write_text(cell)
    answer = recurra("sweep", "labels", *SMALL, "--set=network.cell=rnn,cli_sweeps_own:Lost",
                     "--out=s")  # fmt: skip
    assert answer.code == 0
    lost = "unexpected KeyError: 'lost' (cli_sweeps_own.py:4)"
    assert f"failed: s/cell=cli_sweeps_own-Lost,seed=1: {lost}" in answer.out
    answer = recurra("sweep", "labels", *SMALL, "--set=network.cell=cli_sweeps_own:Lost", "--out=t")
    assert answer.code == 1
    assert answer.err.endswith(f"every run of t failed: {lost}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "network.cell=gru,ltsm"], "Did you mean 'lstm'"),
        (["--set", "train.learning_rate=0,.1"], "learning_rate is '0', but must be"),
        (["--parameters", "many"], "expected a number of parameters, as 500k or 1.2M"),
        (["--seeds", "0"], "--seeds"),
        (["--workers", "0"], "--workers"),
        (["--hidden-size", "3"], "give --set network.hidden_size=3"),
    ],
)
def test_what_is_wrong_is_said_at_once_and_leaves_nothing(recurra, tmp_path, words, said):
    answer = recurra("sweep", "labels", "--data=iris", *words)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("in_this_process")
def test_train_of_several_seeds_is_a_table_of_one_setting(recurra, tmp_path):
    answer = recurra("train", "labels", *SMALL, "--seeds=2", "--seed=5", "--json")
    assert answer.code == 0, answer.err
    (row,) = answer.json["rows"]
    assert [run["seed"] for run in row["runs"]] == [5, 6]
    assert row["valid"]["mean"] == sum(run["valid"] for run in row["runs"]) / 2
    assert sorted(path.name for path in (tmp_path / "runs/labels-seeds").glob("seed=*")) == [
        "seed=5", "seed=6"
    ]  # fmt: skip
    single = recurra("train", "labels", *SMALL, "--seed=5", "--threads=1", "--out=one", "--json")
    assert single.json["valid"]["accuracy"] == row["runs"][0]["valid"]


def test_train_of_so_many_parameters_finds_the_width_and_keeps_it(recurra):
    words = [word for word in SMALL if "hidden" not in word]
    trained = recurra("train", "labels", *words, "--parameters=2k", "--out=run", "--json")
    assert trained.code == 0, trained.err
    width = settings(RunDirectory("run").config())["network.hidden_size"]
    said = trained.err.splitlines()[0]
    assert said.startswith(f"hidden_size {width}, ")
    count = int(said.split()[2].replace(",", ""))
    assert abs(count - 2000) < 150 and f"parameters  {count:,} on cpu" in trained.err
    again = recurra("train", "labels", *words, "--parameters", "2_000", "--out=run", "--json")
    assert (again.code, again.json) == (0, trained.json)  # the same width, so the same run
    refused = recurra("train", "labels", *SMALL, "--parameters=2k", "--out=run2")
    assert refused.code == 2 and "--parameters finds network.hidden_size" in refused.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("in_this_process")
def test_killed_and_continued_it_ends_with_the_same_table_to_the_bit(recurra, tmp_path):
    killed = tmp_path / "killed"
    killed.mkdir()
    with (killed / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "recurra", *SWEEP, "--workers=1"],
            cwd=killed, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    steps = killed / "s" / "cell=gru,seed=1" / "checkpoints"  # the second
    until = time.monotonic() + 300
    while not list(steps.glob("step-*")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "s" / "cell=gru,seed=2" / "report.json").exists()

    os.chdir(killed)
    continued = recurra(*SWEEP, "--json")
    assert "finished already" in continued.err
    os.chdir(tmp_path)
    whole = recurra(*SWEEP, "--json")
    assert timeless(continued.json) == timeless(whole.json)
