"""How wide a network is, and how much it is held back, for the minutes there are on this machine.

B rows, T steps, V words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.language.entry import LanguageRun
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.learning.optimization import takes_sparse_gradients
from recurra.learning.options import TrainOptions
from recurra.learning.plan import BUDGET, measure_seconds_per_step
from recurra.nn.state import State, detach
from recurra.randomness import generator
from recurra.work import worked_on

__all__ = ["RECIPES", "Recipe", "sized", "tokens_per_second", "with_size"]


class Recipe(NamedTuple):
    """A width, from how many passes over the text it is worth its time, and how it learns then.

    `dropout` is that of `least_passes`; as `full_dropout` it is reached at twice as many.
    """

    hidden_size: int
    least_passes: float
    dropout: float
    full_dropout: float
    learning_rate: float


RECIPES = (
    Recipe(128, 0.0, 0.1, 0.1, 40.0),
    Recipe(200, 2.0, 0.1, 0.2, 40.0),
    Recipe(300, 7.0, 0.25, 0.35, 40.0),
    Recipe(400, 30.0, 0.35, 0.45, 40.0),
    Recipe(650, 60.0, 0.45, 0.55, 30.0),
)
"""The narrowest first. A wide network that sees a text few times is behind a narrow one that sees
it often; one that sees it too often learns it by heart, and is held back by dropout."""


def with_size(
    config: LanguageRun, vocabulary_size: int, tokens: int, device: torch.device
) -> LanguageRun:
    """Return a run's config with `SIZED` chosen, where `train.sized` asks for it.

    Takes some two seconds for each width that is measured.

    Args:
        config: the run's; returned as it is where nothing is to be chosen.
        vocabulary_size: V.
        tokens: of the text to be learned.
        device: where the network would learn.

    Raises:
        ConfigError: there are no minutes to choose by, or the widths are given.
    """

    def measure(network: NetworkOptions) -> float:
        return tokens_per_second(
            network, config.train, vocabulary_size, config.data.chunk_length, device
        )

    network, train = sized(config.network, config.train, tokens, measure)
    if network is config.network:
        return config
    sized_config: LanguageRun = config.model_copy(update={"network": network, "train": train})
    return sized_config


def sized(
    network: NetworkOptions,
    train: TrainOptions,
    tokens: int,
    measure: Callable[[NetworkOptions], float],
) -> tuple[NetworkOptions, TrainOptions]:
    """Return the options with `SIZED` chosen by `train.minutes`, where `train.sized` asks for it.

    The widest network is taken that sees the text often enough; measuring stops at the first that
    is too slow. Options that name their steps were sized before, and are left as they are.

    Args:
        network: what is not chosen is taken from it.
        train: with `minutes`.
        tokens: of the text to be learned.
        measure: gives the tokens a second that a network learns, as `tokens_per_second` does.

    Raises:
        ConfigError: `train.sized` without `train.minutes`, or beside `network.layer_sizes`.

    Example:
        >>> options = TrainOptions(sized=True, minutes=10)
        >>> speed = lambda network: 5e6 / network.hidden_size
        >>> network, train = sized(NetworkOptions(), options, 929_589, speed)
        >>> network.hidden_size, network.dropout, train.learning_rate
        (300, 0.3, 40.0)
    """
    if not train.sized or train.steps is not None:
        return network, train
    if train.minutes is None:
        raise ConfigError("train.sized chooses by time: give train.minutes, or --minutes")
    if network.layer_sizes is not None:
        raise ConfigError("train.sized chooses the width: leave network.layer_sizes out")
    chosen, passes = RECIPES[0], 0.0
    speeds: dict[int, float] = {}
    for recipe in worked_on(RECIPES, "choosing the width", "widths"):
        width = recipe.hidden_size
        if width not in speeds:
            speeds[width] = measure(network.model_copy(update={"hidden_size": width}))
        seen = speeds[width] * train.minutes * 60 * BUDGET / tokens
        if seen < recipe.least_passes:
            break
        chosen, passes = recipe, seen
    update = {"hidden_size": chosen.hidden_size, "dropout": _dropout(chosen, passes)}
    return (
        network.model_copy(update=update),
        train.model_copy(update={"learning_rate": chosen.learning_rate}),
    )


def _dropout(recipe: Recipe, passes: float) -> float:
    """Return a dropout that grows with the passes, to two places."""
    further = passes / recipe.least_passes - 1 if recipe.least_passes else 0.0
    share = min(max(further, 0.0), 1.0)
    return round(recipe.dropout + share * (recipe.full_dropout - recipe.dropout), 2)


def tokens_per_second(
    network: NetworkOptions,
    train: TrainOptions,
    vocabulary_size: int,
    chunk_length: int,
    device: torch.device,
    least_seconds: float = 2.0,
) -> float:
    """Return how fast a network learns here, by training one for a moment on tokens of chance.

    Args:
        network: its sizes and its regularisation.
        train: batch size, optimizer and clipping.
        vocabulary_size: V.
        chunk_length: T, in tokens.
        device: where it would learn.
        least_seconds: how long to measure, in seconds.

    Example:
        >>> small = NetworkOptions(hidden_size=4)
        >>> speed = tokens_per_second(small, TrainOptions(), 50, 5, torch.device("cpu"), 0.01)
        >>> speed > 0
        True
    """
    chance = generator(0, "sizing")
    sparse = takes_sparse_gradients(train)
    made = LanguageNetwork(network, vocabulary_size, chance, sparse=sparse).to(device)
    shape = (train.batch_size, chunk_length + 1)
    ids = torch.randint(vocabulary_size, shape, generator=chance).to(device)
    learner = _Drill(made.train(), ids)
    seconds = measure_seconds_per_step(learner, train, least_seconds=least_seconds)
    return train.batch_size * chunk_length / seconds


class _Drill:
    """A network that learns one batch of chance again and again, to be timed."""

    def __init__(self, network: LanguageNetwork, ids: Tensor) -> None:
        self.network = network
        self.model: nn.Module = network
        self.ids = ids
        self.steps_per_epoch = 1_000_000
        self.fingerprint: Mapping[str, str] = {}

    def batch(self, epoch: int, step: int) -> Tensor:
        return self.ids

    def initial_carry(self) -> State:
        return self.network.initial_state(len(self.ids))

    def loss(
        self, batch: Tensor, carry: State, generator: torch.Generator
    ) -> tuple[Tensor, State, int]:
        targets = batch[:, 1:].contiguous()
        loss, state = self.network.loss(batch[:, :-1], targets, carry, generator)
        return loss, detach(state), targets.numel()

    def validate(self) -> None:
        return None

    def pack(self, carry: State) -> dict[str, Tensor]:
        return {}

    def unpack(self, tensors: Mapping[str, Tensor]) -> State:
        return self.initial_carry()
