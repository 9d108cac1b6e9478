"""Estimators of drawn settings on drawn data: saved, loaded in a fresh process, the same bits.

What is loaded there answers, learns a pass more where it can, and answers again; so it does here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from recurra.estimators.forecaster import SeriesForecaster
from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor
from recurra.estimators.softmax import SoftmaxClassifier

SOURCE = Path(__file__).parents[2] / "src"
DRAWS = 25
"""Of each estimator."""

ELSEWHERE = f"""
import sys
import numpy as np
import recurra as rc
sys.path.insert(0, {str(Path(__file__).parent)!r})
from estimators import answers
for place in sys.argv[1:]:
    data = np.load(f"{{place}}/data.npz")
    kind = getattr(rc, place.rsplit("/", 1)[1].partition("-")[0])
    model = kind.from_pretrained(f"{{place}}/model")
    np.savez(f"{{place}}/told.npz", *answers(model, *(data[name] for name in data)))
"""


def answers(model: Any, *data: Any) -> list[Any]:
    """What an estimator says, before and after it has learned a pass more."""
    if isinstance(model, SeriesForecaster):
        return [model.predict(7), *model.predict_interval(7)]
    ask = getattr(model, "predict_proba", model.predict)
    first = ask(data[0])
    model.partial_fit(*data)
    return [first, ask(data[0]), model.predict(data[0])]


def drawn(draw: np.random.Generator, name: str) -> tuple[Any, tuple[Any, ...]]:
    """An estimator of drawn settings, and data for it."""
    hidden, members = int(draw.integers(1, 9)), int(draw.integers(1, 3))
    cell = str(draw.choice(["gru", "lstm", "rnn"]))
    shared = {"cell": cell, "hidden_size": hidden, "members": members}
    if name == "SeriesForecaster":
        head = str(draw.choice(["quantiles", "student_t"]))
        scale = str(draw.choice(["window", "series"]))
        series = draw.normal(size=int(draw.integers(60, 90))).cumsum()
        series *= 10.0 ** int(draw.integers(-6, 7))
        season = int(draw.choice([1, 4, 12]))
        return SeriesForecaster(4, season, 5, head=head, scale=scale, **shared), (series,)
    classes = [["no", "perhaps", "yes"], [-1, 3, 7], [False, True]][int(draw.integers(3))]
    count, steps, features = (int(draw.integers(*ends)) for ends in ((12, 40), (1, 7), (1, 4)))
    y = np.array(classes)[np.arange(count) % len(classes)]
    X = draw.normal(size=(count, steps, features))
    X = X.astype(draw.choice(["float32", "float64"]))
    if name == "SoftmaxClassifier":
        stops, weights = bool(draw.integers(2)), [None, "balanced"][int(draw.integers(2))]
        return SoftmaxClassifier(9, class_weight=weights, early_stopping=stops), (X[:, 0], y)
    shared |= {
        "bidirectional": bool(draw.integers(2)),
        "pooling": str(draw.choice(["last", "mean", "attention"])),
        "num_layers": int(draw.integers(1, 3)),
        "dropout": float(draw.choice([0.0, 0.2])),
        "standardize": bool(draw.integers(2)),
        "epochs": 2,
    }
    if name == "SequenceClassifier":
        return SequenceClassifier(**shared), (X, y)
    return SequenceRegressor(**shared), (X, draw.normal(size=count))


def run(seed: int) -> dict[str, Any]:
    """Draw, fit, save, and compare what two processes say."""
    draw = np.random.default_rng(seed)
    names = ("SoftmaxClassifier", "SequenceClassifier", "SequenceRegressor", "SeriesForecaster")
    same, other = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        expected = {}
        for name in names:
            for number in range(DRAWS):
                place = Path(folder) / f"{name}-{number}"
                model, data = drawn(draw, name)
                model.fit(*data).save_pretrained(place / "model")
                np.savez(place / "data.npz", *data)
                expected[place] = answers(model, *data)
        path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
        words = [sys.executable, "-c", ELSEWHERE, *map(str, expected)]
        subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, check=True)
        for place, here in expected.items():
            told = np.load(place / "told.npz")
            there = [told[name] for name in told]
            if len(there) == len(here) and all(map(np.array_equal, here, there)):
                same[place.name.partition("-")[0]] += 1
            else:
                other.append(place.name)
    return {"same": dict(same), "other": other, "failed": len(other)}
