"""Several runs in one picture: the metric that is judged, by the minutes of training."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recurra.run.figures import in_picture, spread, validated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "curve", "draw"]

Records = Sequence[Mapping[str, Any]]
Points = tuple[tuple[float, float], ...]

_COLORS = ("C0", "C4", "C5", "C6", "C3", "C2")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))
_GAP = 0.052  # of the axes' height, between two labels


@dataclass(frozen=True)
class Curve:
    """How a run went.

    Args:
        name: what its line is called; runs of one name share a colour and a label.
        points: minutes of training and what validation said then.
        mixture: what validation says of the run's mixture; None where there is none.
    """

    name: str
    points: Points
    mixture: float | None = None


def curve(name: str, records: Records, report: Mapping[str, Any], metric: str) -> Curve:
    """Return the curve of a finished run.

    The log of metrics holds no clock time, so training is taken to have been equally fast
    throughout: a validation's minute is its share of all epochs, times all minutes.

    Args:
        name: what its line is called.
        records: the run's metrics, in order.
        report: of the run.
        metric: the metric to draw.

    Example:
        >>> records = [{"step": 5, "epoch": 1.0, "valid": {"perplexity": 90.0}}]
        >>> report = {"epochs": 4.0, "train_seconds": 120.0}
        >>> curve("mine", records, report, "perplexity").points
        ((0.5, 90.0),)
    """
    minutes = report["train_seconds"] / 60 / (report["epochs"] or 1)
    points = tuple((epoch * minutes, value) for epoch, value in validated(records, metric))
    mixture = ((report.get("mixture") or {}).get("valid") or {}).get(metric)
    return Curve(name, points, mixture)


def draw(
    figure: Figure,
    curves: Sequence[Curve],
    baselines: Sequence[tuple[str, float]],
    *,
    metric: str,
    better: str,
) -> None:
    """Draw a line for each run, named at its end, and dashed lines for baselines.

    Args:
        figure: an empty one.
        curves: of the runs.
        baselines: name and value of each.
        metric: what is drawn, as in the reports.
        better: whether a lower or a higher one is better.
    """
    axes = figure.subplots()
    words = metric.replace("_", " ")
    axes.set_title(f"Validation {words} by minutes of training", pad=14, fontsize=12)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel(words)
    names = list(dict.fromkeys(each.name for each in curves))
    labels: list[tuple[float, str, str]] = []
    for name, value in baselines:
        axes.axhline(value, color="C1", linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        labels.append((value, f"{name} {in_picture(value)}", "C1"))
    for place, name in enumerate(names):
        color = _COLORS[place % len(_COLORS)]
        style = _DASHES[place // len(_COLORS) % len(_DASHES)]
        group = [each for each in curves if each.name == name and each.points]
        for each in group:
            _draw_line(axes, each, color, style, alone=len(group) == 1)
        labels += _labels(name, group, color)
    _scale(axes, curves, baselines, better)
    _place(axes, labels)


def _draw_line(axes: Axes, one: Curve, color: str, style: Any, *, alone: bool) -> None:
    minutes, values = zip(*one.points)
    axes.plot(
        minutes,
        values,
        color=color,
        linestyle=style,
        linewidth=2 if alone else 1.2,
        marker="o",
        markersize=7 if len(values) == 1 else 4 if alone and len(values) < 40 else 0,
        zorder=3,
    )
    if one.mixture is not None:
        last = minutes[-1]
        axes.plot([last] * 2, [values[-1], one.mixture], color=color, linewidth=0.9, zorder=2)
        axes.plot([last], [one.mixture], color=color, marker="D", markersize=6, zorder=4)


def _labels(name: str, group: Sequence[Curve], color: str) -> list[tuple[float, str, str]]:
    """Return where the labels of one or more runs of a name stand, what they say, their colour."""
    ends = {"": [each.points[-1][1] for each in group]}
    ends[", mixture"] = [each.mixture for each in group if each.mixture is not None]
    found = []
    for what, values in ends.items():
        if values:
            said = f"{name}{what} {in_picture(statistics.mean(values))}"
            if len(values) > 1:
                said += f" \u00b1 {spread(statistics.stdev(values))}, {len(values)} seeds"
            found.append((statistics.mean(values), said, color))
    return found


def _scale(
    axes: Axes, curves: Sequence[Curve], baselines: Sequence[tuple[str, float]], better: str
) -> None:
    """Choose what the axis shows: all, but of the far beginning only where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ends = [value for each in curves for _, value in each.points[-1:]]
    ends += [each.mixture for each in curves if each.mixture is not None]
    ends += [value for _, value in baselines]
    every = ends + [value for each in curves for _, value in each.points]
    if not every:
        return
    low, high = min(every), max(every)
    if better == "lower" and low > 0:
        high = min(high, 6 * max(ends))  # an untrained network's thousands would flatten the rest
        if high > 2.5 * low:
            axes.set_yscale("log")
            steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high < 12 * low else (1.0, 2.0, 5.0)
            axes.yaxis.set_major_locator(LogLocator(subs=steps))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_minor_locator(LogLocator(subs=()))
            axes.set_ylim(low / 1.12, high * 1.12)
            axes.set_xlim(left=0)
            return
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(left=0)


def _place(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write the labels right of the axes, each at its height, pushed apart where they are close."""
    to_share = axes.transData + axes.transAxes.inverted()
    wanted = sorted(
        (to_share.transform((0, value))[1], said, color) for value, said, color in labels
    )
    for (height, said, color), shown in zip(wanted, _apart([height for height, *_ in wanted])):
        axes.annotate(
            said,
            xy=(1.0, height),
            xytext=(1.03, shown),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=color,
            va="center",
            fontsize=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 1},
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """Return the heights, lowest first, moved as little as puts a gap between each two."""
    # Clusters of labels that touch are spread around their mean, and grow when they meet.
    clusters: list[tuple[float, int]] = []  # mean, how many
    for height in heights:
        mean, count = min(max(height, 0.0), 1.0), 1
        while clusters and mean - clusters[-1][0] < _GAP * (count + clusters[-1][1]) / 2:
            other, more = clusters.pop()
            mean = (mean * count + other * more) / (count + more)
            count += more
        clusters.append((mean, count))
    return [
        mean + _GAP * (place - (count - 1) / 2)
        for mean, count in clusters
        for place in range(count)
    ]
