from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from recurra.labels.metrics import LabelMetrics, confusion_matrix, score


def draw(n: int, C: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    probabilities = draws.dirichlet(np.ones(C), n)
    return probabilities, draws.integers(0, C, n), draws.uniform(0, 3, n)


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 99), st.booleans())
def test_scikit_learn_says_the_same(n, C, seed, weighted):
    probabilities, labels, weights = draw(n, C, seed)
    given = weights if weighted else None
    found = score(np.log(probabilities), labels, given)
    predicted = probabilities.argmax(axis=1)
    assert found.examples == n
    assert found.accuracy == pytest.approx(
        reference.accuracy_score(labels, predicted, sample_weight=given)
    )
    assert found.log_loss == pytest.approx(
        reference.log_loss(labels, probabilities, sample_weight=given, labels=range(C))
    )
    np.testing.assert_array_equal(
        confusion_matrix(predicted, labels, C),
        reference.confusion_matrix(labels, predicted, labels=range(C)),
    )


def test_nothing_to_score_is_null():
    nothing = np.zeros((0, 3)), np.zeros(0, np.int64)
    for found in (
        score(*nothing),
        score(np.log(np.full((2, 2), 0.5)), np.array([0, 1]), np.zeros(2)),
    ):
        assert math.isnan(found.accuracy)
        assert found.as_dict()["accuracy"] is found.as_dict()["log_loss"] is None
        json.dumps(found.as_dict(), allow_nan=False)


def test_a_class_that_was_thought_impossible_is_null():
    found = score(np.array([[0.0, -math.inf]]), np.array([1]))
    assert found == LabelMetrics(1, 0.0, math.inf)
    assert found.as_dict() == {"examples": 1, "accuracy": 0.0, "log_loss": None}


def test_rows_of_the_confusion_matrix_are_the_truth():
    found = confusion_matrix(np.array([2, 2, 0]), np.array([1, 1, 0]), 3)
    assert found.tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]


def test_rows_that_are_not_numbers_are_no_hits():
    log_probs = np.log([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.5, 0.5]])
    log_probs[2:] = [[math.nan, math.nan], [-0.1, math.nan]]
    found = score(log_probs, np.array([0, 1, 0, 1]))
    assert found.accuracy == 0.5 and found.as_dict()["log_loss"] is None
