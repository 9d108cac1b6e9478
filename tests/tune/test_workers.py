"""Runs side by side in processes, none of which outlives the sweep."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recurra.run.presets import preset
from recurra.tune import workers as module
from recurra.tune.workers import GONE, Job, Workers

CELL = """
import os
from recurra.nn.cells.rnn import RNNCell

print("a cell may print")

class Mine(RNNCell):
    pass

class Dying(RNNCell):
    def forward(self, x, state):
        os._exit(3)

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


def test_what_fails_or_dies_ends_no_other_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CELL)
    (tmp_path / "random.py").write_text("raise RuntimeError('not this one')")
    names = ["mine:Dying", "mine:Mine", "mine:Failing", "rnn"]
    with Workers(2) as workers:
        told = last(workers.answers([job(tmp_path, name) for name in names]))
        processes = list(workers._processes.values())
    assert told == {
        "mine:Dying": GONE,
        "mine:Mine": {"finished": True},
        "mine:Failing": {"error": "unexpected KeyError: 'lost' (mine.py:16)"},
        "rnn": {"finished": True},
    }
    assert (tmp_path / "mine-Mine" / "report.json").exists()
    assert processes and all(process.poll() is not None for process in processes)


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


def test_what_does_not_stop_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    started = subprocess.Popen

    def sleeping(command, **how):
        return started(["sleep", "60"], **how)

    monkeypatch.setattr(module.subprocess, "Popen", sleeping)
    with Workers(1) as workers:
        assert list(workers.answers([job(tmp_path, "rnn")], lambda: True)) == []
        workers._start()
        (process,) = workers._processes.values()
    assert process.returncode is not None


BUSY = """
import os, time
from recurra.tune import worker

def busy(job, should_stop):
    os.write(2, b"busy\\n")
    time.sleep(60)
    yield {}

worker.answers = busy
worker.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_ends_with_who_started_it_whatever_it_does():
    import signal

    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stderr is not None
    print("{}", file=process.stdin, flush=True)
    assert process.stderr.readline() == "busy\n"
    process.send_signal(signal.SIGINT)  # Ctrl-C is for who started it
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.stdin.close()  # as the system does when a process is killed
    assert process.wait(timeout=30) == 0
    process.stderr.close()
