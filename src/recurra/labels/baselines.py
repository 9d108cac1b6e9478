"""What every classifier is printed beside: the commonest class, and a linear model.

n sequences, F features, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recurra.labels.sequences import LabelledSequences
from recurra.table import Table

__all__ = ["BASELINES", "Baseline", "Linear", "Majority", "summary"]

MOST_NUMBERS = 1000
"""Numbers of a sequence up to which a linear model reads every one of them."""

Sequences = Sequence[NDArray[np.floating]]

BASELINES = Table(
    "baseline",
    {
        "majority": "recurra.labels.baselines:Majority",
        "linear": "recurra.labels.baselines:Linear",
    },
)


class Baseline(Protocol):
    """What a baseline gives: it learns when it is made, and tells log-probabilities."""

    def __init__(self, train: LabelledSequences) -> None: ...

    def log_probs(self, sequences: Sequences) -> NDArray[np.float64]:
        """Return `(n, C)`, natural logarithms.

        Args:
            sequences: n of them; of the length that was learned, where that was a single one.
        """
        ...


class Majority(Baseline):
    """Whatever the sequence, the shares that the classes had in training.

    Args:
        train: what is counted.

    Example:
        >>> ones = tuple(np.ones((4, 1, 1)))
        >>> counted = Majority(LabelledSequences(ones, np.array([0, 1, 1, 1]), ("a", "b")))
        >>> np.exp(counted.log_probs(ones[:1]))
        array([[0.25, 0.75]])
    """

    def __init__(self, train: LabelledSequences) -> None:
        counts = np.array(list(train.counts().values()), np.float64)
        with np.errstate(divide="ignore"):
            self._log_shares = np.log(counts / counts.sum())

    def log_probs(self, sequences: Sequences) -> NDArray[np.float64]:
        """Return the logarithms of the shares, `(n, C)`."""
        return np.tile(self._log_shares, (len(sequences), 1))


class Linear(Baseline):
    """Logistic regression on standardised numbers.

    Sequences that are all of one length, and short, are taken as they are; others by their
    features' mean, standard deviation, first and last value.

    Args:
        train: what is learned, with an example of every class.

    Example:
        >>> values = tuple(np.array([[[-2.0]], [[-1.0]], [[1.0]], [[2.0]]]))
        >>> line = Linear(LabelledSequences(values, np.array([0, 0, 1, 1]), ("minus", "plus")))
        >>> line.log_probs(values).argmax(axis=1)
        array([0, 0, 1, 1])
    """

    def __init__(self, train: LabelledSequences) -> None:
        least, most = train.lengths
        self._whole = (
            least if least == most and least * train.num_features <= MOST_NUMBERS else None
        )
        self._model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        with warnings.catch_warnings():
            # Where it has not settled after so many steps, it is a baseline all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(self._numbers(train.sequences), train.labels)

    def log_probs(self, sequences: Sequences) -> NDArray[np.float64]:
        """Return the model's log-probabilities, `(n, C)`."""
        found: NDArray[np.float64] = self._model.predict_log_proba(self._numbers(sequences))
        return found

    def _numbers(self, sequences: Sequences) -> NDArray[np.float64]:
        if self._whole is None:
            return summary(sequences)
        cut = [_of_length(sequence, self._whole).ravel() for sequence in sequences]
        return np.array(cut, np.float64)


def summary(sequences: Sequences) -> NDArray[np.float64]:
    """Return `(n, 4F)`: mean, standard deviation, first and last value of every feature.

    Args:
        sequences: n arrays `(T_i, F)`.

    Example:
        >>> summary([np.array([[1.0], [2.0], [3.0]])]).round(2)
        array([[2.  , 0.82, 1.  , 3.  ]])
    """
    rows = [
        np.concatenate([sequence.mean(axis=0), sequence.std(axis=0), sequence[0], sequence[-1]])
        for sequence in sequences
    ]
    return np.array(rows, np.float64)


def _of_length(sequence: NDArray[np.floating], steps: int) -> NDArray[np.floating]:
    """Return the sequence cut to `steps`, or its last step repeated."""
    missing = max(0, steps - len(sequence))
    return np.concatenate([sequence[:steps], np.repeat(sequence[-1:], missing, axis=0)])
