"""The `.ts` format: what is read, and what is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.labels.reading.examples import read_bytes, read_lines
from recurra.labels.reading.ts_file import read_ts

HEADER = "# words\n@problemName words\n@timeStamps false\n@classLabel true a b\n@data\n"
STAMPED = "@timeStamps true\n@classLabel true a b\n@data\n"


def write(folder: Path, text: str | bytes, name: str = "words.ts") -> Path:
    path = folder / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["words.ts", "words.ts.gz"])
def test_sequences_of_several_dimensions(tmp_path, name):
    found = read_ts(write(tmp_path, HEADER + "1,2,3:4,5,6:b\n\n# a comment\n7.5:-8e-1:a\n", name))
    assert [sequence.tolist() for sequence in found.sequences] == [
        [[1, 4], [2, 5], [3, 6]],
        [[7.5, -0.8]],
    ]
    assert (found.names, found.classes) == (("b", "a"), ("a", "b"))
    assert found.place.endswith(name)


def test_windows_and_mixed_case_are_no_matter(tmp_path):
    text = "\ufeff@ClassLabel True yes no\r\n@DATA\r\n1, 2 :yes\r\n"
    found = read_ts(write(tmp_path, text))
    assert found.sequences[0].tolist() == [[1], [2]]
    assert found.names == ("yes",)


def test_labels_need_not_be_declared(tmp_path):
    found = read_ts(write(tmp_path, "@classLabel true\n@data\n1:x\n2:y\n"))
    assert (found.names, found.classes) == (("x", "y"), ())


@given(
    st.lists(
        st.lists(
            st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_numbers_come_back_as_they_were_written(tmp_path_factory, sequences):
    lines = [
        ":".join(",".join(map(repr, column)) for column in zip(*steps)) + ":a"
        for steps in sequences
    ]
    path = write(tmp_path_factory.mktemp("ts"), HEADER + "\n".join(lines))
    assert [sequence.tolist() for sequence in read_ts(path).sequences] == sequences


def test_blanks_train_ts_is_read_with_tabs_odd_cases_and_comments(tmp_path):
    text = (
        "#  a comment\n\n% another\n@problemName\tRamp two words\n@timeStamps    FALSE\n"
        "@equalLength \t true\n@targetlabel\n@classLabel \t TRUE   down \t up\n@DATA\n"
        "%1,2:no\n# 3\n  1,2,3 :  down \n\n4,5,6:up\n"
    )
    found = read_ts(write(tmp_path, text.replace("\n", "\r\n")))
    assert (found.names, found.classes) == (("down", "up"), ("down", "up"))
    assert [x[:, 0].tolist() for x in found.sequences] == [[1, 2, 3], [4, 5, 6]]
    assert found.notes == ()


def test_comments_may_be_in_any_encoding_and_utf_16_is_named(tmp_path):
    text = b"# caf\xe9\n@classLabel true a\n@data\n1,2:a\n"
    assert read_ts(write(tmp_path, text)).names == ("a",)
    with pytest.raises(DataError, match="is UTF-16; save it as UTF-8"):
        read_ts(write(tmp_path, text.decode("latin-1").encode("utf-16")))


@pytest.mark.parametrize("mark", ["?", "NaN", "nan", "", " NA "])
def test_missing_train_ts_is_filled_from_its_neighbours(tmp_path, mark):
    lines = f"1,{mark},3,9:{mark},5,6,7:a\n4,4,4,4:8,7,6,5:b\n"
    found = read_ts(write(tmp_path, "@missing true\n" + HEADER + lines))
    assert found.sequences[0].tolist() == [[1, 5], [2, 5], [3, 6], [9, 7]]
    assert found.notes == ("2 missing values of 1 example are filled from their neighbours",)


@pytest.mark.parametrize(
    ("equal", "steps"), [("@equalLength true\n", [1, 2, 2]), ("@equalLength false\n", [1, 2])]
)
def test_what_is_missing_at_the_end_is_no_step_where_lengths_differ(tmp_path, equal, steps):
    found = read_ts(write(tmp_path, equal + HEADER + "1,2,?:a\n1,2,3:b\n"))
    assert found.sequences[0][:, 0].tolist() == steps


@pytest.mark.parametrize(
    "text",
    [
        "(2020-01-01 00:00:00,1.5),(2020-01-02 00:00:00,2):(2020-01-01 00:00:00,3),"
        "(2020-01-02 00:00:00,4):a\n",
        "(2020-01-01T00:00:00Z,1.5), (2020-01-02T00:00:00Z,2) : (2020-01-01,3),(2020-01-02,4): a\n",
        "(2020-01-01T01:00+01:00,1.5),(2020-01-02,2):(2020-01-01,3),(2020-01-02,4):a\n",
        "(0,1.5),(1,2):(0,3),(1,4):a\n",
        "(1,2),(0,1.5):(0,3),(1,4):a\n",
    ],
)
def test_stamped_train_ts_is_read_in_the_order_of_its_stamps(tmp_path, text):
    found = read_ts(write(tmp_path, STAMPED + text))
    assert found.sequences[0].tolist() == [[1.5, 3], [2, 4]]
    assert found.names == ("a",) and found.notes == ("stamps only order the steps",)


def test_dimensions_at_other_stamps_are_laid_side_by_side(tmp_path):
    found = read_ts(write(tmp_path, STAMPED + "(0,1),(1,2),(5,?):(1,7),(5,9):b\n"))
    assert found.sequences[0].tolist() == [[1, 7], [2, 7], [2, 9]]
    assert found.notes[1] == "stamps only order the steps, though they are uneven in 1 examples"


def test_labels_that_are_numbers_may_be_written_otherwise(tmp_path):
    text = "@classLabel true 1 2\n@data\n1,2:1.0\n3,4:2\n"
    assert read_ts(write(tmp_path, text)).names == ("1", "2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no example"),
        (HEADER, "holds no example"),
        ("1,2:a\n", "line 1: expected a setting that begins with @, got '1,2:a'"),
        ("@data\n1,2:a\n", "line 1: expected @classLabel true"),
        ("@classLabel false\n@data\n1,2\n", "line 2: expected @classLabel true"),
        ("@targetLabel true\n@data\n1:2.5\n", "line 2: it has numbers to tell"),
        (HEADER + "1,2:a\n1,two:b\n", "line 7: step 2 is 'two', which is no number"),
        (HEADER + "1,2:?,?:a\n", "line 6: dimension 2 has no number at all; leave it out"),
        (HEADER + "1,2%:a\n", "line 6: step 2 is '2%', which is no number"),
        (STAMPED + "(0,1)(1,2):a\n", r"line 4: expected \(stamp,value\) pairs .*, got '"),
        (STAMPED + "(0,1),(0,2):a\n", "line 4: a stamp is there twice in one dimension"),
        (STAMPED + "(0,1),(x,2):a\n", "line 4: the stamp 'x' is no number, as the first is"),
        (STAMPED + "(31.1.2020,1):a\n", "stamps, as '31.1.2020', are neither numbers nor dates"),
        (STAMPED + "(0,1),(1,b):a\n", "line 4, at '1': step 1 is 'b', which is no number"),
        (HEADER + "1,2:3:a\n", "line 6: its dimensions have 1 to 2 steps"),
        (HEADER + "1,2\n", "line 6: expected numbers, a colon and a label, got '1,2'"),
        (HEADER + "1,2:\n", "line 6: expected numbers, a colon and a label"),
        (HEADER + "1,2:c\n", "line 6: the label 'c' is not one that the file declares, a, b"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_ts(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.ts cannot be read: No such file"):
        read_ts(tmp_path / "nowhere.ts")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_bytes(tmp_path)
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        list(read_lines(write(tmp_path, b"# fine\n# \xff\n")))


def test_a_packed_file_that_is_cut_off_or_altered(tmp_path):
    whole = gzip.compress((HEADER + "1,2:a\n" * 50).encode())
    path = tmp_path / "words.ts.gz"
    altered = bytearray(whole)
    altered[-20] ^= 1
    for data in (whole[:-12], whole[: len(whole) // 2], bytes(altered)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"words\.ts\.gz is cut off or damaged"):
            read_ts(path)
    path.write_bytes(whole)
    assert np.shape(read_ts(path).sequences) == (50, 2, 1)
