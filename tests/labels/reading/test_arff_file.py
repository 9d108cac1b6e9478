"""The ARFF format: sequences, features, several dimensions, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.errors import DataError
from recurra.labels.datasets.files import read_examples, read_sequences
from recurra.labels.reading.arff_file import read_arff

STEPS = "@RELATION ramp\n\n% comment\n@ATTRIBUTE att0 NUMERIC\n@attribute att1 real\n"
CLASS = "@attribute target {up, 'go down'}\n@DATA\n"
BAG = (
    "@relation bag\n@attribute relationalAtt relational\n@attribute att0 numeric\n"
    "@attribute att1 numeric\n@end relationalAtt\n@attribute class {1,2}\n@data\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "ramp_TRAIN.arff"
    path.write_text(text)
    return path


def test_counted_attributes_are_steps(tmp_path):
    found = read_examples(write(tmp_path, STEPS + CLASS + "1,2,up\n%no\n\n-3,?, 'go down'\n"))
    assert [x.tolist() for x in found.sequences] == [[[1.0], [2.0]], [[-3.0]]]
    assert (found.names, found.classes) == (("up", "go down"), ("up", "go down"))
    assert found.notes[-1] == "the numbers of a row are steps of one feature"


def test_other_attributes_are_features(tmp_path):
    text = "@attribute 'sepal length' real\n@attribute width real\n@attribute class {a,b}\n@data\n"
    path = write(tmp_path, text + "1,2,a\n3,4,b\n")
    assert [x.tolist() for x in read_examples(path).sequences] == [[[1, 2]], [[3, 4]]]
    assert read_examples(path, None, "steps").sequences[0].tolist() == [[1], [2]]


def test_a_relation_is_several_dimensions(tmp_path):
    path = write(tmp_path, BAG + "'1,2\\n3,4',1\n\"5,6\\n7,?\",2\n")
    found = read_examples(path)
    assert [x.tolist() for x in found.sequences] == [[[1, 3], [2, 4]], [[5, 7], [6, 7]]]
    assert found.names == ("1", "2")
    assert len(read_sequences(path, 2).sequences) == 2


def test_labels_may_be_texts_or_there_may_be_none(tmp_path):
    text = STEPS + "@attribute name string\n@data\n1,2,x\n3,4,y\n"
    assert read_examples(write(tmp_path, text)).names == ("x", "y")
    bare = write(tmp_path, STEPS + "@data\n1,2\n")
    assert read_sequences(bare, 1).sequences[0].tolist() == [[1], [2]]
    with pytest.raises(DataError, match="has no nominal attribute"):
        read_arff(bare)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no @data"),
        (STEPS + CLASS, "holds no example"),
        ("@data\n1,2\n", "line 1: no @attribute stands before @data"),
        (STEPS + CLASS + "1,2\n", "line 8: expected 3 cells, found 2"),
        (STEPS + CLASS + "1,two,up\n", "line 8: step 2 is 'two', which is no number"),
        (STEPS + CLASS + "1,2,?\n", "line 8: the label is missing"),
        (STEPS + CLASS + "{0 1, 2 up}\n", "line 8: the row is sparse"),
        (STEPS + "@attribute when date\n" + CLASS + "1,2,3,up\n", "'when' is not numeric"),
        (STEPS + "@attribute c {a, b\n@data\n", "line 6: the classes of 'c' do not end"),
        ("@attribute x\n@data\n", "line 1: expected @attribute, a name and a kind"),
        ("x,y\n", "line 1: expected @attribute or @data, got 'x,y'"),
        (BAG + "'1,2\\n3',1\n", "line 8: its dimensions differ in their steps"),
        (
            "@attribute a real\n@attribute b real\n@attribute c {x}\n@data\n1,?,x\n",
            "'b' is missing",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_arff(write(tmp_path, text))
