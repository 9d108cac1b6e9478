"""`recurra presets` and `recurra show`."""

from __future__ import annotations

import pytest

from recurra.learning.config import fields
from recurra.run.presets import PRESETS, preset
from recurra.run.tasks import parse_config


def test_presets_are_listed_with_what_they_are(recurra):
    answer, listed = recurra("presets"), recurra("presets", "--json").json["presets"]
    assert [row["name"] for row in listed] == list(PRESETS)
    for row in listed:
        assert row["name"] in answer.out and row["description"] in answer.out


@pytest.mark.parametrize("name", ["docstrings", "ptb-small", "kn5", "sine", "iris"])
def test_every_setting_is_shown_with_its_meaning(recurra, name):
    config = preset(name)
    lines = recurra("show", name).out.splitlines()
    for key, field in fields(type(config)):
        (line,) = [line for line in lines if line.split(" ")[0] == key]
        assert field.description in line


def test_values_are_shown_as_they_are_set(recurra):
    out = recurra("show", "ptb-small").out
    shown = {line.split()[0]: line.split()[1] for line in out.splitlines() if "." in line[:12]}
    assert shown["train.learning_rate"] == "20"
    assert shown["train.clip_norm"] == "0.25"
    assert shown["network.zero_bias"] == "false"
    assert shown["data.vocabulary_size"] == "none"


def test_show_as_json_is_the_config(recurra):
    assert parse_config(recurra("show", "ptb-tied", "--json").json) == preset("ptb-tied")


def test_the_description_says_how_the_loss_was_converted(recurra):
    assert "summed loss becomes a mean" in recurra("show", "ptb-seed").out
