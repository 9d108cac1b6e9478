"""The page of cells, as far as it follows from their docstrings and from what was measured.

`docs/guide/cells.md` has three parts of it, each between two comments: the cells beside each
other, what an LSTM loses by each of its gates, and a section for each cell.
`python tests/tables.py` writes them, `make printed` calls that.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cell_equations as equations
import recurra
from recurra.nn.cells import CELLS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FACTS = RESULTS / "campaign-cell_facts.json"
WORDS = RESULTS / "cells-words.json"
GATES = RESULTS / "gates.json"
Row = Mapping[str, Any]


def said_in(name: str, heading: str) -> str | None:
    """Return a section of a cell's docstring in one line; None where there is none."""
    said = inspect.cleandoc(CELLS[name].__doc__ or "")
    found = re.search(rf"^{heading}: (.+?)(?=\n\n|\Z)", said, re.M | re.S)
    return " ".join(found[1].split()) if found else None


def source(name: str) -> str:
    """Return who and when, of a cell's source."""
    found = re.match(r"[^\d]*\d{4}", said_in(name, "Source") or "")
    assert found, f"{name}: its docstring names no Source with a year"
    return found[0]


def kernel(name: str) -> str:
    """Return what runs a cell over whole sequences on this machine."""
    planned = recurra.plan(CELLS[name](8, 8)).partition(": ")[2]
    return planned.removesuffix(", whole sequences at once")


def section(name: str, facts: Row | None, words: Row | None) -> str:
    """Return what the page says of one cell.

    Args:
        name: of the cell.
        facts: found by the campaign; None before it ran.
        words: the comparison on words.
    """
    shapes = said_in(name, "Shapes") or ""
    of_state, _, parameters = shapes.partition("; ")
    state = of_state.partition("state ")[2].partition(", output")[0]
    counted = f"; {facts['parameters']:,} of 64 inputs and 64 units" if facts else ""
    carried = f"; {facts['state_numbers']:,} numbers a row at 64 units" if facts else ""
    lines = [
        f"**Class**: `rc.{CELLS[name].__name__}`",
        f"**Parameters**: {parameters.rstrip('.')}{counted}",
        f"**State**: {state}{carried}",
        f"**Source**: {said_in(name, 'Source')}",
    ]
    if differs := said_in(name, "Differs"):
        lines.append(f"**Differs**: {differs}")
    lines.append(f"**Runs by**, on a CPU: {kernel(name)}")
    if facts:
        lines += found_by_running(facts)
    lines += on_words(name, words)
    points = "\n".join(f"* {line}" for line in lines)
    return f"### {name}\n\n{equations.described(CELLS[name].__doc__ or '')}\n\n{points}\n"


def found_by_running(facts: Row) -> list[str]:
    """Return what was found of a cell by running it."""
    off = facts["streams"]
    power = f"{off:.0e}".replace("e-0", "e-")
    streams = f"off by {power} of the largest at most, in float32" if off else "to the bit"
    said = [f"**Streams**: one step at a time gives the numbers of whole sequences, {streams}"]
    graph = facts["compile"]
    whole = "in one graph, `fullgraph=True`" if graph == "ok" else f"no, {graph}"
    said.append(f"**`torch.compile`**: {whole}")
    export = facts["export"]
    taken = "yes, of any batch and length" if export == "ok" else f"no, {export}"
    said.append(f"**`torch.export`**: {taken}")
    return said


def on_words(name: str, words: Row | None) -> list[str]:
    """Return what a cell reaches on words, at equal steps and at equal seconds."""
    if words is None:
        return []
    found = {}
    for how, rows in (("steps", words["results"]), ("seconds", words["equal_seconds"])):
        found[how] = next((row for row in rows if row["cell"] == name), None)
    if found["steps"] is None:
        return []
    said = f"**Words**: perplexity {figure(found['steps'])} after {found['steps']['steps']:,} steps"
    if found["seconds"]:
        steps = found["seconds"]["steps"]
        said += f"; {figure(found['seconds'])} at equal seconds, which were {steps:,} steps"
    return [said]


def figure(row: Row | None) -> str:
    """Return a perplexity and its deviation over seeds."""
    if row is None:
        return ""
    if row["test"] is None:
        return "ran away"
    about = f" ± {row['deviation']['perplexity']:.1f}" if row["deviation"] else ""
    return f"{row['test']['perplexity']:.1f}{about}"


def compared(words: Row) -> str:
    """Return the cells beside each other, the best at equal parameters first."""
    task = words["tasks"][0]
    again = {row["cell"]: row for row in words["equal_seconds"]}
    sizes = [row["parameters"] for row in words["results"]]
    lines = ["| cell | from | perplexity | at equal seconds |", "|---|---|---|---|"]

    def loss(row: Row) -> float:
        return row["test"]["perplexity"] if row["test"] else float("inf")

    for row in sorted(words["results"], key=loss):
        name = row["cell"]
        both = f"{figure(row)} | {figure(again.get(name))}"
        lines.append(f"| [`{name}`](#{name}) | {source(name)} | {both} |")
    rival = task["baselines"]["kn5"]["perplexity"]
    lines.append(f"| 5-grams, Kneser-Ney | no network | {rival:.1f} | |")
    seconds = task["equal_seconds"]
    told = (
        f"Perplexity of a test, less is better: {task['title']}. Every network has "
        f"{min(sizes):,} to {max(sizes):,} parameters, two layers of the cell, and "
        f"{task['steps']:,} steps of {task['batch_size']} x {task['length']} words"
        + (f"; at equal seconds, about {seconds:.0f} for a training" if seconds else "")
        + f". Learning rates are by validation; mean and deviation of {words['seeds']} seeds. "
        f"{where(words)} So short a training tells who learns quickly, not who is best in the end."
    )
    return "\n".join([*lines, "", told])


def where(record: Row) -> str:
    """Return on what a record was made, when, and beside what."""
    machine = record["machine"]
    beside = f"; {record['beside']}" if record.get("beside") else ""
    made = f"{machine['cores']} cores of an {machine['processor']}, torch {machine['torch']}"
    return f"{made}, {machine['date']}{beside}."


def of_gates(gates: Row) -> str:
    """Return what the LSTM loses by each of its gates, in the words of the comparison."""
    task = gates["task"]
    said = "\n".join(f"* {line[:1].upper()}{line[1:]}." for line in gates["verdict"])
    told = (
        f"{task['title'][:1].upper()}{task['title'][1:]}; {gates['steps']:,} steps of "
        f"{task['batch_size']} x {task['length']} words, {gates['seeds']} seeds, the same learning "
        f"rate for all, the weights after the last step. {where(gates)}"
    )
    return f"{said}\n\n{told}"


def read(path: Path) -> Row | None:
    """Return a record of a measurement; None where there is none yet."""
    return json.loads(path.read_text()) if path.exists() else None


def parts() -> dict[str, str]:
    """Return the parts of the page, by their names."""
    facts, words, gates = read(FACTS), read(WORDS), read(GATES)
    of_cells = facts["cells"] if facts else {}
    each = [section(name, of_cells.get(name), words) for name in CELLS]
    return {
        "compared": compared(words) if words else "",
        "gates": of_gates(gates) if gates else "",
        "each": "\n".join(each),
    }


def with_parts(page: str) -> str:
    """Return a page in which all parts stand as they should.

    Args:
        page: of cells.
    """
    for name, text in parts().items():
        begin, end = f"<!-- {name}: written by make printed -->", f"<!-- end of {name} -->"
        assert page.count(begin) == page.count(end) == 1, f"the page lacks {begin} or {end}"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{text.strip()}\n{end}{rest.partition(end)[2]}"
    return page
