"""A cell on a task: which rate, which trainings come next, what is said of them."""

from __future__ import annotations

import pytest

from recurra.bench.measure import Costs
from recurra.bench.rates import LADDER, RATES
from recurra.bench.result import LIMIT, NO_TIME, Entry, Sized, equal_row, row
from recurra.bench.tasks.adding import Adding
from recurra.bench.trial import Outcome


def entry(rates=RATES, seeds=(4, 5)):
    costs = Costs(0.1, 0.1, 0.1, 0.001, 7, "a loop")
    return Entry(Sized("rnn", "adding", (2, 2), 1, 4, costs), seeds, rates, 5, 9)


def outcome(loss, accuracy=0.5, seconds=1.0):
    valid = None if loss is None else {"loss": loss, "mse": loss, "accuracy": accuracy}
    return Outcome(valid, valid, seconds)


def tried(given, losses, may_widen=lambda: True):
    """Hand in the loss of each rate, as long as rates are asked for; returns the other seeds."""
    jobs = [given.job(rate, given.seeds[0]) for rate in given.rates]
    while jobs and jobs[0].seed == given.seeds[0]:
        job = jobs.pop(0)
        jobs += given.add(job, outcome(losses(job.learning_rate)), may_widen)
    return jobs


@pytest.mark.parametrize(
    ("losses", "best", "all_tried", "edge"),
    [
        ({0.001: 3, 0.003: 1, 0.01: 2}, 0.003, RATES, None),
        ({0.001: 3, 0.003: 2, 0.01: 1, 0.03: 2}, 0.01, (*RATES, 0.03), None),
        ({0.001: 3, 0.003: 2, 0.01: 1, 0.03: 0.5, 0.1: None}, 0.03, (*RATES, 0.03, 0.1), None),
        ({3e-4: 2, 0.001: 1, 0.003: 2, 0.01: 3}, 0.001, (3e-4, *RATES), None),
        # of equals the lowest, which is then at the lower end
        ({3e-4: 2, 0.001: 1, 0.003: 1, 0.01: 1}, 0.001, (3e-4, *RATES), None),
        ({rate: -rate for rate in LADDER}, 1.0, LADDER[4:], LIMIT),
        (dict.fromkeys(LADDER), 1e-5, LADDER[:7], LIMIT),  # all ran away
    ],
)
def test_the_best_rate_is_inside_or_it_is_said(losses, best, all_tried, edge):
    given = entry()
    others = tried(given, losses.__getitem__)
    assert (given.rate, given.rates, given.edge) == (best, all_tried, edge)
    assert [(job.learning_rate, job.seed, job.steps) for job in others] == [(best, 5, 5)]
    assert not given.done and given.waiting == 1
    assert given.add(others[0], outcome(0)) == [] and given.done
    assert given.trials == len(all_tried) + 1


def test_where_no_time_is_left_it_is_said():
    given = entry()
    asked = iter([True, False])
    tried(given, lambda rate: -rate, lambda: next(asked))
    assert (given.rate, given.rates, given.edge) == (0.03, (*RATES, 0.03), NO_TIME)
    inside = entry()
    tried(inside, {0.001: 3, 0.003: 1, 0.01: 2}.__getitem__, lambda: False)
    assert inside.edge is None


def test_one_rate_widens_to_both_sides():
    given = entry(rates=(0.01,))
    tried(given, lambda rate: abs(rate - 0.01))
    assert given.rates == (0.003, 0.01, 0.03) and given.edge is None


@pytest.mark.parametrize(
    ("below", "second", "as_good"),
    [
        (0.80, 0.82, [0.003]),  # .1 apart, and twice the deviation of .9 and .82 is .113
        (0.80, 0.86, []),  # .057
        (0.80, 0.90, []),
        (0.90, 0.90, [0.003]),
        (None, 0.5, []),  # ran away
    ],
)
def test_a_neighbour_that_the_seeds_do_not_tell_from_the_best_is_named(below, second, as_good):
    given = entry(rates=(0.003, 0.01, 0.03))
    losses = {0.003: None if below is None else 2.0, 0.01: 1.0, 0.03: 3.0}
    accuracies = {0.003: below, 0.01: 0.9, 0.03: -9.0}
    for rate in given.rates:
        others = given.add(given.job(rate, 4), outcome(losses[rate], accuracies[rate]))
    given.add(others[0], outcome(1.0, second))
    found = row(given, Adding())
    assert (found["learning_rate"], found["edge"], found["as_good"]) == (0.01, None, as_good)


def test_one_seed_tells_no_rate_from_another():
    given = entry(seeds=(4,))
    tried(given, {0.001: 3, 0.003: 1, 0.01: 1}.__getitem__)
    assert given.done and row(given, Adding())["as_good"] == []


def test_equal_seconds_have_steps_of_their_own():
    given = entry()
    (other,) = tried(given, {0.001: 3, 0.003: 1, 0.01: 2}.__getitem__)
    given.add(other, outcome(2, 0.7, 3.0))
    again = given.again()
    assert [(job.learning_rate, job.seed, job.steps) for job in again] == [
        (0.003, 4, 9),
        (0.003, 5, 9),
    ]
    for job, accuracy in zip(again, (0.6, 0.8)):
        assert given.add(job, outcome(0.5, accuracy, 2.0)) == []
    found = equal_row(given)
    assert found["steps"] == 9 and found["learning_rate"] == 0.003
    assert found["test"]["accuracy"] == pytest.approx(0.7) and found["train_seconds"] == 2
    first = row(given, Adding())
    assert first["test"]["accuracy"] == pytest.approx(0.6) and first["train_seconds"] == 2
    assert first["state_numbers"] == 4 and first["steps"] == 5 and given.done
    given.equal_steps = given.steps  # the median cell trains nothing again
    assert given.again() == [] and equal_row(given)["test"] == first["test"]
