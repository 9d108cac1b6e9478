"""`recurra bench`: the list, and the comparison of cells as text, JSON, file and picture."""

from __future__ import annotations

import json

import pytest

from recurra.bench import budget, trial
from recurra.bench import cells as module
from recurra.bench.tasks import COMPARED
from recurra.bench.tasks.adding import NEAR, Adding
from recurra.cli.learn import bench, benched
from recurra.randomness import generator

QUICK = ("--minutes", "0.001", "--workers", "0", "--task", "adding", "--seeds", "1")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        Adding, "held_out", lambda self, split: [self.make(32, generator(0, split))]
    )
    monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(budget, "LEAST_STEPS", 2)
    monkeypatch.setattr(trial, "VALIDATIONS", 1)


def test_alone_it_lists_what_there_is(recurra):
    answer = recurra("bench")
    assert answer.code == 0 and answer.out.startswith("cells  Compare cells at equal")
    offered, other = recurra("bench", "--json").json["benches"]
    assert offered["name"] == "cells" and "five tasks" in offered["description"]
    assert other["name"] == "gates" and "each gate of an LSTM" in other["description"]


def test_help_names_the_tasks_the_default_cells_and_what_accuracy_is(recurra):
    words = " ".join(recurra("bench", "cells", "--help").out.split())
    assert f"Tasks: {', '.join(COMPARED)}. Accuracy is the share that is right" in words
    assert f"sums less than {NEAR} off (adding)" in words
    assert f"Cells where none is named: {', '.join(module.DEFAULT_CELLS)}." in words


def test_unknown_names_are_answered_with_the_nearest(recurra, tmp_path):
    answer = recurra("bench", "cels")
    assert answer.code == 2 and "Did you mean 'cells'" in answer.err
    answer = recurra("bench", "cells", "ltsm")
    assert answer.code == 2 and "Did you mean 'lstm'" in answer.err
    answer = recurra("bench", "cells", "--task", "coping")
    assert answer.code == 2 and "Did you mean 'copying'" in answer.err
    answer = recurra("bench", "cells", "--seeds", "0")
    assert answer.code == 2 and answer.err.startswith("recurra: --seeds is 0, but must be ")
    answer = recurra("bench", "cells", "--plot", "cells.pdf")
    assert answer.code == 2 and ".png or .svg" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_as_text_with_a_file_and_a_picture(recurra, tmp_path):
    answer = recurra("bench", "cells", "lstm", "rnn", *QUICK)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "adding problem: the two marked of 50 numbers; 2 steps of 32 x 50"
    assert lines[1].split()[:4] == ["accuracy", "rate", "params", "state"]
    assert {line.split()[0] for line in lines[2:4]} == {"lstm", "rnn"}
    assert lines[4].split() == ["always", "1", "7.8%", "0.1667"]
    assert any(line.startswith("lstm  ") and "whole sequences" in line for line in lines)
    assert any(
        line.startswith("adding problem: ") and "too short to tell" in line for line in lines
    )
    assert lines[-1] == "bench/cells.json, bench/cells.png"
    assert max(map(len, lines)) <= 100
    assert (tmp_path / "bench/cells.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "bench/cells.json").read_bytes())
    assert [row["cell"] for row in kept["results"]] == ["lstm", "rnn"]
    assert answer.err.splitlines()[0] == "sizing and timing each cell on each task"
    assert "that took 0:" in answer.err and "; 6 trainings and more " in answer.err
    assert "accuracy: the share of sums less than 0.04 off (adding problem)." in lines


def test_as_json_with_the_picture_elsewhere(recurra, tmp_path):
    (tmp_path / "mycells.py").write_text(
        "from recurra.nn.cells.rnn import RNNCell\n\nclass Mine(RNNCell):\n    pass\n"
    )
    words = ("--json", "--out", "found", "--plot", "seen/cells.svg", "--seed", "0")
    answer = recurra("bench", "cells", "mycells:Mine", *QUICK, *words)
    found = answer.json
    assert found["bench"] == "cells" and found["seed"] == 0 and found["finished"] is True
    assert list(found["results"][0]) == [
        "cell", "task", "widths", "parameters", "state_numbers", "learning_rate",
        "learning_rates", "edge", "as_good", "steps", "seeds", "test", "deviation",
        "train_seconds", "seconds_per_step", "tokens_per_second", "one_step_microseconds",
        "kept_bytes", "kernel",
    ]  # fmt: skip
    assert found["results"][0]["cell"] == "mycells:Mine"
    assert b"<svg" in (tmp_path / "seen/cells.svg").read_bytes()
    assert json.loads((tmp_path / "found/cells.json").read_bytes()) == found


def test_what_is_given_is_what_is_compared(recurra, tmp_path):
    (tmp_path / "benchcells.py").write_text(
        "from recurra.nn.cells.rnn import RNNCell\n\n"
        "def make(input_size, hidden_size, bias=1.0):\n"
        "    cell = RNNCell(input_size, hidden_size)\n"
        "    cell.bias_hh.data.fill_(bias)\n"
        "    return cell\n"
    )
    words = ("--steps", "1", "--rates", ".01,.03", "--parameters", "12k", "--length", "9")
    given = ("--tasks", "adding", "--seeds", "1", "--workers", "0", "--json")
    answer = recurra("bench", "cells", "benchcells:make(bias=2.0),rnn", *words, *given)
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["cells"] == ["benchcells:make(bias=2.0)", "rnn"]
    assert (found["steps"], found["budget"], found["length"]) == (1, None, 9)
    assert found["parameters"] == 12_000 and found["learning_rates"] == [0.01, 0.03]
    for row in found["results"]:
        assert row["parameters"] == pytest.approx(12_000, rel=0.02) and row["steps"] == 1
        assert {"0.01", "0.03"} < set(row["learning_rates"])
    mine, plain = (row["test"] for row in found["results"])
    assert mine != plain
    assert found["tasks"][0]["length"] == 9
    for wrong, said in [
        (("--rates", "fast"), "--rates is 'fast', but must be a number"),
        (("--parameters", "many"), "--parameters is 'many', but must be a whole number"),
        (("--steps", "1", "--minutes", "1"), "the minutes choose the steps, give one"),
        (("--tasks", "coping"), "Did you mean 'copying'"),
        (("--length", "1", "--steps", "1", "--tasks", "adding"), "adding has at least 2 steps"),
        (("mlstm(num_heads)",), "options are written name(option=value), as mlstm(num_heads=4)"),
        (("mlstm(heads=4)", "--steps", "1"), "takes no option 'heads'. Did you mean 'num_heads'?"),
    ]:
        answer = recurra("bench", "cells", *(("rnn",) if wrong[0][0] == "-" else ()), *wrong)
        assert answer.code == 2 and said in answer.err, answer.err


def test_an_interrupt_ends_it_with_what_is_finished(recurra, tmp_path, monkeypatch):
    import os
    import signal

    show = bench._Progress.show

    def then_interrupt(self, event):
        show(self, event)
        if getattr(event, "done", 0) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(bench._Progress, "show", then_interrupt)
    answer = recurra("bench", "cells", "lstm", "rnn", *QUICK)
    assert answer.code == 130
    assert answer.out.startswith("Not finished; what is complete:\nadding problem")
    kept = json.loads((tmp_path / "bench/cells.json").read_bytes())
    assert [row["cell"] for row in kept["results"]] == ["lstm"] and not kept["finished"]


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_long_names_and_lost_trainings_stay_within_the_line(columns, monkeypatch):
    metrics = {"loss": 12.3456, "accuracy": 1.0}
    rows = [
        {
            "cell": "recurrent_highway", "task": "t", "test": test, "learning_rate": 0.003,
            "deviation": test and metrics, "parameters": 26_000, "widths": [128, 127],
            "seconds_per_step": 0.1234, "tokens_per_second": 123_456.0, "kernel": "loop " * 40,
            "one_step_microseconds": 1234.5, "kept_bytes": 123_456_789, "state_numbers": 11_552,
            "train_seconds": test and 12.3, "edge": "the limit", "as_good": [0.001, 0.01],
            "steps": 1000,
        }
        for test in (metrics, None)
    ]  # fmt: skip
    task = {
        "name": "t", "title": "t", "equal_seconds": 12.3, "metric": "accuracy",
        "better": "higher", "steps": 1000, "right": "", "batch_size": 32, "length": 50,
        "baselines": {"linear": {"accuracy": 0.9}},
    }  # fmt: skip
    result = {
        "finished": True, "tasks": [task], "results": rows, "network": "2 layers", "seeds": 2,
        "optimizer": "Adam", "learning_rates": [1], "threads": 1, "verdict": ["a " * 80],
        "cells": ["recurrent_highway", "rnn"], "equal_seconds": rows, "out_of_time": False,
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = list(benched.lines(result))
    assert max(map(len, lines)) <= min(columns, 113)
    loss = ["-"] * (columns > 80)  # the first columns alone fit in less
    assert "ran away" in lines[3] and lines[4].split() == ["linear", "90.0%", *loss]
    text = " ".join(" ".join(lines).split())
    assert "edge of the rates that were tried: recurrent_highway at 0.003, the limit" in text
    assert "as good at another rate: recurrent_highway 0.001 and 0.01" in text
    assert columns < 100 or any(
        line.split()[-4:] == ["0.003", "12.3", "1,000", "12.3456"] for line in lines
    )
    late = list(benched.lines({**result, "finished": False, "out_of_time": True}))
    assert late[0] == "Time ran out; what is complete:" and late[1:] == lines
    assert "t at equal seconds, about 12.3 for a training" in lines


def test_a_reader_that_is_gone_costs_no_result(recurra, tmp_path, monkeypatch):
    def gone(*_):
        raise BrokenPipeError

    monkeypatch.setattr(bench, "print_lines", gone)
    monkeypatch.setattr("recurra.cli._silence_stdout", lambda: None)
    assert recurra("bench", "cells", "rnn", *QUICK).code == 141
    assert json.loads((tmp_path / "bench/cells.json").read_bytes())["results"]
