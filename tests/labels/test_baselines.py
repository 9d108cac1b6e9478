"""The baselines: shares of classes, and a linear model of scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from recurra.labels import baselines as module
from recurra.labels.baselines import BASELINES, Linear, Majority, summary
from recurra.labels.sequences import LabelledSequences

DRAWS = np.random.default_rng(5)


def make(*lengths: int) -> LabelledSequences:
    labels = DRAWS.integers(0, 3, len(lengths))
    labels[:3] = [0, 1, 2]
    sequences = tuple(
        DRAWS.normal(size=(length, 2)) + label for length, label in zip(lengths, labels)
    )
    return LabelledSequences(sequences, labels, ("a", "b", "c"))


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_a_distribution(name):
    data = make(*DRAWS.integers(1, 9, 30))
    log_probs = BASELINES[name](data).log_probs(data.sequences[:7])
    assert log_probs.shape == (7, 3)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1)


def test_majority_counts():
    data = make(*[2] * 20)
    counts = np.bincount(data.labels, minlength=3)
    found = Majority(data).log_probs(data.sequences)
    np.testing.assert_allclose(np.exp(found), np.tile(counts / 20, (20, 1)))
    absent = LabelledSequences(data.sequences, np.zeros(20, np.int64), ("a", "b"))
    assert Majority(absent).log_probs(data.sequences[:1]).tolist() == [[0.0, -math.inf]]


def test_sequences_of_one_length_are_taken_as_they_are():
    data = make(*[4] * 60)
    flat = np.array(data.sequences).reshape(60, 8)
    reference = LogisticRegression(max_iter=1000).fit(scale(flat), data.labels)
    np.testing.assert_allclose(
        Linear(data).log_probs(data.sequences),
        reference.predict_log_proba(scale(flat)),
        atol=1e-6,
    )


def test_ragged_and_long_sequences_are_summarised(monkeypatch):
    ragged = make(*DRAWS.integers(1, 9, 60))
    reference = LogisticRegression(max_iter=1000)
    numbers = scale(summary(ragged.sequences))
    np.testing.assert_allclose(
        Linear(ragged).log_probs(ragged.sequences),
        reference.fit(numbers, ragged.labels).predict_log_proba(numbers),
        atol=1e-6,
    )
    monkeypatch.setattr(module, "MOST_NUMBERS", 7)
    even = make(*[4] * 60)
    longer = even.sequences[0].repeat(2, axis=0)
    assert Linear(even).log_probs([longer]).shape == (1, 3)


def test_a_summary_is_mean_deviation_first_and_last():
    sequence = np.array([[1.0, 10.0], [4.0, 10.0], [7.0, 40.0]])
    expected = [4, 20, math.sqrt(6), math.sqrt(200), 1, 10, 7, 40]
    np.testing.assert_allclose(summary([sequence])[0], expected)


def test_another_length_than_learned_is_cut_or_held():
    line = Linear(make(*[3] * 60))
    sequence = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    held = np.concatenate([sequence[:2], sequence[1:2]])
    assert (line.log_probs([sequence[:2]]) == line.log_probs([held])).all()
    longer = np.concatenate([sequence, sequence])
    assert (line.log_probs([longer]) == line.log_probs([sequence])).all()


def test_it_says_nothing_when_it_has_not_settled(monkeypatch):
    data = make(*[3] * 40)
    monkeypatch.setattr(
        module, "LogisticRegression", lambda max_iter: LogisticRegression(max_iter=1)
    )
    Linear(data)  # a ConvergenceWarning would be an error here
