"""What each gate is worth: a bar for each variant, and a dot for each of its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recurra.bench.gates.cell import SUMS
from recurra.bench.gates.verdict import HOW, NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "size"]

Row = Mapping[str, Any]

_COLORS = {"width": "C2", "parameters": "C0"}
_HIGH = 0.38


def size(result: Row) -> tuple[float, float]:
    """Return the inches that the picture wants, wide and high.

    Args:
        result: as `recurra.bench.gates.comparison.compare_gates` gives it at its end.
    """
    return 6.4, 1.6 + 0.6 * len(_order(result["results"]))


def draw(figure: Figure, result: Row) -> None:
    """Draw how much more perplexity each variant has than the whole LSTM, the least on top.

    A pale bar is a variant at the width of the whole LSTM, a dark one at its parameters; beside
    each stands its perplexity. Where the whole one ran away, the best variant is in its place.

    Args:
        figure: an empty one.
        result: of a comparison of gates.
    """
    rows = result["results"]
    known = {(row["variant"], row["at"]): row["perplexity"] for row in rows}
    values = [value for value in known.values() if value is not None]
    if not values:
        return
    whole = known.get(("whole", "width"))
    reference = min(values) if whole is None else whole
    order = _order(rows)
    axes = figure.subplots()
    axes.set_title("Perplexity as each gate of an LSTM is removed", fontsize=13, pad=10)
    bars: dict[str, Any] = {}
    for row in rows:
        both = sum(name == row["variant"] for name, _ in known) > 1
        shift = (0.5 * _HIGH if row["at"] == "parameters" else -0.5 * _HIGH) if both else 0.0
        bar = _draw_row(axes, row, order.index(row["variant"]) + shift, reference)
        if bar is not None and row["variant"] != "whole":
            bars.setdefault(row["at"], bar)
    axes.axvline(0, color="C3", linewidth=1)
    axes.set_yticks(range(len(order)), [NAMES[name] for name in order], fontsize=11)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.margins(x=0.18)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    of = "best variant" if whole is None else "whole LSTM"
    axes.set_xlabel(f"% more perplexity than the {of}'s {reference:.1f}; dots: seeds", fontsize=11)
    if bars:
        named = {HOW[at]: bar for at, bar in bars.items()}
        figure.legend(named.values(), named, loc="outside lower right", ncols=2)


def _draw_row(axes: Axes, row: Row, place: float, reference: float) -> Any:
    """Draw a bar, its seeds and its perplexity; return the bar, None where training ran away."""
    if row["perplexity"] is None:
        axes.text(0.02, place, "ran away", va="center", transform=axes.get_yaxis_transform())
        return None
    more = [100 * (each["test"]["perplexity"] / reference - 1) for each in row["seeds"]]
    mean = 100 * (row["perplexity"] / reference - 1)
    bar = axes.barh(place, mean, height=0.92 * _HIGH, color=_COLORS[row["at"]], zorder=2)
    axes.plot(more, [place] * len(more), "o", color="C1", markersize=4, zorder=3)
    left = mean < 0
    axes.annotate(
        f"{row['perplexity']:.1f}",
        (min(more) if left else max(more), place),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        va="center",
        ha="right" if left else "left",
        fontsize=10.5,
    )
    return bar


def _order(rows: Sequence[Row]) -> list[str]:
    """Return the variants, the whole LSTM first, then by what is lost at the same width."""

    def key(name: str) -> tuple[bool, float]:
        ours = [row["perplexity"] for row in rows if row["variant"] == name]
        return name != "whole", float("inf") if ours[0] is None else ours[0]

    there = {row["variant"] for row in rows}
    return sorted((name for name in SUMS if name in there), key=key)
