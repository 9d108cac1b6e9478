"""The table of presets, and what is asked of each in it."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest

from recurra.errors import ConfigError
from recurra.language.entry import LanguageRun
from recurra.learning.config import GIVEN, with_data
from recurra.learning.event import Warned
from recurra.run.presets import PRESETS, preset, stand_in
from recurra.run.session import train
from recurra.run.tasks import TASKS, parse_config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_described_run_that_survives_json(name):
    config = preset(name)
    assert config.preset == name
    assert parse_config(config.model_dump(mode="json")) == config
    first = inspect.getdoc(PRESETS[name]).partition("\n")[0]
    assert first.endswith(".") and len(first) <= 90


def test_data_and_minutes_take_their_places():
    config = preset("words", data="novel.txt", minutes=2.5)
    assert isinstance(config, LanguageRun)
    assert config.data.corpus == "novel.txt"
    assert config.train.minutes == 2.5
    assert preset("kn3", data="grammar").data.corpus == "grammar"


def test_data_of_series_and_labels_are_their_dataset():
    assert preset("series", data="loads.csv").data.dataset == "loads.csv"
    assert preset("labels", data="x_TRAIN.ts", minutes=1).data.dataset == "x_TRAIN.ts"
    assert preset("series", data=np.arange(50.0)).data.dataset == GIVEN


def test_a_text_cannot_be_handed_over_as_an_array():
    with pytest.raises(ConfigError, match=r"words learns a text: .* not a ndarray"):
        preset("words", data=np.arange(50.0))


def test_every_task_has_presets():
    assert {preset(name).task for name in PRESETS} == set(TASKS)


def test_minutes_are_nothing_to_n_grams():
    with pytest.raises(ConfigError, match=r"kn3 has no setting 'train\.minutes'"):
        preset("kn3", minutes=1)


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"no preset is named 'ptb-sed'\. Did you mean 'ptb-seed'"
    ):
        preset("ptb-sed")


def test_a_preset_of_one_s_own(tmp_path, monkeypatch):
    (tmp_path / "my_presets.py").write_text(
        "from recurra.language.entry import NgramRun\n"
        "def mine(): return NgramRun(preset='mine', seed=9)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert preset("my_presets:mine").seed == 9


@pytest.mark.parametrize("name", ["sine", "m4-hourly", "iris"])
def test_minutes_stand_in_place_of_a_presets_steps(name):
    assert preset(name).train.steps is not None
    config = preset(name, minutes=2)
    assert (config.train.minutes, config.train.steps) == (2, None)


@pytest.mark.parametrize("name", ["words", "characters", "series", "labels"])
def test_a_preset_for_one_s_own_data_says_first_what_it_learns_without_them(name, tmp_path):
    config = preset(name)
    first = next(train(config, out=tmp_path / "run"))
    said = f"{name} is for data of your own: give --data; this run learns {config.source!r}"
    assert isinstance(first, Warned) and first.message.startswith(said)
    assert stand_in(with_data(config, "novel.txt")) is None
