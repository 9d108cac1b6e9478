"""The language tasks: a recurrent network that learns a text, and n-grams counted in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.language.costs import after_training, seconds_of_validation
from recurra.language.entry import LanguageRun, NgramRun
from recurra.language.mixing import Mixed, Part, Scores, components, learn_mixture, ngram_parts
from recurra.language.models.base import LanguageModel
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.network import LanguageNetwork, start_of_layers
from recurra.language.options import NetworkOptions, NgramOptions, TextOptions
from recurra.language.sizing import with_size
from recurra.language.text.batches import StreamBatches
from recurra.language.text.dataset import TextDataset, encode_text
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.event import Event, Finished, Started, Validated
from recurra.learning.loop import learn
from recurra.learning.metric import Metrics
from recurra.learning.optimization import takes_sparse_gradients
from recurra.learning.own.terms import Criterion
from recurra.learning.plan import attempted, with_steps, with_threads
from recurra.learning.weights import load_weights, require_memory, sketched
from recurra.nn.proven import prove_within
from recurra.nn.state import State, detach, flatten, unflatten
from recurra.randomness import generator
from recurra.storage.picture import Picture

__all__ = ["LanguageTask", "NgramTask"]

TextRun = LanguageRun | NgramRun

BASELINE_ORDER = 5
"""Words in the n-grams that every network is printed beside."""

SAMPLE_TOKENS = 60
"""How much text of its own a report shows."""


class _Learner:
    """A LanguageNetwork over streams of text, as the loop wants it."""

    criterion: Criterion | None = None
    hidden: Tensor | None = None

    def __init__(
        self,
        network: LanguageNetwork,
        dataset: TextDataset,
        config: LanguageRun,
        device: torch.device,
    ) -> None:
        self.batch_size = size = config.train.batch_size
        self.model: nn.Module = network.to(device).train()
        self.network = network
        self.device = device
        seed = config.seed if config.data.random_chunks else None
        self.batches = StreamBatches(dataset.ids("train"), size, config.data.chunk_length, seed)
        self.steps_per_epoch = len(self.batches)
        self.fingerprint: Mapping[str, str] = {
            "text": dataset.fingerprint,
            "vocabulary": dataset.vocabulary.fingerprint(),
        }
        self.without: Container[str] = ()  # splits that there is no time for
        self.scores = Scores(dataset)  # of the last validation
        self.scorer = NetworkModel(network, config.network, dataset.vocabulary, dataset.rule)
        network.train()

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.batches.batch(step, epoch)
        return inputs.to(self.device), targets.to(self.device)

    def steps_in(self, epoch: int) -> int:
        return self.batches.steps_in(epoch)

    def rate_factor(self, epoch: int, step: int) -> float:
        return self.batches.rate_factor(epoch, step)

    def initial_carry(self) -> State:
        return self.network.initial_state(self.batch_size)

    def loss(
        self, batch: tuple[Tensor, Tensor], carry: State, generator: torch.Generator
    ) -> tuple[Tensor, State, int]:
        inputs, targets = batch
        parts = self.network.loss_parts(inputs, targets, carry, generator, self.criterion)
        self.hidden = parts.hidden
        return parts.nats + parts.penalty, detach(parts.state), targets.numel()

    def validate(self) -> Metrics | None:
        self.scores = Scores(self.scores.dataset, self.without)
        metrics = self.scores.metrics(self.scorer, "valid")
        return metrics and {"loss": metrics["nats_per_token"], **metrics}

    def pack(self, carry: State) -> dict[str, Tensor]:
        return flatten(carry)

    def unpack(self, tensors: Mapping[str, Tensor]) -> State:
        return unflatten(tensors, self.initial_carry())


class _TextTask:
    """What both tasks do with a model once it has learned."""

    metric: ClassVar[str] = "perplexity"
    unit: ClassVar[str] = "tokens"

    config: Any
    dataset: TextDataset
    scores: Scores
    """Of the model as it is now, and of those beside it."""

    @property
    def model(self) -> LanguageModel:
        """The language model as it is now."""
        raise NotImplementedError

    def measure(self, split: str) -> Metrics | None:
        """Return how well the model predicts a split; None where there is no such split."""
        return self.scores.metrics(self.model, split)

    def extras(self) -> dict[str, Any]:
        """Return a sample of the model's own text, for the report."""
        return {"sample": self.model.generate(SAMPLE_TOKENS, seed=self.config.seed)}

    def companions(self) -> Mapping[str, LanguageModel]:
        """Return what is saved beside the model, by name: nothing."""
        return {}

    def left_out(self) -> Mapping[str, str]:
        """Return what could not be made: nothing."""
        return {}

    def pictures(self) -> tuple[Picture, ...]:
        """Return nothing: of text there are no pictures but the curves."""
        return ()

    def baselines(self) -> dict[str, dict[str, Metrics]]:
        """Return what every result is printed beside: nothing."""
        return {}

    @classmethod
    def evaluate(
        cls,
        run: Path,
        config: LanguageRun | NgramRun | None,
        data: str | None,
        split: str,
        context: str,
    ) -> Metrics:
        """Return the metrics of a model on its own text or on another; a file is scored whole."""
        model = LanguageModel.from_pretrained(run)
        if data is not None and Path(data).is_file():
            ids, facts = encode_text(Path(data), model.vocabulary, model.rule)
        else:
            if config is None and data is None:
                raise ConfigError(f"{run} does not say what text it learned from; give --data")
            options = config.data if config else TextOptions()
            named = {} if data is None else {"corpus": data}
            options = options.model_copy(update={"rule": model.rule, **named})
            dataset = TextDataset.open(options, model.vocabulary)
            ids, facts = dataset.ids(split), dataset.facts(split)
        return model.evaluate(ids, facts, context).as_dict()


class LanguageTask(_TextTask):
    """A recurrent language model learns a text.

    Args:
        config: the run's; where it gives `train.minutes`, `self.config` has the steps that a
            short measurement found to fit.
        device: where tensors live.

    Raises:
        ConfigError: the network does not fit into memory, or `start_from` names no network.
        DataError: the text cannot be used.
    """

    def __init__(self, config: LanguageRun, device: torch.device) -> None:
        start = _network_model(config.start_from)
        self.dataset = _open(config, start)
        begun = time.monotonic()
        size = len(self.dataset.vocabulary)
        if start is None:
            config = with_size(config, size, self.dataset.facts("train").tokens, device)
        _require_memory(config.network, size)
        network = LanguageNetwork(
            config.network,
            size,
            generator(config.seed, "init"),
            sparse=takes_sparse_gradients(config.train),
        )
        if start:
            load_weights(network, start.tensors())
        elif config.network.unigram_bias:
            counts = np.bincount(self.dataset.ids("train"), minlength=size)
            network.start_at_frequencies(torch.from_numpy(counts))
        if config.mix.wanted and "valid" not in self.dataset.splits:
            raise ConfigError("mix: weights are learned on validation; the text has no such split")
        prove_within(network.to(device))
        self.learner = _Learner(network, self.dataset, config, device)
        self._counted: dict[int, Mapping[str, Part]] = {}
        looked_up = 0 if config.network.tied else network.embedding.numel()
        positions = config.train.batch_size * config.data.chunk_length
        config = with_threads(config, network, positions, looked_up)
        given = self.learner.scorer, self.dataset
        train = with_steps(
            config.train,
            self.learner,
            lambda: after_training(*given, config.mix, BASELINE_ORDER),
            lambda: seconds_of_validation(*given),
            time.monotonic() - begun,
        )
        network.train()
        self.config = config.model_copy(update={"train": train})
        self._out = self.learner.without = dict(train.left_out or {})
        self.scores = self._unread()

    def facts(self) -> dict[str, str]:
        """Return in words what is learned."""
        train, options = self.dataset.facts("train"), self.config.network
        widths = options.widths
        same = len(set(widths)) == 1
        shape = f"{len(widths)} x {widths[0]}" if same else "/".join(map(str, widths))
        unknown = f"{train.oov_rate:.1%} of the training tokens are outside the vocabulary"
        said = {"network": f"{shape} {options.cell}", "start": start_of_layers(options)}
        return {**_facts(self.config, self.dataset), **said, "unknown": unknown}

    def fit(self, checkpoints: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train, yielding events.

        Args:
            checkpoints: the directory to save into and to resume from.
            should_stop: asked after every step.
        """
        train, seed = self.config.train, self.config.seed
        kept = self._unread()
        for event in learn(self.learner, train, seed, Checkpoints(checkpoints), should_stop):
            if isinstance(event, Validated) and (event.best or train.keep == "last"):
                kept = self.learner.scores
            yield event
        self.scores = kept if isinstance(event, Finished) else self._unread()

    def _unread(self) -> Scores:
        return Scores(self.dataset, without=self._out)

    @property
    def model(self) -> NetworkModel:
        """The language model as it is now."""
        return self.learner.scorer

    def baselines(self) -> dict[str, dict[str, Metrics]]:
        """Return the metrics of n-grams of the same text: name -> split -> metrics."""
        found: dict[str, dict[str, Metrics]] = {}
        for name, part in self._ngrams(BASELINE_ORDER).items():
            rows = {split: self.scores.metrics(part.alone, split) for split in ("valid", "test")}
            found[name] = {split: row for split, row in rows.items() if row is not None}
        return found

    def left_out(self) -> Mapping[str, str]:
        """Return what could not be made, or not in time: name -> why."""
        return self._out

    def extras(self) -> dict[str, Any]:
        """Return a sample of the model's own text and, where one is wanted, the mixture."""
        mixed = {} if self._mixed is None else {"mixture": self._mixed.report}
        return super().extras() | mixed

    def companions(self) -> Mapping[str, LanguageModel]:
        """Return the mixture, where one is wanted."""
        return {} if self._mixed is None else {"mixture": self._mixed.model}

    @cached_property
    def _mixed(self) -> Mixed | None:
        options = self.config.mix
        if not options.wanted:
            return None
        if "valid" in self._out:
            self._out["mixture"] = "its weights come from validation"
            return None
        ngrams = self._ngrams(options.order) if options.order else {}
        parts = components({"network": self.model}, options, ngrams, self.scores, self._out)
        found = learn_mixture(parts, self.scores, options.buckets)
        self._out |= found.left_out
        return found

    def _ngrams(self, order: int) -> Mapping[str, Part]:
        """Return the n-grams of the training text, and with a cache, counted once.

        Nothing where there is no time for them, or they cannot be counted.
        """
        name = f"kn{order}"
        if order not in self._counted:

            def count() -> Mapping[str, Part]:
                return ngram_parts(_count(self.dataset, NgramOptions(order=order)))

            self._counted[order] = attempted(name, count, self._out) or {}
        return self._counted.get(order, {})


class NgramTask(_TextTask):
    """The n-grams of a text are counted.

    Args:
        config: the run's.
        device: not used; counting is done on the processor.

    Raises:
        ConfigError: `start_from` is given.
        DataError: the text cannot be used.
    """

    def __init__(self, config: NgramRun, device: torch.device) -> None:
        if config.start_from is not None:
            raise ConfigError("--from: n-grams are counted anew, not from another run's weights")
        self.config = config
        self.dataset = TextDataset.open(config.data)
        self.scores = Scores(self.dataset)
        self._counted: NgramModel

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
        yield Started(step=0, steps=1, steps_per_epoch=1, parameters=0, device="cpu")
        begun = time.perf_counter()
        self._counted = _count(self.dataset, self.config.ngram)
        counted = time.perf_counter()
        if (metrics := self.measure("valid")) is not None:
            yield Validated(1, 1.0, metrics, True, time.perf_counter() - counted)
        yield Finished(1, 1.0, counted - begun, self.dataset.facts("train").tokens)

    @property
    def model(self) -> NgramModel:
        """The language model, once it is counted."""
        return self._counted


def _count(dataset: TextDataset, options: NgramOptions) -> NgramModel:
    return NgramModel.count(dataset.ids("train"), options, dataset.vocabulary, dataset.rule)


def _network_model(run: str | None) -> NetworkModel | None:
    if run is None:
        return None
    model = LanguageModel.from_pretrained(run)
    if not isinstance(model, NetworkModel):
        raise ConfigError(f"--from {run}: that run has no network whose weights could be taken")
    return model


def _open(config: LanguageRun, start: NetworkModel | None) -> TextDataset:
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
    network = sketched(lambda: LanguageNetwork(options, vocabulary_size, None))
    sizes = (
        f"network.hidden_size={options.hidden_size}, network.num_layers={options.num_layers} "
        f"and {vocabulary_size:,} words"
    )
    require_memory(sum(parameter.numel() for parameter in network.parameters()), sizes)


def _facts(config: TextRun, dataset: TextDataset) -> dict[str, str]:
    counts = (f"{dataset.facts(split).tokens:,} {split}" for split in dataset.splits)
    return {
        "corpus": config.data.corpus,
        "tokens": ", ".join(counts),
        "vocabulary": f"{len(dataset.vocabulary):,} by rule {dataset.rule}",
    }
