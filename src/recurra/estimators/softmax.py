"""Softmax regression by Adam. n examples, F features, C classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.estimators.inputs import read_table
from recurra.estimators.label_mixin import LabelMixin
from recurra.estimators.network_estimator import NetworkEstimator, Plan, Sequences
from recurra.estimators.options import checked
from recurra.estimators.saved import form_of
from recurra.labels.entry import FORMAT
from recurra.labels.options import LabelNetworkOptions
from recurra.learning.options import TrainOptions

__all__ = ["SoftmaxClassifier"]

HELD_OUT = 0.1
"""Share of the examples that early stopping judges by."""

PATIENCE = 10
"""Validations without a lower loss before stopping early."""

VALIDATE_STEPS = 10
"""Steps between two validations, or a pass where that is longer."""

SAVE_SECONDS = 10.0
"""Most that an interruption costs where there is a `model_dir`."""


class SoftmaxClassifier(LabelMixin, NetworkEstimator):
    """Softmax regression, `softmax(W x + b)`, learned by Adam from standardised features.

    It starts at zero and is convex, so that by full batches nothing in it is random. Training
    ends before `steps` where the gradient's norm falls below 1e-4, unless in a `model_dir`. `X` is
    `(n, F)` numbers.

    Args:
        steps: most optimizer steps, counted from the very start.
        learning_rate: of Adam.
        batch_size: examples in a step; None takes all.
        weight_decay: L2 penalty on weights and biases.
        class_weight: class -> factor of its examples' weights, `"balanced"`, or None.
        early_stopping: hold a tenth of every class out, keep the weights that do best on it, and
            end when ten validations bring nothing better.
        random_state: of the order of batches and of what is held out; None takes a fresh one.
        model_dir: a directory that `fit` goes on from, to the bit, and adds to: after an
            interruption, or with more `steps`; the model is left in it. None keeps nothing on disk.

    Raises:
        ConfigError: at `fit`, for a parameter out of range, or a `model_dir` of other data.
        DataError: at `fit`, for a single class.

    Attributes:
        classes_: `(C,)`, the labels.
        coef_: `(C, F)`, W for the features as they are given.
        intercept_: `(C,)`, b likewise.
        n_iter_: steps taken.
        loss_curve_: each step's mean loss, in nats.
        validation_curve_: each validation's loss.
        network_: the fitted network.

    Source: the tutorial's Iris model, which feeds a softmax into a loss that applies another.

    Differs: from the tutorial's estimator, whose `steps` are added to those of its directory.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SoftmaxClassifier(random_state=0).fit(X[::2], y[::2])
        >>> float(model.score(X[1::2], y[1::2]))
        0.96
    """

    _form = form_of(FORMAT.name)
    _steps = 1

    def __init__(
        self,
        steps: int = 800,
        learning_rate: float = 0.2,
        batch_size: int | None = None,
        weight_decay: float = 0.0,
        class_weight: Any = None,
        early_stopping: bool = False,
        random_state: Any = None,
        model_dir: str | Path | None = None,
    ) -> None:
        self.steps = steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.random_state = random_state
        self.model_dir = model_dir

    @property
    def coef_(self) -> NDArray[np.floating]:
        """The weights `(C, F)` for the features as they are given."""
        network = self.network_
        weight = next(network.members.parameters())
        return np.asarray((weight / network.scale).detach().numpy())

    @property
    def intercept_(self) -> NDArray[np.floating]:
        """The biases `(C,)` for the features as they are given."""
        network = self.network_
        _, bias = network.members.parameters()
        return np.asarray(bias.detach().numpy() - self.coef_ @ network.mean.numpy())

    def _read(self, X: Any, reset: bool) -> Sequences:
        return list(read_table(self, X, reset)[:, None, :])

    def _network_options(self) -> LabelNetworkOptions:
        return LabelNetworkOptions(kind="softmax")

    def _plan(self, count: int) -> Plan:
        size = min(count, 1_000_000) if self.batch_size is None else self.batch_size
        options = checked(
            TrainOptions,
            steps=self.steps,
            batch_size=size,
            optimizer="adam",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            keep="best" if self.early_stopping else "last",
            patience=PATIENCE if self.early_stopping else None,
            save_seconds=SAVE_SECONDS,
        )
        passes = VALIDATE_STEPS / max(1, count // options.batch_size)
        options = options.model_copy(update={"validate_epochs": max(1.0, passes)})
        return Plan(options, HELD_OUT if self.early_stopping else None)
