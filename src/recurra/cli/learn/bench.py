"""`recurra bench`: comparisons that take minutes, as a table, a picture and a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import Json, open_console, print_json, print_lines
from recurra.cli.interrupt import current
from recurra.cli.learn import benched
from recurra.cli.places import place
from recurra.cli.usage import list_commands

if TYPE_CHECKING:
    from rich.console import Console

    from recurra.bench.cells import Compared, Planned, Tried

__all__ = ["app"]

app = typer.Typer(help="Comparisons that take minutes.", invoke_without_command=True)

_BEGINS = b'{\n  "bench": "cells"'
"""What a cells.json of ours begins with."""
_LINE_SECONDS = 10.0
_PATIENCE = 1.5
"""Seconds in which what is complete is told once a signal has come."""


@app.callback()
def _list(context: typer.Context, json: Json = False) -> None:
    """Comparisons that take minutes."""
    list_commands(context, json=json, title="benches")


Cells = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help='Any cells, your own as module:Name, with options as "mlstm(num_heads=4)".',
    ),
]
Task = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="On this task; again for more; else all."),
]
Tasks = Annotated[str | None, typer.Option(metavar="A,B", help="On these tasks.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        help="About how long all takes, but for a first compiling of kernels; at most 40 where "
        "none are given, 1 at least for eight cells on five tasks."
    ),
]
Steps = Annotated[
    int | None, typer.Option(help="Of each training, in place of minutes; 1,200 at full length.")
]
Rates = Annotated[
    str | None,
    typer.Option(
        metavar="R,R", help="Of learning, tried first, in place of .001,.003,.01; they widen."
    ),
]
Parameters = Annotated[
    str | None, typer.Option(metavar="N", help="Of every network, as 26000 or 500k.")
]
Length = Annotated[
    int | None, typer.Option(help="Steps of a sequence; permuted digits have always 64.")
]
Seeds = Annotated[int | None, typer.Option(help="Trials of each cell on each task.")]
Seed = Annotated[int | None, typer.Option(help="Where all randomness derives from.")]
Side = Annotated[int | None, typer.Option(help="Trials side by side; one for each core.")]
Out = Annotated[
    Path, typer.Option(metavar="DIR", parser=place, help="Where cells.json and cells.png go.")
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", parser=place, help="The picture, in place of DIR/cells.png."),
]


@app.command()
def cells(
    names: Cells = None,
    task: Task = None,
    tasks: Tasks = None,
    minutes: Minutes = None,
    steps: Steps = None,
    rates: Rates = None,
    parameters: Parameters = None,
    length: Length = None,
    seeds: Seeds = None,
    seed: Seed = None,
    workers: Side = None,
    out: Out = Path("bench"),
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Compare cells at equal parameters: accuracy, speed and memory on five tasks.

    Every cell stands in the same network, at the width that gives it the same number of
    parameters, and learns from the same data for as many steps; then again at that rate for as
    many seconds.

    The learning rate is the best by validation of .001, .003 and .01, and of further ones, .03 or
    .0003 and on, while the best stands at an end.

    Tasks: copying, adding, selective_copying, permuted_digits, characters. Accuracy is the share
    that is right of a test split: of letters said in their place (copying), of sums less than
    0.04 off (adding), of digits named; characters are judged by bits for each.

    Cells where none is named: lstm, gru, rnn, peephole_lstm, layer_norm_lstm, mlstm, min_gru, lru.
    """
    from recurra.bench.cells import Compared, compare_cells
    from recurra.learning.written import pieces

    options = _options(
        cells=[each for name in names or () for each in pieces(name) if each],
        tasks=[*(task or ()), *filter(None, pieces(tasks or ""))],
        minutes=minutes,
        steps=steps,
        rates=[each for each in pieces(rates or "") if each],
        parameters=parameters,
        length=length,
        seeds=seeds,
        seed=seed,
        workers=workers,
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
    from recurra.nn.make import require_cell

    for name in given["cells"]:
        require_cell(name)  # says the nearest, before anything takes long
    for name in given["tasks"]:
        TASKS[name]
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
            print_lines(benched.lines(result))
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
                share = ""
                if event.share not in (None, 1):
                    share = f" at {event.share:.0%} of the full budget"
                if event.share is not None and event.share < 0.01:
                    share = " of hardly a step, the least there is,"
                said = f"{event.trials} trainings and more{share} come"
                said += f", about {duration(event.seconds)}"
                said = f"that took {duration(event.spent)}; {said}"
                self.console.print(said)
                if self.console.is_terminal and event.trials:
                    self._bar.add_task("", total=event.trials)
                    self._bar.start()
            case Tried():
                said = f"{event.job.cell} on {event.job.task}"
                if self._bar.tasks:
                    self._bar.update(
                        self._bar.tasks[0].id,
                        completed=event.done,
                        total=event.trials,
                        description=said,
                    )
                elif time.monotonic() >= self._line_due:
                    self._line_due = time.monotonic() + _LINE_SECONDS
                    self.console.print(f"{event.done}/{event.trials} trainings: {said}")
            case _:
                self.__exit__()
