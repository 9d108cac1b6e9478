"""`recurra classify`: labels and probabilities of the sequences in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recurra.labels.classifier import Classifier
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions

SEQUENCES = (np.array([[0.5, -1.0], [2.0, 0.25]]), np.array([[3.0, 1.0]]))


def saved(folder: Path, kind: str) -> Classifier:
    steps = 1 if kind == "softmax" else None
    options = LabelNetworkOptions(kind=kind, hidden_size=4)
    stream = torch.Generator().manual_seed(3)
    classifier = Classifier(SequenceNetwork(options, 2, 3, stream, steps=steps), "abc", steps)
    classifier.save_pretrained(folder / "model")
    return classifier


@pytest.mark.parametrize(
    "text",
    [
        "@classLabel true a b c\n@data\n0.5,2:-1,0.25:a\n3:1:c\n",
        "# mine\n@classLabel false\n@data\n0.5,2:-1,0.25\n3:1\n",
    ],
    ids=["labelled", "not labelled"],
)
def test_sequences_of_a_ts_file(recurra, tmp_path, text):
    classifier = saved(tmp_path, "recurrent")
    (tmp_path / "x.ts").write_text(text)
    assert recurra("classify", ".", "x.ts").out.splitlines() == classifier.predict(SEQUENCES)
    rows = recurra("classify", ".", "x.ts", "--json").json["classifications"]
    for row, label, probabilities in zip(
        rows, classifier.predict(SEQUENCES), classifier.predict_proba(SEQUENCES), strict=True
    ):
        assert row["label"] == label
        assert row["probabilities"] == pytest.approx(dict(zip("abc", probabilities)))


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n-.5,4e1\n",
        "x,y\n1,2\n-.5,4e1\n",
        "x;y\n1;2\n-.5;4e1\n",
        "x,y,label\n1,2,a\n-.5,4e1,b\n",
    ],
    ids=["bare", "headed", "semicolons", "labelled"],
)
def test_rows_of_a_table(recurra, tmp_path, text):
    classifier = saved(tmp_path, "softmax")
    (tmp_path / "x.csv").write_text(text)
    expected = classifier.predict([np.array([[1.0, 2.0]]), np.array([[-0.5, 40.0]])])
    assert recurra("classify", ".", "x.csv").out.splitlines() == expected


@pytest.mark.parametrize(
    ("name", "text", "code", "said"),
    [
        ("x.csv", "1,2\n3,four\n", 3, "x.csv, row 2: 'column 2' is 'four'"),
        ("x.csv", "1,2,3,4\n", 3, "x.csv"),
        ("x.ts", "@classLabel false\n@data\n1,2:3\n", 3, "x.ts, line 3"),
        ("x.png", "1,2\n", 3, "x.png"),
        ("x.csv", "", 3, "x.csv is empty"),
    ],
)
def test_what_cannot_be_classified_is_one_line(recurra, tmp_path, name, text, code, said):
    saved(tmp_path, "softmax")
    (tmp_path / name).write_text(text)
    answer = recurra("classify", ".", name)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    assert said in answer.err
