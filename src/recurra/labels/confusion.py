"""Which classes are taken for which.

C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "size"]

_MOST_WITH_COUNTS = 20


def size(classes: int) -> tuple[float, float]:
    """Return the inches that a confusion matrix wants, wide and high.

    Args:
        classes: C.
    """
    side = float(np.clip(2.2 + 0.55 * classes, 4.6, 12))
    return side + 0.6, side


def draw(figure: Figure, title: str, classes: Sequence[str], counts: NDArray[np.int64]) -> None:
    """Draw the confusion matrix: rows are the truth, darkness is the share of the row.

    Args:
        figure: an empty one.
        title: what stands above.
        classes: their C names.
        counts: `(C, C)`, of the test: rows are the true classes, columns the predicted ones.
    """
    from matplotlib.colors import LinearSegmentedColormap

    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    right, total = int(np.trace(counts)), int(counts.sum())
    axes = figure.subplots()
    blues = LinearSegmentedColormap.from_list("ours", ["#ffffff", "#9ab7d3", "#1f5a96"])
    axes.imshow(shares, cmap=blues, vmin=0, vmax=1)
    axes.set_title(f"{title}, test: {right:,} of {total:,} right", fontsize=12, pad=12)
    names = [name if len(name) <= 16 else f"{name[:15]}…" for name in classes]
    upright = sum(map(len, names)) > 60
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    edges = np.arange(len(names) + 1) - 0.5
    axes.hlines(edges, -0.5, len(names) - 0.5, color="#e6e6e6", linewidth=0.8)
    axes.vlines(edges, -0.5, len(names) - 0.5, color="#e6e6e6", linewidth=0.8)
    if len(names) > _MOST_WITH_COUNTS:
        return
    for row, column in np.argwhere(counts > 0):
        dark = shares[row, column] > 0.6
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}",
            ha="center",
            va="center",
            color="white" if dark else "C3",
            fontsize=10,
        )
