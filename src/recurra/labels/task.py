"""The task of labels: a network learns which class a sequence belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError, RunError
from recurra.labels import confusion
from recurra.labels.baselines import BASELINES
from recurra.labels.classifier import Classifier, Sequences
from recurra.labels.datasets import DATASETS, LabelData, label, open_labels, open_source
from recurra.labels.entry import LABELS, LabelRun
from recurra.labels.learner import Examples, SequenceLearner
from recurra.labels.metrics import confusion_matrix, score
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions, LabelOptions
from recurra.labels.sequences import LabelledSequences, stratified_folds
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.event import Event
from recurra.learning.loop import learn
from recurra.learning.metric import Metrics
from recurra.learning.plan import attempted, seconds_each, timed, with_steps, with_threads
from recurra.learning.task import Task
from recurra.learning.weights import load_weights, require_memory, sketched
from recurra.nn.make import start_in_words
from recurra.nn.proven import prove_within
from recurra.randomness import derive_seed, generator
from recurra.storage.finite import not_finite
from recurra.storage.picture import Picture

__all__ = ["LabelTask"]

NOISE, MOST_NOISE = 0.3, 1.0
"""What `network.noise=none` becomes for a single step, and for many: found on iris and vowels."""

TIMED = 200
"""Examples by which a reading is timed, and of each class a baseline."""

FOLDS = 0
"""The seed of the folds: the same in every run, so that runs can be compared."""


class LabelTask(Task):
    """A network learns which class a sequence belongs to.

    Args:
        config: the run's; where it gives `train.minutes`, `self.config` has the steps that a
            short measurement found to fit.
        device: where tensors live.
        data: sequences and their labels, where they were handed over in Python.

    Raises:
        ConfigError: the network does not fit into memory or the data, or `start_from` names
            no classifier of these classes.
        DataError: the data cannot be used.
    """

    metric = "accuracy"
    unit = "examples"

    def __init__(self, config: LabelRun, device: torch.device, data: object = None) -> None:
        self.data = open_labels(config.data, data)
        train = self.data.split("train")
        _require_memory(config.network, self.data)
        network = _network(config, self.data, train, config.seed).to(device)
        if config.start_from is not None:
            _start(network, config.start_from, self.data.classes)
        prove_within(network)
        valid = self.data.splits.get("valid")
        self.learner = SequenceLearner(
            network,
            train.sequences,
            train.labels,
            None,
            config.train,
            config.seed,
            valid=None if valid is None else _examples(valid),
        )
        classes = "\n".join(self.data.classes).encode()
        self.learner.fingerprint = {
            **self.learner.fingerprint,
            "classes": hashlib.sha256(classes).hexdigest(),
        }
        self._said: dict[str, NDArray[np.float64]] = {}
        config = with_threads(config, network, config.train.batch_size * self.data.lengths[1])
        options = with_steps(config.train, self.learner, lambda: self._costs(config))
        network.train()
        self._out = dict(options.left_out or {})
        self.config = config.model_copy(update={"train": options})

    @property
    def model(self) -> Classifier:
        """The classifier as it is now."""
        return Classifier(self.learner.network, self.data.classes, self.data.steps)

    def facts(self) -> dict[str, str]:
        """Return in words what is learned."""
        least, most = self.data.lengths
        steps = _counted(most, "step") if least == most else f"{least} to {most} steps"
        features = _counted(self.data.split("train").num_features, "feature")
        counts = (f"{len(data):,} {split}" for split, data in self.data.splits.items())
        notes = {"notes": "; ".join(self.data.notes)} if self.data.notes else {}
        recurrent = self.config.network.kind == "recurrent"
        start = {"start": start_in_words(self.config.network.cell)} if recurrent else {}
        return {
            "dataset": self.config.data.dataset,
            "examples": ", ".join(counts),
            "classes": f"{len(self.data.classes):,}",
            "sequences": f"{features}, {steps}",
            "network": _in_words(self.config.network),
            **start,
            **notes,
        }

    def fit(self, checkpoints: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Train, yielding events."""
        train, seed = self.config.train, self.config.seed
        for event in learn(self.learner, train, seed, Checkpoints(checkpoints), should_stop):
            self._said.clear()  # the network is another now
            yield event

    def measure(self, split: str) -> Metrics | None:
        """Return the finished model's metrics; None where there is no such split."""
        data = None if split in self._out else self.data.splits.get(split)
        return None if data is None else score(self._log_probs(split), data.labels).as_dict()

    def baselines(self) -> dict[str, dict[str, Metrics]]:
        """Return what the result is printed beside: name -> split -> metrics."""
        found: dict[str, dict[str, Metrics]] = {}
        for name in BASELINES:
            judged = partial(_judged, name, self.data)
            if (told := attempted(name, judged, self._out)) is not None:
                found[name] = told
        return found

    def left_out(self) -> dict[str, str]:
        """Return what could not be made, or not in time: name -> why."""
        return self._out

    def _costs(self, config: LabelRun) -> Iterator[tuple[str, Callable[[], float]]]:
        """Yield what comes after the training, and what measures its seconds by a part of it."""
        splits = {split: data for split, data in self.data.splits.items() if split != "train"}
        for split in sorted(splits):  # the test first
            yield split, partial(self._reading, splits[split].sequences)
        for name in BASELINES:
            yield name, partial(_seconds_of, name, self.data)
        if config.data.folds is not None:
            yield "folds", partial(float, config.data.folds * 60 * (config.train.minutes or 0.0))

    def _reading(self, sequences: Sequences) -> float:
        return len(sequences) * seconds_each(partial(self._read, sequences), len(sequences))

    def _read(self, sequences: Sequences, count: int) -> None:
        self.model.log_probs(sequences[:count])

    def extras(self) -> dict[str, Any]:
        """Return the accuracy over folds, where they are asked for, and notes."""
        if self.config.data.folds is None or "folds" in self._out:
            return {}
        accuracies = list(self._folds(self.config.data.folds))
        mean = float(np.mean(accuracies))
        return {
            "folds": {"accuracy": accuracies, "mean": mean},
            "notes": [
                f"accuracy over {len(accuracies)} stratified folds: mean {mean:.3f}, "
                f"{min(accuracies):.3f} to {max(accuracies):.3f}"
            ],
        }

    def _folds(self, count: int) -> Iterator[float]:
        """Learn from all folds but one, and yield the accuracy on that, for each.

        What is divided is everything there is, but never a test split that was published.
        """
        parts = [
            data
            for split, data in self.data.splits.items()
            if split != "test" or not self.data.published
        ]
        everything = _together(parts)
        fold = stratified_folds(everything.labels, count, FOLDS)
        for number in range(count):
            train = everything.take(np.flatnonzero(fold != number))
            test = everything.take(np.flatnonzero(fold == number))
            seed = derive_seed(self.config.seed, "fold", number)
            network = _network(self.config, self.data, train, seed)
            network.to(self.learner.network.mean.device)
            options = self.config.train.model_copy(update={"keep": "last", "patience": None})
            learner = SequenceLearner(network, *_examples(train), options, seed)
            for _ in learn(learner, options, seed, checkpoints=None):
                pass
            yield Classifier(network, self.data.classes).evaluate(test).accuracy

    def _log_probs(self, split: str) -> NDArray[np.float64]:
        """Return what the model says of a split, asked once for its figures and for the picture."""
        if split not in self._said:
            try:
                found = self.model.log_probs(self.data.split(split).sequences)
            except DataError as error:
                raise RunError(f"the network has blown up on the {split} split: {error}") from error
            self._said[split] = found
        return self._said[split]

    def pictures(self) -> Iterator[Picture]:
        """Yield which classes of the test split were taken for which."""
        if "test" in self._out:
            return
        test, classes = self.data.split("test"), self.data.classes
        predicted = self._log_probs("test").argmax(axis=1)
        counts = confusion_matrix(predicted, test.labels, len(classes))
        draw = partial(confusion.draw, classes=classes, counts=counts)
        yield Picture(LABELS.pictures[0], confusion.size(len(classes)), draw)

    @classmethod
    def evaluate(
        cls, run: Path, config: LabelRun | None, data: Any, split: str, context: str
    ) -> Metrics:
        """Return a classifier's metrics on its own data or on others.

        A file is taken whole where no test file stands beside it, as are sequences that are
        handed over with their labels.

        Raises:
            CheckpointError: the run holds no classifier, or a damaged one.
            DataError: there is no such split, or a label that was not learned.
        """
        classifier = Classifier.from_pretrained(run)
        options = LabelOptions() if config is None else config.data
        if data is None and config is None:
            raise ConfigError(f"{run} does not say what it learned from: give --data")
        if data is not None and not isinstance(data, str):
            part = open_source(options, data).parts()["train"]
            return classifier.evaluate(label(part, classifier.classes)).as_dict()
        if data is not None and data != options.dataset:
            options = options.model_copy(
                update={"dataset": data, "label_column": None, "rows": None}
            )
            if data not in DATASETS:
                examples = _part(options, split, classifier)
                return classifier.evaluate(examples).as_dict()
        found = open_labels(options).split(split)
        if found.classes != classifier.classes:
            raise DataError(
                f"{options.dataset} has the classes {', '.join(found.classes)}, the run learned "
                f"{', '.join(classifier.classes)}"
            )
        return classifier.evaluate(found).as_dict()


def _judged(name: str, data: LabelData) -> dict[str, Metrics]:
    """Return a baseline's metrics: split -> metrics."""
    baseline = BASELINES[name](data.split("train"))
    found: dict[str, Metrics] = {}
    for split, examples in data.splits.items():
        if split != "train":
            log_probs = baseline.log_probs(examples.sequences)
            if (place := not_finite(log_probs.max(axis=1))) is not None:
                raise DataError(f"what it says of {split} example {place[0] + 1} is no number")
            found[split] = score(log_probs, examples.labels).as_dict()
    return found


def _seconds_of(name: str, data: LabelData) -> float:
    """Return how long a baseline takes, by some examples of each class."""
    train = data.split("train")
    rows = [np.flatnonzero(train.labels == place)[:TIMED] for place in range(len(train.classes))]
    some = train.take(np.concatenate(rows))
    everything = sum(len(examples) for examples in data.splits.values())
    return timed(partial(attempted, name, partial(BASELINES[name], some))) * everything / len(some)


def _part(options: LabelOptions, split: str, classifier: Classifier) -> LabelledSequences:
    """Return a split of a file with more than one, else all of it."""
    parts = open_source(options).parts()
    if len(parts) > 1 and split not in parts:
        raise DataError(f"{options.dataset} has no {split} split, only {', '.join(parts)}")
    return label(parts[split if len(parts) > 1 else "train"], classifier.classes)


def _options(options: LabelNetworkOptions, train: LabelledSequences) -> LabelNetworkOptions:
    """Return the options with a noise, where they leave that to the data.

    What is said over many steps bears more noise at each: about the root of their number more.
    """
    if options.noise is not None:
        return options
    steps = float(np.mean([len(sequence) for sequence in train.sequences]))
    return options.model_copy(update={"noise": min(MOST_NOISE, NOISE * steps**0.5)})


def _network(
    config: LabelRun, data: LabelData, train: LabelledSequences, seed: int
) -> SequenceNetwork:
    network = SequenceNetwork(
        _options(config.network, train),
        train.num_features,
        len(data.classes),
        generator(seed, "init"),
        steps=data.steps,
    )
    network.standardize(train.sequences)
    return network


def _start(network: SequenceNetwork, run: str, classes: tuple[str, ...]) -> None:
    """Begin with the weights of another run's classifier."""
    start = Classifier.from_pretrained(run)
    if start.classes != classes:
        raise ConfigError(
            f"--from {run}: it learned {', '.join(start.classes)}, these data have "
            f"{', '.join(classes)}"
        )
    load_weights(network, start.network.state_dict())


def _examples(data: LabelledSequences) -> Examples:
    return data.sequences, data.labels, None


def _together(parts: list[LabelledSequences]) -> LabelledSequences:
    return LabelledSequences(
        tuple(sequence for data in parts for sequence in data.sequences),
        np.concatenate([data.labels for data in parts]),
        parts[0].classes,
    )


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _in_words(options: LabelNetworkOptions) -> str:
    if options.kind == "softmax":
        return "softmax regression"
    ways = "bidirectional " if options.bidirectional else ""
    members = "" if options.members == 1 else f", {options.members} of them averaged"
    size = f"{options.num_layers} x {options.hidden_size}"
    return f"{size} {ways}{options.cell}, {options.pooling} pooling{members}"


def _require_memory(options: LabelNetworkOptions, data: LabelData) -> None:
    """Refuse a network whose weights, gradients and moments the machine cannot hold."""
    train = data.split("train")
    network = sketched(
        lambda: SequenceNetwork(
            _options(options, train), train.num_features, len(data.classes), steps=data.steps
        )
    )
    sizes = (
        f"network.hidden_size={options.hidden_size}, network.num_layers={options.num_layers} "
        f"and network.members={options.members}"
    )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    require_memory(parameters, sizes, moments=True)
