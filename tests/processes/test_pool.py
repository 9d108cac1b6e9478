"""Jobs handed to processes: what they say, that they die alone, that none is left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recurra.processes.pool import GONE, Pool


@pytest.fixture(autouse=True)
def found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")


def job(name, do="nothing"):
    return {"name": name, "do": do}


def heard(pool):
    """All that is said until no job is left, by process."""
    told = {}
    while pool.busy:
        number, said = pool.answer() or (None, None)
        if number is not None:
            told.setdefault(number, []).append(said)
    return told


def test_jobs_are_answered_and_their_processes_used_again():
    with Pool("toy_worker", 2) as pool:
        assert pool.begin(job("a")) == 0 and pool.free
        assert pool.begin(job("b", "threads")) == 1 and not pool.free
        found = {"threads": "1", "path": False}
        assert heard(pool) == {0: [{"begun": "a"}, None], 1: [{"begun": "b"}, found, None]}
        assert pool.begin(job("c")) == 0
        assert heard(pool) == {0: [{"begun": "c"}, None]}
        processes = list(pool._processes.values())
    assert len(processes) == 2 and all(each.poll() is not None for each in processes)


def test_one_that_dies_says_so_once_and_another_takes_its_place():
    with Pool("toy_worker", 2) as pool:
        assert [pool.begin(job("a", "die")), pool.begin(job("b"))] == [0, 1]
        assert heard(pool) == {0: [{"begun": "a"}, GONE, None], 1: [{"begun": "b"}, None]}
        assert [pool.begin(job("c")), pool.begin(job("d"))] == [1, 2]
        assert heard(pool).keys() == {1, 2}


def test_one_that_died_idle_is_not_used():
    with Pool("toy_worker", 1) as pool:
        pool.begin(job("a"))
        heard(pool)
        pool._processes[0].kill()
        while pool._processes:
            assert pool.answer() is None
        assert pool.begin(job("b")) == 1
        assert heard(pool) == {1: [{"begun": "b"}, None]}


def test_asked_to_stop_it_ends_its_job():
    with Pool("toy_worker", 1) as pool:
        pool.begin(job("a", "wait"))
        pool.stop()
        assert heard(pool) == {0: [{"begun": "a"}, {"stopped": "a"}, None]}


def test_none_outlives_the_pool():
    with Pool("toy_worker", 1) as pool:
        pool.begin(job("a", "sleep"))
        (process,) = pool._processes.values()
    assert process.returncode is not None


def test_what_does_not_read_is_gone_and_half_a_line_is_none(monkeypatch, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nprintf '{\"half'\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with Pool("toy_worker", 1) as pool:
        pool.begin(job("a", "x" * 2**20))
        assert heard(pool) == {0: [GONE, None]}
