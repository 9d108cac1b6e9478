"""Forecasts as fans: what came before, the median, its intervals, and what really came.

L steps of history, H of the forecast, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "size"]

MOST = 6
_BANDS = ((0.95, "#dbe6f1"), (0.80, "#b3cce3"))


def size(count: int) -> tuple[float, float]:
    """Return the inches that so many fans want, wide and high.

    Args:
        count: how many series there are.
    """
    rows, columns = _grid(count)
    return (10, 5.0) if rows * columns == 1 else (11, 1.0 + 2.7 * rows)


def draw(figure: Figure, title: str, series: Sequence[Any]) -> None:
    """Draw up to six fans in a grid, with one legend for all.

    Args:
        figure: an empty one.
        title: what stands above.
        series: `recurra.series.use.evidence.ShownSeries`.
    """
    chosen = list(series)[:MOST]
    rows, columns = _grid(len(chosen))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, one in zip(grid, chosen):
        _draw_fan(axes, one)
        if len(chosen) > 1:
            axes.set_title(one.unique_id, fontsize=10)
    for axes in grid[len(chosen) :]:
        axes.set_visible(False)
    alone = len(chosen) == 1 and chosen[0].unique_id not in title
    figure.suptitle(f"{title}: {chosen[0].unique_id}" if alone else title, x=0.01, ha="left")
    handles: dict[str, Any] = {}
    for axes in grid[: len(chosen)]:
        found, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, found))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))


def _grid(count: int) -> tuple[int, int]:
    shown = min(max(count, 1), MOST)
    return (1, 1) if shown == 1 else ((shown + 1) // 2, 2)


def _draw_fan(axes: Axes, one: Any) -> None:
    H = len(one.quantiles)
    before = min(len(one.history), max(3 * H, 48))
    history = np.asarray(one.history, dtype=float)[len(one.history) - before :]
    stamps = np.arange(before + H) - before + 1 if one.stamps is None else one.stamps[-before - H :]
    past, ahead = stamps[:before], stamps[before:]
    last, first = stamps[before - 1 : before], history[-1:]
    quantiles = np.asarray(one.quantiles, dtype=float)
    joined = np.concatenate([last, ahead])  # the fan opens from the last observation
    for share, color in _BANDS:
        pair = _pair(one.levels, share)
        if pair is not None:
            low, high = (np.concatenate([first, quantiles[:, q]]) for q in pair)
            axes.fill_between(
                joined, low, high, color=color, linewidth=0, label=f"{share:.0%} interval"
            )
    median = quantiles[:, int(np.argmin(np.abs(np.asarray(one.levels) - 0.5)))]
    axes.plot(past, history, color="C7", linewidth=1.1, label="before")
    axes.plot(joined, np.concatenate([first, median]), color="C0", linewidth=1.8, label="forecast")
    actual = np.asarray(one.actual, dtype=float)
    if np.isfinite(actual).any():
        style: Any = {"marker": ".", "markersize": 4} if H <= 24 else {}
        axes.plot(ahead[: len(actual)], actual, color="C3", linewidth=1.3, label="real", **style)
    axes.axvline(last[0], color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.margins(x=0.01)
    _label_time(axes, one.stamps)


def _label_time(axes: Axes, stamps: Any) -> None:
    if stamps is None:
        axes.set_xlabel("steps ahead", fontsize=8.5)
    elif np.issubdtype(np.asarray(stamps).dtype, np.datetime64):
        from matplotlib import dates

        untyped: Any = dates
        locator = untyped.AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    axes.tick_params(labelsize=8.5)


def _pair(levels: Sequence[float], share: float) -> tuple[int, int] | None:
    """Return the places of the two levels that hold so much between them; None without them."""
    wanted = np.array([0.5 - share / 2, 0.5 + share / 2])
    distances = np.abs(np.asarray(levels)[None, :] - wanted[:, None])
    low, high = distances.argmin(axis=1)
    return (int(low), int(high)) if distances.min(axis=1).max() < 1e-6 else None
