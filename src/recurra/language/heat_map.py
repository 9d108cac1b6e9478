"""Gates and states over time as heat maps.

Gates lie in (0, 1) and are drawn from white to blue; what is signed from orange over white to
blue, evenly to both sides.

N tokens, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.storage.picture import canvas, families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.image import AxesImage

__all__ = ["draw", "heat", "order", "save", "size"]

MOST_UNITS = 10
MOST_TOKENS = 120
_LETTERS = 9.5
"""Of the title, to an inch."""

_TITLES = {
    "c": "c, the cell state",
    "h": "h, the hidden state",
    "i": "i, the input gate",
    "f": "f, the forget gate: dark keeps",
    "o": "o, the output gate",
    "g": "g, the candidate",
    "r": "r, the reset gate",
    "z": "z, the update gate: dark keeps",
    "n": "n, the candidate",
}
_CANDIDATES = "gn"
_GATES = "fiogzrn"
"""In the order in which they are drawn; those of other cells as they come."""

Floats = NDArray[np.float64]


def order(values: Floats, most: int = MOST_UNITS) -> NDArray[np.int64]:
    """Return the numbers of the most varying units, those that move together side by side.

    Units that rise where others fall stand at opposite ends: they are sorted by their weight in
    the first principal component over time.

    Args:
        values: `(N, H)`, of one state.
        most: units to keep.

    Example:
        >>> rising = np.arange(4.0)
        >>> order(np.stack([-rising, np.zeros(4), rising, 2 * rising], 1), most=3).tolist()
        [0, 2, 3]
    """
    spread = values.std(axis=0)
    kept = np.sort(np.argsort(-spread, kind="stable")[:most])
    centred = values[:, kept] - values[:, kept].mean(axis=0)
    if not centred.any():
        return kept
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    first = components[0]
    first = first * np.sign(first[np.argmax(np.abs(first))])  # a component has no sign of its own
    return kept[np.argsort(first, kind="stable")]


def size(tokens: Sequence[str], layer: Any) -> tuple[float, float]:
    """Return the inches that a text's picture wants, wide and high.

    Args:
        tokens: of the text.
        layer: `recurra.language.explanation.Layer`, or None.
    """
    shown = list(tokens[:MOST_TOKENS])
    wide = float(np.clip(2.6 + (0.16 if _short(shown) else 0.34) * len(shown), 6.4, 20))
    if layer is None:
        return wide, 3.1
    return wide, 3.3 + sum(map(_height, _panels(layer).values()))


def save(explanation: Any, path: Path, *, layer: int | None, title: str) -> None:
    """Draw a text's surprise, and a layer's gates and states over it, into a PNG or SVG file.

    Args:
        explanation: `recurra.language.explanation.Explanation`.
        path: the file to write.
        layer: which, from 1; None draws the surprise alone.
        title: what stands above.
    """
    shown = None if layer is None else explanation.layers[layer - 1]
    with canvas(path, *size(explanation.tokens, shown)) as figure:
        draw(figure, explanation, layer, title)


def draw(figure: Figure, explanation: Any, number: int | None, title: str) -> None:
    """Draw the surprise of a text's tokens, and below it one layer's states and gates.

    Args:
        figure: an empty one.
        explanation: `recurra.language.explanation.Explanation`; its first 120 tokens are drawn.
        number: the layer, from 1; None draws the surprise alone.
        title: what stands above.
    """
    tokens = list(explanation.tokens[:MOST_TOKENS])
    layer = None if number is None else explanation.layers[number - 1]
    panels = {name: values[: len(tokens)] for name, values in _panels(layer).items()}
    heights = [1.1, *map(_height, panels.values())]
    columns = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[
        :, 0
    ]
    cut = "" if len(tokens) == len(explanation.tokens) else f", its first {MOST_TOKENS} tokens"
    room = int(_LETTERS * figure.get_figwidth())
    said = "\n".join("\n".join(wrap(line, room)) for line in f"{title}{cut}".splitlines())
    figure.suptitle(said, x=0.01, ha="left", fontsize=12, parse_math=False)
    _surprise(columns[0], tokens, explanation)
    rows: dict[int, NDArray[np.int64]] = {}  # width -> its units, the same in every panel
    for axes, (name, values) in zip(columns[1:], panels.items()):
        width = values.shape[1]
        chosen = rows.setdefault(width, order(values))
        image = heat(axes, values[:, chosen].T, signed=not _is_gate(name, layer))
        most = f"; the {len(chosen)} most varying of {width} units"
        shown = most if len(chosen) < width else ""
        axes.set_title(_TITLES.get(name, name) + shown * (axes is columns[1]), fontsize=9.5)
        axes.set_yticks(range(len(chosen)), map(str, chosen), fontsize=6.5)
        axes.set_ylabel("unit", fontsize=8.5)
        bar = figure.colorbar(image, ax=axes, aspect=12, pad=0.01, fraction=0.04)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2)
    figure.align_ylabels()
    columns[0].tick_params(labelbottom=True)
    for axes in (columns[0], columns[-1]):
        _label(axes, tokens)


def _panels(layer: Any) -> dict[str, Floats]:
    """Return what is drawn of a layer: what it remembers, its gates, its other states."""
    if layer is None:
        return {}
    states = dict(layer.states)
    memory = "c" if "c" in states else next(iter(states))
    first = {memory: states.pop(memory)}
    known = sorted(layer.gates, key=lambda name: (_GATES + name).index(name))
    # what is offered to the memory, and what is let out of it, can be read off these
    shown = {name: layer.gates[name] for name in known if name not in _CANDIDATES}
    states.pop("h" if memory == "c" else memory, None)
    return {**first, **shown, **states}


def _surprise(axes: Axes, tokens: Sequence[str], explanation: Any) -> None:
    nats = -np.asarray(explanation.log_probs)[: len(tokens)]
    places = np.arange(len(tokens))
    axes.bar(places, nats, width=0.8, color="C2", label="surprise")
    entropies = np.asarray(explanation.entropies)[: len(tokens)]
    axes.plot(
        places, entropies, color="C1", linestyle="", marker="_", markersize=9, mew=1.8,
        label="expected (the entropy)",
    )  # fmt: skip
    axes.set_ylabel("nats")
    axes.set_ylim(bottom=0)
    axes.set_title("surprise by token", fontsize=9.5)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, fontsize=8.5)
    axes.tick_params(bottom=False)


def heat(axes: Axes, rows: Floats, *, signed: bool, most: float | None = None) -> AxesImage:
    """Draw a heat map and return its image.

    Args:
        axes: empty ones.
        rows: `(rows, N)`.
        signed: whether values lie to both sides of zero, not in (0, 1).
        most: of what is signed, the value of the deepest colour; its own most.
    """
    if signed:
        # a single extreme unit must not fade all the others
        bound = most or float(np.quantile(np.abs(rows), 0.99)) or 1.0
        low, high = -bound, bound
    else:
        low, high = 0.0, 1.0
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return axes.imshow(
        rows, cmap=_colors(signed), vmin=low, vmax=high, aspect="auto", interpolation="nearest"
    )


def _colors(signed: bool) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    blues = ["#ffffff", "#9ab7d3", "#1f5a96", "#123658"]
    oranges = ["#6b2c0b", "#c2571a", "#e6b796"]
    return LinearSegmentedColormap.from_list("ours", [*oranges, *blues] if signed else blues)


def _label(axes: Axes, tokens: Sequence[str]) -> None:
    upright = not _short(tokens)
    marks = {} if upright else {"<eos>": "⏎"}
    shown = [_printable(marks.get(token, token)) for token in tokens]
    axes.set_xticks(
        range(len(shown)), shown, rotation=90 if upright else 0, fontsize=9,
        parse_math=False,
    )  # fmt: skip
    axes.set_xlim(-0.5, len(shown) - 0.5)


def _printable(token: str) -> str:
    """Return a token of at most 16 characters, of which the font has each."""
    token = {" ": "␣", "\t": "⇥", "\n": "⏎"}.get(token, token)
    cut = token if len(token) <= 16 else f"{token[:15]}…"
    return "".join(char if _is_drawn(ord(char)) else "□" for char in cut)


def _is_drawn(char: int) -> bool:
    return any(font.get_char_index(char) for font in _fonts())


@cache
def _fonts() -> tuple[FT2Font, ...]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return tuple(get_font(findfont(FontProperties(family=[name]))) for name in families())


def _short(tokens: Sequence[str]) -> bool:
    return all(len(token) <= 1 or token == "<eos>" for token in tokens)


def _height(values: Any) -> float:
    return 0.45 + 0.1 * float(min(np.asarray(values).shape[1], MOST_UNITS))


def _is_gate(name: str, layer: Any) -> bool:
    """Return whether it lies in (0, 1): a sigmoid, not a candidate or a state."""
    return name in layer.gates and float(np.min(layer.gates[name])) >= 0
