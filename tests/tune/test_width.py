"""The width at which a network has so many parameters, for any cell and task."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recurra.errors import ConfigError
from recurra.learning.config import with_settings
from recurra.machine import choose_device
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.run.presets import preset
from recurra.run.tasks import task_class
from recurra.tune.width import Counted, counted, described, sketch_of, told, with_parameters

CONFIGS = {
    "language": preset("words", data="grammar"),
    "series": preset("airline"),
    "labels": preset("labels"),
}
WANTED = 30_000


@pytest.fixture(scope="module")
def sketches(encoded):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURRA_CACHE", str(encoded))
        return {name: sketch_of(config) for name, config in CONFIGS.items()}


def counts_by_hand(config, sketch, widths):
    options = [config.network.model_copy(update={"hidden_size": width}) for width in widths]
    return [
        sum(p.numel() for p in sketch(each).parameters() if p.requires_grad) for each in options
    ]


@pytest.mark.parametrize("cell", CELLS)
def test_of_all_widths_the_nearest_is_found_for_every_cell(cell, sketches):
    config = with_settings(CONFIGS["language"], [f"network.cell={cell}"])
    found, numbers = with_parameters(config, WANTED, sketches["language"])
    width = found.network.hidden_size
    around = range(max(1, width - 3), width + 4)
    hand = dict(zip(around, counts_by_hand(config, sketches["language"], around)))
    assert numbers.parameters == hand[width]
    assert abs(hand[width] - WANTED) == min(abs(each - WANTED) for each in hand.values())


@pytest.mark.parametrize("task", ["series", "labels"])
def test_so_it_is_of_series_and_labels(task, sketches):
    found, numbers = with_parameters(CONFIGS[task], WANTED, sketches[task])
    width = found.network.hidden_size
    below, at, above = counts_by_hand(found, sketches[task], [width - 1, width, width + 1])
    assert numbers.parameters == at
    assert abs(at - WANTED) <= min(abs(below - WANTED), abs(above - WANTED))


@pytest.mark.parametrize("task", CONFIGS)
def test_the_counts_are_those_of_the_network_that_is_trained(task, sketches, knows_grammar):
    small = with_settings(CONFIGS[task], ["network.hidden_size=8"])
    made = task_class(task)(small, choose_device("cpu")).learner.model
    learned = sum(each.numel() for each in made.parameters() if each.requires_grad)
    assert described(small, sketches[task]).parameters == learned


def test_the_state_is_counted_in_the_numbers_of_one_row(sketches):
    def state(*changes):
        config = with_settings(CONFIGS["language"], ["network.hidden_size=12", *changes])
        return described(config, sketches["language"]).state

    assert state() == 2 * 2 * 12  # two layers, h and c
    assert state("network.cell=gru", "network.num_layers=3") == 3 * 12
    labels = with_settings(
        CONFIGS["labels"], ["network.hidden_size=5", "network.members=3", "network.cell=rnn"]
    )
    assert described(labels, sketches["labels"]).state == 3 * 2 * 5  # members, directions


def test_without_a_network_there_is_nothing_to_count():
    assert sketch_of(preset("kn5")) is None
    assert described(preset("kn5"), None) is None
    with pytest.raises(ConfigError, match="kn5 has no network whose width could be set"):
        with_parameters(preset("kn5"), 1000, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("network.layer_sizes=30/20", "network.layer_sizes names it"),
        ("train.sized=true", "train.sized measures it"),
        ("start_from=runs/x", "--from takes the weights"),
    ],
)
def test_what_says_the_width_otherwise_is_refused(change, said, sketches):
    config = with_settings(CONFIGS["language"], [change])
    with pytest.raises(ConfigError, match=said):
        with_parameters(config, 10_000, sketches["language"])


def test_a_width_that_changes_nothing_is_refused(sketches):
    settings = ["network.num_layers=1", "network.tied=true", "network.embedding_size=20"]
    config = with_settings(CONFIGS["language"], settings)
    with pytest.raises(ConfigError, match=r"network\.hidden_size changes nothing"):
        with_parameters(config, 10_000, sketches["language"])
    with pytest.raises(ConfigError, match="changes nothing in this softmax regression"):
        with_parameters(preset("iris"), 10_000, sketch_of(preset("iris")))


def test_more_is_asked_for_than_the_least_has(sketches):
    with pytest.raises(ConfigError, match="is 20, but the least network"):
        with_parameters(CONFIGS["language"], 20, sketches["language"])


class Picky(Cell):
    """Takes whole sevens, in its own words."""

    def __init__(self, input_size, output_size):
        super().__init__(input_size, output_size)
        if output_size % 7:
            raise ValueError("whole sevens, please")
        self.weight = nn.Parameter(torch.zeros(output_size, input_size))

    def initial_state(self, batch_size=1, *, device=None, dtype=None):
        return torch.zeros(batch_size, self.output_size)

    def forward(self, x, state):
        return state, state


class Never(Picky):
    """Takes no width."""

    def __init__(self, input_size, output_size):
        raise ValueError("not today")


@pytest.fixture
def own(monkeypatch):
    for one in (Picky, Never):
        monkeypatch.setitem(CELLS.places, one.__name__.lower(), f"{one.__module__}:{one.__name__}")
    monkeypatch.setitem(
        __import__("sys").modules, Picky.__module__, __import__("types").ModuleType("own")
    )
    module = __import__("sys").modules[Picky.__module__]
    module.Picky, module.Never = Picky, Never


def test_of_widths_that_a_cell_refuses_the_nearest_that_it_takes(own, sketches):
    config = with_settings(CONFIGS["labels"], ["network.cell=picky", "network.members=1"])
    found, numbers = with_parameters(config, 3_000, sketches["labels"])
    width = found.network.hidden_size
    assert width % 7 == 0
    hand = counts_by_hand(found, sketches["labels"], [width - 7, width, width + 7])
    assert abs(hand[1] - 3_000) <= min(abs(hand[0] - 3_000), abs(hand[2] - 3_000))
    assert numbers.parameters == hand[1]


def test_a_cell_that_takes_none_is_refused_in_its_words(own, sketches):
    config = with_settings(CONFIGS["labels"], ["network.cell=never"])
    with pytest.raises(
        ConfigError, match="none of the widths 1 to 512 is taken: ValueError: not t"
    ):
        with_parameters(config, 3_000, sketches["labels"])
    with pytest.raises(ConfigError, match="cell=never cannot be made: ValueError: not today"):
        described(config, sketches["labels"])


def test_what_was_found_is_told_and_how_far_off_it_is():
    config = with_settings(CONFIGS["language"], ["network.hidden_size=173"])
    assert told(config, Counted(499_812, 1), 500_000) == "hidden_size 173, 499,812 parameters"
    assert told(config, Counted(40_000, 1), 30_000).endswith(", +33% of what was asked for")


def test_weights_that_are_held_are_not_counted():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert counted(layer) == Counted(parameters=6, state=0)
