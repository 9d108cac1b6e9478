from __future__ import annotations

import gzip

import pytest

from recurra.errors import DataError
from recurra.series.reading.files.csv_file import parse_csv, read_csv


def parse(text):
    return parse_csv(text.encode(), "data.csv")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1\n2\n", ["y"]),
        ("NaN\n2\n", ["y"]),
        ("load\n2\n", ["load"]),
        ("2020-01-01,1\n", ["ds", "y"]),
        ("2020-01-01,\n2020-01-02,1\n", ["ds", "y"]),
        ("ds,y\n1,2\n", ["ds", "y"]),
        (",0\n0,1.5\n", ["", "0"]),
        ("a,1,2\n", ["unique_id", "ds", "y"]),
        (' "a b" ; c\n1;2\n', ["a b", "c"]),
    ],
)
def test_headers(text, names):
    assert list(parse(text).cells) == names


def test_quotes_and_separators_within_them():
    columns = parse('unique_id,y\n"Smith, John",1\n"O""Hara",2\n')
    assert columns.cells["unique_id"] == ("Smith, John", 'O"Hara')


def test_blank_lines_are_passed_over_and_rows_keep_their_numbers():
    columns = parse("ds,y\n\n1,2\n\n3,4\n\n\n")
    assert columns.cells == {"ds": ("1", "3"), "y": ("2", "4")}
    assert columns.rows.tolist() == [2, 4]
    assert columns.row(1) == "data row 4"


def test_a_blank_line_of_one_column_is_a_gap():
    assert parse("y\n1\n\n3\n\n").cells["y"] == ("1", "", "3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "data.csv is empty: there are no rows"),
        (" \n\n", "data.csv is empty: there are no rows"),
        ("ds,y\n", "data.csv is empty: there is a header, but no rows"),
        ("ds,y\n1,2\n3\n", "data.csv, data row 2: 1 cells, where there are 2 columns"),
        ("ds,y\n1,2,3\n", "data row 1: 3 cells, where there are 2 columns"),
        ("y,y,x\n1,2,3\n", "2 columns are named 'y'"),
        ("1,2,3,4\n", "has 4 columns and no header; give the first line their names"),
        ("ds,y\n1,2,5\n3,4,5\n", "data row 1: 3 cells, where there are 2 columns .quote cells"),
        ("ds;y;\n1;2;3\n", "data row 1: '3' is in a column without a name"),
        ("sep=;\n", "data.csv is empty"),
        ('ds,y\n1,"2' + "x" * 200_000, "not a CSV file: field larger than"),
    ],
)
def test_what_is_no_table(text, said):
    with pytest.raises(DataError, match=said):
        parse(text)


def test_bad_utf8():
    with pytest.raises(DataError, match=r"data.csv is not UTF-8: byte 6, in line 2; save it as"):
        parse_csv(b"ds,y\n1\xff,2\n", "data.csv")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none.csv cannot be read: No such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read: "):
        read_csv(tmp_path)
    bad = tmp_path / "bad.csv.gz"
    bad.write_bytes(gzip.compress(b"1\n2\n" * 1000)[:40])
    with pytest.raises(DataError, match=r"bad.csv.gz cannot be read: "):
        read_csv(bad)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("recurra.storage.reading.LEAST", 1 << 20)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"1\n" * 600_000))
    with pytest.raises(
        DataError, match=r"bomb.csv.gz unpacks to more than 1 MiB, from .* set RECUR"
    ):
        read_csv(tmp_path / "bomb.csv.gz")


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nds;y\n1;2,5\n3;4,5\n",
        "SEP=;\r\nds;y\r\n1;2,5\r\n3;4,5\r\n",
        "\ufeffds;y;;\n1;2,5;;\n3;4,5;;\n;;;\n;;;\n",
        "ds;y\n1;2,5;;\n3;4,5\n;\n",
        "ds;y;\n1;2,5\n3;4,5\n",
        "ds|y\n1|2,5\n3|4,5\n",
        "ds\ty\t\n1\t2,5\t\n3\t4,5\t\n",
        '"ds";"y"\n"1";"2,5"\n"3";"4,5"\n',
    ],
)
def test_what_spreadsheets_write_beside_a_table(text):
    for content in (text.encode(), text.encode("utf-16"), text.encode("utf-32")):
        assert parse_csv(content, "data.csv").cells == {"ds": ("1", "3"), "y": ("2,5", "4,5")}


def test_an_index_without_a_name():
    assert list(parse(",date,y\n0,2020-01-01,3\n").cells) == ["", "date", "y"]
    assert list(parse("date,y\n1,2020-01-01,3\n2,2020-01-02,4\n").cells) == ["", "date", "y"]
    with pytest.raises(DataError, match="data row 1: 3 cells"):
        parse("date,y\n2020-01-01,3,5\n2020-01-02,4,5\n")  # decimal commas, not quoted


def test_a_separator_within_words_or_quotes_parts_nothing():
    assert parse("name,y\na;b,1\nc;d,2\n").cells["name"] == ("a;b", "c;d")
    assert parse('"a;b",y\n"c;d",1\n').cells == {"a;b": ("c;d",), "y": ("1",)}
    assert parse('ds;y\n"1,5;0";"2,5"\n').cells == {"ds": ("1,5;0",), "y": ("2,5",)}


def test_blank_rows_within_a_table_are_rows():
    assert parse("a,b\n1,2\n,\n3,4\n,\n").cells == {"a": ("1", "", "3"), "b": ("2", "", "4")}


def test_a_text_that_is_not_what_it_says():
    with pytest.raises(DataError, match=r"data.csv is not UTF-16, as its byte-order mark says"):
        parse_csv("ds,y\n1,2\n".encode("utf-16")[:-1], "data.csv")
    with pytest.raises(DataError, match=r"data.csv is UTF-16LE without a byte-order mark; convert"):
        parse_csv("date,sales\n1,2\n".encode("utf-16-le"), "data.csv")
