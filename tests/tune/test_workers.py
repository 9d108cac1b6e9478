"""Runs side by side in processes, none of which outlives the sweep."""

from __future__ import annotations

import sys

from recurra.run.presets import preset
from recurra.tune import workers as module
from recurra.tune.workers import Job, Workers

CELL = """
from recurra.nn.cells.rnn import RNNCell

print("a cell may print")

class Mine(RNNCell):
    pass

class Failing(RNNCell):
    def forward(self, x, state):
        raise KeyError("lost")
"""


def job(tmp_path, cell, steps=4):
    config = preset("labels").model_dump(mode="json")
    config["network"] |= {"cell": cell, "hidden_size": 3, "members": 1}
    config["train"] |= {"steps": steps, "save_seconds": 0}
    config["threads"] = 1
    return Job(cell, config, str(tmp_path / cell.replace(":", "-")))


def last(answers):
    """The last that is told of each run."""
    return {job.name: answer for job, answer in answers}


def test_what_fails_ends_no_other_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CELL)
    (tmp_path / "random.py").write_text("raise RuntimeError('not this one')")
    names = ["mine:Failing", "mine:Mine"]
    with Workers(1) as workers:
        told = last(workers.answers([job(tmp_path, name) for name in names]))
    assert told == {
        "mine:Mine": {"finished": True},
        "mine:Failing": {"error": "unexpected KeyError: 'lost' (mine.py:11)"},
    }
    assert (tmp_path / "mine-Mine" / "report.json").exists()


def test_asked_to_stop_it_saves_what_is_under_way_and_begins_no_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen, told = [], {}
    with Workers(1) as workers:
        jobs = [job(tmp_path, name, steps=100_000) for name in ("rnn", "gru")]
        for one, answer in workers.answers(jobs, lambda: bool(seen)):
            told[one.name] = answer
            if "step" in answer:
                seen.append(answer)
    assert [*told] == ["rnn"] and told["rnn"]["stopped"] >= seen[0]["step"]
    assert list((tmp_path / "rnn" / "checkpoints").glob("step-*"))


def test_what_does_not_stop_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(sys, "executable", "/bin/cat")  # it says what it was told, and no more
    with Workers(1) as workers:
        assert list(workers.answers([job(tmp_path, "rnn")], lambda: True)) == []
        workers._pool.begin({})
