"""Several values of a setting by commas."""

from __future__ import annotations

import pytest

from recurra.errors import ConfigError
from recurra.learning.config import fields
from recurra.run.presets import preset
from recurra.run.tasks import TASKS
from recurra.tune.values import several

WORDS, SERIES = preset("words"), preset("series")


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
