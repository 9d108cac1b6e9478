"""A trained classifier: sequences in, probabilities of classes out.

n sequences, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from recurra.errors import CheckpointError, DataError, ShapeError
from recurra.labels.entry import FORMAT
from recurra.labels.metrics import LabelMetrics, score
from recurra.labels.network import SequenceNetwork, require_answers
from recurra.labels.options import LabelNetworkOptions
from recurra.labels.sequences import LabelledSequences, require_numbers
from recurra.learning.options import Options
from recurra.learning.weights import restored
from recurra.learning.written import placed, typed
from recurra.storage.finite import real_numbers
from recurra.storage.pretrained import Pretrained, open_pretrained, save_pretrained
from recurra.storage.sources import Unchanged
from recurra.table import named_by_file

__all__ = ["Classifier", "restored_network"]

KIND = "network"

Sequences = Sequence[NDArray[np.floating]]


class Classifier:
    """A trained SequenceNetwork, with what its outputs mean.

    Args:
        network: what gives the outputs.
        classes: the names of its outputs.
        steps: the steps of every sequence, for a softmax regression.

    Example:
        >>> network = SequenceNetwork(LabelNetworkOptions(kind="softmax"), 2, 2, steps=1)
        >>> classifier = Classifier(network, ("a", "b"), steps=1)
        >>> classifier.predict_proba([np.zeros((1, 2))])
        array([[0.5, 0.5]])
    """

    can: ClassVar[frozenset[str]] = frozenset(("classify",))
    """What one may ask of it, by the names of the commands."""

    def __init__(
        self, network: SequenceNetwork, classes: Sequence[str], steps: int | None = None
    ) -> None:
        self.network = network
        self.classes = tuple(classes)
        self.steps = steps

    def log_probs(self, sequences: Sequences) -> NDArray[np.float64]:
        """Return the natural logarithms of the classes' probabilities, `(n, C)`.

        Args:
            sequences: n arrays `(T_i, F)`, raw as they were in training.

        Raises:
            ShapeError: a sequence is of another shape, or has no step.
            DataError: a sequence holds what is no finite number, or one so large that the
                network's answer is none.
        """
        for number, sequence in enumerate(sequences, start=1):
            shape = np.shape(sequence)
            if len(shape) != 2 or shape[1] != self.network.input_size or not shape[0]:
                raise ShapeError(
                    f"sequence {number} has the shape {shape}, expected (steps, "
                    f"{self.network.input_size}) with a step at least"
                )
            try:
                numbers = real_numbers(sequence)
            except ValueError as error:
                raise DataError(f"sequence {number} holds what is no number: {error}") from error
            require_numbers(numbers, f"sequence {number}")
        outputs = self.network.predict(sequences).double()
        found: NDArray[np.float64] = torch.log_softmax(outputs, dim=1).cpu().numpy()
        require_answers(found.max(axis=1))
        return found

    def predict_proba(self, sequences: Sequences) -> NDArray[np.float64]:
        """Return the classes' probabilities, `(n, C)`.

        Args:
            sequences: n arrays `(T_i, F)`, raw as they were in training.

        Raises:
            ShapeError: a sequence is of another shape, or has no step.
        """
        return np.exp(self.log_probs(sequences))

    def predict(self, sequences: Sequences) -> list[str]:
        """Return the most probable class of each sequence.

        Args:
            sequences: n arrays `(T_i, F)`, raw as they were in training.

        Raises:
            ShapeError: a sequence is of another shape, or has no step.
        """
        return [self.classes[place] for place in self.log_probs(sequences).argmax(axis=1)]

    def evaluate(self, data: LabelledSequences) -> LabelMetrics:
        """Return how well the labels of examples are predicted.

        Args:
            data: examples of the same classes.

        Raises:
            ShapeError: a sequence has another number of features.
        """
        return score(self.log_probs(data.sequences), data.labels)

    def save_pretrained(self, directory: Path | str) -> None:
        """Write the classifier as a directory that is loadable alone.

        Args:
            directory: its place: free, an empty folder, or a model, which is replaced.

        Raises:
            ConfigError: what is there is no model, or holds something else too.
            OSError: the disk refuses.
        """
        facts = {
            "classes": list(self.classes),
            "input_size": self.network.input_size,
            "steps": self.steps,
            "network": self.network.options.model_dump(mode="json"),
        }
        tensors = dict(self.network.state_dict())
        save_pretrained(directory, FORMAT, KIND, facts, tensors)

    @classmethod
    def from_pretrained(cls, run: Path | str, *, allow_import: Iterable[str] = ()) -> Classifier:
        """Return the classifier of a finished run.

        Args:
            run: a run directory, or the `model` directory in one.
            allow_import: cells of someone's own that it may name, as `["module:Name"]`.

        Raises:
            CheckpointError: there is none, or it is damaged, or names a cell that is not allowed.
        """
        found = open_pretrained(run, FORMAT)
        if found.kind != KIND:
            raise CheckpointError(f"{found.facts_path} describes no classifier")
        facts = typed(_Facts, found.facts, found.facts_path)
        with (
            named_by_file(found.facts_path, allow_import, Unchanged(found.facts_path)),
            placed(found.facts_path.parent),
        ):
            sizes = facts.input_size, len(facts.classes), facts.steps
            network = restored_network(found, facts.network, *sizes)
            return cls(network, facts.classes, facts.steps)


class _Facts(Options):
    """What `model.json` says of a classifier."""

    classes: list[str] = Field(min_length=2)
    input_size: int = Field(ge=1, le=2**20)
    steps: int | None = Field(ge=1, le=2**31)
    network: LabelNetworkOptions


def restored_network(
    found: Pretrained,
    options: LabelNetworkOptions,
    input_size: int,
    output_size: int,
    steps: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> SequenceNetwork:
    """Return the network that was saved, once its weights are seen to fit what is said of it.

    Args:
        found: its directory.
        options: what it was made of.
        input_size: F.
        output_size: O.
        steps: T, of a softmax regression.
        dtype: of its numbers.

    Raises:
        CheckpointError: the weights are not those of such a network.
    """
    if options.members * options.num_layers > len(found.layout):
        raise CheckpointError(
            f"{found.facts_path}: network.members is {options.members}, but there are "
            f"{len(found.layout)} tensors"
        )

    def make() -> SequenceNetwork:
        return SequenceNetwork(options, input_size, output_size, steps=steps).to(dtype)

    return restored(make, found.layout, found.tensors)
