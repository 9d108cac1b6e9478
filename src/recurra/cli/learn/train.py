"""`recurra train` and `recurra evaluate`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recurra.cli.console import AllowImport, Json, Preset, Run, existing, open_console, print_json
from recurra.cli.interrupt import Interrupt
from recurra.cli.places import place
from recurra.cli.streams import log_to_stdout

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
    from recurra.learning.event import Started, Stopped
    from recurra.run.report import render
    from recurra.run.session import Reported
    from recurra.run.session import train as run

    console = open_console(json=json)
    started, report = False, None
    with log_to_stdout(), Interrupt() as interrupt, Progress(console) as progress:
        events = run(config, should_stop=interrupt, **how)
        for event in events:
            started = started or isinstance(event, Started)
            progress.show(event)
            if isinstance(event, Stopped):
                console.print(f"Stopped at step {event.step:,}; all of it is saved. To go on:")
                console.print(f"  {_resume_command()}", markup=False)
                raise typer.Exit(interrupt.exit_code)
            if isinstance(event, Reported):
                report = event.report
                if not started:
                    console.print("This run is finished; --restart would start it over.")
    if json:
        print_json(report)
    elif report is not None:
        console.print(f"\n{render(report)}", markup=False)


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
    json: Json = False,
) -> None:
    """Measure a finished run's model on a split, or on other data."""
    from recurra.run.figures import shown
    from recurra.run.session import evaluate as measure

    metrics = measure(run, data=data, split=split, context=context)
    if json:
        print_json(metrics)
        return
    console = open_console()
    way = f", {context}" if "perplexity" in metrics else ""
    console.print(f"[bold]{run}[/bold] on {data or 'its own data'}, {split}{way}\n")
    for name, value in metrics.items():
        if name != "calibrated":
            console.print(f"  {name.replace('_', ' '):16}{shown(name, value):>12}")
    if metrics.get("calibrated"):
        console.print(
            "\nThe intervals were calibrated on these windows: their coverage is no promise."
        )


def _resume_command() -> str:
    words = [word for word in sys.argv[1:] if word != "--restart"]
    return shlex.join(["recurra", *words])
