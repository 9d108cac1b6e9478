"""Tell rising from falling sequences of different lengths, inside scikit-learn's tools."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import GridSearchCV

import recurra as rc


def main() -> float:
    draws = np.random.default_rng(1)
    labels = draws.choice(["falling", "rising"], 60)
    sequences = []
    for label in labels:
        slope = 1.0 if label == "rising" else -1.0
        line = slope * np.linspace(-1, 1, int(draws.integers(8, 20)))
        sequences.append((line + draws.normal(0, 0.5, len(line)))[:, None])  # (T, F)

    search = GridSearchCV(
        rc.SequenceClassifier(hidden_size=8, random_state=1),
        {"cell": ["lstm", "gru"], "pooling": ["last", "mean"]},
        cv=3,
    )
    search.fit(sequences, labels)
    print(search.best_params_)
    print(search.predict([np.linspace(-1, 1, 12)[:, None]]))
    return float(search.best_score_)


if __name__ == "__main__":
    print(f"accuracy over three folds: {main():.2f}")
