from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight

from recurra.errors import DataError
from recurra.estimators.sequence import SequenceClassifier
from recurra.estimators.softmax import SoftmaxClassifier


def test_two_classes_decide_by_one_number(iris):
    X, y = iris[0][:100], np.repeat(["no", "yes"], 50)
    model = SoftmaxClassifier(steps=20).fit(X, y)
    decision = model.decision_function(X)
    assert decision.shape == (100,)
    assert model.predict_proba(X)[:, 1] == pytest.approx(1 / (1 + np.exp(-decision)))
    assert model.predict(X).tolist() == np.where(decision > 0, "yes", "no").tolist()


def test_class_weight_is_a_factor_of_sample_weight(overlapping):
    X, y = overlapping
    given = np.random.default_rng(1).uniform(0.5, 2, len(y))
    factors = {0: 3.0, 2: 0.25}
    weighted = SoftmaxClassifier(steps=30, class_weight=factors).fit(X, y, given)
    by_hand = SoftmaxClassifier(steps=30).fit(X, y, given * np.array([3.0, 1.0, 0.25])[y])
    assert np.array_equal(weighted.coef_, by_hand.coef_)


def test_balanced_is_scikit_learn_s(overlapping):
    X, y = overlapping[0][:90], np.repeat([0, 1, 2], [60, 20, 10])
    factors = compute_class_weight("balanced", classes=np.arange(3), y=y)
    balanced = SoftmaxClassifier(steps=30, class_weight="balanced").fit(X, y)
    by_hand = SoftmaxClassifier(steps=30).fit(X, y, factors[y])
    assert balanced.coef_ == pytest.approx(by_hand.coef_, rel=1e-9)


def test_balanced_counts_weights_as_repetitions(overlapping):
    X, y = overlapping
    times = np.random.default_rng(2).integers(0, 4, len(y))
    model = SoftmaxClassifier(steps=60, class_weight="balanced")
    weighted = clone(model).fit(X, y, times)
    repeated = clone(model).fit(X.repeat(times, axis=0), y.repeat(times))
    # The biases' first gradient is 0 but for rounding, which Adam makes a little more of.
    assert weighted.predict_proba(X) == pytest.approx(repeated.predict_proba(X), rel=1e-4)


def test_classes_of_partial_fits_are_known_from_the_first(iris):
    X, y = iris
    with pytest.raises(DataError, match="classes must be passed on the first call"):
        SoftmaxClassifier().partial_fit(X, y)
    model = SoftmaxClassifier().partial_fit(X[:60], y[:60], classes=[2, 0, 1])
    assert model.predict_proba(X).shape == (150, 3)
    with pytest.raises(DataError, match=r"\[0, 1\] are not those of the first call, \[0, 1, 2\]"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(DataError, match=r"not in classes: \[7\]"):
        model.partial_fit(X[:1], [7])


def test_a_single_class_is_refused(iris):
    with pytest.raises(DataError, match=r"got 1 class, \[0\], expected at least 2"):
        SoftmaxClassifier().fit(iris[0], np.zeros(150, dtype=int))


def test_a_weighty_class_wins(ragged):
    X, y = ragged
    model = SequenceClassifier(hidden_size=6, epochs=30, random_state=0)
    model.set_params(class_weight={"up": 1000, "down": 1e-3}).fit(X, y)
    assert set(model.predict(X)) == {"up"}
