"""Where a forecaster errs: by distance beside the baselines, and how its errors spread.

H steps of the horizon, n errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

_FLAT = 12
"""How many times as large usual errors are beside which others are a line at 0."""
_RIVALS = ("C1", "C4", "C5", "C6", "C7", "C2", "C3")


def draw(figure: Figure, title: str, evidence: Any) -> None:
    """Draw the error by horizon at the left, the residuals at the right.

    Args:
        figure: an empty one.
        title: what stands above.
        evidence: `recurra.series.use.evidence.ForecastEvidence`.
    """
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.suptitle(title, x=0.01, ha="left")
    ours = np.asarray(evidence.errors_by_horizon, dtype=float)
    rivals = {n: np.asarray(e, dtype=float) for n, e in evidence.baseline_errors.items()}
    if len(ours) == 1:
        _draw_bars(left, ours, rivals)
    else:
        _draw_lines(left, ours, rivals)
    if evidence.scaled:
        left.set_title(f"{left.get_title(loc='left')}, each series scaled as in MASE")
    _draw_residuals(right, np.asarray(evidence.residuals, dtype=float))


def _draw_lines(axes: Axes, ours: Any, rivals: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Mean absolute error by horizon")
    ahead = np.arange(1, len(ours) + 1)
    for (name, errors), color in zip(rivals.items(), _RIVALS):
        axes.plot(ahead, errors, color=color, linewidth=1.2, label=name)
    marker = "o" if len(ours) <= 24 else None
    axes.plot(ahead, ours, color="C0", linewidth=2.4, marker=marker, markersize=4, label="network")
    axes.set_xlabel("steps ahead")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    axes.margins(x=0.02)
    if (ours > 0).all() and all((errors > 0).all() for errors in rivals.values()):
        usual = [float(np.median(errors)) for errors in (ours, *rivals.values())]
        if max(usual) > _FLAT * min(usual):
            axes.set_yscale("log")
    if axes.get_yscale() != "log":
        axes.set_ylim(bottom=0)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[-1:] + handles[:-1], names[-1:] + names[:-1], ncols=2, fontsize=9)


def _draw_bars(axes: Axes, ours: Any, rivals: dict[str, Any]) -> None:
    """One step ahead there is no line to draw: a bar for each."""
    from matplotlib.ticker import NullLocator

    axes.set_title("Mean absolute error, one step ahead")
    values = {"network": float(ours[0]), **{name: float(e[0]) for name, e in rivals.items()}}
    colors = ["C0", *_RIVALS[: len(rivals)]]
    positive = [value for value in values.values() if value > 0]
    if positive and max(positive) > 50 * min(positive):
        axes.set_xscale("log")
        axes.set_xlim(left=max(min(positive), 1e-16) / 10, right=max(positive) * 30)
    else:
        axes.set_xlim(right=1.25 * max([*positive, 1e-12]))
    bars = axes.barh(list(values), list(values.values()), color=colors, height=0.6)
    axes.bar_label(bars, [f"{value:.3g}" for value in values.values()], padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_residuals(axes: Axes, residuals: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    found = residuals[np.isfinite(residuals)]
    axes.set_title("Residuals, real less forecast")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if not len(found):
        axes.set_xlabel("there are none")
        return
    low, high = np.quantile(found, [0.1, 0.9])
    room = high - low  # a few errors may be a thousand times the rest
    inside = found[(found >= low - room) & (found <= high + room)]
    bins = int(np.clip(np.sqrt(len(inside)), 5, 60))
    axes.hist(inside, bins=bins, color="C2", edgecolor="white", linewidth=0.4)
    axes.axvline(0, color="C3", linewidth=1)
    if abs(found.mean()) > 0.05 * found.std() and low - room < found.mean() < high + room:
        axes.axvline(found.mean(), color="C0", linewidth=1.6, linestyle=(0, (5, 3)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    beyond = len(found) - len(inside)
    said = f"mean {_figure(found.mean())}, deviation {_figure(found.std())}"
    axes.set_xlabel(f"{said}\n{beyond:,} of {len(found):,} lie beyond" if beyond else said)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
