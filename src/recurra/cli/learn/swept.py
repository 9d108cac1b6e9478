"""Several runs as one command carries them out: what is said before, meanwhile and in the end."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from recurra.cli.console import folded, open_console, print_json, print_lines, width
from recurra.cli.interrupt import current
from recurra.cli.streams import log_to_stdout

if TYPE_CHECKING:
    from rich.console import Console

    from recurra.tune.grid import Grid
    from recurra.tune.sweep import Done, Event

__all__ = ["carry_out", "resume_command", "wanted_parameters"]

_LINE_SECONDS = 20.0
"""Without a word, after which it is said how far the runs are."""
_WIDTH = 100
_MOST_SAID = 12
"""Values of a setting that are named one by one."""


def wanted_parameters(text: str) -> int:
    """Return how many parameters are asked for.

    Args:
        text: as it was given.

    Raises:
        BadParameter: it is no such number.
    """
    from recurra.errors import ConfigError
    from recurra.learning.written import count_of

    try:
        return count_of(text)
    except ConfigError as error:
        raise typer.BadParameter(f"--parameters: {error}") from error


def resume_command() -> str:
    """Return the command that goes on with what was stopped."""
    words = [word for word in sys.argv[1:] if word != "--restart"]
    return shlex.join(["recurra", *words])


def carry_out(
    preset: str,
    request: Mapping[str, Any],
    out: Path,
    *,
    workers: int | None = None,
    restart: bool = False,
    allow_import: Iterable[str] = (),
    json: bool = False,
) -> None:
    """Carry out a sweep, or go on with it, and print its table.

    Args:
        preset: what every run begins as.
        request: the rest of `recurra.tune.grid.Request`.
        out: the folder.
        workers: processes side by side; one for each core.
        restart: discard what is there.
        allow_import: code of someone's own that a run to start from may name.
        json: print the result as one JSON object.
    """
    from recurra.errors import RunError
    from recurra.tune.grid import Request, grid
    from recurra.tune.sweep import Swept, sweep

    console = open_console(json=json)
    wanted = grid(Request(preset, **request))
    interrupt = current()
    interrupt.hint = f"to go on: {resume_command()}"
    result: dict[str, Any] = {}
    with log_to_stdout():
        told = _Told(console, wanted, out)
        for event in sweep(
            wanted,
            out,
            workers=workers,
            restart=restart,
            should_stop=interrupt,
            allow_import=allow_import,
        ):
            interrupt.patience = math.inf  # runs under way are saved
            told.show(event)
            if isinstance(event, Swept):
                result = event.result
                interrupt.patience = 0.0
    if json:
        print_json(result)
    else:
        _tell(result, out)
    if not result["finished"]:
        console.print(f"Stopped; all of it is saved. To go on:\n  {resume_command()}", markup=False)
        raise typer.Exit(interrupt.exit_code)
    states = {run["state"] for row in result["rows"] for run in row["runs"]}
    if states == {"failed"}:
        raise RunError(f"every run of {out} failed: {result['rows'][0]['runs'][0]['reason']}")


class _Told:
    """Says what a sweep consists of, and how it goes: a line for each run that ends."""

    def __init__(self, console: Console, grid: Grid, out: Path) -> None:
        self.console = console
        self.grid = grid
        self.out = out
        self._due = time.monotonic() + _LINE_SECONDS
        self._under_way: dict[str, str] = {}
        self._said: set[str] = set()

    def show(self, event: Event) -> None:
        """Say what has happened, if it is worth a line."""
        from recurra.tune.sweep import Begins, Done, Goes, Says

        match event:
            case Begins():
                self._begin(event.runs, event.finished, event.workers)
                if event.left:
                    self._say(f"left as they are, of an earlier sweep: {', '.join(event.left)}")
            case Goes():
                self._under_way[event.run] = f"{event.run} {event.step:,} of {event.steps:,} steps"
                if time.monotonic() >= self._due:
                    self._say("; ".join(self._under_way.values()))
            case Says() if event.said not in self._said:  # what holds for all is said once
                self._said.add(event.said)
                self._say(f"{event.run}: {event.said}")
            case Done():
                self._under_way.pop(event.run, None)
                self._say(f"{event.ended}/{len(self.grid.configs)} {event.run}: {_of(event)}")

    def _begin(self, runs: int, finished: int, workers: int) -> None:
        """Say what was understood, before anything takes long."""
        grid = self.grid
        counts = [len(values) for values in grid.axes.values()]
        product = " x ".join(map(str, counts)) if counts else "1"
        settings = "setting" if counts in ([], [1]) else "settings"
        seeds = f"{len(grid.seeds)} seed{'s' * (len(grid.seeds) > 1)}"
        there = f", {finished} finished already" if finished else ""
        on = f"{workers} worker{'s' * (workers > 1)}"
        self._say(f"{product} {settings}, {seeds}: {runs} run{'s' * (runs > 1)} on {on}{there}")
        said = {name: _listed(values) for name, values in grid.axes.items()}
        if len(grid.seeds) > 1:
            said["seeds"] = _listed(grid.seeds)
        if grid.parameters:
            said["parameters"] = "; ".join(self._widths())
        wide = max(map(len, said), default=0)
        for name, value in said.items():
            self.console.print("\n".join(folded(f"{name:{wide}}  {value}", wide + 2, _WIDTH)))

    def _widths(self) -> Iterable[str]:
        """Return each width that was found, with the values that it was found for."""
        from recurra.run.names import label
        from recurra.tune.width import told

        found: dict[str, list[dict[str, Any]]] = {}
        for each in self.grid.settings:
            assert each.counted is not None and self.grid.parameters is not None
            said = told(each.config, each.counted, self.grid.parameters)
            found.setdefault(said, []).append(each.values)
        for said, rows in found.items():
            shared = {n: v for n, v in rows[0].items() if all(row[n] == v for row in rows)}
            yield f"{label(shared)}: {said}" if len(found) > 1 else said

    def _say(self, text: str) -> None:
        self._due = time.monotonic() + _LINE_SECONDS
        self.console.print(text, markup=False)


def _listed(values: Sequence[Any]) -> str:
    from recurra.run.names import worded

    if len(values) > _MOST_SAID:
        return f"{', '.join(map(worded, values[:3]))}, ... {worded(values[-1])}, {len(values)} all"
    return ", ".join(map(worded, values))


def _of(event: Done) -> str:
    """Return what a run came to, in a few words."""
    from recurra.run.figures import shown, words
    from recurra.run.report import judged_by

    if event.report is None:
        return f"failed: {event.reason}"
    metric, _ = judged_by(event.report)
    split = "valid" if event.report["valid"] is not None else "test"
    value = (event.report[split] or {}).get(metric)
    named = "validation" if split == "valid" else "test"
    return f"{named} {words(metric)} {shown(metric, value)}, {event.report['train_seconds']:,.1f} s"


def _tell(result: Mapping[str, Any], out: Path) -> None:
    """Print the table, what it means, and where things lie."""
    from recurra.run.figures import words
    from recurra.tune.result import tell

    if result["judged"] is None:
        return
    metric = words(result["judged"]["metric"])
    seeds = len(result["seeds"])
    spread = f", mean and deviation of {seeds} seeds" if seeds > 1 else ""
    best = "; * is the best by validation" if any(row["best"] for row in result["rows"]) else ""
    print_lines(["", *folded(f"{metric}{spread}{best}", most=_WIDTH), ""])
    print_lines(tell(result, width()))
    print_lines([""])
    for said in (str(result["verdict"]), *result["notes"]):
        print_lines(folded(f"{said[:1].upper()}{said[1:].rstrip('.')}.", most=_WIDTH))
    for run in (run for row in result["rows"] for run in row["runs"]):
        if run["state"] == "failed":
            print_lines(folded(f"failed: {run['run']}: {run['reason']}", 2, _WIDTH))
    print_lines(["", f"table   {out / 'results.csv'}", f"picture {out / 'results.png'}"])
