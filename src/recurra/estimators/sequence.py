"""Recurrent networks over whole sequences, one that tells classes and one that tells numbers.

n sequences, of T_i steps each, F features, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from recurra.errors import DataError
from recurra.estimators.inputs import is_table, read_sequences, read_table, read_targets
from recurra.estimators.label_mixin import LabelMixin
from recurra.estimators.network_estimator import NetworkEstimator, Plan, Sequences
from recurra.estimators.options import SequenceOptions, checked
from recurra.estimators.saved import form_of
from recurra.estimators.settings import chosen, settings_of, take, with_settings
from recurra.labels.entry import FORMAT
from recurra.labels.options import LabelNetworkOptions
from recurra.labels.reading.nested import is_frame, unnested
from recurra.learning.options import TrainOptions

__all__ = ["SequenceClassifier", "SequenceRegressor"]

Pooling = Literal["last", "mean", "attention"]

SETTINGS = settings_of(SequenceOptions)

SAVE_SECONDS = 10.0
"""Most that an interruption costs where there is a `model_dir`."""


class _SequenceMixin:
    """What is the same for classes and for numbers; stands before NetworkEstimator."""

    n_features_in_: int

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 32,
        bidirectional: bool = False,
        pooling: Pooling = "last",
        epochs: float = 100,
        random_state: Any = None,
        model_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.epochs = epochs
        self.random_state = random_state
        self.model_dir = model_dir
        take(self, settings)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.three_d_array = True
        return tags

    def _options(self) -> SequenceOptions:
        return checked(SequenceOptions, **chosen(self, SequenceOptions.model_fields))

    def _read(self, X: Any, reset: bool) -> Sequences:
        given, X = X, unnested(X)
        table = is_table(X)
        if reset:
            self._steps_are_features = table
        if table and self._steps_are_features:
            return [row[:, None] for row in read_table(self, X, reset)]
        sequences = read_sequences(check_array(X) if table else X)
        features = sequences[0].shape[1]
        if reset:
            self.n_features_in_ = features
            vars(self).pop("feature_names_in_", None)
        if is_frame(given):  # a column is a feature, of the name it has
            validate_data(self, given, reset=reset, skip_check_array=True)
        expected = 1 if self._steps_are_features else self.n_features_in_
        if features != expected:
            raise DataError(
                f"the sequences have {features} features, but {type(self).__name__} is expecting "
                f"{expected} features as input"
            )
        return sequences

    def _network_options(self) -> LabelNetworkOptions:
        rest = self._options()
        return checked(
            LabelNetworkOptions,
            cell=self.cell,
            hidden_size=self.hidden_size,
            num_layers=rest.num_layers,
            cell_options=rest.cell_options or {},
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            dropout=rest.dropout,
            noise=rest.noise,
            standardize=rest.standardize,
            members=rest.members,
        )

    def _plan(self, count: int) -> Plan:
        rest = self._options()
        options = checked(
            TrainOptions,
            epochs=self.epochs,
            batch_size=rest.batch_size,
            optimizer="adamw" if rest.weight_decay else "adam",
            learning_rate=rest.learning_rate,
            weight_decay=rest.weight_decay,
            schedule="cosine",
            clip_norm=rest.clip_norm,
            keep="best" if rest.early_stopping else "last",
            patience=rest.patience if rest.early_stopping else None,
            save_seconds=SAVE_SECONDS,
        )
        return Plan(options, rest.validation_fraction if rest.early_stopping else None)


@with_settings(SETTINGS)
class SequenceClassifier(LabelMixin, _SequenceMixin, NetworkEstimator):
    """Layers of a recurrent cell over sequences, pooled into one vector, and a softmax.

    `X` is `(n, T, F)`, a list of `(T_i, F)` of any lengths, a frame with a sequence in each cell
    (rows are examples, columns features) or with two indices (example, step), or a table `(n, T)`:
    one feature over T steps. What others write as `(n, F, T)` is `X.swapaxes(1, 2)` here. Training
    ends before `epochs` where the gradient's norm falls below 1e-4, unless in a `model_dir`.

    Args:
        cell: a name in CELLS, or module:Name.
        hidden_size: units of each layer and direction.
        bidirectional: whether every layer reads from both ends.
        pooling: how the steps' outputs become one vector: `"last"`, `"mean"` or `"attention"`.
        epochs: most passes over the data.
        class_weight: class -> factor of its examples' weights, `"balanced"`, or None.
        random_state: of the initial weights, batches, masks, held-out examples; None takes a
            fresh one.
        model_dir: a directory that `fit` goes on from, and leaves its model in; None keeps nothing
            on disk.
        settings: the rest, each by its name.

    Raises:
        ConfigError: at `fit`, for a parameter out of range.
        DataError: at `fit`, for a single class, or sequences that do not go together.

    Attributes:
        classes_: `(C,)`, the labels.
        n_features_in_: F, or T where a table was fitted.
        n_iter_: steps taken.
        loss_curve_: each step's mean loss, in nats.
        validation_curve_: each validation's loss.
        network_: the fitted network.

    Source: as its network's, `recurra.labels.network.SequenceNetwork`.

    Example:
        >>> steps = np.random.default_rng(0)
        >>> X = [steps.normal(n % 2, 1, size=(5 + n % 7, 3)) for n in range(40)]
        >>> model = SequenceClassifier(hidden_size=8, epochs=30, random_state=0)
        >>> model.fit(X, ["low", "high"] * 20).predict(X[:2])
        array(['low', 'high'], dtype='<U4')
    """

    _form = form_of(FORMAT.name)

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 32,
        bidirectional: bool = False,
        pooling: Pooling = "last",
        epochs: float = 100,
        class_weight: Any = None,
        random_state: Any = None,
        model_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            cell, hidden_size, bidirectional, pooling, epochs, random_state, model_dir, **settings
        )
        self.class_weight = class_weight


@with_settings(SETTINGS)
class SequenceRegressor(RegressorMixin, _SequenceMixin, NetworkEstimator):  # type: ignore[misc]
    """Layers of a recurrent cell over sequences, pooled into one vector, and a number.

    `X` is what `SequenceClassifier` reads. Squared errors of standardised targets are learned.
    Training ends before `epochs` where the gradient's norm falls below 1e-4, unless in a
    `model_dir`.

    Args:
        cell: a name in CELLS, or module:Name.
        hidden_size: units of each layer and direction.
        bidirectional: whether every layer reads from both ends.
        pooling: how the steps' outputs become one vector: `"last"`, `"mean"` or `"attention"`.
        epochs: most passes over the data.
        random_state: of the initial weights, batches, masks, held-out examples; None takes a
            fresh one.
        model_dir: a directory that `fit` goes on from, and leaves its model in; None keeps nothing
            on disk.
        settings: the rest, each by its name.

    Raises:
        ConfigError: at `fit`, for a parameter out of range.
        DataError: at `fit`, for sequences that do not go together.

    Attributes:
        n_features_in_: F, or T where a table was fitted.
        n_iter_: steps taken.
        loss_curve_: each step's mean squared error, of standardised targets.
        validation_curve_: each validation's loss.
        network_: the fitted network.

    Source: as its network's, `recurra.labels.network.SequenceNetwork`.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 6))
        >>> model = SequenceRegressor(hidden_size=8, pooling="mean", random_state=0)
        >>> model.fit(X, X.sum(axis=1)).score(X, X.sum(axis=1)) > 0.95
        True
    """

    _loss: Literal["cross_entropy", "squared_error"] = "squared_error"
    _form = form_of("recurra-regressor")
    _output_size = 1

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 32,
        bidirectional: bool = False,
        pooling: Pooling = "last",
        epochs: float = 100,
        random_state: Any = None,
        model_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            cell, hidden_size, bidirectional, pooling, epochs, random_state, model_dir, **settings
        )

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Take one more pass, over these examples, and return the estimator.

        The first call settles how inputs and targets are standardised; the learning rate stays
        the same.

        Args:
            X: n sequences.
            y: `(n,)` numbers.
            sample_weight: `(n,)`, what each example counts; all the same.
        """
        self._partial_fit(X, y, sample_weight, learn=True)
        return self

    def predict(self, X: Any) -> NDArray[np.floating]:
        """Return a number for each sequence, `(n,)`.

        Args:
            X: as given to `fit`.
        """
        return np.asarray(self._outputs(X)[:, 0] * self._target_scale + self._target_mean)

    def _read_targets(self, y: Any) -> NDArray[np.float64]:
        numbers = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        return read_targets(np.asarray(column_or_1d(numbers, warn=True)))

    def _learn_targets(self, y: NDArray[Any], weights: NDArray[np.float64]) -> None:
        mean = float(np.average(y, weights=weights))
        deviation = float(np.sqrt(np.average((y - mean) ** 2, weights=weights)))
        self._target_mean = mean
        self._target_scale = deviation if deviation > 1e-12 * abs(mean) else 1.0

    def _encode(self, y: NDArray[Any]) -> NDArray[np.float64]:
        return ((y - self._target_mean) / self._target_scale)[:, None]
