"""`recurra data`: list, show, fetch."""

from __future__ import annotations

import sys

import pytest

from recurra.labels.datasets import DATASETS as LABELS
from recurra.language.text.corpora import CORPORA
from recurra.series.datasets import DATASETS as SERIES


def test_everything_is_listed_with_where_it_is(recurra, monkeypatch, tmp_path):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "none"))
    rows = recurra("data", "list", "--json").json["datasets"]
    assert [row["name"] for row in rows] == [*CORPORA, *SERIES, *LABELS]
    assert {row["task"] for row in rows if row["name"] in SERIES} == {"series"}
    found = {row["name"]: row["found"] for row in rows}
    assert found["ptb"] is None
    assert found["grammar"] == "made on this machine"
    text = recurra("data", "list").out
    assert "not here: recurra data fetch ptb" in text
    assert "not here: recurra data fetch m4-hourly" in text
    assert all(row["description"] in text for row in rows)


def test_listing_finds_what_is_there(recurra, data_root):
    rows = recurra("data", "list", "--json").json["datasets"]
    assert {row["name"]: row["found"] for row in rows}["ptb"] == str(data_root / "ptb")


def test_ptb_is_shown_as_the_tutorial_prints_it(recurra, data_root):
    shown = recurra("data", "show", "ptb", "--json").json
    assert shown["name"] == "ptb"
    assert shown["splits"] == {"train": 929_589, "valid": 73_760, "test": 82_430}
    assert shown["vocabulary"] == 10_000
    assert len(shown["first_ids"]) == 100
    assert shown["first_ids"][:6] == [9970, 9971, 9972, 9974, 9975, 9976]
    assert shown["first_ids"][-6:] == [1015, 2786, 211, 6, 96, 4]
    assert len(shown["batches"]) == 3
    assert shown["batches"][0]["x"] == [
        [9970, 9971, 9972, 9974, 9975],
        [332, 7147, 328, 1452, 8595],
        [1969, 0, 98, 89, 2254],
        [3, 3, 2, 14, 24],
    ]
    assert shown["batches"][0]["y"][0] == [9971, 9972, 9974, 9975, 9976]
    assert shown["batches"][1]["x"][0] == [9976, 9980, 9981, 9982, 9983]


def test_a_text_is_shown(recurra):
    out = recurra("data", "show", "grammar").out
    assert "train             60,017 tokens" in out
    assert "vocabulary           141 tokens, cut by 'split'" in out
    assert "X0: [[" in out and "Y2: [[" in out
    assert "these bakers above these roots" in out


def test_a_file_of_one_s_own_is_shown(recurra, tmp_path):
    (tmp_path / "mine.txt").write_text("one two three four five six seven eight\n" * 40)
    shown = recurra("data", "show", tmp_path / "mine.txt", "--json").json
    assert shown["splits"]["train"] == 36 * 9
    assert len(shown["first_ids"]) == 100
    assert [len(shown["batches"]), len(shown["batches"][0]["x"])] == [3, 4]


def test_a_short_text_has_fewer_batches(recurra, tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("a b c d e f g\n" * 5)
    shown = recurra("data", "show", tmp_path, "--json").json
    assert len(shown["batches"]) == 1
    assert len(shown["first_ids"]) == shown["splits"]["train"] == 40


PAIRS = """
from recurra.language.text.corpora.base import Corpus

class Pairs(Corpus):
    rule = "bpe"

    def splits(self):
        return ("train",)

    def chunks(self, split):
        yield "[/dim] The cat sat  on the mat.\\n" * 40

    def fingerprint(self):
        return "pairs"
"""


def test_byte_pairs_are_shown_as_the_text_they_are(recurra, tmp_path, monkeypatch):
    (tmp_path / "my_pairs.py").write_text(PAIRS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    shown = recurra("data", "show", "my_pairs:Pairs", "--json").json
    assert shown["rule"] == "bpe" and shown["vocabulary"] > 257
    assert shown["splits"]["train"] < 40 * 20
    out = recurra("data", "show", "my_pairs:Pairs").out
    assert "tokens, cut by 'bpe'" in out
    assert "\n[/dim] The cat sat  on the mat.\n[/dim] The cat" in out


def test_a_text_too_short_for_a_batch_is_bad_data(recurra, tmp_path):
    (tmp_path / "mine.txt").write_text("a b\n")
    answer = recurra("data", "show", tmp_path / "mine.txt")
    assert answer.code == 3 and answer.err.count("\n") == 1


def test_fetching_what_is_here_verifies_it(recurra, data_root):
    assert recurra("data", "fetch", "ptb").out == f"ptb is here, and whole: {data_root / 'ptb'}\n"
    fetched = recurra("data", "fetch", "ptb", "--json").json
    assert fetched["found"] == str(data_root / "ptb") and fetched["fingerprint"]


def test_fetching_an_altered_file_is_refused(recurra, monkeypatch, tmp_path):
    folder = tmp_path / "data" / "ptb"
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (folder / f"ptb.{split}.txt").write_text("not it\n")
    monkeypatch.setenv("RECURRA_DATA", str(folder.parent))
    answer = recurra("data", "fetch", "ptb")
    assert answer.code == 3
    assert "ptb.train.txt is not the published file" in answer.err


@pytest.mark.parametrize("command", ["show", "fetch"])
def test_an_unknown_name_is_a_usage_error(recurra, command):
    answer = recurra("data", command, "grammer")
    assert answer.code == 2 and "Did you mean 'grammar'?" in answer.err


def test_series_are_shown(recurra):
    shown = recurra("data", "show", "airline", "--json").json
    assert (shown["name"], shown["task"], shown["series"]) == ("airline", "series", 1)
    assert (shown["frequency"], shown["season"], shown["horizon"]) == ("monthly", 12, 12)
    assert shown["splits"] == {"train": 120, "valid": 12, "test": 12}
    assert shown["lengths"] == [144, 144]
    assert shown["first"] == [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118]
    assert shown["first_stamps"][0].startswith("1949-01-01")
    text = recurra("data", "show", "airline").out
    assert "series      1, 144 steps each" in text
    assert "frequency   monthly, season 12 steps" in text
    assert "begins 112, 118, 132" in text


def test_m4_is_shown_as_it_was_published(recurra, data_root):
    shown = recurra("data", "show", "m4-hourly", "--json").json
    assert (shown["series"], shown["season"], shown["horizon"]) == (414, 24, 48)
    assert shown["splits"]["test"] == 414 * 48
    assert sum(shown["splits"].values()) == 373_372  # the figures of both published files
    assert shown["lengths"] == [748, 1008]


def test_labels_are_shown(recurra):
    shown = recurra("data", "show", "iris", "--json").json
    assert shown["classes"] == ["setosa", "versicolor", "virginica"]
    assert (shown["examples"], shown["published"]) == ({"train": 120, "test": 30}, False)
    assert (shown["features"], shown["lengths"]) == (4, [1, 1])
    out = recurra("data", "show", "iris").out
    assert "30 examples (setosa 10, versicolor 10, virginica 10), held out by us" in out


def test_published_labels_are_shown(recurra, data_root):
    shown = recurra("data", "show", "vowels", "--json").json
    assert shown["examples"] == {"train": 270, "test": 370}
    assert (len(shown["classes"]), shown["features"], shown["lengths"]) == (9, 12, [7, 29])


@pytest.mark.parametrize(
    ("name", "text", "task"),
    [
        ("mine.csv", "y\n" + "\n".join(map(str, range(60))), "series"),
        ("mine.ts", "@classLabel true a b\n@data\n" + "1,2:a\n3,4,5:b\n" * 9, "labels"),
        ("mine.text", "one two three four five six seven eight\n" * 40, "text"),
    ],
)
def test_a_file_is_known_by_its_name(recurra, tmp_path, name, text, task):
    (tmp_path / name).write_text(text)
    assert recurra("data", "show", name, "--json").json["task"] == task


def test_a_table_of_labels_is_shown_where_that_is_said(recurra, tmp_path):
    (tmp_path / "mine.csv").write_text("x,label\n" + "1,a\n2,b\n" * 9)
    shown = recurra("data", "show", "mine.csv", "--as=labels", "--json").json
    assert (shown["classes"], shown["features"]) == (["a", "b"], 1)


@pytest.mark.parametrize(("name", "where"), [("airline", "part of the package"), ("iris", "part")])
def test_what_comes_with_the_package_is_verified_too(recurra, name, where):
    fetched = recurra("data", "fetch", name, "--json").json
    assert fetched["name"] == name and where in fetched["found"]
    assert len(fetched["fingerprint"]) == 64


def test_series_that_are_not_the_published_ones_are_refused(recurra, monkeypatch, tmp_path):
    (tmp_path / "data" / "m4").mkdir(parents=True)
    for part in ("train", "test"):
        (tmp_path / "data" / "m4" / f"Hourly-{part}.csv").write_text("V1,V2\nH1,3\n")
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "data"))
    answer = recurra("data", "fetch", "m4-hourly")
    assert answer.code == 3 and answer.err.count("\n") == 1
    assert "Hourly-" in answer.err and "is not the published file" in answer.err
