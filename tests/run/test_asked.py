"""What a run was asked for; its command is read as the command line reads it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from recurra.language.entry import LanguageRun
from recurra.learning.config import GIVEN, settings, with_settings
from recurra.run.asked import Asked
from recurra.run.presets import PRESETS, preset
from recurra.series.options import SeriesOptions


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("kn5", [], "recurra train kn5"),
        ("ptb-tied", ["seed=4"], "recurra train ptb-tied --seed=4"),
        (
            "ptb-tied",
            ["train.epochs=2", "data.rule=bpe", "network.variational=false", "threads=2"],
            "recurra train ptb-tied --set threads=2 --set data.rule=bpe "
            "--set network.variational=False --set train.epochs=2.0",
        ),
        (
            "ptb-tied",
            ["train.clip_norm=none"],
            "recurra train ptb-tied --set train.clip_norm=none",
        ),
        ("m4-hourly", [], "recurra train m4-hourly"),
        ("iris", ["seed=2"], "recurra train iris --seed=2"),
    ],
)
def test_it_says_what_differs_from_the_preset(name, changes, said):
    config = with_settings(preset(name), changes)
    assert Asked(config, Path("runs") / name).command == said
    assert settings(read(said)) == settings(config)


def test_data_minutes_and_place(tmp_path):
    path = tmp_path / "my text.txt"
    path.write_text("a b c\n" * 500)
    config = preset("words", data=str(path), minutes=2.5)
    frozen = with_settings(config, ["train.steps=300"])  # as measured on this machine
    said = Asked(frozen, tmp_path / "out").command
    assert said == (f"recurra train words '--data={path}' --out={tmp_path / 'out'} --minutes=2.5")
    assert settings(read(said)) == settings(config)


def test_weights_to_start_from():
    config = preset("ptb-tied").model_copy(update={"start_from": "runs/first"})
    said = Asked(config, Path("runs/ptb-tied")).command
    assert said == "recurra train ptb-tied --from=runs/first"


def test_every_preset_is_itself():
    for name in PRESETS:
        if "minutes" not in name:  # it measures this machine
            assert Asked(preset(name), Path("runs") / name).command == f"recurra train {name}"


def test_there_is_none_for_data_that_were_handed_over_or_a_preset_that_is_not_here():
    given = preset("series").model_copy(update={"data": SeriesOptions(dataset=GIVEN)})
    assert Asked(given, Path("runs/series")).command is None
    assert Asked(LanguageRun(preset="mine"), Path("runs/mine")).command is None


def read(said):
    """The config of a command, as the command line composes it."""
    found = {"--set": []}
    words = shlex.split(said)[3:]
    while words:
        flag, _, value = words.pop(0).partition("=")
        if flag == "--set":
            found["--set"].append(words.pop(0))
        else:
            found[flag] = value
    minutes = found.get("--minutes")
    made = preset(
        shlex.split(said)[2], data=found.get("--data"), minutes=minutes and float(minutes)
    )
    seed = [f"seed={found['--seed']}"] if "--seed" in found else []
    return with_settings(made, [*seed, *found["--set"]])
