"""`recurra bench`: comparisons that take minutes, as a table, a picture and a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import Json, folded, open_console, print_json, print_lines, width
from recurra.cli.interrupt import current
from recurra.cli.places import place
from recurra.cli.usage import list_commands

if TYPE_CHECKING:
    from rich.console import Console

    from recurra.bench.cells import Compared, Planned, Tried

__all__ = ["app"]

app = typer.Typer(help="Comparisons that take minutes.", invoke_without_command=True)

Row = Mapping[str, Any]

_MINUTES = (
    "About how long all takes, but for a first compiling of kernels; some 20 on two cores, 0.8 at "
    "least for eight cells on five tasks."
)
_BEGINS = b'{\n  "bench": "cells"'
"""What a cells.json of ours begins with."""
_LINE_SECONDS = 10.0
_WIDTH = 100
_PATIENCE = 1.5
"""Seconds in which what is complete is told once a signal has come."""


@app.callback()
def _list(context: typer.Context, json: Json = False) -> None:
    """Comparisons that take minutes."""
    list_commands(context, json=json, title="benches")


@app.command()
def cells(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Any cells, your own as module:Name."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="On this task; again for more; else all."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help=_MINUTES)] = None,
    seeds: Annotated[int | None, typer.Option(help="Trials of each cell on each task.")] = None,
    seed: Annotated[int | None, typer.Option(help="Where all randomness derives from.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Trials side by side; one for each core.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=place, help="Where cells.json and cells.png go.")
    ] = Path("bench"),
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=place, help="The picture, in place of DIR/cells.png."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare cells at equal parameters: accuracy, speed and memory on five tasks.

    Every cell stands in the same network, at the width that gives it the same number of
    parameters, and learns from the same data for as many steps, at the best of three learning
    rates by validation.

    Tasks: copying, adding, selective_copying, permuted_digits, characters. Accuracy is the share
    that is right of a test split: of letters said in their place (copying), of sums less than
    0.04 off (adding), of digits named; characters are judged by bits for each.

    Cells where none is named: lstm, gru, rnn, peephole_lstm, layer_norm_lstm, mlstm, min_gru, lru.
    """
    from recurra.bench.cells import Compared, compare_cells

    options = _options(
        cells=names, tasks=task, minutes=minutes, seeds=seeds, seed=seed, workers=workers
    )
    drawn = plot or out / "cells.png"
    _require(out, drawn, "--out" if plot is None else "--plot")
    result: dict[str, Any] = {}
    interrupt = current()
    with _Progress(open_console(json=True)) as progress:
        for event in compare_cells(options, interrupt):
            interrupt.patience = _PATIENCE
            progress.show(event)
            if isinstance(event, Compared):
                result = event.result
    _tell_and_keep(result, out, drawn, json=json)
    interrupt.at_once()


def _options(**given: Any) -> Any:
    """Return the options; a value out of range is said as any other setting's."""
    from pydantic import ValidationError

    from recurra.bench.cells import BenchOptions
    from recurra.bench.tasks import TASKS
    from recurra.errors import ConfigError
    from recurra.learning.written import wanted
    from recurra.nn.cells import CELLS

    for table, asked in ((CELLS, given["cells"]), (TASKS, given["tasks"])):
        for name in asked or ():
            table[name]  # says the nearest, before anything takes long
    try:
        return BenchOptions(**{n: value for n, value in given.items() if value not in (None, [])})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        said = f"--{name} is {first['input']!r:.80}, but must be {wanted(first)}"
        raise ConfigError(said) from error


def _require(out: Path, drawn: Path, option: str) -> None:
    """Refuse, now and not after twenty minutes, where nothing could be kept."""
    from recurra.storage.outputs import require_file
    from recurra.storage.picture import require_picture

    require_picture(drawn, option, makes_folder=True)
    require_file(out / "cells.json", "--out", lambda head: head.startswith(_BEGINS), True)


def _tell_and_keep(result: dict[str, Any], out: Path, drawn: Path, *, json: bool) -> None:
    try:
        if json:
            print_json(result)
        else:
            print_lines(lines(result))
    finally:  # told where it cannot be kept, and kept where no one reads
        if result["results"]:
            _keep(result, out, drawn)
    if result["results"] and not json:
        print_lines([f"\n{out / 'cells.json'}, {drawn}"])


def _keep(result: dict[str, Any], out: Path, drawn: Path) -> None:
    from recurra.bench.picture import draw, size
    from recurra.storage.files import make_directory, write_json
    from recurra.storage.picture import canvas

    for folder in (out, drawn.parent):
        make_directory(folder)
    write_json(out / "cells.json", result)
    with canvas(drawn, *size(result)) as figure:
        draw(figure, result)


class _Progress:
    """A bar in a terminal, now and then a line elsewhere."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console
        self._line_due = time.monotonic() + _LINE_SECONDS
        self._bar = Progress(
            TextColumn("{task.description:32.32}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
        )

    def __enter__(self) -> _Progress:
        self.console.print("sizing and timing each cell on each task")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def show(self, event: Planned | Tried | Compared) -> None:
        from recurra.bench.cells import Planned, Tried
        from recurra.cli.progress import duration

        match event:
            case Planned():
                share = f" at {event.share:.0%} of the full budget"
                if event.share == 1:
                    share = ""
                elif event.share < 0.01:
                    share = " of hardly a step, the least there is,"
                said = f"{event.trials} trainings{share} come, about {duration(event.seconds)}"
                said = f"that took {duration(event.spent)}; {said}"
                self.console.print(said)
                if self.console.is_terminal and event.trials:
                    self._bar.add_task("", total=event.trials)
                    self._bar.start()
            case Tried():
                said = f"{event.job.cell} on {event.job.task}"
                if self._bar.tasks:
                    self._bar.update(self._bar.tasks[0].id, completed=event.done, description=said)
                elif time.monotonic() >= self._line_due:
                    self._line_due = time.monotonic() + _LINE_SECONDS
                    self.console.print(f"{event.done}/{event.trials} trainings: {said}")
            case _:
                self.__exit__()


def lines(result: Row) -> Iterator[str]:
    """Yield the lines of a result, a table for each task, then what it comes to.

    Args:
        result: of `compare_cells`.
    """
    if not result["finished"]:
        yield "Not finished; what is complete:"
    for task in result["tasks"]:
        ours = [row for row in result["results"] if row["task"] == task["name"]]
        if ours:
            yield from _table(task, ours)
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
        f"{result['network']}; {result['optimizer']}, the best of "
        f"{len(result['learning_rates'])} rates by validation; {_spread(result)}.",
        f"ms: forward and backward of a batch on {threads}; one us: a single step of one sequence; "
        "MB: tensors kept from the forward to the backward pass, kernels' scratch not counted.",
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


def _table(task: Row, rows: list[Row]) -> Iterator[str]:
    from recurra.bench.verdict import shown
    from recurra.run.figures import laid_out

    metric = task["metric"].replace("bits_per_char", "bits/char")
    title = f"{task['title']}; {task['steps']:,} steps of {task['batch_size']} x {task['length']}"
    yield from folded(title, indent=2, most=_WIDTH)
    heads = [metric, "loss", "rate", "params", "width", "ms", "tokens/s", "one us", "MB"]
    sign = 1 if task["better"] == "lower" else -1
    known = [row for row in rows if row["test"] is not None]
    lost = [row for row in rows if row["test"] is None]
    ordered = [*sorted(known, key=lambda row: sign * row["test"][task["metric"]]), *lost]
    table = [["", *heads], *(_cells(task, row) for row in ordered)]
    for name, metrics in task["baselines"].items():
        loss = f"{metrics['loss']:.4f}" if "loss" in metrics else "-"
        table.append([name, shown(task, metrics[task["metric"]]), loss, *[""] * 7])
    yield from laid_out(table, width())


def _cells(task: Row, row: Row) -> list[str]:
    from recurra.bench.verdict import shown

    test, deviation = row["test"], row["deviation"]
    about = f" \u00b1 {shown(task, deviation[task['metric']])}" if deviation else ""
    return [
        row["cell"],
        shown(task, test and test[task["metric"]]) + about,
        "-" if test is None else f"{test['loss']:.4f}",
        f"{row['learning_rate']:g}",
        f"{row['parameters']:,}",
        "+".join(map(str, row["widths"])),
        f"{1e3 * row['seconds_per_step']:.1f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['one_step_microseconds']:,.0f}",
        f"{row['kept_bytes'] / 1e6:.1f}",
    ]
