"""Labelled sequences: what is refused, how they are divided, and how they become batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from recurra.errors import DataError
from recurra.labels.sequences import (
    LabelledSequences,
    Ragged,
    digest_arrays,
    shuffled_classes,
    stratified_folds,
)


def make(*lengths: int, features: int = 2) -> list[np.ndarray]:
    draws = np.random.default_rng(len(lengths))
    return [draws.normal(size=(length, features)) for length in lengths]


def labelled(*labels: int, classes: tuple[str, ...] = ("a", "b", "c")) -> LabelledSequences:
    sequences = tuple(make(*(place + 1 for place in range(len(labels)))))
    return LabelledSequences(sequences, np.array(labels), classes)


def test_facts():
    data = labelled(0, 2, 2)
    assert (len(data), data.num_features, data.lengths) == (3, 2, (1, 3))
    assert data.counts() == {"a": 1, "b": 0, "c": 2}
    empty = LabelledSequences((), np.array([], np.int64), ("a",))
    assert (len(empty), empty.num_features, empty.lengths) == (0, 0, (0, 0))


def test_some_of_them():
    data = labelled(0, 2, 1, 1)
    some = data.take(np.array([3, 0]))
    assert some.labels.tolist() == [1, 0]
    assert some.sequences[0] is data.sequences[3]
    assert some.classes == data.classes


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        (make(3) + make(3, features=4), r"example 2 has the shape \(3, 4\), expected \(steps, 2\)"),
        ([*make(3), np.zeros(3)], r"example 2 has the shape \(3,\)"),
        (make(3, 0), "example 2 has no step"),
        ([*make(3), np.array([[0, 1], [0, np.nan]])], "example 2, step 2, feature 2 is nan"),
        ([np.array([[-np.inf, 1]])], "example 1, step 1, feature 1 is -inf"),
    ],
)
def test_what_cannot_be_learned_from_is_named(sequences, said):
    with pytest.raises(DataError, match=said):
        LabelledSequences(tuple(sequences), np.zeros(len(sequences), np.int64), ("a",))


def test_the_fingerprint_knows_numbers_labels_and_names():
    base = labelled(0, 1, 2)
    assert base.fingerprint() == labelled(0, 1, 2).fingerprint()
    touched = [sequence.copy() for sequence in base.sequences]
    touched[2][1, 0] += 1e-9
    others = [
        labelled(0, 1, 1),
        labelled(0, 1, 2, classes=("a", "b", "d")),
        LabelledSequences(tuple(touched), base.labels, base.classes),
        base.take([1, 0, 2]),
    ]
    assert len({data.fingerprint() for data in [base, *others]}) == 5


def test_a_digest_does_not_confuse_shapes_or_kinds():
    same_bytes = [np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(6), np.zeros((2, 3), np.int64)]
    assert len({digest_arrays([array]) for array in same_bytes}) == 4
    strided = np.arange(12.0).reshape(3, 4)[:, ::2]
    assert digest_arrays([strided]) == digest_arrays([strided.copy()])


# Dividing


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array),
    st.integers(2, 7),
    st.integers(0, 9),
)
def test_folds_are_balanced_or_refused(labels, folds, seed):
    counts = np.bincount(labels)
    if (counts[counts > 0] < folds).any():
        with pytest.raises(DataError, match=f"{folds} folds need {folds} examples"):
            stratified_folds(labels, folds, seed)
        return
    fold = stratified_folds(labels, folds, seed)
    for place in np.unique(labels):
        sizes = np.bincount(fold[labels == place], minlength=folds)
        assert sizes.max() - sizes.min() <= 1
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1


def test_folds_have_the_sizes_of_scikit_learns():
    labels = np.repeat([0, 1, 2], [50, 30, 41])
    ours = np.bincount(stratified_folds(labels, 5, 0))
    plan = StratifiedKFold(5).split(labels, labels)
    theirs = [len(test) for _, test in plan]
    assert sorted(ours) == sorted(theirs)


def test_classes_are_shuffled_by_seed_and_purpose():
    labels = np.repeat([1, 0, 2], [30, 20, 10])
    first = shuffled_classes(labels, 1, "test")
    assert [sorted(rows.tolist()) for rows in first] == [
        list(range(30, 50)),
        list(range(30)),
        list(range(50, 60)),
    ]
    for other in (shuffled_classes(labels, 2, "test"), shuffled_classes(labels, 1, "valid")):
        assert (first[1] != other[1]).any()
    assert all(map(np.array_equal, first, shuffled_classes(labels, 1, "test")))


# Batches


def test_a_batch_is_padded_with_zeros():
    sequences = make(2, 5, 1)
    x, lengths = Ragged(sequences, torch.float64).batch(torch.tensor([2, 0]))
    assert lengths.tolist() == [1, 2]
    assert x.shape == (2, 2, 2)
    np.testing.assert_array_equal(x[0], [sequences[2][0], [0, 0]])
    np.testing.assert_array_equal(x[1], sequences[0])


def test_where_all_have_one_length_none_is_told():
    ragged = Ragged(make(4, 4, 4))
    x, lengths = ragged.batch(torch.tensor([1, 2]))
    assert lengths is None
    assert x.shape == (2, 4, 2)
    assert x.dtype == torch.float32
    assert len(ragged) == 3


def test_no_rows_and_no_sequences():
    x, _ = Ragged(make(4, 3)).batch(torch.tensor([], dtype=torch.int64))
    assert x.shape == (0, 0, 2)
    assert len(Ragged([])) == 0


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.data())
def test_a_batch_holds_every_number_and_nothing_else(lengths, data):
    sequences = make(*lengths)
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9))
    x, found = Ragged(sequences, torch.float64).batch(torch.tensor(rows))
    for place, row in enumerate(rows):
        T = lengths[row]
        assert found is None or found[place] == T
        np.testing.assert_array_equal(x[place, :T], sequences[row])
        assert not x[place, T:].any()
    assert x.shape[1] == max(lengths[row] for row in rows)
