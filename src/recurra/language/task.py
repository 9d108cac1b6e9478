"""The language tasks: a recurrent network that learns a text, and n-grams counted in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.language.batches import StreamBatches
from recurra.language.dataset import SplitFacts, TextDataset
from recurra.language.model import LanguageModel
from recurra.language.network import LanguageNetwork
from recurra.language.network_model import NetworkModel
from recurra.language.ngram import KneserNey
from recurra.language.ngram_model import NgramModel
from recurra.language.options import NetworkOptions, NgramOptions, TextOptions
from recurra.machine import available_memory
from recurra.nn.state import State, detach, flatten, unflatten
from recurra.randomness import generator
from recurra.train.checkpoint import Checkpoints
from recurra.train.event import Event, Finished, Started, Validated
from recurra.train.loop import learn, load_weights, measure_seconds_per_step
from recurra.train.optimization import TrainOptions, takes_sparse_gradients

__all__ = ["LanguageTask", "NgramTask"]

BASELINE_ORDER = 5
"""Words in the n-grams that every network is printed beside."""


BUDGET = 0.95
"""The share of `--minutes` that is planned: a shared machine may slow down."""


class Config(Protocol):
    """What both tasks read of a run's config."""

    @property
    def seed(self) -> int: ...
    @property
    def start_from(self) -> str | None: ...
    @property
    def data(self) -> TextOptions: ...


class LanguageConfig(Config, Protocol):
    """What a recurrent language model is made from."""

    @property
    def network(self) -> NetworkOptions: ...
    @property
    def train(self) -> TrainOptions: ...
    def model_copy(self, *, update: Mapping[str, Any]) -> LanguageConfig: ...


class NgramConfig(Config, Protocol):
    """What an n-gram model is made from."""

    @property
    def ngram(self) -> NgramOptions: ...


class _Learner:
    """A LanguageNetwork over streams of text, as the loop wants it."""

    def __init__(
        self,
        network: LanguageNetwork,
        dataset: TextDataset,
        config: LanguageConfig,
        device: torch.device,
    ) -> None:
        size = config.train.batch_size
        self.model: nn.Module = network.to(device).train()
        self.network = network
        self.device = device
        self.batches = StreamBatches(dataset.ids("train"), size, config.data.chunk_length)
        self.batch_size = size
        self.steps_per_epoch = len(self.batches)
        self.fingerprint: Mapping[str, str] = {
            "text": dataset.fingerprint,
            "vocabulary": dataset.vocabulary.fingerprint(),
        }
        self.dataset = dataset
        self.scorer = NetworkModel(network, config.network, dataset.vocabulary, dataset.rule)
        network.train()

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.batches.batch(step)
        return inputs.to(self.device), targets.to(self.device)

    def initial_carry(self) -> State:
        return self.network.initial_state(self.batch_size)

    def loss(
        self, batch: tuple[Tensor, Tensor], carry: State, generator: torch.Generator
    ) -> tuple[Tensor, State, int]:
        inputs, targets = batch
        loss, state = self.network.loss(inputs, targets, carry, generator)
        return loss, detach(state), targets.numel()

    def validate(self) -> dict[str, float | int | None] | None:
        if "valid" not in self.dataset.splits:
            return None
        metrics = self.scorer.evaluate(self.dataset.ids("valid"), self.dataset.facts("valid"))
        return {"loss": metrics.nats_per_token, **metrics.as_dict()}

    def pack(self, carry: State) -> dict[str, Tensor]:
        return flatten(carry)

    def unpack(self, tensors: Mapping[str, Tensor]) -> State:
        return unflatten(tensors, self.initial_carry())


class LanguageTask:
    """A recurrent language model learns a text.

    Args:
        config: the run's; where it gives `train.minutes`, `self.config` has the steps that a
            short measurement found to fit.
        device: where tensors live.

    Raises:
        ConfigError: the network does not fit into memory, or `start_from` names no network.
        DataError: the text cannot be used.
    """

    def __init__(self, config: LanguageConfig, device: torch.device) -> None:
        start = _network_model(config.start_from)
        self.dataset = _open(config, start)
        size = len(self.dataset.vocabulary)
        _require_memory(config.network, size)
        network = LanguageNetwork(
            config.network,
            size,
            generator(config.seed, "init"),
            sparse=takes_sparse_gradients(config.train),
        )
        if start:
            load_weights(network, start.tensors())
        self.learner = _Learner(network, self.dataset, config, device)
        minutes = config.train.minutes
        if minutes is not None and config.train.steps is None:
            seconds = measure_seconds_per_step(self.learner, config.train)
            steps = max(1, int(minutes * 60 * BUDGET / seconds))
            frozen = config.train.model_copy(update={"steps": steps})
            config = config.model_copy(update={"train": frozen})
        self.config = config

    def facts(self) -> dict[str, str]:
        """Return in words what is learned."""
        train, options = self.dataset.facts("train"), self.config.network
        shape = f"{options.num_layers} x {options.hidden_size} {options.cell}"
        return {**_facts(self.config, self.dataset), "network": shape, "unknown": _oov(train)}

    def fit(self, checkpoints: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train, yielding events.

        Args:
            checkpoints: the directory to save into and to resume from.
            should_stop: asked after every step.
        """
        train, seed = self.config.train, self.config.seed
        return learn(self.learner, train, seed, Checkpoints(checkpoints), should_stop)

    @property
    def model(self) -> NetworkModel:
        """The language model as it is now."""
        return self.learner.scorer

    def baselines(self) -> dict[str, LanguageModel]:
        """Return what every result is printed beside: name -> model of the same text."""
        return {f"kn{BASELINE_ORDER}": _count(self.dataset, BASELINE_ORDER)}


class NgramTask:
    """The n-grams of a text are counted.

    Args:
        config: the run's.
        device: not used; counting is done on the processor.

    Raises:
        ConfigError: `start_from` is given.
        DataError: the text cannot be used.
    """

    def __init__(self, config: NgramConfig, device: torch.device) -> None:
        if config.start_from is not None:
            raise ConfigError("--from: n-grams are counted anew, not from another run's weights")
        self.config = config
        self.dataset = TextDataset.open(config.data)
        self.model: NgramModel

    def facts(self) -> dict[str, str]:
        """Return in words what is learned."""
        order = self.config.ngram.order
        return {**_facts(self.config, self.dataset), "counted": f"n-grams of up to {order} words"}

    def fit(self, checkpoints: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Count, yielding events.

        Args:
            checkpoints: not used; counting takes seconds and starts over.
            should_stop: not asked.
        """
        data = self.dataset
        yield Started(step=0, steps=1, steps_per_epoch=1, parameters=0, device="cpu")
        begun = time.perf_counter()
        self.model = _count(data, self.config.ngram.order)
        seconds = time.perf_counter() - begun
        if "valid" in data.splits:
            begun = time.perf_counter()
            metrics = self.model.evaluate(data.ids("valid"), data.facts("valid")).as_dict()
            yield Validated(1, 1.0, metrics, True, time.perf_counter() - begun)
        yield Finished(step=1, epoch=1.0, seconds=seconds, items=data.facts("train").tokens)

    def baselines(self) -> dict[str, LanguageModel]:
        """Return nothing: n-grams are the baseline."""
        return {}


def _count(dataset: TextDataset, order: int) -> NgramModel:
    vocabulary = dataset.vocabulary
    counts = KneserNey.fit(dataset.ids("train"), order, len(vocabulary), vocabulary.eos)
    return NgramModel(counts, vocabulary, dataset.rule)


def _network_model(run: str | None) -> NetworkModel | None:
    if run is None:
        return None
    model = LanguageModel.from_pretrained(run)
    if not isinstance(model, NetworkModel):
        raise ConfigError(f"--from {run}: that run has no network whose weights could be taken")
    return model


def _open(config: LanguageConfig, start: NetworkModel | None) -> TextDataset:
    """Open the text, tokenised and numbered as the model to start from knows it."""
    if start is None:
        return TextDataset.open(config.data)
    if config.data.rule not in ("auto", start.rule):
        raise ConfigError(
            f"data.rule is {config.data.rule}, but {config.start_from} learned by {start.rule}"
        )
    options = config.data.model_copy(update={"rule": start.rule})
    return TextDataset.open(options, start.vocabulary)


def _require_memory(options: NetworkOptions, vocabulary_size: int) -> None:
    """Refuse a network whose weights and gradients the machine cannot hold."""
    with torch.device("meta"):
        network = LanguageNetwork(options, vocabulary_size, None)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    free = available_memory()
    if free is not None and 8 * parameters > free:
        raise ConfigError(
            f"network.hidden_size={options.hidden_size}, network.num_layers={options.num_layers} "
            f"and {vocabulary_size:,} words make {parameters:,} parameters: with their gradients "
            f"{8 * parameters / 1e9:,.1f} GB, more than the {free / 1e9:,.1f} GB that are free"
        )


def _facts(config: Config, dataset: TextDataset) -> dict[str, str]:
    counts = (f"{dataset.facts(split).tokens:,} {split}" for split in dataset.splits)
    return {
        "corpus": config.data.corpus,
        "tokens": ", ".join(counts),
        "vocabulary": f"{len(dataset.vocabulary):,} by rule {dataset.rule}",
    }


def _oov(facts: SplitFacts) -> str:
    return f"{facts.oov_rate:.1%} of the training tokens are outside the vocabulary"
