"""What the estimators share: reading, holding out, fitting, saving.

n examples, T steps, F features, O outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from recurra.errors import CheckpointError, DataError
from recurra.estimators.directory import ModelDirectory
from recurra.estimators.inputs import read_weights
from recurra.estimators.saved import Found, Labels, opened, settings_kept, write
from recurra.estimators.training import Course, Examples, Memory, seed_of, train
from recurra.labels.classifier import restored_network
from recurra.labels.network import SequenceNetwork, require_answers
from recurra.labels.options import LabelNetworkOptions
from recurra.learning.options import Options, TrainOptions
from recurra.randomness import derive_seed, generator
from recurra.storage.format import Format

__all__ = ["NetworkEstimator", "Plan", "Sequences"]

Sequences = list[NDArray[np.floating]]


CURVES = ("loss_curve", "validation_curve")


class _Fitted(Options):
    """What an estimator knows of its data, beside its network."""

    n_features_in: int = Field(ge=1, le=2**20)
    feature_names: list[str] | None
    steps_are_features: bool
    classes: Labels | None
    target: list[float] = Field(min_length=2, max_length=2)
    double: bool
    seed: int
    calls: int = Field(ge=0)
    steps: int = Field(ge=0)
    optimizer: dict[str, Any] | None


class Plan(NamedTuple):
    """How a fit goes: by which options, with what share held out."""

    train: TrainOptions
    held_out: float | None = None


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]
    """A network behind scikit-learn's methods; a subclass says which network, and of what.

    A weight acts as repetition does, and 0 as absence, wherever the data fit one batch. The
    arithmetic is in the kind of float of `X`.
    """

    random_state: Any
    model_dir: str | Path | None
    network_: SequenceNetwork
    _loss: Literal["cross_entropy", "squared_error"]
    _form: ClassVar[Format]
    _steps: ClassVar[int | None] = None
    _steps_are_features: bool = False
    _target_mean: float = 0.0
    _target_scale: float = 1.0

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
    def _network_options(self) -> LabelNetworkOptions:
        """Return what the network is made of."""

    @property
    @abstractmethod
    def _output_size(self) -> int:
        """O."""

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

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        examples = self._examples(X, y, sample_weight, reset=True, learn=True)
        plan = self._plan(len(examples.targets))
        place = None if self.model_dir is None else ModelDirectory(self.model_dir)
        # Two fits in one directory must see their batches in one order.
        seed = 0 if place and self.random_state is None else seed_of(self.random_state)
        self._begin(examples, seed)
        if place is not None:
            place.keep_sources(self.get_params(deep=False).values())
        valid = None
        if plan.held_out is not None:
            examples, valid = self._hold_out(examples, plan.held_out)
        checkpoints = self._memory if place is None else place.checkpoints
        settings = settings_kept(self, seed) if place else {}
        self._keep(
            train(
                self.network_,
                examples,
                plan.train,
                seed,
                self._loss,
                valid,
                checkpoints,
                settings,
            )
        )
        if place is not None:
            self.save_pretrained(place.model)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, learn: bool) -> None:
        begin = not hasattr(self, "network_")
        examples = self._examples(X, y, sample_weight, reset=begin, learn=begin and learn)
        changes = {"epochs": 1.0, "steps": None, "schedule": "constant", "keep": "last"}
        one_pass = self._plan(len(examples.targets)).train.model_copy(update=changes)
        if begin:
            self._begin(examples, seed_of(self.random_state))
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

    def _begin(self, examples: Examples, seed: int) -> None:
        self._seed = seed
        self._calls = 0
        self._memory = Memory()
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        self.validation_curve_: list[float] = []
        options, features = self._network_options(), examples.sequences[0].shape[1]
        stream = generator(seed, "init")
        network = SequenceNetwork(options, features, self._output_size, stream, self._steps)
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

    def save_pretrained(self, directory: Path | str) -> None:
        """Write the fitted estimator as a directory: predictions are the same bits, fits go on.

        Its parameters go along, but for `model_dir`, and of a generator the seed drawn from it.

        Args:
            directory: its place: free, an empty folder, or a model, which is replaced.

        Raises:
            NotFittedError: it is not fitted.
            ConfigError: what is there is no model, or holds something else too.
            DataError: labels of another kind than texts, numbers or truth values.
        """
        check_is_fitted(self, "network_")
        network, memory, classes = self.network_, self._memory, getattr(self, "classes_", None)
        fitted = _Fitted(
            n_features_in=self.n_features_in_,
            feature_names=getattr(self, "feature_names_in_", np.array([])).tolist() or None,
            steps_are_features=self._steps_are_features,
            classes=None if classes is None else Labels.of(classes),
            target=[self._target_mean, self._target_scale],
            double=network.mean.dtype == torch.float64,
            seed=self._seed,
            calls=self._calls,
            steps=self.n_iter_,
            optimizer=memory.facts,
        )
        facts: dict[str, Any] = {
            "input_size": network.input_size,
            "steps": self._steps,
            "network": network.options.model_dump(mode="json"),
        }
        if classes is not None:
            facts["classes"] = list(map(str, classes))
        state = {f"optimizer.{name}": tensor for name, tensor in memory.optimizer.items()}
        for name in CURVES:
            state[name] = torch.tensor(getattr(self, f"{name}_"), dtype=torch.float64)
        model = self._form, "network", facts, dict(network.state_dict())
        write(self, directory, model, self._seed, fitted, state)

    @classmethod
    def from_pretrained(cls, directory: Path | str, *, allow_import: Iterable[str] = ()) -> Self:
        """Return a fitted estimator that was saved; nothing is fitted anew.

        Args:
            directory: what `save_pretrained` wrote, or a `model_dir`.
            allow_import: cells of someone's own that it may name, as `["module:Name"]`.

        Raises:
            CheckpointError: there is none, it is damaged or another class's, or it names a cell
                that is not allowed.
        """
        with opened(cls, cls._form, _Fitted, directory, allow_import) as found:
            estimator: Self = found.estimator
            estimator._restore(found)
        return estimator

    def _restore(self, found: Found[_Fitted]) -> None:
        """Take what was fitted, once it is seen to fit the parameters."""
        path, fitted = found.model.facts_path.parent, found.fitted
        if (fitted.classes is None) == (self._loss == "cross_entropy"):
            raise CheckpointError(f"{path}: {type(self).__name__} and its classes contradict")
        if fitted.classes is not None:
            self.classes_ = fitted.classes.array()
        self.n_features_in_ = fitted.n_features_in
        if fitted.feature_names is not None:
            self.feature_names_in_ = np.array(fitted.feature_names, dtype=object)
        self._steps_are_features = fitted.steps_are_features
        self._target_mean, self._target_scale = fitted.target
        self._seed, self._calls, self.n_iter_ = fitted.seed, fitted.calls, fitted.steps
        self._memory = Memory()
        self._memory.facts = fitted.optimizer
        kept = found.state.items()
        self._memory.optimizer = {
            name.removeprefix("optimizer."): tensor
            for name, tensor in kept
            if name.startswith("optimizer.")
        }
        for name in CURVES:
            setattr(self, f"{name}_", found.state[name].tolist())
        size = self.n_features_in_
        self.network_ = restored_network(
            found.model,
            self._network_options(),
            1 if fitted.steps_are_features else size,
            self._output_size,
            self._steps,
            torch.float64 if fitted.double else torch.float32,
        )
