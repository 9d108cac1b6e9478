"""Several values by commas, and counts as people write them."""

from __future__ import annotations

import pytest

from recurra.errors import ConfigError
from recurra.learning.config import fields
from recurra.run.presets import preset
from recurra.run.tasks import TASKS
from recurra.tune.values import count_of, pieces, several

WORDS, SERIES = preset("words"), preset("series")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500k", 500_000),
        ("1.2M", 1_200_000),
        ("500_000", 500_000),
        ("500,000", 500_000),
        ("26000", 26_000),
        ("1e6", 1_000_000),
        (" 3 m ", 3_000_000),
        ("0.5K", 500),
        ("1", 1),
    ],
)
def test_a_count_is_read(text, count):
    assert count_of(text) == count


@pytest.mark.parametrize(
    "text", ["", "k", "-5", "0", "1.2.3", "five", "1e400", "1e15", "nan", "5x"]
)
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ConfigError, match="expected a number of parameters"):
        count_of(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gru", ["gru"]),
        ("gru,lstm", ["gru", "lstm"]),
        (" gru , lstm ", ["gru", "lstm"]),
        ("mlstm(num_heads=4,x=1),gru", ["mlstm(num_heads=4,x=1)", "gru"]),
        ("f(a,(b,c)),g", ["f(a,(b,c))", "g"]),
        ('{"a":1,"b":2}', ['{"a":1,"b":2}']),
        ('"a,b",c', ['"a,b"', "c"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        ("don't.txt,b", ["don't.txt", "b"]),
        ("5 in.txt", ["5 in.txt"]),
        ("a)b", ["a)b"]),
        ("", [""]),
    ],
)
def test_commas_divide_but_within_brackets_and_quotes(text, parts):
    assert pieces(text) == parts


@pytest.mark.parametrize("text", ["mlstm(num_heads=4,x", '"a,b', "[a,b"])
def test_a_bracket_that_is_not_closed_is_named(text):
    with pytest.raises(ConfigError, match="is missing"):
        pieces(text)


@pytest.mark.parametrize(
    ("config", "given", "values"),
    [
        (WORDS, "network.cell=gru,lstm,mine:Cell", ["gru", "lstm", "mine:Cell"]),
        (WORDS, "network.cell=mlstm(num_heads=2,x=1)", ["mlstm(num_heads=2,x=1)"]),
        (WORDS, "train.learning_rate=.003,.01", [".003", ".01"]),
        (WORDS, "network.layer_sizes=30/20,none", ["30/20", "none"]),
        (WORDS, "data.split=90/5/5,80/20", ["90/5/5", "80/20"]),
        (WORDS, "network.tied=true,false", ["true", "false"]),
        (WORDS, "network.no_such=1,2", ["1", "2"]),
        (WORDS, 'data.corpus="a,b.txt"', ["a,b.txt"]),
        (WORDS, "data.corpus=[a,b.txt],c.txt", ["[a,b.txt]", "c.txt"]),
        (SERIES, "data.target=a,b", ["a,b"]),
        (SERIES, "data.target=[a,b],[c]", ["a,b", "c"]),
        (SERIES, "data.target=[a,b]", ["a,b"]),
        (WORDS, "data.corpus=x=1,y", ["x=1", "y"]),
    ],
)
def test_what_is_several_and_what_is_one(config, given, values):
    if given.startswith("data.corpus=[a"):
        values = ["a,b.txt", "c.txt"]  # brackets are taken off
    assert several(config, given) == (given.partition("=")[0], values)


def test_a_file_that_is_there_is_one_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one,two.txt").touch()
    assert several(WORDS, "data.corpus=one,two.txt")[1] == ["one,two.txt"]
    assert several(WORDS, "data.corpus=one,three.txt")[1] == ["one", "three.txt"]


@pytest.mark.parametrize("given", ["network.cell=gru,", "network.cell=,gru", "train.steps=1,,2"])
def test_an_empty_value_is_refused(given):
    with pytest.raises(ConfigError, match="a value is empty"):
        several(WORDS, given)


def test_without_an_equals_sign_it_says_how():
    with pytest.raises(ConfigError, match="KEY=A,B,C for several"):
        several(WORDS, "network.cell")


def test_every_option_that_takes_names_by_commas_is_marked():
    for task in TASKS.values():
        for name, field in fields(task.config):
            marked = bool((field.json_schema_extra or {}).get("by_commas"))
            assert marked == ("by commas" in (field.description or "")), name
