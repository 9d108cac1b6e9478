"""`recurra train` and `recurra evaluate`."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Json,
    Preset,
    Run,
    existing,
    folded,
    open_console,
    print_json,
    print_lines,
    width,
)
from recurra.cli.interrupt import Interrupt, Interrupted, current
from recurra.cli.places import place
from recurra.cli.streams import log_to_stdout
from recurra.cli.working import current_teller
from recurra.learning.event import Finished, Saved, Started, Stepped, Stopped

if TYPE_CHECKING:
    from recurra.learning.config import RunConfig

__all__ = ["evaluate", "train"]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        callback=existing,
        help="A name from recurra data list, or a file or directory of your own.",
    ),
]


def train(
    preset: Preset = "docstrings",
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=place, help="Where the run is kept; runs/PRESET by default."
        ),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            callback=existing,
            help="Start from the weights of another run.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting that recurra show prints."
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training data.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long training may take; sets the schedule.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Where all randomness derives from.")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads to use.")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to compute.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the run so far.")] = False,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Train a model, or go on with it, and report beside a baseline.

    The same command goes on where it was stopped; on a finished run it prints the report again.
    """
    from recurra.learning.config import with_settings
    from recurra.run.presets import preset as make

    flags = {"train.epochs": epochs, "seed": seed, "threads": threads, "device": device}
    changes = [f"{key}={value}" for key, value in flags.items() if value is not None]
    if epochs is not None:
        changes.append("train.steps=none")  # a preset's steps would stand in place of epochs
    config = with_settings(
        make(preset, data=data, minutes=minutes), [*changes, *(assignments or [])]
    )
    how = {"out": out, "start_from": start_from, "restart": restart}
    _run(config, json=json, allow_import=allow_import or (), **how)


def _run(config: RunConfig, *, json: bool, **how: Any) -> None:
    from recurra.cli.progress import Progress
    from recurra.run.report import render
    from recurra.run.session import Reported
    from recurra.run.session import train as run

    interrupt = current()
    interrupt.hint = f"to go on: {_resume_command()}"
    started, report = False, None
    console = open_console(json=json)
    with log_to_stdout(), Progress(console, current_teller()) as progress:
        events = run(config, should_stop=interrupt, **how)
        for event in _heeding(events, interrupt):
            started = started or isinstance(event, Started)
            progress.show(event)
            if isinstance(event, Stopped):
                said = f"Stopped at step {event.step:,}; all of it is saved. To go on:"
                console.print(said)
                console.print(f"  {_resume_command()}", markup=False)
                raise typer.Exit(interrupt.exit_code)
            if isinstance(event, Reported):
                report = event.report
                if not started:
                    said = "This run is finished; --restart would start it over."
                    console.print("\n".join(folded(said)))
    if json:
        print_json(report)
    elif report is not None:
        print_lines([f"\n{render(report, width())}"])


def _heeding(events: Iterator[Any], interrupt: Interrupt) -> Iterator[Any]:
    """Yield the events of a run; in the loop a signal is heeded after the step, once it is saved.

    What takes longer there, as a validation, is given up at once, and nothing is lost either.
    """
    looping, step = False, 0
    try:
        for event in events:
            match event:
                case Started() if event.parameters:  # what is counted asks for no signal
                    looping, step, interrupt.patience = True, event.step, math.inf
                case Stepped():
                    interrupt.unsaved = True
                case Saved():
                    step, interrupt.unsaved = event.step, False
                case Stopped():
                    interrupt.patience = 0.0
                case Finished():
                    interrupt.at_once()
                    looping = False
            yield event
    except Interrupted:
        lost = interrupt.unsaved
        interrupt.patience, interrupt.unsaved = 0.0, False
        if not looping or lost:
            raise
        yield Stopped(step)


def evaluate(
    run: Run,
    data: Data = None,
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="Which part of the data.")
    ] = "test",
    context: Annotated[
        Literal["document", "independent"],
        typer.Option(help="Of text: state carried throughout, or every line alone."),
    ] = "document",
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Measure a finished run's model on a split, or on other data."""
    from recurra.run.figures import shown
    from recurra.run.session import evaluate as measure

    metrics = measure(run, data=data, split=split, context=context, allow_import=allow_import or ())
    if json:
        print_json(metrics)
        return
    way = f", {context}" if "perplexity" in metrics else ""
    print_lines([*folded(f"{run} on {data or 'its own data'}, {split}{way}"), ""])
    told = {name: value for name, value in metrics.items() if name != "calibrated"}
    print_lines(f"  {n.replace('_', ' '):16}{shown(n, v):>12}" for n, v in told.items())
    if metrics.get("calibrated"):
        said = "The intervals were calibrated on these windows: their coverage is no promise."
        print_lines(["", *folded(said)])


def _resume_command() -> str:
    words = [word for word in sys.argv[1:] if word != "--restart"]
    return shlex.join(["recurra", *words])
