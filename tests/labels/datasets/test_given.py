from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.labels.datasets import open_labels
from recurra.labels.datasets.given import Given
from recurra.labels.options import LabelOptions

OPTIONS = LabelOptions(dataset="(given)")


@pytest.mark.parametrize(
    ("sequences", "shapes"),
    [
        (np.zeros((2, 5, 3)), [(5, 3), (5, 3)]),
        (np.zeros((2, 5)), [(5, 1), (5, 1)]),
        ([np.zeros((4, 3)), np.zeros((6, 3))], [(4, 3), (6, 3)]),
        ([[1, 2, 3], [4, 5]], [(3, 1), (2, 1)]),
    ],
)
def test_arrays_and_lists(sequences, shapes):
    part = Given(OPTIONS, (sequences, np.array([1, 0]))).parts()["train"]
    assert [sequence.shape for sequence in part.sequences] == shapes
    assert part.names == ("1", "0")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (np.zeros((4, 3, 2)), r"expected \(sequences, labels\).*got ndarray"),
        (None, "got NoneType"),
        ((3, 4), "expected .*not iterable"),
        (([["x"]], [1]), "could not convert string"),
        ((np.zeros((2, 3)), [1]), "got 2 sequences and 1 labels"),
        (([], []), "got 0 sequences and 0 labels"),
    ],
)
def test_what_is_no_pair_of_sequences_and_labels(pair, said):
    with pytest.raises(DataError, match=said):
        Given(OPTIONS, pair)


def test_they_are_divided_like_all_others():
    data = open_labels(OPTIONS, (np.arange(40.0).reshape(20, 2), ["a", "b"] * 10))
    assert data.split("test").counts() == {"a": 2, "b": 2}
