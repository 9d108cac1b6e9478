from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.estimators.inputs import is_table, read_sequences, read_weights


def objects(*rows):
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


@pytest.mark.parametrize(
    ("X", "table"),
    [
        (np.zeros((2, 3)), True),
        (np.zeros(3), True),
        (np.zeros((2, 3, 1)), False),
        (torch.zeros(2, 3, 1), False),
        (pd.DataFrame({"a": [1, 2]}), True),
        ([[1, 2], [3, 4]], True),
        ([np.zeros(2), np.ones(2)], True),
        ([[1, 2], [3]], False),
        ([np.zeros(2), np.ones(3)], False),
        ([[[1], [2]], [[3]]], False),
        ([pd.DataFrame({"a": [1]}), np.zeros((2, 1))], False),
        (objects(np.zeros((2, 1)), np.zeros((3, 1))), False),
        (objects([1, 2], [3]), False),
        ([], True),
        ([1, 2], True),
    ],
)
def test_what_is_a_table(X, table):
    assert is_table(X) is table


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 3))
def test_lists_come_back_as_they_are(lengths, features):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, features)) for length in lengths]
    read = read_sequences([x.tolist() for x in X])
    assert all(np.array_equal(a, b) for a, b in zip(X, read)) and len(read) == len(X)


def test_kinds_of_numbers_agree():
    single, whole = np.zeros((1, 1), np.float32), np.zeros((2, 1), np.int8)
    assert {x.dtype for x in read_sequences([single, single])} == {np.dtype(np.float32)}
    assert {x.dtype for x in read_sequences([single, whole])} == {np.dtype(np.float64)}
    assert read_sequences(np.zeros((1, 2, 3), np.float32))[0].dtype == np.float32
    assert read_sequences(torch.zeros(1, 2, 3))[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([], "got no sequences"),
        ([np.zeros((2, 1)), np.zeros((0, 1))], r"sequence 2 has the shape \(0, 1\)"),
        ([np.zeros((2, 1)), np.zeros((2, 2))], "sequence 2 has 2 features, the first has 1"),
        ([np.zeros((2, 1)), np.zeros((2, 2, 2))], r"sequence 2 has the shape \(2, 2, 2\)"),
        ([[[1.0]], [["a"]]], "sequence 2 is not an array of numbers"),
        ([[[1.0, 2.0]], [[1.0], [2.0, 3.0]]], "sequence 2 is not an array of numbers"),
        ([[[1.0], [np.nan]]], "sequence 1, step 2, feature 1 is NaN or infinity"),
        (np.zeros((2, 0, 1)), r"shape \(2, 0, 1\)"),
    ],
)
def test_what_is_wrong_with_a_sequence_is_said(X, said):
    with pytest.raises(DataError, match=said):
        read_sequences(X)


def test_complex_numbers_are_refused():
    with pytest.raises(DataError, match="sequence 1 holds complex numbers"):
        read_sequences([np.zeros((2, 1), complex)])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0], r"shape \(1,\), expected \(2,\)"),
        ([1.0, -1.0], "-1 is negative"),
        ([0.0, 0.0], "all zero"),
        (0, "all zero"),
        ([1.0, np.inf], "infinity"),
    ],
)
def test_weights_that_cannot_be(weights, said):
    with pytest.raises(ValueError, match=said):
        read_weights(weights, 2)


def test_one_weight_for_all():
    assert read_weights(2, 3).tolist() == [2, 2, 2]
