"""The `.ts` format: what is read, and what is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.labels.ts_file import read_bytes, read_lines, read_ts

HEADER = "# words\n@problemName words\n@timeStamps false\n@classLabel true a b\n@data\n"


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no example"),
        (HEADER, "holds no example"),
        ("1,2:a\n", "line 1: expected a setting that begins with @, got '1,2:a'"),
        ("@data\n1,2:a\n", "line 1: expected @classLabel true"),
        ("@classLabel false\n@data\n1,2\n", "line 2: expected @classLabel true"),
        ("@timeStamps true\n@classLabel true a\n@data\n", "line 3: @timeStamps true is not"),
        (HEADER + "1,2:a\n1,two:b\n", "line 7: step 2 is 'two', which is no number"),
        (HEADER + "1,?:a\n", r"line 6: step 2 is '\?', which is no number; fill it"),
        (HEADER + "1,,2:a\n", "line 6: step 2 is '', which is no number"),
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
