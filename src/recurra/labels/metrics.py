"""What a classifier's score is told in. n examples, C classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelMetrics", "confusion_matrix", "score"]


@dataclass(frozen=True)
class LabelMetrics:
    """How well labels were predicted.

    Args:
        examples: how many were scored.
        accuracy: the share whose most probable class is the true one; NaN where there is none.
        log_loss: mean negative natural log-probability of the true class; NaN where there is none.

    Example:
        >>> LabelMetrics(examples=4, accuracy=0.75, log_loss=math.inf).as_dict()
        {'examples': 4, 'accuracy': 0.75, 'log_loss': None}
    """

    examples: int
    accuracy: float
    log_loss: float

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the report's entry: what is not finite is None."""
        return {
            "examples": self.examples,
            "accuracy": _finite(self.accuracy),
            "log_loss": _finite(self.log_loss),
        }


def score(
    log_probs: NDArray[np.floating],
    labels: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> LabelMetrics:
    """Return how well log-probabilities predict labels.

    Args:
        log_probs: `(n, C)`, natural logarithms.
        labels: `(n,)`, the true classes' places.
        weights: `(n,)`, what each example counts; all the same by default.

    Example:
        >>> score(np.log([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 0])).accuracy
        0.5
    """
    if not len(labels) or (weights is not None and not weights.sum() > 0):
        return LabelMetrics(len(labels), math.nan, math.nan)
    sound = ~np.isnan(log_probs).any(axis=1)  # what is no number is no answer, so no right one
    right = (np.where(sound[:, None], log_probs, -np.inf).argmax(axis=1) == labels) & sound
    nats = -log_probs[np.arange(len(labels)), labels].astype(np.float64)
    return LabelMetrics(
        len(labels),
        float(np.average(right, weights=weights)),
        float(np.average(nats, weights=weights)),
    )


def confusion_matrix(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Return `(C, C)` counts: rows are the true classes, columns the predicted ones.

    Args:
        predicted: `(n,)`, places of classes.
        labels: `(n,)`, the true ones'.
        num_classes: C.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    places = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
