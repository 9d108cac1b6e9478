"""How fast gradients vanish over distance, on a logarithmic scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAMES", "draw"]

NAMES = {
    "rnn": "RNN",
    "gru": "GRU",
    "lstm": "LSTM, forget bias 1",
    "lstm_forget_bias_3": "LSTM, forget bias 3",
}
"""Kinds of cell as one reads them."""

_COLORS = {"rnn": "C1", "gru": "C4", "lstm": "C0", "lstm_forget_bias_3": "C5"}
_LOST = 2.0**-24
"""What float32 rounds away beside a 1."""


def draw(figure: Figure, found: Any, title: str) -> None:
    """Draw each kind's norms, and the band of its networks, against the distance.

    Args:
        figure: an empty one.
        found: `recurra.demo.gradients.GradientNorms`.
        title: what stands above.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    axes = figure.subplots()
    axes.set_title(title, pad=12, fontsize=12)
    axes.set_yscale("log")
    far = found.distances[-1]
    for n, (kind, norms) in enumerate(found.norms.items()):
        color = _COLORS.get(kind, f"C{n % 8}")
        axes.fill_between(
            found.distances, found.lowest[kind], found.highest[kind], color=color, alpha=0.18, lw=0
        )
        axes.plot(found.distances, norms, color=color, linewidth=2)
        axes.annotate(
            f"{NAMES.get(kind, kind)}\n$\\times$ {found.rate(kind):.2f} a step",
            (far, norms[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=9.2,
            annotation_clip=False,
        )
    lost = _LOST * max(norms[0] for norms in found.norms.values())
    axes.axhline(lost, color="C7", linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "below: lost to float32\nbeside the nearest step",
        (0, lost),
        xytext=(6, -5),
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color="C7",
    )
    axes.set_xlim(0, far)
    powers = np.log10([value for norms in found.lowest.values() for value in norms if value > 0])
    stride = max(1, int(np.ceil((powers.max() - powers.min()) / 10)))
    axes.yaxis.set_major_locator(LogLocator(base=10.0**stride, numticks=30))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("distance in steps from an input to the output it acts on")
    axes.set_ylabel("norm of the gradient")
