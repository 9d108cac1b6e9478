from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from recurra.errors import ConfigError, DataError
from recurra.estimators.options import SequenceOptions
from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor

SMALL = {"hidden_size": 6, "epochs": 4, "random_state": 0}


@pytest.fixture(scope="module")
def waves():
    rng = np.random.default_rng(0)
    cycles, start = rng.uniform(1, 4, 120), rng.uniform(0, 6, 120)
    return np.sin(2 * np.pi * cycles[:, None] * np.linspace(0, 1, 12) + start[:, None]), cycles


def test_iris_as_four_steps_across_five_folds():
    X, y = load_iris(return_X_y=True)
    assert cross_val_score(SequenceClassifier(random_state=0), X, y).mean() > 0.95


def test_the_frequency_of_waves_not_seen(waves):
    X, y = waves
    model = SequenceRegressor(random_state=0).fit(X[:90], y[:90])
    assert model.score(X[90:], y[90:]) > 0.9


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_cell_and_pooling_learns_ragged_lists(ragged, cell, pooling, bidirectional):
    model = SequenceClassifier(cell, 8, bidirectional, pooling, epochs=50, random_state=0)
    assert model.fit(*ragged).score(*ragged) > 0.9


def test_what_stands_beside_a_sequence_does_not_matter(ragged):
    X, y = ragged
    model = SequenceClassifier(bidirectional=True, pooling="attention", **SMALL).fit(X, y)
    alone = np.concatenate([model.predict_proba([x]) for x in X])
    assert model.predict_proba(X) == pytest.approx(alone, abs=1e-12)


def test_a_table_an_array_and_lists_are_the_same_sequences(waves):
    X, y = waves[0][:20], waves[1][:20]
    forms = [X, X[:, :, None], list(X[:, :, None]), [[[v] for v in x] for x in X.tolist()]]
    fitted = [SequenceRegressor(**SMALL).fit(form, y) for form in forms]
    numbers = [model.predict(form) for model, form in zip(fitted, forms)]
    assert all(np.array_equal(numbers[0], other) for other in numbers[1:])
    assert [model.n_features_in_ for model in fitted] == [12, 1, 1, 1]


def test_one_feature_may_have_any_length_once_fitted(waves):
    X, y = waves[0][:20], waves[1][:20]
    by_table, by_array = (SequenceRegressor(**SMALL).fit(form, y) for form in (X, X[:, :, None]))
    shorter = X[:, :7]
    assert by_table.predict(list(shorter[:, :, None])) == pytest.approx(by_array.predict(shorter))
    with pytest.raises(ValueError, match="X has 7 features, but SequenceRegressor is expecting 12"):
        by_table.predict(shorter)


def test_a_search_over_ragged_lists(ragged):
    grid = {"pooling": ["last", "mean"], "learning_rate": [1e-7, 0.05]}
    model = SequenceClassifier(hidden_size=6, epochs=25, random_state=0)
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(*ragged)
    assert search.best_params_["learning_rate"] == 0.05
    assert search.best_score_ > 0.8
    assert search.best_estimator_.learning_rate == 0.05


def test_a_pipeline_over_ragged_lists(ragged):
    X, y = ragged
    first = FunctionTransformer(lambda X: [x[:, :1] for x in X], validate=False)
    pipeline = Pipeline([("first", first), ("model", SequenceClassifier(**SMALL))])
    pipeline.set_params(model__epochs=25, model__num_layers=2)
    scores = cross_val_score(pipeline, X, y, cv=3, error_score="raise")
    assert scores.mean() > 0.8
    pipeline.fit(X, y, model__sample_weight=np.ones(len(y)))
    assert len(pipeline["model"].network_.members[0].recurrence.cells) == 2
    assert pipeline["model"].n_features_in_ == 1


def test_every_setting_is_a_parameter_by_its_plain_name():
    model = SequenceClassifier(dropout=0.3, members=2)
    assert set(SequenceOptions.model_fields) < set(model.get_params())
    assert (model.get_params()["dropout"], model.num_layers) == (0.3, 1)
    assert repr(model) == "SequenceClassifier(dropout=0.3, members=2)"
    twin = clone(model).set_params(noise=0.1)
    assert (twin.dropout, twin.members, twin.noise, model.noise) == (0.3, 2, 0.1, 0.0)
    assert "num_layers: layers of the cell." in SequenceRegressor.__doc__


def test_a_parameter_that_there_is_not_is_named():
    with pytest.raises(TypeError, match=r"no parameter 'dropuot'\. Did you mean 'dropout'"):
        SequenceClassifier(dropuot=0.1)
    with pytest.raises(ValueError, match="Invalid parameter 'dropuot'"):
        SequenceRegressor().set_params(dropuot=0.1)


def test_partial_fits_go_on(ragged):
    X, y = ragged
    model = SequenceClassifier(hidden_size=6, random_state=0)
    for start in (0, 24) * 40:
        rows = slice(start, start + 24)
        model.partial_fit(X[rows], y[rows], classes=["down", "up"])
    assert model.n_iter_ == 80 and model.score(X, y) > 0.95
    copy = pickle.loads(pickle.dumps(model))
    ours, theirs = (m.partial_fit(X, y).predict_proba(X) for m in (model, copy))
    assert np.array_equal(ours, theirs)


def test_partial_fits_of_numbers(waves):
    X, y = waves
    model = SequenceRegressor(random_state=0).fit(X, y + 100)
    before = model.loss_curve_[-1]
    model.partial_fit(X, y + 100)
    assert model.loss_curve_[-1] == pytest.approx(before, rel=0.2)
    fresh = SequenceRegressor(random_state=0)
    for _ in range(60):
        fresh.partial_fit(X, y + 100)
    assert fresh.score(X, y + 100) > 0.8


def test_a_constant_target_is_learned():
    X = np.random.default_rng(0).normal(size=(10, 5))
    model = SequenceRegressor(**SMALL).fit(X, np.full(10, 3.0))
    assert model.predict(X) == pytest.approx(3.0, abs=0.5)


def test_names_of_columns_are_held_to():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 3)), columns=["a", "b", "c"])
    model = SequenceRegressor(**SMALL).fit(X, np.arange(12))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[["b", "a", "c"]])
    model.fit(X.to_numpy()[:, :, None], np.arange(12))
    assert not hasattr(model, "feature_names_in_")


def test_a_cell_of_one_s_own_by_its_place(ragged):
    model = SequenceClassifier(cell="recurra.nn.cells.gru:GRUCell", **SMALL).fit(*ragged)
    named = SequenceClassifier(cell="gru", **SMALL).fit(*ragged)
    assert np.array_equal(model.predict_proba(ragged[0]), named.predict_proba(ragged[0]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cell": "lsmt"}, "no cell is named 'lsmt'. Did you mean 'lstm'"),
        ({"pooling": "max"}, "pooling is 'max', but must be 'last', 'mean' or 'attention'"),
        ({"epochs": 0}, "epochs is 0, but must be above 0"),
        ({"hidden_size": 0}, "hidden_size is 0, but must be at least 1"),
        ({"members": 0}, "members is 0, but must be at least 1"),
        ({"random_state": "luck"}, "random_state: expected an integer"),
    ],
)
def test_a_parameter_out_of_range_is_named_at_fit(ragged, settings, said):
    with pytest.raises(ConfigError, match=said):
        SequenceClassifier(**settings).fit(*ragged)


def test_sequences_of_other_features_are_refused(ragged):
    X, y = ragged
    model = SequenceClassifier(**SMALL).fit(X, y)
    with pytest.raises(DataError, match="have 1 features, but SequenceClassifier is expecting 2"):
        model.predict([x[:, :1] for x in X])
    with pytest.raises(DataError, match="have 1 features"):
        model.predict(np.zeros((3, 5)))


def nested(X):
    return pd.DataFrame({f"dim_{f}": [pd.Series(x[:, f]) for x in X] for f in range(2)})


def test_sktime_s_nested_frame_is_read_and_its_columns_are_held_to(ragged):
    X, y = ragged
    frame = nested(X)
    model = SequenceClassifier(**SMALL).fit(frame, y)
    theirs = SequenceClassifier(**SMALL).fit(X, y)
    assert np.array_equal(model.predict_proba(frame), theirs.predict_proba(X))
    assert model.n_features_in_ == 2 and model.feature_names_in_.tolist() == ["dim_0", "dim_1"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["dim_1", "dim_0"]])
    scores = cross_val_score(SequenceClassifier(**SMALL), frame, y, cv=2, error_score="raise")
    assert scores.shape == (2,)


def test_lists_of_frames_and_columns_of_polars_are_sequences(ragged):
    X, y = ragged[0], np.arange(48)
    model = SequenceRegressor(**SMALL).fit(X, y)
    assert np.array_equal(model.predict([pl.DataFrame(x) for x in X]), model.predict(X))
    assert np.array_equal(model.predict([pd.DataFrame(x) for x in X]), model.predict(X))
    one = SequenceRegressor(**SMALL).fit([pl.Series(x[:, 0]) for x in X], y)
    assert one.n_features_in_ == 1


def test_sequences_are_no_table(ragged):
    from recurra.estimators.softmax import SoftmaxClassifier

    with pytest.raises(DataError, match="cells of X hold sequences, but SoftmaxClassifier reads"):
        SoftmaxClassifier().fit(nested(ragged[0]), ragged[1])
