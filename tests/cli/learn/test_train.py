"""`recurra train` and `recurra evaluate`, on a text of which the truth is known."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recurra.cli.console import open_console
from recurra.language import mixing, task
from recurra.language.entry import LanguageRun
from recurra.learning.event import Stopped
from recurra.run.session import Opened

pytestmark = pytest.mark.usefixtures("knows_grammar")

SMALL = [
    "train",
    "words",
    "--data=grammar",
    "--out=run",
    "--set=network.hidden_size=16",
    "--set=data.chunk_length=20",
    "--set=train.optimizer=adam",
    "--set=train.learning_rate=0.02",
    "--epochs=0.5",
]
KEYS = [
    "run",
    "preset",
    "task",
    "seed",
    "steps",
    "epochs",
    "seconds",
    "train_seconds",
    "throughput",
    "valid",
    "test",
    "baselines",
    "verdict",
]


def test_a_run_from_start_to_evaluation(recurra, tmp_path):
    trained = recurra(*SMALL, "--seed=5", "--json")
    assert trained.code == 0
    report = trained.json
    assert list(report)[: len(KEYS)] == KEYS
    assert (report["run"], report["preset"], report["task"]) == ("run", "words", "language")
    assert (report["seed"], report["epochs"]) == (5, pytest.approx(0.5, abs=0.01))
    assert report["throughput"]["unit"] == "tokens/s" and report["throughput"]["value"] > 0
    assert 15 < report["test"]["perplexity"] < 60  # unigrams 43, the truth about 11
    assert 10 < report["baselines"]["kn5"]["perplexity"] < 13
    assert report["test"]["tokens"] == report["baselines"]["kn5"]["tokens"]
    assert "worse than kn5's" in report["verdict"]
    assert "tokens      60,0" in trained.err and "validation perplexity" in trained.err

    run = tmp_path / "run"
    for name in ("config.json", "metrics.jsonl", "checkpoints", "model", "report.json"):
        assert (run / name).exists()
    assert (run / "curves.png").stat().st_size > 10_000
    assert json.loads((run / "report.json").read_text()) == report

    again = recurra(*SMALL, "--seed=5", "--json")
    assert (again.code, again.json) == (0, report)
    assert "This run is finished; --restart would start it over." in again.err

    text = recurra(*SMALL, "--seed=5")
    assert text.err == ""
    assert report["verdict"][1:] in text.out and "curves  run/curves.png" in text.out

    evaluated = recurra("evaluate", "run", "--json").json
    assert evaluated == pytest.approx(report["test"], rel=1e-6)
    valid = recurra("evaluate", "run", "--split=valid", "--json").json
    assert valid == pytest.approx(report["valid"], rel=1e-6)
    alone = recurra("evaluate", "run", "--context=independent", "--json").json
    assert alone["tokens"] == evaluated["tokens"]
    assert alone["nats_per_token"] != evaluated["nats_per_token"]

    other = recurra(*SMALL, "--seed=6")
    assert other.code == 2
    assert "seed: 5 there, 6 asked" in other.err and other.err.count("\n") == 1
    anew = recurra(*SMALL, "--seed=6", "--restart", "--json").json
    assert anew["seed"] == 6 and anew["test"] != report["test"]


def test_a_text_of_one_s_own_is_evaluated(recurra, tmp_path):
    assert recurra("train", "kn3", "--data=grammar", "--out=run").code == 0
    (tmp_path / "mine.txt").write_text("these bakers glow\nthis xylophone sinks\n")
    metrics = recurra("evaluate", "run", "--data=mine.txt", "--json").json
    assert (metrics["tokens"], metrics["oov"]) == (8, 1)
    text = recurra("evaluate", "run", "--data=mine.txt").out
    assert text.splitlines()[0] == "run on mine.txt, test, document"
    assert "  oov                        1" in text


def test_n_grams_are_a_run_too(recurra, tmp_path):
    report = recurra("train", "kn3", "--data=grammar", "--json").json
    assert report["run"] == str(Path("runs", "kn3"))
    assert (report["task"], report["baselines"]) == ("ngram", {})
    assert 10 < report["test"]["perplexity"] < 13
    assert (tmp_path / "runs" / "kn3" / "model").is_dir()


def test_labels_are_trained_and_evaluated_on_other_data(recurra, tmp_path):
    few = ["--set=train.steps=80", "--set=train.learning_rate=0.1", "--set=data.folds=none"]
    trained = recurra("train", "iris", "--out=run", *few)
    assert trained.code == 0
    assert "training    80 steps, 1 an epoch" in trained.out
    lines = trained.out.splitlines()
    heading = next(line for line in lines if "test accuracy" in line and "log loss" in line)
    assert [row.split()[0] for row in lines[lines.index(heading) + 1 :][:3]] == [
        "iris",
        "majority",
        "linear",
    ]
    assert any(line.endswith("run/confusion.png") for line in lines)
    text = recurra("evaluate", "run").out
    assert text.splitlines()[0] == "run on its own data, test"
    metrics = recurra("evaluate", "run", "--json").json
    assert f"  accuracy        {metrics['accuracy']:12.3f}" in text
    (tmp_path / "mine.csv").write_text("5.1,3.5,1.4,0.2,setosa\n6.3,3.3,6.0,2.5,virginica\n")
    metrics = recurra("evaluate", "run", "--data=mine.csv", "--json").json
    assert (metrics["examples"], metrics["accuracy"]) == (2, 1.0)


def test_series_of_one_s_own_are_trained_and_evaluated(recurra, tmp_path):
    rows = [f"{name},{k},{k % 7 + len(name)}" for name in ("a", "bb") for k in range(100)]
    (tmp_path / "mine.csv").write_text("unique_id,ds,y\n" + "\n".join(rows))
    words = ["--set=data.horizon=7", "--set=data.season=7", "--set=train.steps=3"]
    report = recurra("train", "series", "--data=mine.csv", "--out=run", *words, "--json").json
    assert (report["preset"], report["task"], report["steps"]) == ("series", "series", 3)
    assert (report["test"]["series"], report["test"]["horizon"]) == (2, 7)
    assert report["baselines"]["seasonal_naive"]["mae"] == pytest.approx(0, abs=1e-9)
    assert {"naive", "drift", "ar", "theta", "ses"} <= set(report["baselines"])
    (tmp_path / "other.csv").write_text("y\n" + "\n".join(str(k % 7) for k in range(60)))
    metrics = recurra("evaluate", "run", "--data=other.csv", "--json").json
    assert (metrics["series"], metrics["horizon"]) == (1, 7)


def test_without_a_test_split_it_is_null(recurra, small_text):
    report = recurra("train", "kn2", "--data=small.txt", "--set=data.split=90/10", "--json").json
    assert report["test"] is None
    assert report["valid"]["perplexity"] < 4
    assert report["verdict"].startswith("validation perplexity")


@pytest.mark.parametrize("place", ["afile", "afile/below"])
def test_a_file_in_place_of_the_run_is_said_before_data_are_read(recurra, tmp_path, place):
    for name in ("afile", "empty.txt"):
        (tmp_path / name).write_text("")
    answer = recurra("train", "kn3", "--data=empty.txt", f"--out={place}")
    assert answer.code == 1
    assert "is a file, or lies under one" in answer.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(recurra, tmp_path, number):
    words = [*SMALL, "--epochs=40", "--restart"]
    process = subprocess.Popen(
        [sys.executable, "-m", "recurra", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:  # not before it trains
        if line.startswith("training"):
            break
    second = recurra(*SMALL, "--epochs=40")
    assert (second.code, second.err.count("\n")) == (1, 1)
    assert f"in use by process {process.pid}" in second.err
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.endswith("stopping after this step; once more stops at once\n")
    assert "all of it is saved. To go on:" in out
    resume = out.splitlines()[-1]
    assert resume.split()[0] == "recurra" and "--restart" not in resume
    assert list((tmp_path / "run" / "checkpoints").iterdir())

    stop = recurra(*SMALL, "--epochs=40.5")
    assert stop.code == 2 and "train.epochs: 40.0 there, 40.5 asked" in stop.err


def test_ended_while_mixing_the_same_command_goes_on_at_the_mixing(recurra, tmp_path, monkeypatch):
    words = [*SMALL, "--epochs=0.1", "--set=mix.cache=true", "--threads=1", "--json"]
    whole = recurra(*words, "--out=whole").json
    learn = mixing.learn_mixture

    def slow(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        return learn(*given)

    monkeypatch.setattr(task, "learn_mixture", slow)
    monkeypatch.setattr(sys, "argv", ["recurra", *words])
    stopped = recurra(*words)
    assert (stopped.code, stopped.out) == (143, "")
    last = stopped.err.splitlines()[-1]
    assert last == f"stopped; to go on: {shlex.join(['recurra', *words])}"
    assert not (tmp_path / "run" / "report.json").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    again = recurra(*words)
    assert again.code == 0 and f"going on after step {whole['steps']}" in again.err
    times = ("seconds", "train_seconds", "throughput", "run", "command")
    assert {k: v for k, v in again.json.items() if k not in times} == {
        k: v for k, v in whole.items() if k not in times
    }
    for path in (tmp_path / "whole" / "mixture").iterdir():
        assert (tmp_path / "run" / "mixture" / path.name).read_bytes() == path.read_bytes()


def test_how_to_go_on_is_one_line_in_a_narrow_terminal(capsys, monkeypatch):
    """Pasted, two lines were two commands."""
    monkeypatch.setenv("COLUMNS", "40")
    for width in (40, 200):
        console = open_console()
        console.width = width
        command = f"recurra train words --data {'novel ' * 40}--out run"
        console.print(f"Again: {command}\n\x1b]0;x\x07", markup=False)
        assert capsys.readouterr().out == f"Again: {command}\n\ufffd]0;x\ufffd\n"


def test_flags_become_settings(recurra, monkeypatch):
    seen = {}
    Path("runs/other").mkdir(parents=True)

    def train(config, **given):
        seen.update(given, config=config)
        yield Opened(config, Path("x"), {}, "perplexity", "tokens")
        yield Stopped(3)

    monkeypatch.setattr("recurra.run.session.train", train)
    monkeypatch.setattr(sys, "argv", ["recurra", "train", "it's", "--restart"])
    answer = recurra(
        "train", "words", "--data=grammar", "--minutes=2", "--epochs=3", "--seed=4",
        "--threads=1", "--device=cpu", "--from=runs/other", "--restart",
        "--set=network.tied=false", "--set=train.learning_rate=7",
    )  # fmt: skip
    config = seen["config"]
    assert isinstance(config, LanguageRun)
    assert (config.data.corpus, config.train.minutes, config.train.epochs) == ("grammar", 2, 3)
    assert (config.seed, config.threads, config.device) == (4, 1, "cpu")
    assert (config.network.tied, config.train.learning_rate) == (False, 7)
    assert (seen["out"], seen["restart"]) == (None, True)
    assert seen["start_from"] == Path("runs/other")
    assert "Stopped at step 3" in answer.out
    assert """recurra train 'it'"'"'s'""" in answer.out


def test_epochs_stand_in_place_of_a_presets_steps(recurra, monkeypatch):
    seen = []

    def train(config, **given):
        seen.append((config.train.epochs, config.train.steps))
        yield Stopped(3)

    monkeypatch.setattr("recurra.run.session.train", train)
    recurra("train", "sine", "--epochs=2")
    recurra("train", "sine", "--epochs=2", "--set=train.steps=7")
    assert seen == [(2, None), (2, 7)]


@pytest.mark.parametrize(
    "words",
    [
        ["words", "--data=grammar", "--set", "network.cell=gruu"],
        ["words", "--data=text.txt", "--set", "data.split=90/20"],
        ["words", "--data=nowhere.txt"],
    ],
)
def test_a_refused_training_leaves_no_directory(recurra, tmp_path, words):
    (tmp_path / "text.txt").write_text("a b c d\n" * 200)
    assert recurra("train", *words, "--out=runs/q").code in (2, 3)
    assert not (tmp_path / "runs").exists()
