"""A run's curves as a picture: perplexity over the passes through the data."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.folders import cache_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves"]

_TRAIN, _VALID, _BASELINE, _INK = "#9ab7d3", "#1f5a96", "#c2571a", "#333333"
_POINTS = 200


def curves(
    records: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    baseline: tuple[str, float] | None = None,
) -> None:
    """Draw training and validation perplexity into a PNG file.

    Args:
        records: the run's metrics, in order.
        path: the file to write.
        title: what stands above.
        baseline: a name and its validation perplexity, drawn as a line.
    """
    # matplotlib keeps a font cache; it goes where all our caches go
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_yscale("log")
    axes.set_title(title, loc="left", color=_INK, fontsize=12, pad=12)
    axes.set_xlabel("epoch", color=_INK)
    axes.set_ylabel("perplexity", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.tick_params(colors=_INK, which="both")
    _draw_lines(axes, records, baseline)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    axes.set_xlim(left=0)
    axes.legend(frameon=False, labelcolor=_INK)
    figure.savefig(path, metadata={"Software": None})


def _draw_lines(
    axes: Axes, records: Sequence[Mapping[str, Any]], baseline: tuple[str, float] | None
) -> None:
    train = _averaged([r for r in records if r.get("loss") is not None])
    valid = [
        (r["epoch"], r["valid"]["perplexity"])
        for r in records
        if r.get("valid") and r["valid"].get("perplexity") is not None
    ]
    axes.plot(*_columns(train), color=_TRAIN, linewidth=1.6, label="training")
    if valid:
        last = valid[-1][1]
        axes.plot(
            *_columns(valid),
            color=_VALID,
            linewidth=2,
            marker="o",
            markersize=5,
            label=f"validation, {last:,.1f} at last",
        )
    if baseline is not None:
        name, perplexity = baseline
        axes.axhline(
            perplexity,
            color=_BASELINE,
            linewidth=1.4,
            linestyle=(0, (5, 3)),
            label=f"{name} on validation, {perplexity:,.1f}",
        )


def _averaged(steps: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return at most `_POINTS` (epoch, perplexity): the mean loss of equally many steps each."""
    span = max(1, math.ceil(len(steps) / _POINTS))
    points = []
    for start in range(0, len(steps), span):
        part = steps[start : start + span]
        mean = sum(step["loss"] for step in part) / len(part)
        points.append((part[-1]["epoch"], math.exp(min(mean, 700))))
    return points


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
