"""Files of one's own: CSV tables, `.ts` files, and the test part beside them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from recurra.errors import ConfigError, DataError
from recurra.labels.datasets.files import LabelFiles, read_examples, read_sequences
from recurra.labels.options import LabelOptions


def write(folder: Path, text: str, name: str = "things.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("x,y,kind\n1,2,a\n3,4.5,b\n", None),  # the last column
        ("label,x,y\na,1,2\nb,3,4.5\n", None),
        ("x,kind,y\n1,a,2\n3,b,4.5\n", "kind"),
        ("1,2,a\n3,4.5,b\n", None),  # no header
        ("x;y;kind\n1;2;a\n\n3;4.5;b\n", None),
        ("x\ty\tkind\r\n 1 \t2\ta\r\n3\t4.5\tb\r\n", None),
        ('x,y,kind\n1,2,"a"\n"3",4.5,b', None),
    ],
)
def test_tables_in_their_many_forms(tmp_path, text, column):
    for name in ("things.csv", "things.csv.gz"):
        found = read_examples(write(tmp_path, text, name), column)
        assert [sequence.tolist() for sequence in found.sequences] == [[[1, 2]], [[3, 4.5]]]
        assert (found.names, found.classes) == (("a", "b"), ())


def test_labels_may_be_numbers_and_hold_commas(tmp_path):
    assert read_examples(write(tmp_path, "x,label\n1,0\n2,1\n")).names == ("0", "1")
    assert read_examples(write(tmp_path, "1.5,0\n2.5,1\n")).names == ("0", "1")
    assert read_examples(write(tmp_path, 'x,label\n1,"a, b"\n')).names == ("a, b",)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", None, "is empty"),
        ("x,label\n", None, "expected rows with a label and at least one number, got 0 rows"),
        ("label\na\n", None, "got 1 rows of 1 columns"),
        ("x,label\n1,a\n2\n", None, "row 2: expected 2 cells, found 1"),
        ("x,label\n1,a\n2,b,3\n", None, "row 2: expected 2 cells, found 3"),
        ("x,y,label\n1,2,a\n1,,b\n", None, "row 2: 'y' is '', which is no number; fill it"),
        ("x,y,label\n1,red,a\n", None, "row 1: 'y' is 'red', which is no number"),
        ("x,label\n1,a\n2,\n", None, "row 2: the label, 'label', is empty"),
        ("x,kind\n1,a\n", "knid", "has no column 'knid'. Did you mean 'kind'. There are: x, kind"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_its_row(tmp_path, text, column, said):
    said = said.replace("?", r"\?").replace("'kind'. There", r"'kind'\? There")
    with pytest.raises(DataError, match=said):
        read_examples(write(tmp_path, text), column)


def test_infinite_cells_are_refused_when_they_become_examples(tmp_path):
    from recurra.labels.datasets import open_labels

    path = write(tmp_path, "x,label\n1,a\ninf,b\n")
    with pytest.raises(DataError, match="example 2, step 1, feature 1 is inf"):
        open_labels(LabelOptions(dataset=str(path)))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("w_TRAIN.csv", "w_TEST.csv"),
        ("w_TRAIN.csv", "w_TEST.csv.gz"),
        ("w_train.csv.gz", "w_test.csv"),
        ("a_TRAIN_b_TRAIN.csv", "a_TRAIN_b_TEST.csv"),
    ],
)
def test_the_test_part_beside(tmp_path, train, test):
    write(tmp_path, "x,label\n1,a\n", train)
    write(tmp_path, "x,label\n2,b\n", test)
    parts = LabelFiles(LabelOptions(dataset=str(tmp_path / train))).parts()
    assert {name: part.names for name, part in parts.items()} == {"train": ("a",), "test": ("b",)}


@pytest.mark.parametrize("name", ["w.csv", "w_TRAIN.csv", "TRAIN_w.csv", "w_TEST.csv"])
def test_no_test_part_beside(tmp_path, name):
    write(tmp_path, "x,label\n1,a\n", name)
    assert set(LabelFiles(LabelOptions(dataset=str(tmp_path / name))).parts()) == {"train"}


def test_the_kind_of_a_file_is_told_by_its_name(tmp_path):
    text = "@classLabel true\n@data\n1,2:a\n"
    for name in ("w.ts", "w.TS", "w.ts.gz"):
        assert read_examples(write(tmp_path, text, name)).names == ("a",)
    with pytest.raises(DataError, match=r"w\.xlsx: expected a file named \.ts, \.arff or \.csv"):
        read_examples(write(tmp_path, text, "w.xlsx"))
    with pytest.raises(DataError, match=r"is a directory: give a NAME_TRAIN\.ts"):
        read_examples(tmp_path)


def test_a_label_column_is_of_tables_alone():
    for option in ({"label_column": "kind"}, {"rows": "steps"}):
        with pytest.raises(ConfigError, match=r"is a \.ts file, which says so itself"):
            LabelFiles(LabelOptions(dataset="w_TRAIN.ts.gz", **option))


# Without labels, or past them


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.ts", "@classLabel true a b\n@data\n1,3:2,4:?\n5:6:z\n"),
        ("w.ts", "@classLabel false\n@data\n1,3:2,4\n5:6\n"),
        ("w.ts", "@data\n1,3:2,4\n5:6\n"),
    ],
)
def test_sequences_with_labels_or_without(tmp_path, name, text):
    found = read_sequences(write(tmp_path, text, name), 2)
    assert [sequence.tolist() for sequence in found.sequences] == [[[1, 2], [3, 4]], [[5, 6]]]


@pytest.mark.parametrize(
    "text",
    [
        "x,y\n1,2\n3,4\n",
        "1,2\n3,4\n",
        "x,y,kind\n1,2,a\n3,4,b\n",
        "kind,x,y\na,1,2\nb,3,4\n",
        "label,x,y\n7,1,2\n8,3,4\n",
        "1,2,7\n3,4,8\n",
    ],
)
def test_tables_with_labels_or_without(tmp_path, text):
    found = read_sequences(write(tmp_path, text), 2)
    assert [sequence.tolist() for sequence in found.sequences] == [[[1, 2]], [[3, 4]]]


def test_a_single_feature_without_a_header_loses_no_row(tmp_path):
    assert len(read_sequences(write(tmp_path, "1\n2\n3\n"), 1).sequences) == 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.csv", "1,2,3,4\n", "has 4 columns, expected 2 of numbers, and at most one of labels"),
        ("w.csv", "1,2\n3,nan\n", "example 2, step 1, feature 2 is nan: give finite numbers"),
        ("w.csv", "1,2\n3\n", "row 2: expected 2 cells, found 1"),
        ("w.ts", "@data\n1,2\n", "example 1 has 1 features, the classifier learned 2"),
        ("w.ts", "@classLabel true\n@data\na\n", "line 3: expected numbers, a colon and a label"),
    ],
)
def test_what_a_classifier_cannot_read(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said):
        read_sequences(write(tmp_path, text, name), 2)


# Steps of one feature, as the UCR archive has them: the label first


def ramp(up: bool, count: int = 6) -> list[float]:
    return [
        round((1 if up else -1) * (step - 2.5) / 3 + 0.01 * (count % 3), 4) for step in range(6)
    ]


def archive(folder: Path, name: str, divider: str = "\t", labels: tuple[str, str] = ("1", "2")):
    rows = [[labels[n % 2], *map(str, ramp(n % 2 == 0, n))] for n in range(8)]
    return write(folder, "\n".join(map(divider.join, rows)) + "\n", name)


@pytest.mark.parametrize(
    ("name", "divider", "labels"),
    [
        ("Gun_TRAIN.tsv", "\t", ("1", "2")),
        ("Gun_TRAIN.tsv.gz", "\t", ("1", "2")),
        ("Gun_TRAIN.csv", ",", ("-1", "1")),
        ("Gun_TRAIN.txt", "  ", ("1.0000000e+00", "2.0000000e+00")),
        ("Gun_TRAIN", ",", ("1", "2")),
        ("gun_train.txt", "   ", ("0", "1")),
        ("gun.tsv", "\t", ("1", "2")),
        ("gun.csv", ",", ("up", "down")),
    ],
)
def test_gun_train_tsv_of_the_ucr_archive_has_the_label_first(tmp_path, name, divider, labels):
    found = read_examples(archive(tmp_path, name, divider, labels))
    plain = [label.removesuffix(".0000000e+00") for label in labels]
    assert found.names[:3] == (plain[0], plain[1], plain[0])
    assert [sequence.shape for sequence in found.sequences] == [(6, 1)] * 8
    assert found.sequences[1][:, 0].tolist() == ramp(False, 1)
    assert found.notes == (
        "without a header: labels in the first column, the others are steps of one feature",
    )


def test_a_test_part_has_the_form_of_its_train_part(tmp_path):
    archive(tmp_path, "Gun_TRAIN")
    write(tmp_path, "1,0.5,1\n2,0.25,2\n", "Gun_TEST")
    parts = LabelFiles(LabelOptions(dataset=str(tmp_path / "Gun_TRAIN"))).parts()
    assert parts["test"].names == ("1", "2")
    assert [x[:, 0].tolist() for x in parts["test"].sequences] == [[0.5, 1], [0.25, 2]]


def test_rows_of_the_archive_that_end_in_nan_are_shorter_and_gaps_are_filled(tmp_path):
    text = "1\t1\t2\t3\t4\n2\t5\tNaN\t7\tNaN\n1\t1\t2\t?\tnan\n2\t9\t8\t\t\n"
    found = read_examples(write(tmp_path, text, "varied_TRAIN.tsv"))
    assert [x[:, 0].tolist() for x in found.sequences] == [[1, 2, 3, 4], [5, 6, 7], [1, 2], [9, 8]]
    assert found.notes[:2] == (
        "1 missing value of 1 example is filled from its neighbours",
        "2 of the examples end before the others, where all is missing",
    )


def test_a_table_without_labels_at_either_end_is_refused_shortly(tmp_path):
    rows = [",".join(f"{n * 7 + k + 0.5}" for k in range(100)) for n in range(30)]
    with pytest.raises(DataError, match="neither its first nor its last column looks like") as said:
        read_examples(write(tmp_path, "\n".join(rows)))
    assert len(str(said.value)) < 300 and "as 'column 1' or 'column 100'" in str(said.value)


@pytest.mark.parametrize("rows", [None, "steps", "features"])
def test_what_a_row_is_may_be_said(tmp_path, rows):
    headed = write(tmp_path, "a,b,c,kind\n1,2,3,x\n4,5,6,y\n", "headed.csv")
    bare = write(tmp_path, "x,1,2,3\ny,4,5,6\n", "bare.csv")
    shape = (1, 3) if rows == "features" else (3, 1)
    assert read_examples(bare, None, rows).sequences[0].shape == shape
    assert read_examples(headed, None, rows).sequences[0].shape == (
        (3, 1) if rows == "steps" else (1, 3)
    )
    assert read_examples(bare, "column 1", rows).names == ("x", "y")


@pytest.mark.parametrize(
    ("text", "classes", "steps", "rows"),
    [
        ("1\t0.5\t1\t2\n2\t3\t4\t5\n", ("1", "2"), 3, [[0.5, 1, 2], [3, 4, 5]]),
        ("0.5\t1\t2\n3\t4\t5\n", ("1", "2"), 3, [[0.5, 1, 2], [3, 4, 5]]),
        ("0.5,1,2,up\n3,4,5,down\n", ("down", "up"), None, [[0.5, 1, 2], [3, 4, 5]]),
        ("1.0e+00 0.5 1 2\n2.0e+00 3 4\n", ("1", "2"), None, [[0.5, 1, 2], [3, 4]]),
        ("label,t0,t1\nup,1,2\n", ("down", "up"), 2, [[1, 2]]),
    ],
)
def test_steps_with_labels_or_without(tmp_path, text, classes, steps, rows):
    found = read_sequences(write(tmp_path, text, "new.tsv"), 1, classes, steps)
    assert [x[:, 0].tolist() for x in found.sequences] == rows
