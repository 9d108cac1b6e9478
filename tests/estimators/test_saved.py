"""Estimators on disk: the same bits in another process, hostile files refused, fits that go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.estimators.forecaster import SeriesForecaster
from recurra.estimators.saved import ESTIMATOR, STATE, Labels
from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor
from recurra.estimators.softmax import SoftmaxClassifier
from recurra.labels.classifier import Classifier
from recurra.series.use.forecaster import Forecaster
from recurra.storage.files import json_bytes
from recurra.storage.sealed import seal
from recurra.storage.sources import changed_source_allowed

SOURCE = Path(__file__).parents[2] / "src"
SMALL = {"hidden_size": 4, "epochs": 3}
WAVE = 10 + np.sin(2 * np.pi * np.arange(60) / 12) + np.arange(60) / 50

ANSWERS = """
import sys
import numpy as np
import recurra as rc
folder = sys.argv[1]
X = np.load(f"{folder}/X.npy")
for name in ("SoftmaxClassifier", "SequenceClassifier", "SequenceRegressor", "SeriesForecaster"):
    model = getattr(rc, name).from_pretrained(f"{folder}/{name}")
    said = {
        "SoftmaxClassifier": lambda: model.predict_proba(X),
        "SequenceClassifier": lambda: model.predict_proba([X[:3], X[3:8]]),
        "SequenceRegressor": lambda: model.predict([X[:3], X[3:8]]),
        "SeriesForecaster": lambda: model.predict(9),
    }[name]()
    np.save(f"{folder}/{name}.npy", said)
"""


@pytest.fixture(scope="module")
def fitted(ragged):
    """One of each, by name."""
    X, y = ragged
    rows = np.concatenate(X)
    return {
        "SoftmaxClassifier": SoftmaxClassifier(steps=9).fit(rows, rows[:, 0] > 0),
        "SequenceClassifier": SequenceClassifier("lstm", dropout=0.1, members=2, **SMALL).fit(X, y),
        "SequenceRegressor": SequenceRegressor(
            bidirectional=True, pooling="attention", **SMALL
        ).fit(X, [x.sum() for x in X]),
        "SeriesForecaster": SeriesForecaster(4, 12, 6, members=2, hidden_size=3).fit(WAVE),
    }


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for name, model in fitted.items():
        model.save_pretrained(folder / name)
    return folder


def test_a_fresh_process_gives_the_same_bits(fitted, saved, ragged):
    X = np.concatenate(ragged[0])
    np.save(saved / "X.npy", X)
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", ANSWERS, str(saved)],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    said = {
        "SoftmaxClassifier": fitted["SoftmaxClassifier"].predict_proba(X),
        "SequenceClassifier": fitted["SequenceClassifier"].predict_proba([X[:3], X[3:8]]),
        "SequenceRegressor": fitted["SequenceRegressor"].predict([X[:3], X[3:8]]),
        "SeriesForecaster": fitted["SeriesForecaster"].predict(9),
    }
    for name, here in said.items():
        there = np.load(saved / f"{name}.npy")
        assert (there == here).all() and there.dtype == here.dtype, name


def test_parameters_and_what_was_fitted_come_back(fitted, saved):
    for name, model in fitted.items():
        again = type(model).from_pretrained(saved / name)
        assert again.get_params() == model.get_params()
        for attribute in ("classes_", "n_features_in_", "n_iter_", "loss_curve_", "names_"):
            if hasattr(model, attribute):
                assert np.array_equal(getattr(again, attribute), getattr(model, attribute))
        assert np.isfinite(again.loss_curve_).all()
    forecaster = SeriesForecaster.from_pretrained(saved / "SeriesForecaster")
    assert (forecaster.horizon_, forecaster.season_) == (4, 12)
    came = WAVE[-6:]
    assert forecaster.score(came) == fitted["SeriesForecaster"].score(came) < 0


def test_a_fit_goes_on_from_what_was_saved(ragged, tmp_path):
    X, y = ragged
    model = SequenceClassifier(random_state=0, **SMALL).fit(X, y)
    model.save_pretrained(tmp_path / "model")
    again = SequenceClassifier.from_pretrained(tmp_path / "model")
    ours, theirs = (each.partial_fit(X, y).predict_proba(X) for each in (model, again))
    assert np.array_equal(ours, theirs)


def test_the_models_are_read_by_commands_and_classes_of_runs_too(fitted, saved, ragged):
    plain = Classifier.from_pretrained(saved / "SequenceClassifier")
    theirs = fitted["SequenceClassifier"].predict_proba(ragged[0])
    assert plain.predict_proba(ragged[0]) == pytest.approx(theirs, abs=1e-5)
    assert plain.classes == ("down", "up")
    ahead = Forecaster.from_pretrained(saved / "SeriesForecaster").predict(9).median[0]
    assert np.array_equal(ahead, fitted["SeriesForecaster"].predict(9))


@pytest.mark.parametrize(
    "classes",
    [
        np.array([-1, 7]),
        np.array([3, 4], np.uint8),
        np.array([False, True]),
        np.array([-1.0, 1.0]),
        np.array(["no", "yes"]),
        np.array(["no", "yes"], object),
    ],
)
def test_labels_of_every_kind_come_back(classes, tmp_path):
    X = np.arange(8.0)[:, None]
    model = SoftmaxClassifier(steps=3).fit(X, classes[np.arange(8) // 4])
    model.save_pretrained(tmp_path / "model")
    again = SoftmaxClassifier.from_pretrained(tmp_path / "model")
    assert again.classes_.dtype == model.classes_.dtype == classes.dtype
    assert again.predict(X).tolist() == model.predict(X).tolist()


def test_labels_that_no_json_holds_are_named():
    with pytest.raises(DataError, match=r"labels are bytes.*, as b'no'.*fit on y\.astype\(str\)"):
        Labels.of(np.array([b"no", b"yes"]))


def test_weights_of_classes_and_a_generator_go_along(tmp_path):
    X, y = np.arange(8.0)[:, None], np.arange(8) // 4
    weights, state = {0: 2.0, 1: np.float64(1)}, np.random.RandomState(3)
    model = SoftmaxClassifier(3, class_weight=weights, random_state=state).fit(X, y)
    model.save_pretrained(tmp_path / "model")
    again = SoftmaxClassifier.from_pretrained(tmp_path / "model")
    assert again.class_weight == {0: 2.0, 1: 1.0}
    assert again.random_state == np.random.RandomState(3).randint(2**31)


def test_every_estimator_goes_on_in_its_directory_to_the_bit(ragged, tmp_path):
    X, y = ragged
    numbers = [x.sum() for x in X]
    cases = [
        (SequenceClassifier, {"batch_size": 16, **SMALL}, (X, y)),
        (SequenceRegressor, {"batch_size": 16, **SMALL}, (X, numbers)),
        (SeriesForecaster, {"horizon": 4, "season": 12, "steps": 5, "members": 1}, (WAVE,)),
    ]
    for make, settings, data in cases:
        place = tmp_path / make.__name__
        first = make(random_state=2, model_dir=place, **settings).fit(*data)
        assert sorted(p.name for p in place.iterdir()) == ["checkpoints", "model"]
        again = make(random_state=2, model_dir=str(place), **settings).fit(*data)
        loaded = make.from_pretrained(place)
        bare = make(random_state=2, **settings).fit(*data)
        ask = (lambda m: m.predict(6)) if make is SeriesForecaster else (lambda m: m.predict(X))
        assert all(np.array_equal(ask(first), ask(each)) for each in (again, loaded, bare))
        assert len(first.loss_curve_) > 0 == len(again.loss_curve_)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0.5}, r"a fit of other settings \(learning_rate changed\)"),
        ({"hidden_size": 5}, r"a fit of other settings \(hidden_size changed\)"),
        ({"random_state": 1}, r"a fit of other settings \(random_state changed\)"),
        ({"class_weight": "balanced"}, r"a fit of other settings \(class_weight changed\)"),
        ({}, r"a fit on other data \(examples changed\)"),
    ],
)
def test_a_directory_of_another_fit_is_refused_in_python_s_words(ragged, tmp_path, change, said):
    X, y = ragged
    model = SequenceClassifier(model_dir=tmp_path / "dir", **SMALL).fit(X, y)
    rows = slice(None) if change else slice(1, None)
    with pytest.raises(ValueError, match=said) as caught:
        model.set_params(**change).fit(X[rows], y[rows])
    assert "--" not in str(caught.value)
    assert "give another model_dir, or remove that one" in str(caught.value)


CELL = """
from recurra import RNNCell

class Mine(RNNCell):
    pass
"""


def test_a_cell_of_one_s_own_must_be_the_one_that_was_fitted(ragged, tmp_path, monkeypatch):
    X, y = ragged
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cell_of_a_fit.py").write_text(CELL)
    model = SequenceClassifier("cell_of_a_fit:Mine", model_dir=tmp_path / "dir", **SMALL).fit(X, y)
    kept = tmp_path / "dir" / "sources" / "cell_of_a_fit.py"
    assert kept.read_text() == CELL
    assert model.fit(X, y) is model
    own = {"allow_import": ["cell_of_a_fit:Mine"]}
    assert SequenceClassifier.from_pretrained(tmp_path / "dir", **own).predict(X[:1]).shape == (1,)

    (tmp_path / "cell_of_a_fit.py").write_text(CELL + "# changed\n")
    with pytest.raises(ConfigError, match=r"cell_of_a_fit.py in .* has changed since .*dir was"):
        model.fit(X, y)
    with pytest.raises(CheckpointError, match="has changed since"):
        SequenceClassifier.from_pretrained(tmp_path / "dir", **own)
    with changed_source_allowed(), pytest.warns(UserWarning, match="has changed since"):
        model.fit(X, y)


def test_a_directory_of_something_else_is_left_alone(tmp_path, ragged):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds notes\.txt, which no estimator put there"):
        SequenceClassifier(model_dir=tmp_path, **SMALL).fit(*ragged)
    with pytest.raises(ConfigError, match="is no directory"):
        SequenceClassifier(model_dir=tmp_path / "notes.txt", **SMALL).fit(*ragged)
    with pytest.raises(ConfigError, match="model_dir: expected a path or None, got 3"):
        SequenceRegressor(model_dir=3, **SMALL).fit(ragged[0], np.arange(48))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_no_such_estimator_is_named(saved, tmp_path):
    place = saved / "SequenceClassifier"
    with pytest.raises(CheckpointError, match="holds a SequenceClassifier, no SoftmaxClassifier"):
        SoftmaxClassifier.from_pretrained(place)
    with pytest.raises(CheckpointError, match="holds a recurra-classifier, no SequenceRegressor"):
        SequenceRegressor.from_pretrained(place)
    with pytest.raises(CheckpointError, match="holds no model"):
        SequenceRegressor.from_pretrained(tmp_path)
    Classifier.from_pretrained(place).save_pretrained(tmp_path / "plain")
    with pytest.raises(CheckpointError, match="holds a model alone, no estimator"):
        SequenceClassifier.from_pretrained(tmp_path / "plain")


def altered(source: Path, place: Path, change) -> Path:
    """A sealed copy, what `estimator.json` says of it changed."""
    said = json.loads((source / ESTIMATOR).read_text())
    change(said)
    names = [path.name for path in source.iterdir() if path.name != "manifest.json"]
    files = {name: (source / name).read_bytes() for name in names} | {ESTIMATOR: json_bytes(said)}
    manifest = json.loads((source / "manifest.json").read_text())
    seal(place, files, manifest["kind"], 1)
    return place


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (["parameters", "hidden_size"], 10**9, "hidden_size"),
        (["parameters", "members"], 200, "network.members is 200"),
        (["parameters", "cell"], "mine_:Cell", "names the cell 'mine_:Cell', code of"),
        (["parameters", "model_dir"], "/etc", "parameters lack or have 'model_dir'"),
        (["parameters", "class_weight"], [["a"]], "parameters: "),
        (["parameters", "epochs"], -1, None),
        (["fitted", "classes"], None, "its classes contradict"),
        (["fitted", "classes", "values"], ["a", "b", "c"], "do not fit the model"),
        (["fitted", "classes", "kind"], "V9999999", "no labels of the kind 'V9999999'"),
        (["fitted", "classes", "kind"], "int64", "classes are no int64"),
        (["fitted", "n_features_in"], 3, "do not fit the model"),
        (["fitted", "n_features_in"], 10**9, "n_features_in is 1000000000"),
        (["fitted", "double"], 1, "double is 1"),
        (["fitted", "more"], 1, "has an unknown .more."),
        (["fitted", "target"], [1.0], "target"),
        (["estimator"], "Popen", "holds a Popen, no SequenceClassifier"),
    ],
)
def test_a_hostile_file_is_refused(saved, tmp_path, keys, value, said):
    def change(whole):
        for key in keys[:-1]:
            whole = whole[key]
        whole[keys[-1]] = value

    place = altered(saved / "SequenceClassifier", tmp_path / "model", change)
    if said is None:  # of no matter before a fit
        assert SequenceClassifier.from_pretrained(place).epochs == value
        return
    with pytest.raises(CheckpointError, match=said):
        SequenceClassifier.from_pretrained(place)


def test_flipped_bytes_and_pickles_are_refused(saved, tmp_path):
    place = tmp_path / "model"
    for name in (ESTIMATOR, STATE, "weights.safetensors"):
        shutil.copytree(saved / "SoftmaxClassifier", place, dirs_exist_ok=True)
        data = bytearray((place / name).read_bytes())
        data[len(data) // 2] ^= 1
        (place / name).write_bytes(data)
        with pytest.raises(CheckpointError, match="expected SHA-256"):
            SoftmaxClassifier.from_pretrained(place)
    torch.save({}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="pickle"):
        SoftmaxClassifier.from_pretrained(tmp_path / "model.pt")


def test_the_state_holds_tensors_alone(saved):
    names = set(load_file(saved / "SequenceClassifier" / STATE))
    assert {"loss_curve", "validation_curve"} < names
    assert all(name.startswith("optimizer.") or name.endswith("_curve") for name in names)
