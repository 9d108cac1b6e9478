"""Predicted against real over time, as the tutorial draws its sine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]


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
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.set_title(title, pad=12, fontsize=12)
    upper.plot(time, real, color="C2", linewidth=5, alpha=0.8, label="real")
    error = np.sqrt(np.nanmean((one - real) ** 2))
    label = f"one step ahead, RMSE {error:.3g}"
    upper.plot(time, one, color="C0", linewidth=1.4, label=label)
    lower.plot(time, one - real, color="C0", linewidth=1.2)
    low, high = np.nanmin(real), np.nanmax(real)
    room = 0.6 * max(high - low, 1e-12)  # what runs away leaves the picture
    upper.set_ylim(low - room / 3, high + room / 3)
    if points.free is not None:
        free = np.asarray(points.free, dtype=float)
        drift = np.sqrt(np.nanmean((free - real) ** 2))
        label = f"on its own predictions, RMSE {drift:.3g}"
        dashed = (0, (5, 2))
        upper.plot(time, free, color="C1", linewidth=1.4, linestyle=dashed, label=label)
        lower.plot(time, free - real, color="C1", linewidth=1.2, linestyle=dashed)
        most = max(min(np.nanmax(np.abs(free - real)), 2 * room), 1e-12)
        lower.set_ylim(-1.1 * most, 1.1 * most)
    lower.axhline(0, color="C3", linewidth=0.8, zorder=1)
    lower.set_ylabel("off by")
    lower.set_xlabel("step of the test")
    upper.margins(x=0.01)
    figure.legend(loc="outside lower center", ncols=3)
    figure.align_ylabels()
