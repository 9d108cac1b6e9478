"""A run as pictures: its curves, and what its task gives as evidence.

Pictures name colours by their place in the cycle: C0 is ours, C1 a rival, C2 ours in training,
C3 what was really so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.errors import ConfigError
from recurra.run.plot import (
    cells,
    comparison,
    confusion,
    errors,
    fans,
    gates,
    gradients,
    learning,
    predicted,
)
from recurra.storage.folders import cache_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "cells_compared",
    "compared",
    "curves",
    "explained",
    "forecasts",
    "gradient_norms",
    "latch",
    "pictures",
]

_COLORS = ["1f5a96", "c2571a", "9ab7d3", "333333", "4f8a5b", "8a6fb0", "b0903a", "808080"]
_INK = "#333333"
_METADATA: dict[str, dict[str, Any]] = {".png": {"Software": None}, ".svg": {"Date": None}}
"""Suffix -> what must not be in the file for the same picture to be the same bytes."""
_STYLE: dict[str, Any] = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "recurra",
    "legend.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def curves(
    records: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    metric: str = "perplexity",
    baseline: tuple[str, float] | None = None,
) -> None:
    """Draw how training and validation went into a PNG file.

    Args:
        records: the run's metrics, in order.
        path: the file to write.
        title: what stands above.
        metric: what the run is judged by.
        baseline: a name and its value of that metric on validation, drawn as a line.
    """
    panels = learning.panels(records, metric)
    with _canvas(path, 8, 4.8 if panels == 1 else 6.4) as figure:
        learning.draw(figure, records, title, metric, baseline)


def compared(
    runs: Sequence[comparison.Curve],
    path: Path,
    *,
    metric: str,
    better: str,
    baselines: Sequence[tuple[str, float]] = (),
) -> None:
    """Draw how the validation of several runs went, by the minute, into a file.

    Args:
        runs: the curve of each.
        path: the file to write.
        metric: what they are judged by.
        better: whether a lower or a higher one is better.
        baselines: name and value of each, drawn as lines.
    """
    with _canvas(path, 10, 5.4) as figure:
        comparison.draw(figure, runs, baselines, metric=metric, better=better)


def forecasts(series: Sequence[Any], path: Path, *, title: str) -> None:
    """Draw forecasts with their intervals into a PNG file.

    Args:
        series: `recurra.series.use.evidence.ShownSeries`; six at most are drawn.
        path: the file to write.
        title: what stands above.
    """
    with _canvas(path, *fans.size(len(series))) as figure:
        fans.draw(figure, series, title)


def pictures(evidence: Any, folder: Path, *, title: str) -> list[str]:
    """Draw what a task gives as evidence; return the names of the files that were written.

    Args:
        evidence: `ForecastEvidence`, `LabelEvidence`, or None where there is nothing to draw.
        folder: where the files go.
        title: what stands above each.
    """
    if evidence is None:
        return []
    if hasattr(evidence, "confusion"):
        with _canvas(folder / "confusion.png", *confusion.size(len(evidence.classes))) as figure:
            confusion.draw(figure, evidence, title)
        return ["confusion.png"]
    drawn = []
    one_step = evidence.points is not None and len(evidence.errors_by_horizon) == 1
    if evidence.series and not one_step:  # a fan of one step is nothing to see
        forecasts(evidence.series, folder / "forecast.png", title=title)
        drawn.append("forecast.png")
    with _canvas(folder / "errors.png", 10, 4.4) as figure:
        errors.draw(figure, evidence, title)
    drawn.append("errors.png")
    if evidence.points is not None:
        with _canvas(folder / "predicted.png", 10, 5.6) as figure:
            predicted.draw(figure, evidence.points, title)
        drawn.append("predicted.png")
    return drawn


def explained(explanation: Any, path: Path, *, layer: int | None, title: str) -> None:
    """Draw a text's surprise, and a layer's gates and states over it, into a PNG or SVG file.

    Args:
        explanation: `recurra.language.explanation.Explanation`.
        path: the file to write.
        layer: which, from 1; None draws the surprise alone.
        title: what stands above.
    """
    shown = None if layer is None else explanation.layers[layer - 1]
    with _canvas(path, *gates.size(explanation.tokens, shown)) as figure:
        gates.draw(figure, explanation, layer, title)


def gradient_norms(found: Any, path: Path, *, title: str) -> None:
    """Draw how gradients vanish over distance into a PNG or SVG file.

    Args:
        found: `recurra.demo.gradients.GradientNorms`.
        path: the file to write.
        title: what stands above.
    """
    with _canvas(path, 9, 5.4) as figure:
        gradients.draw(figure, found, title)


def latch(watched: Any, path: Path, *, title: str) -> None:
    """Draw the gates of the unit that remembers a bit into a PNG or SVG file.

    Args:
        watched: `recurra.demo.gates.Watched`.
        path: the file to write.
        title: what stands above.
    """
    with _canvas(path, 11, 5.2) as figure:
        gates.draw_latch(figure, watched, title)


def cells_compared(result: Any, path: Path) -> None:
    """Draw how cells of one size did into a PNG or SVG file.

    Args:
        result: as `recurra.bench.cells.compare_cells` gives it at its end.
        path: the file to write.
    """
    with _canvas(path, *cells.size(result)) as figure:
        cells.draw(figure, result)


@contextmanager
def _canvas(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure of so many inches in our style; save it at the end."""
    if path.suffix.lower() not in _METADATA:
        raise ConfigError(f"a picture is written as .png or .svg, got {path}")
    # matplotlib keeps a font cache; it goes where all our caches go
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    import matplotlib
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=[f"#{color}" for color in _COLORS])}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        _lay_out(figure)
        figure.savefig(path, metadata=_METADATA[path.suffix.lower()])


def _lay_out(figure: Figure) -> None:
    """Lay out once, to nine digits: what the layout solves, it adds up in the order of addresses,
    and an SVG names its parts by all digits of where they are.
    """
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = (round(n, 9) for n in axes.get_position(original=True).bounds)
        axes.set_position((x, y, width, height))
