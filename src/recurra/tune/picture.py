"""A sweep in one picture: validation by the numbers that were tried, or a line for each setting."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recurra.run.figures import in_picture, words
from recurra.run.names import label, short
from recurra.tune.result import FAR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "size"]

Row = Mapping[str, Any]

_COLORS = ("C0", "C1", "C4", "C5", "C6", "C3", "C2", "C7")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))
_FAR = 4.0
"""Times the best beyond which a figure would flatten the rest, and is left out above."""


def size(result: Row) -> tuple[float, float]:
    """Return the inches that the picture wants, wide and high.

    Args:
        result: as `recurra.tune.result.compose` returns it.
    """
    if _numbers(result) is not None:
        return 9.0, 5.0
    return 9.0, 1.6 + 0.3 * len(result["rows"])


def draw(figure: Figure, result: Row) -> None:
    """Draw what validation says, the test where there is no validation; seeds are dots.

    Args:
        figure: an empty one.
        result: with at least one finished run.
    """
    split = "valid" if any(row["valid"] for row in result["rows"]) else "test"
    metric = words(result["judged"]["metric"])
    axes = figure.subplots()
    said = "Validation" if split == "valid" else "Test"
    seeds = len(result["seeds"])
    dots = f", mean of {seeds} seeds" if seeds > 1 else ""
    axes.set_title(f"{said} {metric}{dots}", pad=12, fontsize=12)
    name = _numbers(result)
    if name is None:
        _draw_rows(axes, result, split, metric)
    else:
        _draw_lines(axes, result, split, name)
        axes.set_ylabel(metric)
        _limit(axes, result, split)
    _draw_baselines(axes, result, split, across=name is not None)


def _numbers(result: Row) -> str | None:
    """Return the setting whose values are an axis of numbers: the one with the most."""
    found = [
        (len(values), name)
        for name, values in result["settings"].items()
        if all(type(value) in (int, float) for value in values)
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _values(row: Row, split: str) -> list[float]:
    """Return the figures of a setting's seeds, but for those that an axis cannot reach."""
    told = (run.get(split) for run in row["runs"] if run["state"] == "finished")
    return [value for value in told if value is not None and abs(value) < FAR]


def _draw_lines(axes: Axes, result: Row, split: str, name: str) -> None:
    groups: dict[str, list[Row]] = {}
    for row in result["rows"]:
        rest = {key: value for key, value in row["settings"].items() if key != name}
        groups.setdefault(label(rest), []).append(row)
    numbers = [row["settings"][name] for row in result["rows"]]
    if min(numbers) > 0 and max(numbers) >= 4 * min(numbers):
        axes.set_xscale("log")
        axes.set_xticks(sorted(set(numbers)), [f"{each:g}" for each in sorted(set(numbers))])
        axes.minorticks_off()
    axes.set_xlabel(words(short([*result["settings"]])[name]))
    for place, (called, rows) in enumerate(groups.items()):
        color = _COLORS[place % len(_COLORS)]
        style = _DASHES[place // len(_COLORS) % len(_DASHES)]
        known = sorted(
            (row["settings"][name], values) for row in rows if (values := _values(row, split))
        )
        lost = [row["settings"][name] for row in rows if not _values(row, split)]
        top = axes.get_xaxis_transform()  # a cross for what failed or ran away
        axes.plot(lost, [0.98] * len(lost), "x", color=color, transform=top, clip_on=False)
        if not known:
            axes.plot([], [], color=color, linestyle=style, label=f"{called}: none finished")
            continue
        means = [statistics.fmean(values) for _, values in known]
        x = [number for number, _ in known]
        axes.plot(x, means, color=color, linestyle=style, linewidth=1.8, marker="o", label=called)
        for number, values in known:
            axes.plot([number] * len(values), values, ".", color=color, markersize=4, alpha=0.5)
    if len(groups) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)


def _limit(axes: Axes, result: Row, split: str) -> None:
    """Leave out of sight what ran far away, where less is better and the rest would lie flat."""
    every = [value for row in result["rows"] for value in _values(row, split)]
    best = min(every, default=0.0)
    if result["judged"]["better"] == "lower" and 0 < _FAR * best < max(every):
        axes.set_ylim(0.8 * best, _FAR * best)


def _draw_rows(axes: Axes, result: Row, split: str, metric: str) -> None:
    axes.set_xlabel(metric)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    names = [label(row["settings"]) or result["preset"] for row in result["rows"]]
    for place, row in enumerate(result["rows"]):
        values = _values(row, split)
        if not values:
            states = {run["state"] for run in row["runs"]}
            said = "failed" if "failed" in states else "ran away"
            at = axes.get_yaxis_transform()
            axes.annotate(said, (0.02, place), xycoords=at, va="center", fontsize=9)
            continue
        color = "C0" if row["best"] else "C2"
        mean = statistics.fmean(values)
        axes.plot(values, [place] * len(values), color=color, linewidth=1.5, zorder=2)
        axes.plot(values, [place] * len(values), ".", color=color, zorder=2)
        axes.plot([mean], [place], "o", color=color, markersize=6, zorder=3)
        axes.annotate(
            in_picture(mean),
            (max(values), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.margins(x=0.2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _draw_baselines(axes: Axes, result: Row, split: str, *, across: bool) -> None:
    """Draw the best baseline, dashed, where it is near enough to be seen beside."""
    known = {n: told[split] for n, told in result["baselines"].items() if told[split] is not None}
    if not known:
        return
    choose: Any = min if result["judged"]["better"] == "lower" else max
    name = choose(known, key=known.__getitem__)
    every: Sequence[float] = [v for row in result["rows"] for v in _values(row, split)]
    if not every or not min(every) / _FAR < known[name] < max(every) * _FAR:
        return
    line = axes.axhline if across else axes.axvline
    line(known[name], color="C1", linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    at = (0.01, known[name]) if across else (known[name], 1.0)
    axes.annotate(
        f"{name} {in_picture(known[name])}",
        at,
        xycoords=axes.get_yaxis_transform() if across else axes.get_xaxis_transform(),
        xytext=(0, 3) if across else (3, -2),
        textcoords="offset points",
        va="bottom" if across else "top",
        color="C1",
        fontsize=9,
    )
