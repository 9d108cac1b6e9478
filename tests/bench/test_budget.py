"""What fits the minutes, before and on the way."""

from __future__ import annotations

import math

import pytest

from recurra.bench import budget
from recurra.bench.budget import Clock, Load, load, set_steps, share_of
from recurra.bench.measure import Costs
from recurra.bench.rates import RATES
from recurra.bench.result import Entry, Sized
from recurra.bench.tasks import TASKS
from recurra.bench.trial import Job, Outcome


def entry(cell="rnn", task="adding", alone=0.1, steps=50, equal=50):
    costs = Costs(0.2, alone, alone / 2, 0, 0, "")
    return Entry(Sized(cell, task, (2,), 1, 2, costs), (1, 2), RATES, steps, equal)


def test_the_load_has_rates_seeds_judging_widening_and_equal_seconds():
    for workers in (0, 2):
        side, start = max(1, workers), budget.START_SECONDS if workers else 0
        one = load([entry()], {"adding": 10}, workers)
        trials = 3 + 1 + budget.WIDENED
        assert one.steps == pytest.approx(trials * 50 * 0.1 * budget.TRAINING / side)
        assert one.fixed == pytest.approx(trials * 10 * 0.1 * budget.FORWARD / side + start)
        two = load([entry(), entry("lstm", alone=0.2, equal=25)], {"adding": 10}, workers)
        seconds = trials * 50 * (0.1 + 0.2) + 2 * (50 * 0.1 + 25 * 0.2)
        assert two.steps == pytest.approx(seconds * budget.TRAINING / side)


def test_a_slow_machine_cuts_all_alike_and_minutes_scale():
    most = 60 * budget.MOST_MINUTES
    assert share_of(None, Load(600, 9), 30) == 1
    assert share_of(None, Load(2 * (most - 39), 9), 30) == 0.5
    assert share_of(60, Load(600, 0), 0) == 6
    assert share_of(60, Load(600, 600), 10_000) == 2
    assert share_of(60, Load(600, 9_000), 0) == 0
    assert share_of(60, Load(0, 0), 0) == 1


def test_steps_are_a_share_or_a_number_and_seconds_those_of_the_median():
    tasks = {"adding": TASKS["adding"]()}
    full = tasks["adding"].steps
    entries = [entry("a", alone=0.1), entry("b", alone=0.2), entry("c", alone=0.6)]
    set_steps(entries, tasks, 0.5)
    assert {each.steps for each in entries} == {full // 2}
    assert [each.equal_steps for each in entries] == [full, full // 2, round(full / 6)]
    set_steps(entries, tasks, 7)
    assert {each.steps for each in entries} == {7}
    assert [each.equal_steps for each in entries] == [14, 7, 2]
    set_steps(entries, tasks, 1e-9)
    assert {each.steps for each in entries} == {budget.LEAST_STEPS}
    set_steps([slow := entry(alone=1000.0), entry("b", alone=1e-3)], tasks, 5)
    assert slow.equal_steps >= 1


def clock(seconds, planned, workers=2, at=0.0):
    time = [at]
    return time, Clock(seconds, 0.0, {"adding": 0.0}, workers, planned, lambda: time[0])


def test_the_clock_learns_how_long_a_training_takes():
    time, told = clock(100, 50)
    one = entry()
    planned = 50 * 0.1 * budget.TRAINING / 2
    assert told.seconds(one, 50) == pytest.approx(planned)
    told.note(one, Job("rnn", "adding", (2,), 0.1, 1, 50), Outcome({}, {}, 11.0))
    assert told.seconds(one, 50) == pytest.approx(planned * 11 / (50 * 0.1 * budget.TRAINING))
    told.note(one, Job("rnn", "adding", (2,), 0.1, 1, 50), Outcome(None, None, None))  # ran away
    assert told.seconds(one, 50) == pytest.approx(5.5)
    time[0] = 90
    assert told.has_room(10) and not told.has_room(10.1) and not told.is_over()
    time[0] = 100 * budget.OVER + 1
    assert told.is_over()


def test_without_minutes_there_is_no_end_and_what_must_be_done_is_done():
    time, told = clock(None, 1e9)
    time[0] = 1e9
    assert told.has_room(1e9) and not told.is_over() and told.end == math.inf
    time, told = clock(1, 50)  # not even the least fits
    time[0] = 40
    assert not told.has_room(0) and not told.is_over()
