"""What is chosen for the minutes there are, against the table it is chosen from."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError
from recurra.language import sizing
from recurra.language.entry import LanguageRun
from recurra.language.options import SIZED, NetworkOptions
from recurra.language.sizing import RECIPES, sized, tokens_per_second, with_size
from recurra.learning.config import fields
from recurra.learning.options import TrainOptions
from recurra.learning.plan import BUDGET
from recurra.run.presets import preset

NETWORK = NetworkOptions(tied=True, dropout=0.77)
TOKENS = 1_000_000


def chosen(minutes: float, speed: float) -> tuple[NetworkOptions, TrainOptions, list[int]]:
    """Choose where a network of width 200 learns `speed` tokens a second, wider ones fewer."""
    asked: list[int] = []

    def measure(network: NetworkOptions) -> float:
        assert network.tied
        asked.append(network.hidden_size)
        return speed * 200 / network.hidden_size

    options = TrainOptions(sized=True, minutes=minutes)
    return *sized(NETWORK, options, TOKENS, measure), asked


def test_the_table_is_in_order() -> None:
    for before, after in itertools.pairwise(RECIPES):
        assert before.least_passes < after.least_passes
        assert before.hidden_size <= after.hidden_size
        assert before.dropout <= after.dropout
    assert all(0 <= recipe.dropout <= recipe.full_dropout < 1 for recipe in RECIPES)
    assert RECIPES[0].least_passes == 0


@given(st.floats(0.01, 1000), st.floats(100, 1e6))
def test_the_widest_is_chosen_that_sees_the_text_often_enough(minutes: float, speed: float) -> None:
    network, train, asked = chosen(minutes, speed)
    passes = [
        speed * 200 / recipe.hidden_size * minutes * 60 * BUDGET / TOKENS for recipe in RECIPES
    ]
    enough = [
        recipe for recipe, seen in zip(RECIPES, passes, strict=True) if seen >= recipe.least_passes
    ]
    assert network.hidden_size == max(recipe.hidden_size for recipe in enough)
    assert train.learning_rate == enough[-1].learning_rate
    assert enough[-1].dropout - 0.01 <= network.dropout <= enough[-1].full_dropout + 0.01
    assert asked == sorted(set(asked)), "each width is measured once, the narrowest first"
    wider = [recipe.hidden_size for recipe in RECIPES if recipe.hidden_size > network.hidden_size]
    assert asked[-1] in (network.hidden_size, *wider[:1]), "no measuring past what is too slow"


def test_more_minutes_never_mean_a_narrower_network() -> None:
    runs = [chosen(minutes, 30_000)[0] for minutes in (0.5, 2, 5, 10, 20, 45, 90, 200, 1000)]
    widths = [network.hidden_size for network in runs]
    assert widths == sorted(widths)
    assert {recipe.hidden_size for recipe in RECIPES} == set(widths)


def test_within_a_width_dropout_grows_with_the_passes_up_to_twice_as_many() -> None:
    widest = RECIPES[-1]
    seen = [1.0, 1.5, 2.0, 9.0]
    speed = TOKENS / 60 / BUDGET * widest.hidden_size / 200
    found = [chosen(widest.least_passes * n * 1.0001, speed)[0].dropout for n in seen]
    middle = round((widest.dropout + widest.full_dropout) / 2, 2)
    assert found == pytest.approx([widest.dropout, middle, *[widest.full_dropout] * 2], abs=0.011)


def test_nothing_but_what_is_said_is_changed() -> None:
    network, train, _ = chosen(10, 30_000)
    before = LanguageRun(
        preset="x", network=NETWORK, train=TrainOptions(sized=True, minutes=10)
    ).model_dump()
    after = LanguageRun(preset="x", network=network, train=train).model_dump()
    for name, _ in fields(LanguageRun):
        section, _, key = name.rpartition(".")
        old, new = ((run[section] if section else run)[key] for run in (before, after))
        assert old == new or name in SIZED


@pytest.mark.parametrize(
    "options",
    [
        TrainOptions(minutes=10),
        TrainOptions(sized=True, minutes=10, steps=500),
        TrainOptions(epochs=3),
    ],
)
def test_what_was_sized_or_need_not_be_is_left_and_not_measured(options: TrainOptions) -> None:
    assert sized(NETWORK, options, TOKENS, lambda _: pytest.fail("measured")) == (NETWORK, options)


def test_without_minutes_or_with_widths_of_its_own_it_cannot_choose() -> None:
    with pytest.raises(ConfigError, match=r"give train\.minutes"):
        sized(NETWORK, TrainOptions(sized=True), TOKENS, lambda _: 1.0)
    layers = NETWORK.model_copy(update={"layer_sizes": "8/8"})
    with pytest.raises(ConfigError, match=r"leave network\.layer_sizes out"):
        sized(layers, TrainOptions(sized=True, minutes=1), TOKENS, lambda _: 1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_wide_network_is_measured_to_be_slower(optimizer: str) -> None:
    options = TrainOptions(batch_size=4, optimizer=optimizer, clip_norm=0.25, learning_rate=0.1)
    narrow, wide = (
        tokens_per_second(
            NetworkOptions(hidden_size=width, precision="float32"),
            options,
            60,
            10,
            torch.device("cpu"),
            least_seconds=0.05,
        )
        for width in (8, 400)
    )
    assert narrow > wide > 0


def test_a_run_is_sized_once_by_what_is_measured_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(network: NetworkOptions, *rest: object) -> float:
        asked.append((network.hidden_size, network.residual, *rest))
        return 4e6 / network.hidden_size

    monkeypatch.setattr(sizing, "tokens_per_second", measure)
    cpu = torch.device("cpu")
    config = preset("ptb-minutes", minutes=10)
    found = with_size(config, 10_000, 929_589, cpu)
    assert found.network.hidden_size == 300
    assert 0.25 < found.network.dropout <= 0.35
    assert asked == [(width, True, config.train, 10_000, 35, cpu) for width in (128, 200, 300, 400)]
    frozen = found.model_copy(update={"train": found.train.model_copy(update={"steps": 1000})})
    assert with_size(frozen, 10_000, 929_589, cpu) is frozen
    tied = preset("ptb-tied")
    assert with_size(tied, 10_000, 929_589, cpu) is tied


def test_the_preset_takes_its_minutes_and_leaves_the_rest_to_be_measured() -> None:
    config = preset("ptb-minutes", minutes=3)
    assert (config.train.minutes, config.train.steps, config.train.sized) == (3, None, True)
    assert preset("ptb-minutes").train.minutes == 10
    assert config.network.layer_sizes is None
    assert config.data.corpus == "ptb"
