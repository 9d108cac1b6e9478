"""`recurra bench`: the list, and the comparison of cells as text, JSON, file and picture."""

from __future__ import annotations

import json

import pytest

from recurra.bench import cells as module
from recurra.bench import trial
from recurra.bench.tasks import TASKS
from recurra.bench.tasks.adding import NEAR, Adding
from recurra.cli.learn import bench
from recurra.randomness import generator

QUICK = ("--minutes", "0.001", "--workers", "0", "--task", "adding", "--seeds", "1")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        Adding, "held_out", lambda self, split: [self.make(32, generator(0, split))]
    )
    monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(module, "LEAST_STEPS", 2)
    monkeypatch.setattr(trial, "VALIDATIONS", 1)


def test_alone_it_lists_what_there_is(recurra):
    answer = recurra("bench")
    assert answer.code == 0 and answer.out.startswith("cells  Compare cells at equal")
    (offered,) = recurra("bench", "--json").json["benches"]
    assert offered["name"] == "cells" and "five tasks" in offered["description"]


def test_help_names_the_tasks_the_default_cells_and_what_accuracy_is(recurra):
    words = " ".join(recurra("bench", "cells", "--help").out.split())
    assert f"Tasks: {', '.join(TASKS)}. Accuracy is the share that is right" in words
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
    assert lines[1].split()[:4] == ["accuracy", "loss", "rate", "params"]
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
    assert "that took 0:0" in answer.err and "; 6 trainings " in answer.err
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
        "cell", "task", "widths", "parameters", "learning_rate", "learning_rates", "seeds", "test",
        "deviation", "seconds_per_step", "tokens_per_second", "one_step_microseconds",
        "kept_bytes", "kernel",
    ]  # fmt: skip
    assert found["results"][0]["cell"] == "mycells:Mine"
    assert b"<svg" in (tmp_path / "seen/cells.svg").read_bytes()
    assert json.loads((tmp_path / "found/cells.json").read_bytes()) == found


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


def test_long_names_and_lost_trainings_stay_within_the_line():
    metrics = {"loss": 12.3456, "accuracy": 1.0}
    rows = [
        {
            "cell": "recurrent_highway", "task": "t", "test": test, "learning_rate": 0.003,
            "deviation": test and metrics, "parameters": 26_000, "widths": [128, 127],
            "seconds_per_step": 0.1234, "tokens_per_second": 123_456.0, "kernel": "loop " * 40,
            "one_step_microseconds": 1234.5, "kept_bytes": 123_456_789,
        }
        for test in (metrics, None)
    ]  # fmt: skip
    task = {
        "name": "t", "title": "t", "metric": "accuracy", "better": "higher", "steps": 1000,
        "right": "", "batch_size": 32, "length": 50, "baselines": {"linear": {"accuracy": 0.9}},
    }  # fmt: skip
    result = {
        "finished": True, "tasks": [task], "results": rows, "network": "2 layers", "seeds": 2,
        "optimizer": "Adam", "learning_rates": [1], "threads": 1, "verdict": ["a " * 80],
    }  # fmt: skip
    lines = list(bench.lines(result))
    assert max(map(len, lines)) <= 100
    assert "ran away" in lines[3] and lines[4].split() == ["linear", "90.0%", "-"]


def test_a_reader_that_is_gone_costs_no_result(recurra, tmp_path, monkeypatch):
    def gone(*_):
        raise BrokenPipeError

    monkeypatch.setattr(bench, "print_lines", gone)
    monkeypatch.setattr("recurra.cli._silence_stdout", lambda: None)
    assert recurra("bench", "cells", "rnn", *QUICK).code == 141
    assert json.loads((tmp_path / "bench/cells.json").read_bytes())["results"]
