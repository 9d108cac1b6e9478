"""What a worker tells of a run."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict

from recurra.run.presets import preset
from recurra.storage.locks import lock
from recurra.tune.worker import answers
from recurra.tune.workers import Job


def job(tmp_path, **changes):
    config = preset("labels").model_dump(mode="json")
    config["network"] |= {"cell": "rnn", "hidden_size": 3, "members": 1}
    config["train"] |= {"steps": 6, "save_seconds": 0, **changes}
    return asdict(Job("a", config, str(tmp_path / "a")))


def test_a_run_from_its_begin_to_its_end(tmp_path):
    told = list(answers(job(tmp_path), lambda: False))
    kinds = [next(iter(answer)) for answer in told]
    assert kinds[-1] == "finished" and {"begun", "step"} <= {*kinds}
    assert told[kinds.index("step")] == {"step": 1, "steps": 6}
    again = list(answers(job(tmp_path), lambda: False))
    assert again == [{"finished": True}]


def test_a_run_that_is_stopped_goes_on(tmp_path):
    assert list(answers(job(tmp_path), lambda: True))[-1] == {"stopped": 1}
    assert list(answers(job(tmp_path), lambda: False))[-1] == {"finished": True}


def test_what_goes_wrong_is_told_in_words(tmp_path):
    assert list(answers(job(tmp_path), lambda: False))[-1] == {"finished": True}
    (told,) = answers(job(tmp_path, batch_size=7), lambda: False)
    assert "holds another run (train.batch_size: 32 there, 7 asked)" in told["error"]
    broken = job(tmp_path, learning_rate=-1.0)
    (told,) = answers(broken, lambda: False)
    assert told["error"].startswith("train.learning_rate is -1.0, but must be")


def test_a_run_that_a_killed_worker_still_holds_is_waited_for(tmp_path):
    (tmp_path / "a").mkdir()
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock(tmp_path / "a" / ".lock"):
            held.set()
            time.sleep(0.5)
            done.set()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    assert list(answers(job(tmp_path), lambda: False))[-1] == {"finished": True}
    assert done.is_set()
    holder.join()


def test_what_another_run_drew_changes_nothing(tmp_path):
    import torch

    from recurra.run.directory import RunDirectory

    found = []
    for n in (1, 2):
        torch.randn(n)
        one = job(tmp_path)
        list(answers(one | {"out": str(tmp_path / str(n))}, lambda: False))
        found.append(RunDirectory(tmp_path / str(n)).metrics.records())
    assert found[0] == found[1]
