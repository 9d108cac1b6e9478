"""One training: the same numbers from the same job, and what becomes of one that runs away."""

from __future__ import annotations

import pytest
import torch

from recurra import table
from recurra.bench import trial
from recurra.bench.tasks.characters import Characters
from recurra.bench.trial import Job, Outcome, run
from recurra.nn.cells import CELLS

JOB = Job("rnn", "adding", (4, 4), 0.01, seed=1, steps=4)


def test_the_same_job_gives_the_same_numbers():
    threads = torch.get_num_threads()
    first, second = run(JOB), run(JOB)
    assert torch.get_num_threads() == threads
    assert (first.valid, first.test) == (second.valid, second.test)
    assert set(first.test) == {"loss", "mse", "accuracy"} and first.seconds > 0
    others = [
        run(Job("rnn", "adding", (4, 4), 0.01, seed=2, steps=4)),
        run(Job("rnn", "adding", (4, 4), 0.02, seed=1, steps=4)),
        run(Job("rnn", "adding", (4, 4), 0.01, seed=1, steps=5)),
    ]
    assert all(first.test != other.test for other in others)
    assert first.valid != first.test


def test_a_network_learns(monkeypatch):
    monkeypatch.setattr(trial, "TASKS", {"text": lambda: Characters("grammar", length=8)})
    before, after = (
        run(Job("rnn", "text", (16, 16), 0.02, seed=1, steps=steps)).test["loss"]
        for steps in (1, 40)
    )
    assert after < before - 0.5


def test_a_loss_that_is_not_finite_is_a_result(monkeypatch):
    class Wild(CELLS["rnn"]):
        def forward(self, x, state):
            y, state = super().forward(x, state)
            return y / 0.0 * 0.0, state

    monkeypatch.setitem(CELLS.places, "wild", "tests:Wild")
    monkeypatch.setattr(table, "imported", _given(table.imported, {"tests:Wild": Wild}))
    assert run(Job("wild", "adding", (2, 2), 0.01, seed=1, steps=5)) == Outcome(None, None, None)


def _given(before, known):
    return lambda place, kind: known.get(place) or before(place, kind)


def test_it_stops_when_asked():
    asked = iter([False, True, True, True])
    assert run(JOB, lambda: next(asked)) is None


def test_every_job_is_trained_alike_but_for_the_rate():
    one = trial.training(JOB)
    other = trial.training(Job("lstm", "copying", (9, 9), 0.3, seed=7, steps=4))
    assert one.model_copy(update={"learning_rate": 0.3}) == other
    assert trial.training(Job("lstm", "copying", (9,), 0.3, 7, 1000)).warmup_steps == 50


def test_the_state_is_carried_where_a_text_goes_on(monkeypatch):
    task = Characters("grammar", length=8)
    monkeypatch.setattr(trial, "TASKS", {"text": lambda: task})
    seen = []
    network = trial.TaskNetwork

    class Watched(network):
        def forward(self, x, states=None):
            seen.append((self.training, states is None))
            return super().forward(x, states)

    monkeypatch.setattr(trial, "TaskNetwork", Watched)
    found = run(Job("rnn", "text", (4, 4), 0.01, seed=1, steps=3))
    assert seen[0] == (True, True)
    assert [fresh for training, fresh in seen if training] == [True, False, False]
    held_out = [fresh for training, fresh in seen if not training]
    passes = 3 + 2  # validations, then both splits
    assert held_out.count(True) == passes and len(held_out) > passes
    assert found.test["bits_per_char"] == pytest.approx(found.test["loss"] / 0.693147, rel=1e-4)


def test_the_best_weights_are_kept_or_the_last():
    best = trial.training(JOB)
    last = trial.training(Job("rnn", "adding", (4, 4), 0.01, seed=1, steps=4, keep="last"))
    assert (best.keep, last.keep) == ("best", "last")
    assert best.model_copy(update={"keep": "last"}) == last
