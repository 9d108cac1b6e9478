from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from sklearn.base import clone

from recurra.errors import DataError
from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor

SMALL = {"hidden_size": 6, "epochs": 4, "random_state": 0}


@pytest.mark.parametrize("random_state", [7, np.random.RandomState(7), np.random.default_rng(7)])
def test_the_same_random_state_gives_the_same_numbers(ragged, random_state):
    model = SequenceClassifier(hidden_size=4, epochs=3, dropout=0.2, batch_size=16)
    runs = []
    for seed in (1, 2):  # of the global generators, which must not matter
        torch.manual_seed(seed)
        np.random.seed(seed)
        model.set_params(random_state=pickle.loads(pickle.dumps(random_state)))
        runs.append(clone(model).fit(*ragged).predict_proba(ragged[0]))
    assert np.array_equal(*runs)
    other = clone(model).set_params(random_state=8).fit(*ragged).predict_proba(ragged[0])
    assert not np.array_equal(runs[0], other)


def test_without_a_random_state_every_fit_is_another(ragged):
    np.random.seed(0)
    first = SequenceClassifier(hidden_size=4, epochs=1).fit(*ragged)
    np.random.seed(0)
    second = SequenceClassifier(hidden_size=4, epochs=1).fit(*ragged)
    assert not np.array_equal(first.predict_proba(ragged[0]), second.predict_proba(ragged[0]))


def test_global_generators_stay_where_they_are(ragged):
    def states():
        return random.getstate(), np.random.get_state()[1:], torch.get_rng_state()

    def is_same(before, after):
        return (
            before[0] == after[0]
            and all(np.array_equal(a, b) for a, b in zip(before[1], after[1]))
            and torch.equal(before[2], after[2])
        )

    before = states()
    model = SequenceClassifier(hidden_size=4, epochs=2, early_stopping=True, dropout=0.2)
    model.fit(*ragged).predict(ragged[0])
    SequenceRegressor(hidden_size=4, epochs=2).fit(ragged[0], np.arange(48))
    assert is_same(before, states())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arithmetic_is_in_the_kind_of_the_inputs(ragged, kind):
    X, y = [x.astype(kind) for x in ragged[0]], np.arange(48)
    model = SequenceRegressor(**SMALL).fit(X, y)
    assert {p.dtype for p in model.network_.parameters()} == {torch.from_numpy(X[0]).dtype}
    assert model.predict(X).dtype == kind


def test_weights_act_as_repetitions_of_ragged_sequences(ragged):
    X, y = ragged
    times = np.random.default_rng(3).integers(0, 4, len(X))
    model = SequenceClassifier(hidden_size=6, epochs=20, random_state=0)
    weighted = clone(model).fit(X, y, times).predict_proba(X)
    repeated = [x for x, n in zip(X, times) for _ in range(n)]
    assert weighted == pytest.approx(
        clone(model).fit(repeated, y.repeat(times)).predict_proba(X), rel=1e-7
    )


def test_stopping_early_holds_out_some_of_every_class(ragged):
    X, y = ragged
    options = {"patience": 5, "validation_fraction": 0.25}
    model = SequenceClassifier(
        hidden_size=6, epochs=300, early_stopping=True, random_state=0, **options
    )
    model.fit(X, y)
    curve = model.validation_curve_
    assert len(curve) == int(np.argmin(curve)) + 6 < 300
    given = model._examples(X, y, None, reset=False, learn=False)
    kept, held = model._hold_out(given, 0.25)
    assert len(kept.targets) + len(held.targets) == 48
    shares = np.bincount(held.targets) / np.bincount(given.targets)
    assert shares == pytest.approx([0.25, 0.25], abs=0.03)
    loss = -np.log(model.predict_proba(held.sequences)[range(len(held.targets)), held.targets])
    assert loss.mean() == pytest.approx(min(curve))


def test_too_few_to_hold_any_out():
    with pytest.raises(DataError, match="early stopping holds out examples to judge by; 2 are"):
        SequenceClassifier(early_stopping=True, epochs=1).fit(np.zeros((2, 3)), [0, 1])
