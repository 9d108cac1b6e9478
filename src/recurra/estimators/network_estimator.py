"""What the estimators share: reading, holding out, fitting, keeping.

n examples, T steps, F features, O outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from recurra.errors import DataError
from recurra.estimators.inputs import read_weights
from recurra.estimators.training import Course, Examples, Memory, seed_of, train
from recurra.labels.network import SequenceNetwork, require_answers
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.options import TrainOptions
from recurra.randomness import derive_seed, generator

__all__ = ["NetworkEstimator", "Plan", "Sequences"]

Sequences = list[NDArray[np.floating]]


class Plan(NamedTuple):
    """How a fit goes: by which options, with what share held out, saved where."""

    train: TrainOptions
    held_out: float | None = None
    checkpoints: Checkpoints | None = None


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]
    """A network behind scikit-learn's methods; a subclass says which network, and of what.

    A weight acts as repetition does, and 0 as absence, wherever the data fit one batch. The
    arithmetic is in the kind of float of `X`.
    """

    random_state: Any
    network_: SequenceNetwork
    _loss: Literal["cross_entropy", "squared_error"]

    @abstractmethod
    def _read(self, X: Any, reset: bool) -> Sequences:
        """Return `X` as sequences `(T_i, F)`, one at least; sets or checks n_features_in_."""

    @abstractmethod
    def _read_targets(self, y: Any) -> NDArray[Any]:
        """Return `y` as `(n,)` targets that can be learned at all."""

    @abstractmethod
    def _learn_targets(self, y: NDArray[Any], weights: NDArray[np.float64]) -> None:
        """Take from `y` what encoding asks for."""

    @abstractmethod
    def _encode(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return targets as the loss takes them."""

    @abstractmethod
    def _network(self, sequences: Sequences, stream: torch.Generator) -> SequenceNetwork:
        """Return the network before it learns."""

    @abstractmethod
    def _plan(self, count: int) -> Plan:
        """Return how `count` examples are fitted."""

    def _weigh(self, targets: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the examples count in the end."""
        return weights

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn the weights, and return the estimator.

        Args:
            X: n sequences, or what else the class reads.
            y: `(n,)` labels, or numbers.
            sample_weight: `(n,)`, what each example counts; all the same.
        """
        self._fit(X, y, sample_weight)
        return self

    def _seed_afresh(self) -> int:
        return seed_of(self.random_state)

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        examples = self._examples(X, y, sample_weight, reset=True, learn=True)
        plan = self._plan(len(examples.targets))
        self._begin(examples)
        valid = None
        if plan.held_out is not None:
            examples, valid = self._hold_out(examples, plan.held_out)
        place = plan.checkpoints or self._memory
        course = train(self.network_, examples, plan.train, self._seed, self._loss, valid, place)
        self._keep(course)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, learn: bool) -> None:
        begin = not hasattr(self, "network_")
        examples = self._examples(X, y, sample_weight, reset=begin, learn=begin and learn)
        changes = {"epochs": 1.0, "steps": None, "schedule": "constant", "keep": "last"}
        one_pass = self._plan(len(examples.targets)).train.model_copy(update=changes)
        if begin:
            self._begin(examples)
        self._calls += 1
        seed = derive_seed(self._seed, "partial fit", self._calls)
        self._keep(train(self.network_, examples, one_pass, seed, self._loss, None, self._memory))

    def _examples(self, X: Any, y: Any, sample_weight: Any, reset: bool, learn: bool) -> Examples:
        if y is None:
            raise DataError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        sequences = self._read(X, reset)
        targets = self._read_targets(y)
        check_consistent_length(sequences, targets)
        weights = read_weights(sample_weight, len(sequences))
        there = np.flatnonzero(weights)
        if learn:
            self._learn_targets(targets[there], weights[there])
        given = Examples(sequences, targets, weights).take(there)
        encoded = self._encode(given.targets)
        counts = self._weigh(encoded, given.weights)
        return Examples(given.sequences, encoded, counts).take(np.flatnonzero(counts))

    def _begin(self, examples: Examples) -> None:
        self._seed = self._seed_afresh()
        self._calls = 0
        self._memory = Memory()
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        self.validation_curve_: list[float] = []
        network = self._network(list(examples.sequences), generator(self._seed, "init"))
        single = examples.sequences[0].dtype == np.float32
        self.network_ = network.to(torch.float32 if single else torch.float64)
        self.network_.standardize(examples.sequences, examples.weights)

    def _hold_out(self, examples: Examples, share: float) -> tuple[Examples, Examples]:
        """Return the examples without those held out, and those: a share of every class."""
        targets = examples.targets
        classes = targets if self._loss == "cross_entropy" else np.zeros(len(targets))
        stream = generator(self._seed, "held out")
        held = np.zeros(len(targets), dtype=bool)
        for name in np.unique(classes):
            rows = np.flatnonzero(classes == name)
            order = torch.randperm(len(rows), generator=stream).numpy()
            most = len(rows) - 1  # one stays, to be learned from
            held[rows[order[: min(most, max(1, round(share * len(rows))))]]] = True
        if not held.any():
            raise DataError(
                f"early stopping holds out examples to judge by; {len(targets)} are too few"
            )
        return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))

    def _keep(self, course: Course) -> None:
        self.n_iter_ += course.steps
        self.loss_curve_ = [*self.loss_curve_, *course.losses]
        self.validation_curve_ = [*self.validation_curve_, *course.validation_losses]

    def _outputs(self, X: Any) -> NDArray[np.floating]:
        """Return the network's outputs `(n, O)`."""
        check_is_fitted(self, "network_")
        outputs: NDArray[np.floating] = self.network_.predict(self._read(X, reset=False)).numpy()
        require_answers(outputs)
        return outputs
