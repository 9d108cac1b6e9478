"""Frames with sequences in their cells, or with two indices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recurra.errors import DataError
from recurra.labels.reading.nested import is_nested, unnested

X = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]


def cells(kind):
    return {f"dim_{f}": [kind(x[:, f]) for x in X] for f in range(2)}


def by_index():
    index = pd.MultiIndex.from_tuples([(n, t) for n, x in enumerate(X) for t in range(len(x))])
    return pd.DataFrame(np.concatenate(X), index=index)


FORMS = {
    "sktime's nested frame": lambda: pd.DataFrame(cells(pd.Series)),
    "arrays in cells": lambda: pd.DataFrame(cells(np.array)),
    "lists in cells": lambda: pd.DataFrame(cells(list)),
    "lists of polars": lambda: pl.DataFrame(cells(list)),
    "an array of objects": lambda: pd.DataFrame(cells(pd.Series)).to_numpy(),
    "two indices": by_index,
    "a table of pyarrow": lambda: pa.table(cells(list)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_sequences(form):
    found = unnested(FORMS[form]())
    assert len(found) == 2 and all(np.array_equal(a, b) for a, b in zip(found, X))


@pytest.mark.parametrize("make", [pd.Series, pl.Series])
def test_a_single_column_of_sequences(make):
    found = unnested(make([[1.0, 2.0], [3.0, 4.0, 5.0]]))
    assert [x.tolist() for x in found] == [[[1], [2]], [[3], [4], [5]]]


@pytest.mark.parametrize(
    "plain",
    [
        pd.DataFrame({"a": [1, 2]}),
        pl.DataFrame({"a": [1, 2]}),
        pd.DataFrame({"a": ["x", "y"]}),
        pd.Series([1.0, 2.0]),
        np.zeros((2, 3, 1)),
        X,
        np.array([["a", 1]], object),
        np.array([[{"a": 1}, 1]], object),
        None,
    ],
)
def test_what_is_not_nested_comes_back_as_it_is(plain):
    assert unnested(plain) is plain and not is_nested(plain)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"a": [[1, 2], [3]], "b": [[1, 2], [3, 4]]}, "sequence 2: its columns have 1 to 2 steps"),
        ({"a": [[1, 2], [3]], "b": [5, [6]]}, "sequence 1, column 2 is 5, where others hold seq"),
        ({"a": [["x"]]}, "sequence 1 holds what is no number: could not convert"),
    ],
)
def test_what_is_wrong_is_named(frame, said):
    with pytest.raises(DataError, match=said):
        unnested(pd.DataFrame(frame))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": [1]}, "got a dictionary; give a frame of it"),
        (np.zeros((2, 3, 1, 1)), r"the shape \(2, 3, 1, 1\), expected \(n, steps, features\)"),
    ],
)
def test_what_is_no_sequences_at_all_is_named(given, said):
    with pytest.raises(DataError, match=said):
        unnested(given)
