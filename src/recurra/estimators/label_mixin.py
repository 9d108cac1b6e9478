"""What classifiers share: classes, what they weigh, and probabilities. n examples, C classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from recurra.errors import ConfigError, DataError
from recurra.table import first_of, nearest

__all__ = ["LabelMixin"]


class LabelMixin(ClassifierMixin):  # type: ignore[misc]
    """Labels in, their probabilities out; stands before the estimator that has the network."""

    _loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    class_weight: Any
    classes_: NDArray[Any]
    _outputs: Any
    _partial_fit: Any

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Take one more pass, over these examples, and return the estimator.

        The first call settles how inputs are standardised; the learning rate stays the same,
        balanced classes are those of this call, and a `model_dir` is left alone.

        Args:
            X: as given to `fit`.
            y: `(n,)` labels.
            classes: all the labels there will be, at the first call.
            sample_weight: `(n,)`, what each example counts; all the same.
        """
        self._known_classes(classes)
        self._partial_fit(X, y, sample_weight, learn=False)
        return self

    @property
    def _output_size(self) -> int:
        return len(self.classes_)

    def _read_targets(self, y: Any) -> NDArray[Any]:
        labels: NDArray[Any] = column_or_1d(y, warn=True)
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        return labels

    def _learn_targets(self, y: NDArray[Any], weights: NDArray[np.float64]) -> None:
        self._set_classes(np.unique(y))

    def _set_classes(self, classes: NDArray[Any]) -> None:
        if len(classes) < 2:
            raise DataError(f"got 1 class, {classes.tolist()}, expected at least 2 to tell apart")
        self.classes_ = classes

    def _known_classes(self, classes: Any) -> None:
        """Take the classes that the first partial_fit names, and hold later ones to them."""
        if not hasattr(self, "network_"):
            if classes is None:
                raise DataError("classes must be passed on the first call to partial_fit")
            self._set_classes(np.unique(np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise DataError(
                f"classes {np.unique(classes).tolist()} are not those of the first call, "
                f"{self.classes_.tolist()}"
            )

    def _encode(self, y: NDArray[Any]) -> NDArray[np.int64]:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise DataError(f"y has labels that are not in classes: {unknown.tolist()[:5]}")
        return np.asarray(np.searchsorted(self.classes_, y))

    def _weigh(self, targets: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights times those of the classes."""
        given = self.class_weight
        if given is None:
            return weights
        each = np.ones(len(self.classes_))
        if isinstance(given, str) and given == "balanced":
            counts = np.bincount(targets, weights, minlength=len(each))
            each = weights.sum() / (np.count_nonzero(counts) * np.where(counts > 0, counts, 1))
        elif isinstance(given, Mapping):
            each = _of_classes(given, self.classes_.tolist())
        else:
            raise ConfigError(
                f"class_weight: expected a dictionary, 'balanced' or None, got {given!r:.80}"
            )
        if not (np.isfinite(each).all() and (each >= 0).all() and (weights * each[targets]).any()):
            raise ConfigError(f"class_weight: weights are at least 0, some above, got {given!r}")
        return np.asarray(weights * each[targets])

    def decision_function(self, X: Any) -> NDArray[np.floating]:
        """Return the logits `(n, C)`; of two classes `(n,)`, the second's less the first's.

        Args:
            X: as given to `fit`.
        """
        logits = self._outputs(X)
        if len(self.classes_) == 2:
            return np.asarray(logits[:, 1] - logits[:, 0])
        return np.asarray(logits)

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the natural logarithms of the classes' probabilities, `(n, C)`.

        Args:
            X: as given to `fit`.
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the classes' probabilities, `(n, C)`, in the order of `classes_`.

        Args:
            X: as given to `fit`.
        """
        logits = torch.from_numpy(self._outputs(X)).double()
        return np.asarray(torch.softmax(logits, dim=1).numpy())

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each, `(n,)`.

        Args:
            X: as given to `fit`.
        """
        best = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


def _of_classes(given: Mapping[Any, Any], classes: list[Any]) -> NDArray[np.float64]:
    """Return what each class weighs, 1 where it is not named; a name of none may be a misprint.

    Where every class is named, others may be too: a part of the data can lack some.
    """
    unnamed = [name for name in classes if name not in given]
    unknown = [name for name in given if name not in classes]
    if unnamed and unknown:
        raise ConfigError(
            f"class_weight names {first_of(map(repr, unknown))}, but y has no such class."
            f"{_meant(unknown[0], unnamed)} "
            f"The classes, {first_of(map(repr, unnamed))}, are not in class_weight"
        )
    try:
        return np.array([float(given.get(name, 1.0)) for name in classes])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"class_weight: weights are numbers, got {given!r:.80}") from error


def _meant(name: Any, unnamed: list[Any]) -> str:
    """Return a hint at the class whose name is close, or written in another type."""
    same = [each for each in unnamed if str(each) == str(name)]
    if same:
        return f" Did you mean {same[0]!r}?"
    return nearest(str(name), list(map(str, unnamed)))
