"""The comparison as a whole: fair, chosen by validation, the same from the same seed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from recurra.bench.budget import Clock
from recurra.bench.cells import (
    DEFAULT_CELLS,
    BenchOptions,
    Compared,
    Planned,
    Tried,
    compare_cells,
)
from recurra.bench.network import TOLERANCE
from recurra.bench.rates import LADDER, RATES
from recurra.bench.result import LIMIT, NO_TIME
from recurra.bench.tasks import COMPARED
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
    assert planned.share < 1e-3
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
        assert row["edge"] in (None, NO_TIME)  # there is none for a rate more
        inside = row["learning_rate"] == RATES[1]
        assert (row["edge"] is None) == inside and row["steps"] == 2
        assert row["train_seconds"] > 0
        assert row["tokens_per_second"] > 0 and row["kept_bytes"] > 1e5 and row["kernel"]
    assert result["finished"] and result["cells"] == ["lstm", "rnn"]
    assert not result["out_of_time"]
    # nor for a second table, unless there is nothing more to train for it
    assert {row["steps"] for row in result["equal_seconds"]} <= {2}
    states = {(row["cell"], row["task"]): row["state_numbers"] for row in result["results"]}
    widths = {(row["cell"], row["task"]): sum(row["widths"]) for row in result["results"]}
    assert all(states[key] == widths[key] * (1 + (key[0] == "lstm")) for key in states)
    assert [task["steps"] for task in result["tasks"]] == [2, 2]
    assert result["tasks"][0]["baselines"]["always 1"]["mse"] == pytest.approx(1 / 6)
    # two tasks, too short to tell, then the rates and the costs
    assert len(result["verdict"]) == 4


STEPS = BenchOptions(
    cells=("lstm", "rnn"), tasks=("adding",), steps=2, seeds=2, workers=0, length=8
)


def test_rates_widen_until_the_best_is_inside():
    events, result = compared(STEPS)
    assert result["finished"] and result["budget"] is None and result["steps"] == 2
    for row in result["results"]:
        tried = [float(rate) for rate in row["learning_rates"]]
        losses = list(row["learning_rates"].values())
        assert tried == sorted(tried) and set(RATES) <= set(tried) <= set(LADDER)
        best = losses.index(min(losses))
        assert tried[best] == row["learning_rate"]
        if row["edge"] is None:
            assert 0 < best < len(tried) - 1
        else:
            assert row["edge"] == LIMIT and tried[best] in (LADDER[0], LADDER[-1])
    last = events[-1]
    assert last.done == last.trials == len(events) - 1
    # two steps at half-decade rates are best at high ones, so that some were tried beyond
    assert any(len(row["learning_rates"]) > 3 for row in result["results"])


def test_the_second_table_is_of_as_many_seconds():
    events, result = compared(STEPS.model_copy(update={"steps": 8}))
    steps = {row["cell"]: row["steps"] for row in result["equal_seconds"]}
    assert set(steps) == {"lstm", "rnn"} and min(steps.values()) <= 8 <= max(steps.values())
    assert result["tasks"][0]["equal_seconds"] > 0
    rows = {row["cell"]: row for row in result["results"]}
    jobs = {(t.job.cell, t.job.steps, t.job.learning_rate, t.job.seed) for t in events[1:]}
    for again in result["equal_seconds"]:
        first = rows[again["cell"]]
        assert again["learning_rate"] == first["learning_rate"]
        assert [each["seed"] for each in again["seeds"]] == [1, 2]
        if again["steps"] == first["steps"]:
            assert again["test"] == first["test"]
        else:
            wanted = {(again["cell"], again["steps"], again["learning_rate"], n) for n in (1, 2)}
            assert wanted <= jobs and again["test"] != first["test"]
    _, alone = compared(STEPS.model_copy(update={"cells": ("rnn",)}))
    assert alone["equal_seconds"] == [] and alone["tasks"][0]["equal_seconds"] is None


def test_parameters_rates_and_length_are_those_given():
    given = {"parameters": 12_000, "rates": (0.02,), "length": 13, "tasks": ("copying", "adding")}
    events, result = compared(STEPS.model_copy(update={**given, "cells": ("rnn",), "seeds": 1}))
    for row, task in zip(result["results"], result["tasks"]):
        assert row["parameters"] == pytest.approx(12_000, rel=TOLERANCE)
        assert task["length"] == 13 and "0.02" in row["learning_rates"]
        assert len(row["learning_rates"]) >= 3  # both sides of the one that was given
    assert {t.job.length for t in events[1:]} == {13}


@pytest.mark.parametrize(
    "wrong",
    [
        {"parameters": "many"},
        {"parameters": 0},
        {"rates": (0.0,)},
        {"rates": ()},
        {"rates": (-1,)},
        {"rates": (float("nan"),)},
        {"steps": 0},
        {"length": 0},
    ],
)
def test_options_that_say_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        BenchOptions(**wrong)


def test_options_are_read_as_they_are_meant():
    assert BenchOptions(parameters="500k").parameters == 500_000
    assert BenchOptions(parameters="1.2M").parameters == 1_200_000
    assert BenchOptions(parameters="26000").parameters == 26_000
    assert BenchOptions(rates=(0.01, 0.001, 0.01)).rates == (0.001, 0.01)
    with pytest.raises(ConfigError, match="the minutes choose the steps, give one"):
        list(compare_cells(BenchOptions(minutes=1, steps=1)))
    with pytest.raises(ConfigError, match="copying has at least 11 steps, got a length of 10"):
        list(compare_cells(BenchOptions(tasks=("copying",), length=10)))


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


def test_what_takes_too_long_is_ended_and_said(monkeypatch):
    done = []
    monkeypatch.setattr(Clock, "is_over", lambda self: len(done) >= 5)
    for event in compare_cells(SMALL):
        if isinstance(event, Tried):
            done.append(event.job)
    assert len(done) == 5 and not event.result["finished"] and event.result["out_of_time"]
    assert [row["cell"] for row in event.result["results"]] == ["lstm"]


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
    assert BenchOptions().tasks == COMPARED
    assert BenchOptions().rates == RATES
