"""What a comparison of cells says, in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["loss", "medians", "ranks", "score", "shown", "too_short", "verdict"]

Row = Mapping[str, Any]

SHORT = 0.1
"""Share of the full budget of steps below which nothing is told of who is best."""


def verdict(tasks: Sequence[Row], rows: Sequence[Row], again: Sequence[Row] = ()) -> list[str]:
    """Return a line for each task, and one for all; the same at equal seconds where that differs.

    Cells whose distance from the best is within the spread over seeds of both are its equals.

    Args:
        tasks: of the result.
        rows: its results.
        again: its results at equal seconds.

    Example:
        >>> task = {"name": "adding", "title": "adding problem: two of 50", "metric": "accuracy",
        ...     "better": "higher", "baselines": {"always 1": {"accuracy": 0.08}}}
        >>> rows = [{"cell": cell, "task": "adding", "test": {"accuracy": share},
        ...     "deviation": None, "seconds_per_step": 0.01, "kept_bytes": 1,
        ...     "one_step_microseconds": 1.0} for cell, share in (("a", 0.9), ("b", 0.07))]
        >>> verdict([task], rows)[0]
        'adding problem: a is best (90.0%, one seed); b does no better than always 1 (8.0%)'
    """
    lines = []
    for task in tasks:
        ours = [row for row in rows if row["task"] == task["name"]]
        if ours:
            lines.append(_of_task(task, ours))
    lines.extend(_of_ranks(tasks, rows, ""))
    told = [task for task in tasks if not too_short(task)]
    lines.extend(_of_orders(told, rows, again))
    lines.extend(_of_ranks(tasks, again, " at equal seconds"))
    lines.extend(_of_rates(rows))
    if len({row["cell"] for row in rows}) > 1:
        lines.append(_of_costs(rows))
    return lines


def too_short(task: Row) -> bool:
    """Return whether trainings were cut so much that they tell no cell from another.

    Args:
        task: of the result.

    Example:
        >>> too_short({"steps": 5, "full_steps": 3000}), too_short({"steps": 1369})
        (True, False)
    """
    full: float | None = task.get("full_steps")  # earlier results do not have it
    return full is not None and float(task["steps"]) < SHORT * full


def score(task: Row, metrics: Mapping[str, float] | None) -> float | None:
    """Return the metric by which a task judges; None where a training ran away.

    Args:
        task: of the result.
        metrics: of a row or a baseline.
    """
    return None if metrics is None else metrics.get(task["metric"])


def shown(task: Row, value: float | None) -> str:
    """Return a value of the task's metric as one reads it.

    Args:
        task: of the result.
        value: which.

    Example:
        >>> shown({"metric": "accuracy"}, 0.5), shown({"metric": "bits_per_char"}, 2.0)
        ('50.0%', '2.000')
        >>> shown({"metric": "perplexity"}, 104.25)
        '104.2'
        >>> shown({"metric": "accuracy"}, None)
        'ran away'
    """
    if value is None:
        return "ran away"
    if task["metric"] == "accuracy":
        return f"{value:.1%}"
    return f"{value:.1f}" if task["metric"] == "perplexity" else f"{value:.3f}"


def ranks(tasks: Sequence[Row], rows: Sequence[Row]) -> dict[str, float]:
    """Return the mean rank, from 1, of each cell that finished every task; equals share one.

    Args:
        tasks: of the result.
        rows: its results.
    """
    found: dict[str, list[float]] = {}
    for task in tasks:
        ours = [row for row in rows if row["task"] == task["name"]]
        keys = [loss(task, row) for row in ours]
        for row, key in zip(ours, keys):
            rank = 1 + sum(other < key for other in keys) + (keys.count(key) - 1) / 2
            found.setdefault(row["cell"], []).append(rank)
    return {cell: statistics.fmean(r) for cell, r in found.items() if len(r) == len(tasks)}


def loss(task: Row, row: Row) -> float:
    """Return a number that is lower for the better; infinite where a training ran away.

    Args:
        task: of the result.
        row: of it.
    """
    value = score(task, row["test"])
    if value is None:
        return float("inf")
    return value if task["better"] == "lower" else -value


def _of_rates(rows: Sequence[Row]) -> list[str]:
    """Return in how many cases the best rate is known to be the best."""
    if not rows or "edge" not in rows[0]:  # earlier results do not have it
        return []
    inside = sum(row["edge"] is None for row in rows)
    alike = sum(bool(row["as_good"]) for row in rows)
    said = f"the best rate is inside those tried in {inside} of {len(rows)} cases"
    return [said + (f", and not told from the next one in {alike}" if alike else "")]


def _of_ranks(tasks: Sequence[Row], rows: Sequence[Row], how: str) -> list[str]:
    complete = ranks(tasks, rows)
    if len(complete) < 2 or len(tasks) < 2 or any(map(too_short, tasks)):
        return []
    order = sorted(complete, key=complete.__getitem__)
    said = ", ".join(f"{cell} {complete[cell]:.1f}" for cell in order)
    return [f"mean rank over {len(tasks)} tasks{how}: {said}"]


def _of_orders(tasks: Sequence[Row], rows: Sequence[Row], again: Sequence[Row]) -> list[str]:
    """Return both orders of each task where they differ, best first, and where they do not."""
    lines, same = [], []
    for task in tasks:
        steps, seconds = (
            sorted((r for r in each if r["task"] == task["name"]), key=lambda r: loss(task, r))
            for each in (rows, again)
        )
        if not seconds:
            continue
        title = task["title"].partition(":")[0]
        # rows keep their places where figures are equal, so that ties differ in no order
        names = [[row["cell"] for row in each] for each in (steps, seconds)]
        if names[0] == names[1]:
            same.append(title)
            continue
        equals = _equals(task, seconds)
        alike = f" ({_and([names[1][0], *equals])} as good)" if equals else ""
        said = f"{title}: at equal seconds {', '.join(names[1])}{alike}"
        lines.append(f"{said}; at equal steps {', '.join(names[0])}")
    if same:
        lines.append(f"the order is the same at equal seconds: {', '.join(same)}")
    return lines


def _equals(task: Row, ordered: Sequence[Row]) -> list[str]:
    """Return the cells that are as good as the best, of rows that are in order."""
    best, *others = ordered
    return [
        row["cell"]
        for row in others
        if loss(task, row) - loss(task, best) <= _spread(task, row) + _spread(task, best)
    ]


def _spread(task: Row, row: Row) -> float:
    return score(task, row["deviation"]) or 0.0


def _of_task(task: Row, rows: Sequence[Row]) -> str:
    ordered = sorted(rows, key=lambda row: loss(task, row))
    best = ordered[0]
    title = task["title"].partition(":")[0]
    if too_short(task):
        return (
            f"{title}: too short to tell, after {task['steps']:,} of {task['full_steps']:,} steps"
        )
    value = score(task, best["test"])
    if value is None:
        return f"{title}: every training ran away"
    equals = _equals(task, ordered)
    said = f"{title}: {best['cell']} is best ({shown(task, value)}"
    if (deviation := score(task, best["deviation"])) is not None:
        said += f" \u00b1 {shown(task, deviation)}"
    said += ")" if deviation is not None else ", one seed)"
    if equals:
        spread = "" if deviation is None else " within the spread of seeds"
        said += f", {_and(equals)} as good{spread}"
    for name, metrics in task["baselines"].items():
        rival = score(task, metrics)
        if rival is None:
            continue
        limit = rival if task["better"] == "lower" else -rival
        behind = [row["cell"] for row in ordered if loss(task, row) >= limit]
        if behind:
            who = "none is" if len(behind) == len(ordered) else f"{_and(behind)} {_do(behind)}"
            better = "better than" if len(behind) == len(ordered) else "no better than"
            said += f"; {who} {better} {name} ({shown(task, rival)})"
        else:
            said += f"; all beat {name} ({shown(task, rival)})"
    return said


def _do(names: Sequence[str]) -> str:
    return "does" if len(names) == 1 else "do"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def medians(rows: Sequence[Row], key: str, scale: float = 1.0) -> dict[str, float]:
    """Return the median of a cost over the tasks, for each cell.

    Args:
        rows: of the result.
        key: which cost.
        scale: what each is multiplied by.
    """
    costs: dict[str, list[float]] = {}
    for row in rows:
        costs.setdefault(row["cell"], []).append(scale * row[key])
    return {cell: statistics.median(each) for cell, each in costs.items()}


def _of_costs(rows: Sequence[Row]) -> str:
    """Return who is quickest to learn, quickest at one step, and keeps least; by medians."""

    def least(key: str) -> str:
        costs = medians(rows, key)
        return min(costs, key=costs.__getitem__)

    return (
        f"{least('seconds_per_step')} takes the shortest training step, "
        f"{least('one_step_microseconds')} the shortest single step, "
        f"{least('kept_bytes')} keeps least for the backward pass"
    )
