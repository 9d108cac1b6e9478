"""The demonstrations as pictures: gradients over distance, and the gates of one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.language.heat_map import heat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NAMES", "draw_latch", "draw_norms", "draw_truncation"]

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


_ROWS = {
    "i": "input gate  i",
    "f": "forget gate  f",
    "o": "output gate  o",
    "g": "candidate  g",
    "c": "cell state  c",
    "h": "hidden state  h",
}


def draw_norms(figure: Figure, found: Any, title: str, exploding: Any = None) -> None:
    """Draw each kind's norms, and the band of its networks, by distance on a logarithmic scale.

    Args:
        figure: an empty one.
        found: `recurra.demo.gradients.GradientNorms`.
        title: what stands above.
        exploding: `recurra.demo.explosion.Explosion`, a line that grows; none by default.
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
        _line(axes, norms, NAMES.get(kind, kind), found.rate(kind), color)
    if exploding is not None:
        name = f"RNN, weights $\\times$ {exploding.times:g}"
        _line(axes, exploding.norms, name, exploding.rate, "C3")
    lost = _LOST * max(norms[0] for norms in found.norms.values())
    axes.axhline(lost, color="C7", linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "below: lost\nto float32",
        (0, lost),
        xytext=(6, -5),
        textcoords="offset points",
        va="top",
        fontsize=9.5,
        color="C7",
    )
    axes.set_xlim(0, far)
    drawn = [*found.lowest.values(), *([] if exploding is None else [exploding.norms])]
    powers = np.log10([value for norms in drawn for value in norms if value > 0])
    stride = max(1, int(np.ceil((powers.max() - powers.min()) / 10)))
    axes.yaxis.set_major_locator(LogLocator(base=10.0**stride, numticks=30))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("distance in steps from an input to the output it acts on")
    axes.set_ylabel("norm of the gradient")


def _line(axes: Axes, norms: Sequence[float], name: str, rate: float, color: str) -> None:
    """Draw norms by distance, with their name and rate beside the last."""
    axes.plot(range(len(norms)), norms, color=color, linewidth=2)
    axes.annotate(
        f"{name}\n$\\times$ {rate:.2f} a step",
        (len(norms) - 1, norms[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontsize=10.5,
        annotation_clip=False,
    )


def draw_truncation(figure: Figure, found: Sequence[Any], title: str) -> None:
    """Draw the loss of each distance beside the others, by the chunks that it was learned by.

    Args:
        figure: an empty one.
        found: `recurra.demo.truncation.Truncated`, one for each length.
        title: what stands above.
    """
    axes = figure.subplots()
    axes.set_title(title, pad=12, fontsize=12)
    count = len(found[0].losses)
    for n, (distance, color) in enumerate(zip(found[0].losses, ("C4", "C0", "C1", "C5", "C6"))):
        places = [group + 0.8 * ((n + 0.5) / count - 0.5) for group in range(len(found))]
        losses = [each.losses[distance] for each in found]
        axes.bar(places, losses, 0.72 / count, color=color, label=f"{distance} steps ago")
        for place, loss in zip(places, losses):
            axes.annotate(
                f"{loss:.3f}",
                (place, loss),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=color,
            )
    chance = float(np.log(2))
    axes.axhline(chance, color="C7", linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        "by guessing: ln 2",
        (len(found) - 0.5, chance),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color="C7",
    )
    axes.set_xticks(range(len(found)), [f"chunks of {each.chunk_length}" for each in found])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(0, 1.15 * chance)
    axes.set_ylabel("nats for a bit that was written")
    figure.legend(loc="outside lower center", ncols=count)


def draw_latch(figure: Figure, watched: Any, title: str, words: Sequence[str] = ()) -> None:
    """Draw what goes into the demonstration's unit, its gates, its state, and what comes out.

    Args:
        figure: an empty one.
        watched: `recurra.demo.gates.Watched`.
        title: what stands above.
        words: of a sentence, one a step; the numbers of a sequence of bits are written.
    """
    signed = {"g": watched.gates["g"], **watched.states}
    gates = {name: values for name, values in watched.gates.items() if name != "g"}
    heights = [1, len(gates), len(signed), 2.6]
    into, middle, lower, out = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    into.set_title(title, pad=26, fontsize=12)
    value = {"value": watched.inputs["value"]}
    for axes, rows, both in ((into, value, True), (middle, gates, False), (lower, signed, True)):
        image = heat(axes, np.array(list(rows.values())), signed=both, most=1.0)
        axes.set_yticks(range(len(rows)), [_ROWS.get(name, name) for name in rows])
        if not words:
            _numbers(axes, rows)
        if axes is not into:
            bar = figure.colorbar(image, ax=axes, aspect=8, pad=0.01, fraction=0.03)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=8, length=2)
            bar.set_ticks([-1, 0, 1] if both else [0, 0.5, 1])
    for t, (write, reset) in enumerate(zip(watched.inputs["write"], watched.inputs["reset"])):
        if write or reset:
            said = (
                "reset"
                if reset
                else f"write {watched.inputs['value'][t]:+.0f}".replace("-", "\N{MINUS SIGN}")
            )
            into.annotate(
                said, (t, -0.5), xytext=(0, 3), textcoords="offset points", ha="center",
                fontsize=8.5, color="C1" if reset else "C0",
            )  # fmt: skip
    out.plot(
        watched.target, color="C2", linewidth=5, alpha=0.8, drawstyle="steps-mid", label="target"
    )
    out.plot(watched.output, color="C0", linewidth=1.6, drawstyle="steps-mid", label="output")
    out.set_ylim(-1.45, 1.45)
    out.set_yticks([-1, 0, 1])
    if words:  # which say what goes in, and leave no room for numbers
        out.set_xticks(range(len(words)), words, rotation=90, fontsize=11, parse_math=False)
    else:
        out.set_xlabel("step")
    figure.legend(loc="outside lower right", ncols=2)


def _numbers(axes: Axes, rows: Mapping[str, Sequence[float]]) -> None:
    for row, values in enumerate(rows.values()):
        for column, value in enumerate(values):
            axes.text(
                column, row, f"{value:.2f}".replace("0.", ".").replace("-", "\N{MINUS SIGN}"),
                ha="center", va="center", fontsize=6.5,
                color="white" if abs(value) > 0.45 else "C3",
            )  # fmt: skip
