"""`recurra data`: list, show, fetch."""

from __future__ import annotations

import pytest

from recurra.language.corpora import CORPORA


def test_every_corpus_is_listed_with_where_it_is(recurra, monkeypatch, tmp_path):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "none"))
    rows = recurra("data", "list", "--json").json["datasets"]
    assert [row["name"] for row in rows] == list(CORPORA)
    found = {row["name"]: row["found"] for row in rows}
    assert found["ptb"] is None
    assert found["grammar"] == "made on this machine"
    text = recurra("data", "list").out
    assert "not here: recurra data fetch ptb" in text
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
