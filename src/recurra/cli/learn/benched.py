"""A comparison of cells as text: tables, how it was done, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recurra.cli.console import folded, width

__all__ = ["lines"]

Row = Mapping[str, Any]

_WIDTH = 100


def lines(result: Row) -> Iterator[str]:
    """Yield the lines of a result, a table for each task, then what it comes to.

    Args:
        result: of `compare_cells`.
    """
    if not result["finished"]:
        yield f"{'Time ran out' if result['out_of_time'] else 'Not finished'}; what is complete:"
    for task in result["tasks"]:
        ours = [row for row in result["results"] if row["task"] == task["name"]]
        if ours:
            yield from _table(task, ours)
            yield from _rates(ours)
            yield ""
            again = [row for row in result["equal_seconds"] if row["task"] == task["name"]]
            if again:
                yield from _equal(task, again)
                yield ""
    if not result["results"]:
        yield "Nothing is complete."
        return
    yield from _notes(result)
    for said in result["verdict"]:
        yield from folded(said, indent=2, most=_WIDTH)


def _notes(result: Row) -> Iterator[str]:
    """Yield how it was done, and which kernel ran each cell."""
    threads = f"{result['threads']} {'thread' if result['threads'] == 1 else 'threads'}"
    right: dict[str, list[str]] = {}
    for task in result["tasks"]:
        if task["metric"] == "accuracy" and task["right"]:
            right.setdefault(task["right"], []).append(task["title"].partition(":")[0])
    shares = "; ".join(f"of {what} ({', '.join(names)})" for what, names in right.items())
    for said in (
        *([f"accuracy: the share {shares}."] if shares else []),
        f"{result['network']}; {result['optimizer']}, the best rate by validation of "
        f"{', '.join(f'{rate:g}' for rate in result['learning_rates'])} and of further ones "
        f"where it stood at an end; {_spread(result)}. Every cell starts as its class says.",
        *_untold(result),
        "state: numbers that a stream carries, in all layers; seconds: of a training on one "
        f"thread; ms: forward and backward of a batch on {threads}; one us: a single step of one "
        "sequence; MB: tensors kept from the forward to the backward pass, kernels' scratch not "
        "counted.",
    ):
        yield from folded(said, indent=2, most=_WIDTH)
    yield ""
    kernels = dict.fromkeys((row["cell"], row["kernel"]) for row in result["results"])
    wide = max(len(cell) for cell, _ in kernels)
    for cell, kernel in kernels:
        yield from folded(f"{cell:{wide}}  {kernel}", indent=wide + 2, most=_WIDTH)
    yield ""


def _spread(result: Row) -> str:
    count = result["seeds"]
    return f"mean and deviation of {count} seeds" if count > 1 else "one seed"


def _untold(result: Row) -> Iterator[str]:
    """Yield which tasks have no second table, and what the second one depends on."""
    there = {row["task"] for row in result["equal_seconds"]}
    titles = [t["title"].partition(":")[0] for t in result["tasks"] if t["name"] not in there]
    if there:
        yield (
            "At equal seconds: at the same rate, for as many steps as take as long as the median "
            "cell's above; these numbers follow from times, and are not the same again."
        )
    if titles and len(result["cells"]) > 1 and result["finished"]:
        yield f"No time was left for a table at equal seconds: {', '.join(titles)}."


def _rates(rows: list[Row]) -> Iterator[str]:
    """Yield whose best rate is not inside those that were tried, or not told from the next."""
    edges = [f"{r['cell']} at {r['learning_rate']:g}, {r['edge']}" for r in rows if r["edge"]]
    if edges:
        said = f"at the edge of the rates that were tried: {'; '.join(edges)}"
        yield from folded(said, indent=2, most=_WIDTH)
    alike = [f"{r['cell']} {_and(r['as_good'])}" for r in rows if r["as_good"]]
    if alike:
        yield from folded(f"as good at another rate: {'; '.join(alike)}", indent=2, most=_WIDTH)


def _and(rates: list[float]) -> str:
    return " and ".join(f"{rate:g}" for rate in rates)


def _equal(task: Row, rows: list[Row]) -> Iterator[str]:
    from recurra.run.figures import laid_out

    title = task["title"].partition(":")[0]
    title = f"{title} at equal seconds, about {task['equal_seconds']:.3g} for a training"
    yield from folded(title, indent=2, most=_WIDTH)
    table = [["", _metric(task), "rate", "seconds", "steps", "loss"]]
    for row in _ordered(task, rows):
        figure, loss = _judged(task, row)
        steps = f"{row['steps']:,}"
        table.append([row["cell"], figure, _rate(row), _seconds(row), steps, loss])
    yield from laid_out(table, width())


def _metric(task: Row) -> str:
    return str(task["metric"]).replace("bits_per_char", "bits/char")


def _ordered(task: Row, rows: list[Row]) -> list[Row]:
    """Return the rows, the best first, then those that ran away."""
    from recurra.bench.verdict import loss

    return sorted(rows, key=lambda row: loss(task, row))


def _rate(row: Row) -> str:
    return f"{row['learning_rate']:g}"


def _seconds(row: Row) -> str:
    seconds = row["train_seconds"]
    return "-" if seconds is None else f"{seconds:.1f}"


def _table(task: Row, rows: list[Row]) -> Iterator[str]:
    from recurra.bench.verdict import shown
    from recurra.run.figures import laid_out

    title = f"{task['title']}; {task['steps']:,} steps of {task['batch_size']} x {task['length']}"
    yield from folded(title, indent=2, most=_WIDTH)
    heads = ["rate", "params", "state", "seconds", "steps", "loss"]
    heads += ["width", "ms", "one us", "MB"]
    table = [["", _metric(task), *heads]]
    table += [_cells(task, row) for row in _ordered(task, rows)]
    for name, metrics in task["baselines"].items():
        loss = f"{metrics['loss']:.4f}" if "loss" in metrics else "-"
        figures = [shown(task, metrics[task["metric"]]), *[""] * 5, loss]
        table.append([name, *figures, *[""] * 4])
    yield from laid_out(table, width())


def _cells(task: Row, row: Row) -> list[str]:
    figure, loss = _judged(task, row)
    return [
        row["cell"],
        figure,
        _rate(row),
        f"{row['parameters']:,}",
        f"{row['state_numbers']:,}",
        _seconds(row),
        f"{row['steps']:,}",
        loss,
        "+".join(map(str, row["widths"])),
        f"{1e3 * row['seconds_per_step']:.1f}",
        f"{row['one_step_microseconds']:,.0f}",
        f"{row['kept_bytes'] / 1e6:.1f}",
    ]


def _judged(task: Row, row: Row) -> tuple[str, str]:
    from recurra.bench.verdict import shown

    test, deviation = row["test"], row["deviation"]
    about = f" \u00b1 {shown(task, deviation[task['metric']])}" if deviation else ""
    figure = shown(task, test and test[task["metric"]]) + about
    return figure, "-" if test is None else f"{test['loss']:.4f}"
