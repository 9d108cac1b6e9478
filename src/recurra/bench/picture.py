"""Cells side by side: how well each does on each task, and what it costs."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recurra.bench.verdict import loss, medians, too_short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "size"]

Row = Mapping[str, Any]

_COSTS: dict[str, tuple[str, float]] = {
    "seconds_per_step": ("ms a training step", 1e3),
    "one_step_microseconds": ("\u00b5s a single step", 1.0),
    "kept_bytes": ("MB kept for backward", 1e-6),
}

NARROW = 7.2
"""Inches of a picture of one task, which a phone shows."""
_LABEL = 0.18
"""How much of a panel's width a label takes."""


def size(result: Row) -> tuple[float, float]:
    """Return the inches that the picture wants, wide and high.

    Args:
        result: as `recurra.bench.cells.compare_cells` gives it at its end.
    """
    tasks = len(_tasks(result))
    rows = 2 if tasks else 1
    return 12.0 if tasks > 1 else NARROW, 1.0 + rows * (0.9 + 0.27 * len(_cells(result)))


def draw(figure: Figure, result: Row) -> None:
    """Draw a panel for each task, the baselines dashed, and below one for each cost.

    Cells stand in one order, the best on average first; the best of a panel is dark. A ring is
    where a cell comes to at equal seconds. Costs are medians over the tasks.

    Args:
        figure: an empty one.
        result: of a comparison of cells.
    """
    tasks, cells = _tasks(result), _order(result)
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    parameters = [row["parameters"] for row in result["results"]]
    about = f"{min(parameters):,} to {max(parameters):,} parameters each"
    again = result.get("equal_seconds", ())  # earlier results do not have it
    short = any(map(too_short, tasks))
    said = "trained too shortly to tell who is best" if short else "best on average first"
    said += "; rings: at equal seconds" if again else ""
    title = f"Cells at equal parameters ({about}), {said}"
    if len(tasks) == 1:
        title = textwrap.fill(title, int(9 * NARROW))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    panels = above.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks):
        rings = {row["cell"]: row["test"] for row in again if row["task"] == task["name"]}
        _draw_task(axes, task, result["results"], rings, cells)
    costs = below.subplots(1, len(_COSTS), sharey=True, squeeze=False)[0]
    for axes, (key, (title, scale)) in zip(costs, _COSTS.items()):
        values = medians(result["results"], key, scale)
        _draw_cost(axes, title, {cell: values[cell] for cell in cells})
    for axes in (panels[0], costs[0]):
        axes.set_yticks(range(len(cells)), cells)
        axes.set_ylim(len(cells) - 0.4, -0.6)


def _cells(result: Row) -> list[str]:
    return list(dict.fromkeys(row["cell"] for row in result["results"]))


def _tasks(result: Row) -> list[Row]:
    there = {row["task"] for row in result["results"]}
    return [task for task in result["tasks"] if task["name"] in there]


def _order(result: Row) -> list[str]:
    """Return the cells by their mean place over the tasks they finished."""
    places: dict[str, list[float]] = {cell: [] for cell in _cells(result)}
    for task in _tasks(result):
        ours = {row["cell"]: row for row in result["results"] if row["task"] == task["name"]}
        best_first = sorted(ours, key=lambda cell: loss(task, ours[cell]))
        for place, cell in enumerate(best_first):
            places[cell].append(place)
    return sorted(places, key=lambda cell: statistics.fmean(places[cell]))


def _draw_task(
    axes: Axes,
    task: Row,
    rows: Sequence[Row],
    rings: Mapping[str, Mapping[str, float] | None],
    cells: Sequence[str],
) -> None:
    ours = {row["cell"]: row for row in rows if row["task"] == task["name"]}
    is_share = task["metric"] == "accuracy"
    scale = 100 if is_share else 1
    best = min(ours.values(), key=lambda row: loss(task, row))["cell"]
    axes.set_title(task["title"].partition(":")[0], fontsize=10)
    metric = "% right" if is_share else task["metric"].replace("_", " ")
    axes.set_xlabel(metric + (", less is better" if task["better"] == "lower" else ""))
    _dress(axes)
    baselines = {
        name: scale * metrics[task["metric"]] for name, metrics in task["baselines"].items()
    }
    for name, value in baselines.items():
        axes.axvline(value, color="C1", linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        axes.annotate(
            name,
            (value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -1),
            textcoords="offset points",
            color="C1",
            fontsize=7.5,
            va="top",
        )
    shown: list[tuple[int, list[float], str, str]] = []
    for place, cell in enumerate(cells):
        if cell not in ours:
            continue
        if ours[cell]["test"] is None:
            axes.annotate(
                "ran away", (0.03, place), xycoords=("axes fraction", "data"), va="center"
            )
            continue
        values = [scale * each["test"][task["metric"]] for each in ours[cell]["seeds"]]
        color = "C0" if cell == best else "C2"
        axes.plot(values, [place] * len(values), color=color, linewidth=1.5, zorder=2)
        axes.plot([statistics.fmean(values)], [place], "o", color=color, markersize=6, zorder=3)
        mean = f"{statistics.fmean(values):.3g}"
        if (again := rings.get(cell)) is not None:
            values.append(scale * again[task["metric"]])
            (ring,) = axes.plot(values[-1:], [place], "o", color="C3", markersize=8, zorder=4)
            ring.set_markerfacecolor("none")
        shown.append((place, values, color, mean))
    if is_share:
        axes.set_xlim(-4, 118)
        axes.set_xticks([0, 50, 100])
    else:
        axes.margins(x=0.25)
    low, high = axes.get_xlim()
    for place, values, color, mean in shown:
        room = _LABEL * (high - low)
        crossed = any(0 < value - max(values) < room for value in baselines.values())
        crossed = crossed and min(values) - low > room
        _say(axes, min(values) if crossed else max(values), place, color, mean, left=crossed)


def _draw_cost(axes: Axes, title: str, values: Mapping[str, float]) -> None:
    axes.set_title(title, fontsize=10)
    _dress(axes)
    least = min(values, key=values.__getitem__)
    for place, (cell, value) in enumerate(values.items()):
        color = "C0" if cell == least else "C2"
        axes.barh(place, value, height=0.62, color=color, zorder=2)
        _say(axes, value, place, "C3", f"{value:,.0f}" if 1000 <= value < 1e9 else f"{value:,.3g}")
    axes.set_xlim(0, 1.18 * max(values.values()))


def _say(axes: Axes, beside: float, place: int, color: str, said: str, left: bool = False) -> None:
    axes.annotate(
        said,
        (beside, place),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        va="center",
        ha="right" if left else "left",
        fontsize=8,
        color="C3" if color == "C2" else color,
    )


def _dress(axes: Axes) -> None:
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
