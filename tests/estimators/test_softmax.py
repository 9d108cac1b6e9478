from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from recurra.errors import ConfigError
from recurra.estimators.softmax import SoftmaxClassifier


def same(a, b):
    return all(
        np.array_equal(mine, theirs)
        for mine, theirs in zip(a.network_.state_dict().values(), b.network_.state_dict().values())
    )


def test_iris_across_five_folds(iris):
    assert cross_val_score(SoftmaxClassifier(), *iris).mean() > 0.96


def test_the_optimum_is_logistic_regression_s(overlapping):
    X, y = overlapping
    ours = SoftmaxClassifier(steps=2000).fit(X, y)
    theirs = LogisticRegression(C=np.inf, tol=1e-8, max_iter=10_000).fit(X, y)
    assert ours.n_iter_ < 2000  # the gradient had vanished
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=2e-3)


def test_coefficients_are_for_features_as_given(iris):
    X, y = iris
    model = SoftmaxClassifier(steps=50).fit(X, y)
    logits = X @ model.coef_.T + model.intercept_
    assert model.decision_function(X) == pytest.approx(logits, abs=1e-9)
    powers = np.exp(logits)
    assert model.predict_proba(X) == pytest.approx(powers / powers.sum(axis=1, keepdims=True))


def test_it_goes_on_in_its_directory_to_the_bit(iris, tmp_path):
    settings = {"batch_size": 32, "random_state": 3}
    place = tmp_path / "models" / "iris"
    first = SoftmaxClassifier(steps=40, model_dir=place, **settings).fit(*iris)
    more = SoftmaxClassifier(steps=100, model_dir=str(place), **settings).fit(*iris)
    at_once = SoftmaxClassifier(steps=100, **settings).fit(*iris)
    assert (first.n_iter_, more.n_iter_, len(more.loss_curve_)) == (40, 100, 60)
    assert same(more, at_once) and not same(more, first)


def test_a_finished_directory_is_read_and_not_learned_again(iris, tmp_path):
    model = SoftmaxClassifier(steps=30, batch_size=50, model_dir=tmp_path / "model")
    first, again = clone(model).fit(*iris), clone(model).fit(*iris)
    assert same(first, again)
    assert (again.n_iter_, again.loss_curve_) == (30, [])


def test_a_directory_of_other_data_is_refused(iris, tmp_path):
    X, y = iris
    SoftmaxClassifier(steps=5, model_dir=tmp_path / "model").fit(X, y)
    with pytest.raises(ValueError, match=r"model_dir: .*model holds a fit on other data \(examp"):
        SoftmaxClassifier(steps=5, model_dir=tmp_path / "model").fit(X[1:], y[1:])


def test_partial_fits_over_everything_are_a_fit(overlapping):
    X, y = overlapping
    by_parts = SoftmaxClassifier(random_state=0)
    for _ in range(25):
        by_parts.partial_fit(X, y, classes=[0, 1, 2])
    at_once = SoftmaxClassifier(steps=25, random_state=0).fit(X, y)
    assert same(by_parts, at_once)
    assert by_parts.n_iter_ == 25
    assert by_parts.loss_curve_ == at_once.loss_curve_


def test_a_partial_fit_goes_on_from_a_fit(overlapping):
    X, y = overlapping
    model = SoftmaxClassifier(steps=20).fit(X, y)
    model.partial_fit(X, y)
    assert same(model, SoftmaxClassifier(steps=21).fit(X, y))


def test_partial_fits_of_a_part_each_learn_the_whole(iris):
    X, y = iris
    order = np.random.default_rng(0).permutation(len(y))
    model = SoftmaxClassifier(random_state=0)
    for _ in range(40):
        for rows in np.array_split(order, 5):
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    assert model.score(X, y) > 0.95


def test_stopping_early_keeps_what_did_best(overlapping):
    X, y = overlapping
    wide = PolynomialFeatures(6).fit_transform(X[:60] - X.mean(axis=0))
    model = SoftmaxClassifier(early_stopping=True, random_state=0).fit(wide, y[:60])
    curve = model.validation_curve_
    best = int(np.argmin(curve))
    assert model.n_iter_ < 800 and len(curve) == best + 11
    steps = (best + 1) * 10
    until_then = SoftmaxClassifier(steps=steps, early_stopping=True, random_state=0)
    assert same(model, until_then.fit(wide, y[:60]))


def test_a_search_over_a_pipeline(iris):
    pipeline = make_pipeline(PolynomialFeatures(1), SoftmaxClassifier(steps=60))
    grid = {"softmaxclassifier__learning_rate": [1e-6, 0.1], "polynomialfeatures__degree": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(*iris)
    assert search.best_params_["softmaxclassifier__learning_rate"] == 0.1
    assert search.best_score_ > 0.93


def test_it_pickles(iris):
    model = SoftmaxClassifier(steps=10).fit(*iris)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(iris[0]), model.predict_proba(iris[0]))
    again.partial_fit(*iris)
    assert same(again, model.partial_fit(*iris))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"learning_rate": -1}, "learning_rate is -1, but must be above 0"),
        ({"class_weight": "even"}, "class_weight: expected a dictionary, 'balanced' or None"),
        ({"class_weight": {0: -1}}, "class_weight: weights are at least 0"),
        ({"random_state": "luck"}, "random_state: expected an integer"),
        ({"model_dir": 3}, "model_dir: expected a path or None, got 3"),
    ],
)
def test_a_parameter_out_of_range_is_named_at_fit(iris, settings, said):
    with pytest.raises(ConfigError, match=said):
        SoftmaxClassifier(**settings).fit(*iris)
