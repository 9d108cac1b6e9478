"""A comparison of an LSTM's gates as text: a table, how it was done, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recurra.cli.console import folded, width

__all__ = ["lines", "variant_of"]

Row = Mapping[str, Any]

_WIDTH = 100


def variant_of(cell: str) -> str:
    """Return the variant that a training is of, as one reads it.

    Args:
        cell: as its job is written.
    """
    from recurra.bench.gates.verdict import NAMES
    from recurra.nn.make import written

    return NAMES[written(cell)[1]["variant"]]


def lines(result: Row) -> Iterator[str]:
    """Yield the lines of a result.

    Args:
        result: of `compare_gates`.
    """
    if not result["finished"]:
        yield "Not finished; what is complete:"
    if not result["results"]:
        yield "Nothing is complete."
        return
    task = result["task"]
    title = f"{task['title']}; {result['steps']:,} steps of {task['batch_size']} x {task['length']}"
    yield from folded(title, indent=2, most=_WIDTH)
    yield from _table(result)
    yield ""
    count = result["seeds"]
    for said in (
        "perplexity of the test, less is better; more: than the whole LSTM has; params: of the "
        "network. Same width: the units of the whole LSTM, so that what lacks a gate has fewer "
        "parameters; same params: as many parameters as the whole one has, in more units.",
        f"{result['network']}; {result['optimizer']}, for all alike; the weights after the last "
        f"step: validation chooses nothing; "
        f"{f'mean and deviation of {count} seeds' if count > 1 else 'one seed'}.",
    ):
        yield from folded(said, indent=2, most=_WIDTH)
    yield ""
    for said in result["verdict"]:
        yield from folded(said, indent=2, most=_WIDTH)


def _table(result: Row) -> Iterator[str]:
    from recurra.bench.gates.verdict import NAMES
    from recurra.run.figures import laid_out

    rows = {(row["variant"], row["at"]): row for row in result["results"]}
    whole = rows.get(("whole", "width"))
    table = [["", "same width", "more", "params", "same params", "more", "width"]]
    for name in dict.fromkeys(name for name, _ in rows):
        same, equal = rows.get((name, "width")), rows.get((name, "parameters"))
        table.append(
            [
                NAMES[name],
                *_figures(same, whole),
                f"{same['parameters']:,}" if same else "-",
                *_figures(equal, whole),
                f"{equal['width']}" if equal else "",
            ]
        )
    for name, metrics in result["task"]["baselines"].items():
        table.append([name, f"{metrics['perplexity']:.1f}", *[""] * 5])
    yield from laid_out(table, width())


def _figures(row: Row | None, whole: Row | None) -> list[str]:
    if row is None:
        return ["", ""]
    if row["perplexity"] is None:
        return ["ran away", ""]
    about = f" \u00b1 {row['deviation']:.1f}" if row["deviation"] is not None else ""
    more = ""
    if whole is not None and whole["perplexity"] is not None and row is not whole:
        more = f"{row['perplexity'] / whole['perplexity'] - 1:+.1%}"
    return [f"{row['perplexity']:.1f}{about}", more]
