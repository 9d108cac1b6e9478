"""`recurra bench`: comparisons that take minutes, as a table, a picture and a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import Json, open_console, print_json, print_lines
from recurra.cli.interrupt import current
from recurra.cli.learn import benched, gated
from recurra.cli.places import place
from recurra.cli.usage import list_commands

if TYPE_CHECKING:
    from rich.console import Console

    from recurra.bench.cells import Compared, Planned, Tried
    from recurra.bench.trial import Job

__all__ = ["app"]

app = typer.Typer(help="Comparisons that take minutes.", invoke_without_command=True)

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
GateMinutes = Annotated[
    float | None,
    typer.Option(help="About how long all takes; at most 10 where none are given."),
]
GateSteps = Annotated[
    int | None, typer.Option(help="Of each training, in place of minutes; 2,000 at full length.")
]
GateSeeds = Annotated[int | None, typer.Option(help="Trainings of each variant; 3.")]
Out = Annotated[
    Path, typer.Option(metavar="DIR", parser=place, help="Where the JSON and the picture go.")
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", parser=place, help="The picture, in place of DIR/NAME.png."),
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
    0.04 off (adding), of digits named; characters are judged by bits for each. One more, where it
    is named: words, judged by perplexity.

    Cells where none is named: lstm, gru, rnn, peephole_lstm, layer_norm_lstm, mlstm, min_gru, lru.
    """
    from recurra.bench import picture
    from recurra.bench.cells import compare_cells
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
    begins = "sizing and timing each cell on each task"
    found = _Files("cells", out, plot)
    result = found.compared(lambda stop: compare_cells(options, stop), begins, _cell_on_task)
    found.tell_and_keep(result, benched.lines, picture, json=json)
    current().at_once()


@app.command()
def gates(
    minutes: GateMinutes = None,
    steps: GateSteps = None,
    seed: Seed = None,
    seeds: GateSeeds = None,
    workers: Side = None,
    out: Out = Path("bench"),
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Remove each gate of an LSTM: the perplexity of a small model of words without it.

    Trained are the LSTM as it is; without its input gate, its forget gate, its output gate;
    with one gate for input and forgetting, coupled; with peepholes; and without tanh on the way
    into the memory or out of it. Each once as wide as the whole LSTM, and so with fewer parameters
    where a gate is gone, and once with as many parameters.

    The words are those of the docstrings of Python's library, the 2,000 commonest told apart. All
    train alike, at one learning rate; validation chooses nothing.
    """
    from recurra.bench.gates import picture
    from recurra.bench.gates.comparison import GateOptions, compare_gates

    given = {"minutes": minutes, "steps": steps, "seeds": seeds, "seed": seed, "workers": workers}
    options = _made(GateOptions, given)
    found = _Files("gates", out, plot)
    begins = "sizing and timing each variant of the LSTM"
    result = found.compared(
        lambda stop: compare_gates(options, stop), begins, lambda job: gated.variant_of(job.cell)
    )
    found.tell_and_keep(result, gated.lines, picture, json=json)
    current().at_once()


def _options(**given: Any) -> Any:
    """Return the options of a comparison of cells, whose names are known."""
    from recurra.bench.cells import BenchOptions
    from recurra.bench.tasks import TASKS
    from recurra.nn.make import require_cell

    for name in given["cells"]:
        require_cell(name)  # says the nearest, before anything takes long
    for name in given["tasks"]:
        TASKS[name]
    return _made(BenchOptions, given)


def _made(kind: Any, given: dict[str, Any]) -> Any:
    """Return options; a value out of range is said as any other setting's."""
    from pydantic import ValidationError

    from recurra.errors import ConfigError
    from recurra.learning.written import wanted

    try:
        return kind(**{name: value for name, value in given.items() if value not in (None, [])})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        said = f"--{name} is {first['input']!r:.80}, but must be {wanted(first)}"
        raise ConfigError(said) from error


def _cell_on_task(job: Job) -> str:
    return f"{job.cell} on {job.task}"


class _Files:
    """Where a comparison is kept, which is refused now and not after twenty minutes.

    Args:
        name: of the comparison.
        out: the folder of its JSON.
        plot: its picture; in the folder.
    """

    def __init__(self, name: str, out: Path, plot: Path | None) -> None:
        from recurra.storage.outputs import require_file
        from recurra.storage.picture import require_picture

        self.file = out / f"{name}.json"
        self.drawn = plot or out / f"{name}.png"
        begins = f'{{\n  "bench": "{name}"'.encode()
        require_picture(self.drawn, "--out" if plot is None else "--plot", makes_folder=True)
        require_file(self.file, "--out", lambda head: head.startswith(begins), True)

    def compared(
        self,
        compare: Callable[[Any], Iterable[Planned | Tried | Compared]],
        begins: str,
        said: Callable[[Job], str],
    ) -> dict[str, Any]:
        """Carry a comparison out, telling how it goes; return what it found."""
        from recurra.bench.cells import Compared

        result: dict[str, Any] = {}
        interrupt = current()
        with _Progress(open_console(json=True), begins, said) as progress:
            for event in compare(interrupt):
                interrupt.patience = _PATIENCE
                progress.show(event)
                if isinstance(event, Compared):
                    result = event.result
        return result

    def tell_and_keep(
        self,
        result: dict[str, Any],
        lines: Callable[[dict[str, Any]], Iterable[str]],
        picture: Any,
        *,
        json: bool,
    ) -> None:
        """Print a result, and write it with its picture where anything is complete."""
        try:
            if json:
                print_json(result)
            else:
                print_lines(lines(result))
        finally:  # told where it cannot be kept, and kept where no one reads
            if result["results"]:
                self._keep(result, picture)
        if result["results"] and not json:
            print_lines([f"\n{self.file}, {self.drawn}"])

    def _keep(self, result: dict[str, Any], picture: Any) -> None:
        from recurra.storage.files import make_directory, write_json
        from recurra.storage.picture import canvas

        for folder in (self.file.parent, self.drawn.parent):
            make_directory(folder)
        write_json(self.file, result)
        with canvas(self.drawn, *picture.size(result)) as figure:
            picture.draw(figure, result)


class _Progress:
    """A bar in a terminal, now and then a line elsewhere."""

    def __init__(self, console: Console, begins: str, said: Callable[[Job], str]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console
        self.begins, self.said = begins, said
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
        self.console.print(self.begins)
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
                said = self.said(event.job)
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
