from __future__ import annotations

import numpy as np

from recurra.labels.datasets import open_labels
from recurra.labels.options import LabelOptions


def test_fishers_flowers():
    data = open_labels(LabelOptions(dataset="iris"))
    assert data.classes == ("setosa", "versicolor", "virginica")
    assert data.split("test").counts() == dict.fromkeys(data.classes, 10)
    assert data.split("train").counts() == dict.fromkeys(data.classes, 40)
    flowers = np.concatenate([*data.split("train").sequences, *data.split("test").sequences])
    assert flowers.shape == (150, 4)
    np.testing.assert_allclose(flowers.mean(axis=0), [5.84333, 3.05733, 3.758, 1.19933], atol=1e-5)
