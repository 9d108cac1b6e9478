"""Runs by the settings in which they differ."""

from __future__ import annotations

import pytest

from recurra.language.entry import LanguageRun
from recurra.learning.config import with_settings
from recurra.run.names import differing, label, worded


def runs(*changes, preset="mine"):
    return [with_settings(LanguageRun(preset=preset), list(each)) for each in changes]


def test_what_all_share_is_not_told():
    cells = runs(["network.cell=gru"], ["network.cell=lstm"], ["network.cell=gru", "seed=2"])
    assert differing(cells) == [
        {"network.cell": "gru", "seed": 1},
        {"network.cell": "lstm", "seed": 1},
        {"network.cell": "gru", "seed": 2},
    ]
    assert differing(cells, seeds=False)[2] == {"network.cell": "gru"}
    assert differing(cells[:1]) == [{}]


def test_threads_and_what_minutes_chose_are_no_difference():
    one, two = runs(["threads=1", "train.minutes=1", "train.steps=10"],
                    ["threads=2", "train.minutes=1", "train.steps=20"])  # fmt: skip
    assert differing([one, two]) == [{}, {}]
    apart = runs(["train.steps=10"], ["train.steps=20"])
    assert differing(apart) == [{"train.steps": 10}, {"train.steps": 20}]


def test_another_preset_is_told_by_name_alone():
    ours = runs(["network.cell=gru"], ["network.cell=lstm"])
    theirs = runs(["network.hidden_size=9", "network.cell=rnn"], preset="theirs")
    assert [label(each) for each in differing([*ours, *theirs])] == [
        "mine, cell=gru", "mine, cell=lstm", "theirs, cell=rnn"
    ]  # fmt: skip


def test_a_run_without_a_config_says_nothing():
    (one,) = runs(["seed=4"])
    assert differing([None, one]) == [{}, {}]


def test_names_that_end_alike_are_written_whole():
    assert label({"a.size": 1, "b.size": 2, "c.rate": 0.5}) == "a.size=1, b.size=2, rate=0.5"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-05, "1e-05"), (0.1 + 0.2, "0.30000000000000004"), (3, "3"), (False, "false"), (2.0, "2")],
)
def test_values_are_written_so_that_they_read_back(value, text):
    assert worded(value) == text and (isinstance(value, bool) or float(text) == value)
