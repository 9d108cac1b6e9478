"""Predicted against real over time, as the tutorial draws its sine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

_FLAT = 8
"""How many times as large errors are beside which others are a line at 0."""
_OURS: dict[str, Any] = {"color": "C0", "linewidth": 1.4}
_FREE: dict[str, Any] = {"color": "C4", "linewidth": 1.2, "linestyle": (0, (5, 2))}
_RIVAL: dict[str, Any] = {"color": "C1", "linewidth": 1.2}


def draw(figure: Figure, title: str, points: Any) -> None:
    """Draw the predictions over what was real, and below them by how much they are off.

    Args:
        figure: an empty one.
        title: what stands above.
        points: `recurra.series.use.evidence.ShownPoints`.
    """
    real = np.asarray(points.actual, dtype=float)
    one = np.asarray(points.predicted, dtype=float)
    time = np.arange(1, len(real) + 1)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    upper.set_title(title, pad=12, fontsize=12)
    upper.plot(time, real, color="C2", linewidth=5, alpha=0.8, label="real")
    ahead = (
        "one step ahead" if points.horizon == 1 else f"in blocks of {points.horizon} steps ahead"
    )
    told = {f"{ahead}, RMSE {_rmse(one, real):.3g}": (one, _OURS)}
    if points.free is not None:
        free = np.asarray(points.free, dtype=float)
        told[f"on its own predictions, RMSE {_rmse(free, real):.3g}"] = (free, _FREE)
    for label, (values, style) in told.items():
        upper.plot(time, values, label=label, **style)
    if points.rival is not None:
        name, rival = points.rival
        told[f"{name}, RMSE {_rmse(np.asarray(rival), real):.3g}"] = (np.asarray(rival), _RIVAL)
    low, high = np.nanmin(real), np.nanmax(real)
    room = 0.6 * max(high - low, 1e-12)  # what runs away leaves the picture
    upper.set_ylim(low - room / 3, high + room / 3)
    off = {label: (values - real, style) for label, (values, style) in told.items()}
    _draw_errors(lower, time, off, 2 * room)
    lower.set_xlabel("step of the test")
    upper.margins(x=0.01)
    handles = dict(zip(*reversed(upper.get_legend_handles_labels())))
    handles |= dict(zip(*reversed(lower.get_legend_handles_labels())))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2, fontsize=9)
    figure.align_ylabels()


def _rmse(told: Any, real: Any) -> float:
    known = np.isfinite(told) & np.isfinite(real)
    return float(np.sqrt(np.mean((told[known] - real[known]) ** 2))) if known.any() else np.nan


def _draw_errors(axes: Axes, time: Any, off: dict[str, Any], most: float) -> None:
    """Draw by how much each is off; by powers of ten where one would lie flat at 0 otherwise."""
    sizes = [
        np.nanquantile(np.abs(each), 0.9) for each, _ in off.values() if np.isfinite(each).any()
    ]
    apart = min(sizes, default=0.0) > 0 and max(sizes) > _FLAT * min(sizes)
    for label, (each, style) in off.items():
        axes.plot(time, np.abs(each) if apart else each, label=label, **style)
    if apart:
        axes.set_yscale("log")
        # a single hit would stretch the axis over many powers of ten
        axes.set_ylim(min(sizes) / 30, min(2 * max(sizes), most))
        axes.set_ylabel("off by (log)")
        return
    axes.axhline(0, color="C3", linewidth=0.8, zorder=1)
    found = [np.abs(each[np.isfinite(each)]) for each, _ in off.values()]
    largest = max((part.max() for part in found if len(part)), default=0.0)
    if largest > most:
        axes.set_ylim(-most, most)
    axes.set_ylabel("off by")
