"""Figures as one reads them: with their places, in a table of systems and metrics."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from recurra.learning.metric import Metric, Metrics
from recurra.run.tasks import TASKS, metric_of

__all__ = ["figure", "in_picture", "shown", "spread", "table", "times", "validated", "words"]


_ENDLESS, _SHORTEST = 100_000, 8
"""Characters of a line where nothing limits it, and of a name at the least."""
_LONG = 1e12
"""From here on a number is told by its power of ten."""


def laid_out(
    rows: Sequence[Sequence[str]], columns: int | None = None, least: Sequence[int] = ()
) -> list[str]:
    """Return the lines of a table, the heading first: names at the left, figures at the right.

    Of what is wider than there is room for the last columns are left out, and named below.

    Args:
        rows: cells, the same number in each.
        columns: of characters that there is room for; as many as it takes.
        least: the least width of each column.

    Example:
        >>> rows = [["", "MASE", "sMAPE"], ["mine", "0.983", "12.1"]]
        >>> for line in laid_out(rows, 14):
        ...     print(line)
               MASE
        mine  0.983
        not shown:
          sMAPE
    """
    room = columns or _ENDLESS
    given = [*least, *(0 for _ in rows[0])]
    first, *widths = (
        max(wide, *map(len, cells)) for wide, cells in zip(given, zip(*rows, strict=True))
    )
    first = min(first, max(room - 2 - widths[0], _SHORTEST))
    shown, left = 0, room - first
    while shown < len(widths) and (widths[shown] + 2 <= left or not shown):
        left -= widths[shown] + 2
        shown += 1
    lines = []
    for name, *cells in rows:
        figures = (f"  {cell:>{width}}" for cell, width in zip(cells[:shown], widths))
        lines.append(f"{_cut(name, first):{first}}{''.join(figures)}".rstrip())
    lost = [name.strip() for name in rows[0][1 + shown :] if name.strip()]
    if not lost:
        return lines
    return [*lines, *textwrap.wrap(f"not shown: {', '.join(lost)}", room, subsequent_indent="  ")]


def _cut(name: str, width: int) -> str:
    """Return a name that fits: of a path the end says more than the beginning."""
    return name if len(name) <= width else f"\u2026{name[1 - width :]}"


def table(
    task: str,
    metric: str,
    split: str,
    systems: Sequence[tuple[str, Metrics]],
    columns: int | None = None,
) -> list[str]:
    """Return the lines of a table: a system a row, the metric that is judged first.

    Args:
        task: which chooses the other metrics.
        metric: the one that is judged.
        split: what was measured, for the heading; may be empty.
        systems: a name and its metrics each.
        columns: of characters that there is room for; as many as it takes.

    Example:
        >>> rows = [("mine", {"accuracy": 0.98, "log_loss": 0.07}), ("linear", {"accuracy": 0.95})]
        >>> print("\\n".join(table("labels", "accuracy", "test", rows)))
                test accuracy  log loss
        mine            0.980    0.0700
        linear          0.950         -
    """
    declared: Sequence[Metric] = TASKS[task].metrics if task in TASKS.places else ()
    least = {
        each.name: each.column
        for each in declared
        if each.column is not None and each.beside in (None, metric)
    }
    names = [name for name in least if any(_known(name, row) for _, row in systems)]
    names = list(dict.fromkeys([metric, *names]))
    titles = [f"{split} {_title(metric)}".strip(), *map(_title, names[1:])]
    rows = [[name, *(_cell(each, metrics) for each in names)] for name, metrics in systems]
    return laid_out([["", *titles], *rows], columns, [0, *(least.get(name, 0) for name in names)])


def _known(name: str, metrics: Metrics) -> bool:
    return metrics.get("perplexity_high" if name == "interval" else name) is not None


def _cell(name: str, metrics: Metrics) -> str:
    if name != "interval":
        return shown(name, metrics.get(name))
    if not _known(name, metrics):
        return "-"
    return " - ".join(figure(metrics.get(f"perplexity_{bound}")) for bound in ("low", "high"))


def shown(metric: str, value: float | int | None) -> str:
    """Return a metric's value with the places one reads.

    Args:
        metric: its name, as in the report's entries.
        value: its value; None where it could not be computed.

    Example:
        >>> [shown("mase", value) for value in (1.1934, 0.00142, 1234.5, None)]
        ['1.193', '0.00142', '1,234.5', '-']
        >>> shown("perplexity", 141.23), shown("examples", 1500), shown("log_loss", 0.5)
        ('141.2', '1,500', '0.5000')
    """
    known = metric_of(metric)
    if metric == "perplexity":
        return figure(value)
    if value is None:
        return "overflow" if known.overflows else "-"
    if isinstance(value, int):
        return f"{value:,}"
    if known.places is not None:
        return figure(value, known.places)
    if known.share or 0.1 <= abs(value) < 100 or value == 0:
        return f"{value:.3f}"
    return f"{value:,.1f}" if 100 <= abs(value) < 1e9 else f"{value:#.3g}"


def figure(value: float | int | None, places: int | None = None) -> str:
    """Return a number with as many places as one reads: two below 100, one above.

    Args:
        value: the number; None is one too large for a float.
        places: digits after the point, in place of that rule.

    Example:
        >>> figure(7.123), figure(141.23), figure(1e276), figure(None)
        ('7.12', '141.2', '1.00e+276', 'overflow')
    """
    if value is None or not math.isfinite(value):
        return "overflow"
    if abs(value) >= _LONG:
        return f"{value:.2e}"
    return f"{value:,.{places or (2 if value < 100 else 1)}f}"


def times(ratio: float) -> str:
    """Return how many times as much something is, in words; for what percent would hide.

    Args:
        ratio: of the two.

    Example:
        >>> times(8.554), times(2.0), times(141.2), times(1.4e9)
        ('8.6 times', '2.0 times', '141 times', '1.40e+09 times')
    """
    return f"{ratio:.2e} times" if ratio >= 1e6 else f"{ratio:,.{0 if ratio >= 100 else 1}f} times"


def spread(deviation: float) -> str:
    """Return a standard deviation with two digits.

    Args:
        deviation: not negative.

    Example:
        >>> spread(0.4321), spread(0.0123), spread(1234.0)
        ('0.43', '0.012', '1,234')
    """
    if deviation >= _LONG:
        return f"{deviation:.2e}"
    return f"{deviation:,.0f}" if deviation >= 10 else f"{deviation:#.2g}"


def in_picture(value: float) -> str:
    """Return a number as it stands in a picture.

    Args:
        value: the number.

    Example:
        >>> in_picture(1234.56), in_picture(0.98765)
        ('1,234.6', '0.9877')
    """
    return f"{value:,.1f}" if 10 <= abs(value) < _LONG else f"{value:.4g}"


def validated(records: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[float, float]]:
    """Return the epoch and the figure of every validation that has one.

    Args:
        records: the run's metrics, in order.
        metric: which.

    Example:
        >>> validated([{"epoch": 1.0, "loss": 2.0}, {"epoch": 1.0, "valid": {"mase": 0.9}}], "mase")
        [(1.0, 0.9)]
    """
    return [
        (r["epoch"], r["valid"][metric])
        for r in records
        if r.get("valid") and r["valid"].get(metric) is not None
    ]


def words(metric: str) -> str:
    """Return a metric's name as words.

    Args:
        metric: its name, as in the report's entries.

    Example:
        >>> words("log_loss")
        'log loss'
    """
    return metric.replace("_", " ")


def _title(metric: str) -> str:
    return metric_of(metric).title or words(metric)
