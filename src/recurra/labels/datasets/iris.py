"""Iris: 150 flowers of three species, four lengths each, as scikit-learn brings it."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_iris

from recurra.labels.datasets.base import LabelSource
from recurra.labels.reading.examples import NamedExamples

__all__ = ["Iris"]


class Iris(LabelSource):
    """Fifty flowers each of setosa, versicolor and virginica: a single step of four features.

    No test part is published.

    Args:
        options: nothing in them changes the flowers.

    Source: Fisher 1936, "The use of multiple measurements in taxonomic problems".

    Example:
        >>> from recurra.labels.options import LabelOptions
        >>> flowers = Iris(LabelOptions()).parts()["train"]
        >>> len(flowers.names), flowers.sequences[0].tolist(), flowers.names[0]
        (150, [[5.1, 3.5, 1.4, 0.2]], 'setosa')
    """

    def parts(self) -> dict[str, NamedExamples]:
        """Return all the flowers as `train`."""
        table = load_iris()
        classes = tuple(str(name) for name in table.target_names)
        sequences = tuple(np.asarray(row, np.float64).reshape(1, -1) for row in table.data)
        names = tuple(classes[place] for place in table.target)
        return {"train": NamedExamples(sequences, names, classes, "iris")}
