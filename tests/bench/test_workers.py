"""Trials side by side."""

from __future__ import annotations

import itertools

import pytest

from recurra.bench.cells import BenchOptions, compare_cells
from recurra.bench.trial import Job, run
from recurra.bench.workers import Workers
from recurra.errors import RunError

JOBS = [Job("rnn", "adding", (3, 3), rate, seed=1, steps=2) for rate in (0.001, 0.01, 0.1)]

CELL = """
from recurra.nn.cells.rnn import RNNCell

print("a cell may print")

class Mine(RNNCell):
    pass

class Failing(RNNCell):
    def forward(self, x, state):
        raise KeyError("lost")
"""


def numbers(outcome):
    return outcome.valid, outcome.test


def test_processes_give_the_numbers_of_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CELL)
    own = Job("mine:Mine", "adding", (3, 3), 0.01, seed=1, steps=2)
    with Workers(1) as workers:
        for job in [*JOBS, own]:
            workers.add(job)
        found = dict(workers.outcomes())
        assert {job: numbers(outcome) for job, outcome in found.items()} == {
            job: numbers(run(job)) for job in [*JOBS, own]
        }
        workers.add(Job("mine:Failing", "adding", (3, 3), 0.01, seed=1, steps=2))
        with pytest.raises(RunError, match="mine:Failing on adding failed: KeyError: 'lost'"):
            list(workers.outcomes())


def test_a_comparison_is_the_same_for_any_number_of_workers():
    options = BenchOptions(
        cells=("rnn",), tasks=("adding",), length=4, seeds=2, steps=2, rates=(0.03,)
    )
    found = []
    for count in (0, 2):
        *_, last = compare_cells(options.model_copy(update={"workers": count}))
        (row,) = last.result["results"]
        tried = [(each["seed"], each["valid"], each["test"]) for each in row["seeds"]]
        names = ("learning_rates", "learning_rate", "edge", "as_good", "test", "deviation")
        found.append([tried, *(row[name] for name in names)])
    assert found[0] == found[1] and len(found[0][1]) >= 3


def test_what_is_wanted_soon_comes_before_what_waits():
    with Workers(0) as workers:
        workers.add(JOBS[0])
        workers.add(JOBS[1])
        workers.add(JOBS[2], soon=True)
        assert [job for job, _ in workers.outcomes()] == [JOBS[2], JOBS[0], JOBS[1]]


def test_jobs_may_be_added_on_the_way():
    with Workers(0) as workers:
        workers.add(JOBS[0])
        seen = []
        for job, _ in workers.outcomes():
            seen.append(job)
            if len(seen) < 3:
                workers.add(JOBS[len(seen)])
    assert seen == JOBS


def test_it_stops_when_asked():
    asked = itertools.chain([False], itertools.repeat(True))
    with Workers(0, lambda: next(asked)) as workers:
        for job in JOBS:
            workers.add(job)
        assert list(workers.outcomes()) == []
