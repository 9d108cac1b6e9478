"""The config of a run: read, changed, compared, and every fault of it said in one line."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from recurra.errors import ConfigError
from recurra.labels.entry import LabelRun
from recurra.language.entry import LanguageRun, NgramRun
from recurra.language.options import NetworkOptions, TextOptions
from recurra.learning.config import (
    GIVEN,
    allowed,
    differences,
    fields,
    settings,
    with_data,
    with_settings,
)
from recurra.learning.options import TrainOptions
from recurra.run.tasks import TASKS, parse_config
from recurra.series.entry import SeriesRun

RUN = LanguageRun(preset="mine")


def said(function, *args) -> str:
    with pytest.raises(ConfigError) as caught:
        function(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("task", TASKS)
def test_a_config_survives_json(task):
    run = TASKS[task].config(preset="mine", seed=7)
    assert run.task == task
    assert parse_config(json.loads(run.model_dump_json())) == run


def test_a_config_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        RUN.seed = 3


@pytest.mark.parametrize("kind", [TASKS[task].config for task in TASKS])
def test_every_field_is_described_and_every_default_allowed(kind):
    run = kind(preset="mine")
    for name, field in fields(kind):
        assert field.description and not field.description.endswith("."), name
    assert parse_config(run.model_dump()) == run
    assert list(settings(run)) == [name for name, _ in fields(kind)]


@pytest.mark.parametrize("kind", [TASKS[task].config for task in TASKS])
def test_every_number_has_bounds_so_that_its_run_can_be_read_again(kind):
    """A number of more than 64 bits stood in a config that no later command would read."""
    for name, field in fields(kind):
        if allowed(field).startswith(("a number", "a whole number")):
            words = allowed(field)
            assert re.search("at most|below", words) and re.search("at least|above", words), name
            with pytest.raises(ConfigError, match=name):
                with_settings(kind(preset="mine"), [f"{name}={10**40}"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "language"}, "preset is missing"),
        ({"preset": "p"}, f"task is None, but must be one of {', '.join(TASKS)}"),
        (
            {"preset": "p", "task": []},
            f"task is [], but must be one of {', '.join(TASKS)}",
        ),
        (
            {"preset": "p", "task": "language", "trian": {}},
            "there is no setting 'trian'. Did you mean 'train'?",
        ),
        (
            {"preset": "p", "task": "language", "train": {"epoch": 3}},
            "there is no setting 'train.epoch'. Did you mean 'train.epochs'?",
        ),
        (
            {"preset": "p", "task": "language", "network": {"hidden_size": 10**15}},
            "network.hidden_size is 1000000000000000, "
            "but must be a whole number, at least 1, at most 65,536",
        ),
        (
            {"preset": "p", "task": "language", "seed": "one", "threads": 0},
            "seed is 'one', but must be a whole number, at least 0, below "
            "9,223,372,036,854,775,808; threads is 0, but must be a whole number, at least 1, "
            "at most 4,096, or none",
        ),
        (
            {"preset": "p", "task": "ngram", "ngram": 3},
            "ngram is 3, but holds settings",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(values, message):
    assert said(parse_config, values) == message


def test_settings_are_typed_from_the_model():
    changed = with_settings(
        RUN,
        [
            "train.learning_rate=0.5",
            "network.tied=true",
            "data.split=80/20",
            "train.clip_norm=none",
            "data.vocabulary_size= 500 ",
            "train.optimizer=adam",
            "seed=3",
        ],
    )
    assert changed.train.learning_rate == 0.5
    assert changed.network.tied is True
    assert changed.data.split == "80/20"
    assert changed.train.clip_norm is None
    assert changed.data.vocabulary_size == 500
    assert changed.train.optimizer == "adam"
    assert changed.seed == 3
    assert changed.network.hidden_size == RUN.network.hidden_size
    assert with_settings(RUN, []) == RUN


def test_what_is_held_by_name_is_set_one_by_one_and_is_what_it_looks_like():
    name = "train.optimizer_options"
    words = {"a": "true", "b": "none", "c": "4", "d": "1e-3", "e": "0.9/0.99", "f": '"4"',
             "g": "nan",
             "h": " gelu ",
             "i": "x=y", "j": "False", "k": "1_0"}  # fmt: skip
    changed = with_settings(RUN, [f"{name}.{key}={word}" for key, word in words.items()])
    assert changed.train.optimizer_options == {
        "a": True, "b": None, "c": 4, "d": 0.001, "e": "0.9/0.99", "f": "4", "g": "nan",
        "h": "gelu", "i": "x=y", "j": False, "k": "1_0",
    }  # fmt: skip
    assert type(changed.train.optimizer_options["c"]) is int
    assert RUN.train.optimizer_options == {}
    again = with_settings(changed, [f"{name}.c=5"]).train.optimizer_options
    assert again == {**changed.train.optimizer_options, "c": 5}
    assert with_settings(changed, [f"{name}=none"]).train.optimizer_options == {}
    assert parse_config(json.loads(changed.model_dump_json())) == changed


def test_differences_name_each_value_that_is_held_by_name():
    there = with_settings(RUN, ["train.optimizer_options.a=1", "train.optimizer_options.b=2"])
    asked = with_settings(RUN, ["train.optimizer_options.a=1", "train.optimizer_options.b=3"])
    assert differences(there, asked) == ["train.optimizer_options.b: 2 there, 3 asked"]
    assert differences(RUN, there)[1:] == ["train.optimizer_options.b: nothing there, 2 asked"]


def test_a_value_may_hold_an_equals_sign():
    assert with_settings(RUN, ["data.corpus=a=b.txt"]).data.corpus == "a=b.txt"


def test_none_is_a_text_where_a_setting_is_not_optional():
    assert with_settings(RUN, ["data.corpus=none"]).data.corpus == "none"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("learning_rate=1", "mine has no setting 'learning_rate'. Did you mean "),
        ("train.optimiser=adam", "Did you mean 'train.optimizer'?"),
        ("train=3", "mine has no setting 'train'."),
        ("preset=other", "mine has no setting 'preset'."),
        ("task=ngram", "mine has no setting 'task'."),
        ("seed", "got 'seed': a setting is KEY=VALUE, as seed=3"),
        ("seed=", "seed is '', but must be a whole number"),
        ("train.learning_rate=nan", "train.learning_rate is 'nan', but must be a number, above 0"),
        ("network.forget_bias=inf", "network.forget_bias is 'inf', but must be a number"),
        ("network.tied=perhaps", "network.tied is 'perhaps', but must be true or false"),
        ("data.split=all", "data.split is 'all', but must be text like '90/5/5'"),
        ("train.schedule=step", "but must be one of constant, tutorial, linear, cosine"),
        ("train.schedule=cosin", "or module:Name of your own. Did you mean 'cosine'?"),
        ("train.optimizer_options=3", "give train.optimizer_options.NAME=VALUE, one by one"),
        ("train.optimizer_options.a b=3", "must be names with numbers, text, true, false or none"),
        (
            f"train.optimizer_options.a={2**64}",
            "train.optimizer_options is {'a': 1844674407370955",
        ),
        ("train.optimizer_option.eps=3", "Did you mean 'train.optimizer_options.eps'?"),
        ("train.left_out.eps=3", "mine has no setting 'train.left_out.eps'."),
    ],
)
def test_a_setting_that_cannot_be_is_answered(assignment, message):
    assert message in said(with_settings, RUN, [assignment])


@pytest.mark.parametrize(
    ("kind", "own"), [(LanguageRun, "docstrings"), (SeriesRun, "airline"), (LabelRun, "iris")]
)
def test_the_source_is_named_whatever_the_task(kind, own, tmp_path):
    run = kind(preset="mine", seed=3)
    assert run.source == own
    moved = with_data(run, tmp_path / "other.csv")
    assert moved.source == str(tmp_path / "other.csv")
    assert moved.seed == 3 and differences(run, moved) != []


@pytest.mark.parametrize("kind", [SeriesRun, LabelRun])
def test_what_is_handed_over_has_no_name(kind):
    assert with_data(kind(preset="mine"), [1.0, 2.0]).source == GIVEN


def test_a_text_is_never_handed_over():
    message = said(with_data, RUN, [1.0, 2.0])
    assert message == (
        "mine learns a text: give a corpus's name, a directory or a file, not a list"
    )


def test_no_difference_resumes():
    assert differences(RUN, LanguageRun(preset="mine")) == []


def test_differences_name_the_setting_and_both_values():
    asked = RUN.model_copy(
        update={"seed": 2, "train": TrainOptions(clip_norm=0.5), "data": TextOptions(corpus="ptb")}
    )
    assert differences(RUN, asked) == [
        "seed: 1 there, 2 asked",
        "data.corpus: docstrings there, ptb asked",
        "train.clip_norm: none there, 0.5 asked",
    ]


def test_another_task_differs_in_all_it_lacks():
    lines = differences(RUN, NgramRun(preset="mine"))
    assert "task: language there, ngram asked" in lines
    assert "network.hidden_size: 200 there, nothing asked" in lines
    assert "ngram.order: nothing there, 5 asked" in lines


def test_the_steps_that_minutes_froze_are_no_difference():
    there = RUN.model_copy(update={"train": TrainOptions(minutes=5, steps=1234)})
    same = RUN.model_copy(update={"train": TrainOptions(minutes=5)})
    longer = RUN.model_copy(update={"train": TrainOptions(minutes=6)})
    fixed = RUN.model_copy(update={"train": TrainOptions(steps=99)})
    assert differences(there, same) == []
    assert "train.minutes: 5.0 there, 6.0 asked" in differences(there, longer)
    assert differences(fixed, RUN) == ["train.steps: 99 there, none asked"]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (TrainOptions.model_fields["momentum"], "a number, at least 0, below 1"),
        (TrainOptions.model_fields["clip_norm"], "a number, above 0, at most 1e+30, or none"),
        (TrainOptions.model_fields["keep"], "one of last, best"),
        (NetworkOptions.model_fields["tied"], "true or false"),
        (TextOptions.model_fields["corpus"], "text"),
        (TextOptions.model_fields["split"], "text like '90/5/5'"),
    ],
)
def test_what_is_allowed_is_said_in_words(field, words):
    assert allowed(field) == words
