"""Scikit-learn's own checks, in full: none is expected to fail."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from recurra.estimators.forecaster import SeriesForecaster
from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor
from recurra.estimators.softmax import SoftmaxClassifier

SOURCE = Path(__file__).parents[2] / "src"


@parametrize_with_checks(
    [SoftmaxClassifier(), SequenceClassifier(epochs=30), SequenceRegressor(epochs=60)]
)
def test_scikit_learn_s_check(estimator, check):
    check(estimator)


def test_the_array_interface_s_check_which_asks_for_a_setting_before_scipy():
    code = (
        "from sklearn.utils.estimator_checks import check_array_api_input as check\n"
        "from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor\n"
        "from recurra.estimators.softmax import SoftmaxClassifier\n"
        "for make in (SoftmaxClassifier, SequenceClassifier, SequenceRegressor):\n"
        "    check(make.__name__, make(), 'numpy', expect_only_array_outputs=False)\n"
        "    print(make.__name__)\n"
    )
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["SoftmaxClassifier", "SequenceClassifier", "SequenceRegressor"]


SMALL = {"hidden_size": 3, "epochs": 1, "random_state": 0}
NUMBERS = np.random.default_rng(0).normal(size=(24, 5))
KINDS = np.arange(24) % 2


@pytest.mark.parametrize(
    ("model", "grid", "data", "folds"),
    [
        (SoftmaxClassifier(steps=5), {"learning_rate": [0.1, 0.2]}, (NUMBERS, KINDS), 3),
        (SequenceClassifier(**SMALL), {"num_layers": [1, 2]}, (NUMBERS, KINDS), 3),
        (SequenceRegressor(**SMALL), {"noise": [0.0, 0.1]}, (NUMBERS, NUMBERS[:, 0]), 3),
        (
            SeriesForecaster(4, 1, 3, random_state=0, members=1),
            {"hidden_size": [2, 3], "fill": ["mask", "linear"]},
            (NUMBERS.flatten()[:40],),
            TimeSeriesSplit(3, test_size=4),
        ),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_scores_across_folds_and_a_search_over_each(model, grid, data, folds):
    scores = cross_val_score(model, *data, cv=folds, error_score="raise")
    assert scores.shape == (3,) and np.isfinite(scores).all()
    search = GridSearchCV(model, grid, cv=folds, error_score="raise").fit(*data)
    results = search.cv_results_["mean_test_score"]
    assert search.best_score_ == max(results) and len(results) == np.prod(
        [*map(len, grid.values())]
    )
    chosen = search.best_estimator_.get_params()
    assert search.best_params_.items() <= chosen.items()


def test_of_scikit_learn_s_checks_those_of_parameters_hold_for_a_forecaster_too():
    """It has series in place of X and y: what is asked of a table of examples is no matter."""
    asked = [
        "check_parameters_default_constructible",
        "check_no_attributes_set_in_init",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_set_params",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = check_estimator(SeriesForecaster(steps=2), on_skip=None, on_fail=None)
    passed = {each["check_name"] for each in told if each["status"] == "passed"}
    assert not set(asked) - passed


def test_a_forecaster_takes_no_y():
    with pytest.raises(ValueError, match=r"call fit\(series\), without a y"):
        SeriesForecaster().fit(np.arange(30.0), np.arange(30.0))
