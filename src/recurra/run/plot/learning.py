"""How training and validation went, over the passes through the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recurra.run.figures import in_picture, validated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "panels"]

Records = Sequence[Mapping[str, Any]]
Points = list[tuple[float, float]]

MOST_NATS = 230.0
"""Perplexities are drawn up to 1e100: the axis has to reach beyond them."""

_POINTS = 200


def panels(records: Records, metric: str, loss: str | None = None) -> int:
    """Return how many panels `draw` makes: perplexity and loss share one, other metrics do not.

    Args:
        records: the run's metrics, in order.
        metric: what the run is judged by.
        loss: the name of one's own that was descended, which has a panel to itself.
    """
    return (
        1
        if (metric in ("perplexity", "loss") and loss is None) or not validated(records, metric)
        else 2
    )


def draw(
    figure: Figure,
    records: Records,
    title: str,
    metric: str,
    baseline: tuple[str, float] | None,
    loss: str | None = None,
) -> None:
    """Draw the loss, and below it the metric that is judged; perplexity stands for both.

    A loss of one's own is drawn for itself, by its name.

    Args:
        figure: an empty one.
        records: the run's metrics, in order.
        title: what stands above.
        metric: what the run is judged by.
        baseline: a name and its value of that metric on validation, drawn as a line.
        loss: the name of one's own that was descended.
    """
    from matplotlib.ticker import MaxNLocator

    in_perplexity = metric == "perplexity" and loss is None
    count = panels(records, metric, loss)
    axes = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    axes[0].set_title(title, pad=12, fontsize=12)
    _draw_loss(axes[0], records, "perplexity" if in_perplexity else "loss", loss)
    if count == 2:
        _draw_valid(axes[1], records, metric)
        axes[1].set_ylabel(metric.replace("_", " "))
        axes[1].margins(y=0.15)
        beside = [] if baseline is None else [baseline[1]]
        _by_powers(axes[1], [value for _, value in validated(records, metric)] + beside)
    if baseline is not None and (in_perplexity or count == 2):
        name, value = baseline
        axes[-1].axhline(
            value,
            color="C1",
            linewidth=1.4,
            linestyle=(0, (5, 3)),
            label=f"{name} on validation, {in_picture(value)}",
        )
    for each in axes:
        if each.get_legend_handles_labels()[0]:
            each.legend()
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    axes[-1].set_xlim(left=0)


def _draw_loss(axes: Axes, records: Records, name: str, own: str | None) -> None:
    train = _averaged([r for r in records if r.get("loss") is not None], name)
    valid = [] if own else validated(records, name)
    axes.set_ylabel(f"{name} ({own})" if own else name)
    _by_powers(axes, [value for _, value in train + valid])
    axes.plot(*_columns(train), color="C2", linewidth=1.6, label="training")
    if valid:
        _draw_valid(axes, records, name)


def _by_powers(axes: Axes, values: Sequence[float]) -> None:
    """Have an axis of powers where the least would lie flat at 0, and the eye could not tell it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    # a narrow log axis has few ticks, or none
    if not values or not 0 < 8 * min(values) < max(values):
        return
    axes.set_yscale("log")
    wide = max(values) > 1000 * min(values)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_valid(axes: Axes, records: Records, name: str) -> None:
    valid = validated(records, name)
    axes.plot(
        *_columns(valid),
        color="C0",
        linewidth=2,
        marker="o",
        markersize=5 if len(valid) < 40 else 2.5,
        label=f"validation, {in_picture(valid[-1][1])} at last",
    )


def _averaged(steps: Records, name: str = "perplexity") -> Points:
    """Return at most `_POINTS` (epoch, value): the mean loss of equally many steps each."""
    span = max(1, math.ceil(len(steps) / _POINTS))
    points = []
    for start in range(0, len(steps), span):
        part = steps[start : start + span]
        mean = sum(step["loss"] for step in part) / len(part)
        value = math.exp(min(mean, MOST_NATS)) if name == "perplexity" else mean
        points.append((part[-1]["epoch"], value))
    return points


def _columns(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
