"""A trained classifier: what it says, and how it is saved and found again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import CheckpointError, DataError, ShapeError
from recurra.labels.classifier import Classifier
from recurra.labels.entry import FORMAT
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions
from recurra.labels.sequences import LabelledSequences
from recurra.storage.format import Format
from recurra.storage.pretrained import save_pretrained

DRAWS = np.random.default_rng(6)
SEQUENCES = [DRAWS.normal(size=(length, 2)) for length in (3, 5, 1)]


def make(steps: int | None = None, **changes: Any) -> Classifier:
    options = LabelNetworkOptions(**{"hidden_size": 4, "pooling": "attention", **changes})
    stream = torch.Generator().manual_seed(1)
    network = SequenceNetwork(options, 2, 3, stream, steps)
    network.standardize(SEQUENCES)
    return Classifier(network, ("a", "b", "c"), steps)


def test_what_it_says_in_three_ways():
    classifier = make(members=2, num_layers=2)
    probabilities = classifier.predict_proba(SEQUENCES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(probabilities), classifier.log_probs(SEQUENCES))
    expected = torch.softmax(classifier.network.predict(SEQUENCES), dim=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert classifier.predict(SEQUENCES) == ["abc"[row.argmax()] for row in probabilities]


def test_it_is_judged():
    classifier = make()
    right = np.array(["abc".index(name) for name in classifier.predict(SEQUENCES)])
    labels = np.array([right[0], right[1], (right[2] + 1) % 3])
    metrics = classifier.evaluate(LabelledSequences(tuple(SEQUENCES), labels, ("a", "b", "c")))
    assert metrics.accuracy == pytest.approx(2 / 3)
    assert metrics.log_loss == pytest.approx(
        -classifier.log_probs(SEQUENCES)[np.arange(3), labels].mean()
    )


@pytest.mark.parametrize(
    ("sequence", "shape"),
    [(np.zeros((3, 1)), r"\(3, 1\)"), (np.zeros(2), r"\(2,\)"), (np.zeros((0, 2)), r"\(0, 2\)")],
)
def test_a_sequence_of_another_shape_is_named(sequence, shape):
    with pytest.raises(ShapeError, match=rf"sequence 2 has the shape {shape}, expected \(steps, 2"):
        make().predict([SEQUENCES[0], sequence])


# Saved and found again


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell": "gru", "num_layers": 2, "members": 3, "bidirectional": False},
        {"pooling": "last", "dropout": 0.5, "noise": 1.0, "standardize": False},
        {"kind": "softmax", "steps": 3},
    ],
)
def test_it_comes_back_to_the_bit(tmp_path, changes):
    classifier = make(**changes)
    with torch.no_grad():
        for parameter in classifier.network.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    data = SEQUENCES[:1] if "steps" in changes else SEQUENCES
    before = torch.get_rng_state()
    classifier.save_pretrained(tmp_path / "run" / "model")
    for place in (tmp_path / "run", str(tmp_path / "run" / "model")):
        again = Classifier.from_pretrained(place)
        assert again.classes == ("a", "b", "c")
        assert (again.log_probs(data) == classifier.log_probs(data)).all()
    assert torch.equal(torch.get_rng_state(), before)


def saved(folder: Path, **changes: Any) -> Path:
    """A model directory whose facts are not as they should be."""
    classifier = make()
    facts = {
        "classes": ["a", "b", "c"],
        "input_size": 2,
        "steps": None,
        "network": classifier.network.options.model_dump(mode="json"),
        **changes,
    }
    kind = facts.pop("kind", "network")
    tensors = facts.pop("tensors", dict(classifier.network.state_dict()))
    facts = {name: value for name, value in facts.items() if value != "missing"}
    save_pretrained(folder / "model", FORMAT, kind, facts, tensors)
    return folder


def options(**changes: Any) -> dict[str, Any]:
    return {**make().network.options.model_dump(mode="json"), **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "forest"}, "describes no classifier"),
        ({"input_size": True}, "input_size is True, but must be a whole number"),
        ({"classes": ["a"]}, r"model\.json: classes is .*at least 2 items"),
        ({"classes": ["a", 3, "c"]}, r"classes\.1 is 3, but must be text"),
        ({"classes": "missing"}, "lacks 'classes'"),
        ({"input_size": 0}, "input_size is 0, but must be at least 1"),
        ({"input_size": 10**9}, "input_size is 1000000000, but must be at most"),
        ({"steps": "many"}, "steps is 'many', but must be a whole number"),
        ({"network": []}, r"network is \[\], but must be a valid dict"),
        ({"network": options(hidden_size=-1)}, "network.hidden_size is -1"),
        ({"network": options(wings=2)}, "has an unknown 'network.wings'"),
        ({"network": options(noise=None)}, "can be made: network.noise is not set"),
        ({"network": options(cell="lsmt")}, "no cell is named 'lsmt'"),
        ({"network": options(kind="softmax")}, "can be made: .*one length"),
        (
            {"network": options(members=256, num_layers=256)},
            "members is 256, but there are ",
        ),
        ({"network": options(hidden_size=60_000)}, r"weight_ih is \(16, 2\), expected \(240000"),
        ({"classes": ["a", "b"]}, r"head\.bias is \(3,\), expected \(2,\)"),
        ({"tensors": {"mean": torch.zeros(2)}}, "do not fit the model: missing scale"),
    ],
)
def test_a_model_that_does_not_hold_together_is_refused(tmp_path, changes, said):
    with pytest.raises(CheckpointError, match=said) as caught:
        Classifier.from_pretrained(saved(tmp_path, **changes))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_other_models_and_altered_files_are_refused(tmp_path):
    save_pretrained(tmp_path / "other", Format("recurra-forecaster"), "network", {}, {})
    with pytest.raises(CheckpointError, match="expected a recurra-classifier, found"):
        Classifier.from_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match="holds no model; is the run finished"):
        Classifier.from_pretrained(tmp_path / "nowhere")
    run = saved(tmp_path / "run")
    path = run / "model" / "model.json"
    path.write_text(path.read_text().replace('"a"', '"z"'))
    with pytest.raises(CheckpointError, match=r"model\.json: expected SHA-256"):
        Classifier.from_pretrained(run)


def test_facts_are_plain_json(tmp_path):
    make().save_pretrained(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["kind"] == "network"
    assert facts["classes"] == ["a", "b", "c"]
    assert facts["network"]["pooling"] == "attention"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 3e38, -1e31])
def test_values_of_1e300_and_3e38_to_a_classifier(value):
    odd = [SEQUENCES[0], SEQUENCES[1].copy(), SEQUENCES[2]]
    odd[1][3, 1] = value
    classifier = make()
    said = re.escape(f"sequence 2, step 4, feature 2 is {value:g}")
    for ask in (classifier.predict, classifier.predict_proba, classifier.log_probs):
        with pytest.raises(DataError, match=said):
            ask(odd)


@pytest.mark.parametrize("value", [10**400, 1j, "much"])
def test_what_is_no_number_to_a_classifier(value):
    odd = [SEQUENCES[0], [[0.0, value]]]
    with pytest.raises(DataError, match="sequence 2 holds what is no number: "):
        make().predict(odd)


def test_no_label_without_a_probability():
    classifier = make(cell="rnn", standardize=False)
    with torch.no_grad():
        classifier.network.members[0].head.weight.fill_(1e30)
        classifier.network.members[0].head.weight[1].fill_(-3e38)
        classifier.network.members[0].head.bias.fill_(3e38)
    with pytest.raises(DataError, match="sequence 1 is too far from what was learned"):
        classifier.predict(SEQUENCES)


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-300, 1e20, 1e30])
def test_what_is_odd_but_fits_has_probabilities(value):
    found = make(cell="lstm").predict_proba([np.full((4, 2), value), np.full((1, 2), -value)])
    np.testing.assert_allclose(found.sum(axis=1), 1)
