"""The comparison as a whole: fair, chosen by validation, the same from the same seed."""

from __future__ import annotations

import itertools

import pytest

from recurra.bench import cells as module
from recurra.bench.cells import (
    DEFAULT_CELLS,
    BenchOptions,
    Compared,
    Planned,
    Tried,
    compare_cells,
)
from recurra.bench.measure import Costs
from recurra.bench.network import TOLERANCE
from recurra.bench.result import RATES, Entry
from recurra.bench.tasks import TASKS
from recurra.bench.trial import Job, Outcome
from recurra.errors import ConfigError

SMALL = BenchOptions(
    cells=("lstm", "rnn"), tasks=("adding", "copying"), minutes=0.001, seeds=2, workers=0
)


pytestmark = pytest.mark.usefixtures("quick")


def compared(options, should_stop=lambda: False):
    *events, last = compare_cells(options, should_stop)
    assert isinstance(last, Compared)
    return events, last.result


def test_all_cells_learn_all_tasks_alike():
    (planned, *tried), result = compared(SMALL)
    assert isinstance(planned, Planned) and planned.trials == 2 * 2 * (3 + 1)
    assert [each.done for each in tried] == list(range(1, 17))
    assert {each.job.steps for each in tried} == {2}
    assert all(isinstance(each, Tried) for each in tried)
    assert [(row["cell"], row["task"]) for row in result["results"]] == [
        (cell, task) for task in ("adding", "copying") for cell in ("lstm", "rnn")
    ]
    for row in result["results"]:
        wanted = next(t for t in result["tasks"] if t["name"] == row["task"])["parameters"]
        assert row["parameters"] == pytest.approx(wanted, rel=TOLERANCE)
        losses = row["learning_rates"]
        assert list(losses) == [f"{rate:g}" for rate in RATES]
        chosen = f"{row['learning_rate']:g}"
        assert losses[chosen] == min(losses.values())
        assert [each["seed"] for each in row["seeds"]] == [1, 2]
        assert row["seeds"][0]["valid"]["loss"] == losses[chosen]
        accuracies = [each["test"]["accuracy"] for each in row["seeds"]]
        assert row["test"]["accuracy"] == pytest.approx(sum(accuracies) / 2)
        spread = abs(accuracies[0] - accuracies[1]) / 2**0.5
        assert row["deviation"]["accuracy"] == pytest.approx(spread)
        assert row["seconds_per_step"] > 0 and row["one_step_microseconds"] > 0
        assert row["tokens_per_second"] > 0 and row["kept_bytes"] > 1e5 and row["kernel"]
    assert result["finished"] and result["cells"] == ["lstm", "rnn"]
    assert [task["steps"] for task in result["tasks"]] == [2, 2]
    assert result["tasks"][0]["baselines"]["always 1"]["mse"] == pytest.approx(1 / 6)
    assert len(result["verdict"]) == 3  # two tasks, too short to tell, and the costs


def test_the_same_seed_gives_the_same_accuracies():
    small = SMALL.model_copy(update={"tasks": ("adding",), "cells": ("rnn",), "seeds": 1})
    one, same, other = (
        compared(small.model_copy(update={"seed": seed}))[1]["results"][0] for seed in (1, 1, 2)
    )
    for name in ("test", "learning_rates", "widths", "parameters"):
        assert one[name] == same[name]
    assert one["test"] != other["test"]
    assert one["deviation"] is None


def test_what_is_finished_when_it_is_asked_to_stop_is_kept():
    done = []
    events = compare_cells(SMALL, lambda: len(done) >= 7)
    for event in events:
        if isinstance(event, Tried):
            done.append(event.job)
    result = event.result
    assert len(done) == 7 and not result["finished"]
    assert [row["cell"] for row in result["results"]] == ["lstm"]
    assert result["tasks"][1]["baselines"] == {}
    _, nothing = compared(SMALL, lambda: True)
    assert (nothing["results"], nothing["finished"], nothing["verdict"]) == ([], False, [])


def test_a_slow_machine_cuts_all_alike_and_minutes_scale(monkeypatch):
    plain = BenchOptions()
    assert module._share(plain, full=600, judging=9, spent=30) == 1
    assert module._share(plain, full=2 * (25 * 60 - 39), judging=9, spent=30) == 0.5
    asked = BenchOptions(minutes=60)
    assert module._share(asked, full=600, judging=0, spent=0) == 6
    assert module._share(asked, full=600, judging=600, spent=10_000) == 2
    assert module._share(asked, full=600, judging=9_000, spent=0) == 0
    assert module._share(asked, full=0, judging=0, spent=0) == 1
    task = TASKS["adding"]()
    assert module._steps(task, 0.5) == task.steps // 2 and module._steps(task, 1e-9) == 2


def test_what_is_said_to_come_has_steps_judging_and_the_start_of_workers():
    costs = Costs(seconds=0.2, seconds_alone=0.1, step_seconds=0, kept_bytes=0, kernel="")
    entries = [Entry("rnn", "t", (2,), 1, costs, 50, seeds=(1, 2)) for _ in range(3)]
    trials = 3 * (len(RATES) + 1)
    for workers in (0, 2):
        steps, judging = module._seconds(entries, {"t": 10}, workers)
        share = trials / max(1, workers)
        assert steps == pytest.approx(share * 50 * 0.1 * module.UPDATES)
        start = module.START_SECONDS if workers else 0
        assert judging == pytest.approx(share * 10 * 0.1 * module.FORWARD + start)


def test_the_rate_is_that_of_the_least_validation_loss():
    def outcome(loss):
        valid = None if loss is None else {"loss": loss}
        return Outcome(valid, valid, 1.0)

    for losses, best in [((3, 1, 2), 0.003), ((None, 5, 4), 0.01), ((2, 2, 2), 0.001)]:
        entry = Entry("rnn", "adding", (2, 2), 1, None, 5, seeds=(4, 5))
        added = [
            entry.add(Job("rnn", "adding", (2, 2), rate, 4, 5), outcome(loss))
            for rate, loss in zip(RATES, losses)
        ]
        assert added[:2] == [[], []]
        assert [(job.learning_rate, job.seed) for job in added[2]] == [(best, 5)]
        assert not entry.done and entry.trials == 4
        assert entry.add(added[2][0], outcome(0)) == [] and entry.done


def test_unknown_names_are_answered(monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'gru'"):
        list(compare_cells(SMALL.model_copy(update={"cells": ("gruu",)})))
    with pytest.raises(ConfigError, match="Did you mean 'adding'"):
        list(compare_cells(SMALL.model_copy(update={"tasks": ("addin",)})))
    with pytest.raises(ConfigError, match="'collections:Counter' is not a task: derive it from"):
        list(compare_cells(SMALL.model_copy(update={"tasks": ("collections:Counter",)})))


def test_a_cell_named_twice_is_compared_once():
    twice = SMALL.model_copy(update={"cells": ("rnn", "rnn"), "tasks": ("adding",), "seeds": 1})
    _, result = compared(twice)
    assert [row["cell"] for row in result["results"]] == ["rnn"] and result["finished"]


def test_the_default_is_eight_known_cells_on_all_tasks():
    from recurra.nn.cells import CELLS

    assert len(set(DEFAULT_CELLS)) == 8 and set(DEFAULT_CELLS) <= set(CELLS)
    assert BenchOptions().tasks == tuple(TASKS)
    assert all(a != b for a, b in itertools.combinations(RATES, 2))
