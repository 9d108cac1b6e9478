"""`recurra train` and `recurra evaluate`."""

from __future__ import annotations

import math
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
    folded,
    open_console,
    print_json,
    print_lines,
    width,
)
from recurra.cli.interrupt import Interrupt, Interrupted, current
from recurra.cli.learn.options import (
    Assignments,
    Data,
    Device,
    Epochs,
    From,
    Minutes,
    Out,
    Parameters,
    Restart,
    Seed,
    Seeds,
    Threads,
    changes,
)
from recurra.cli.learn.swept import carry_out, resume_command, wanted_parameters
from recurra.cli.streams import log_to_stdout
from recurra.cli.working import current_teller
from recurra.learning.event import Finished, Saved, Started, Stepped, Stopped

if TYPE_CHECKING:
    from recurra.learning.config import RunConfig

__all__ = ["evaluate", "train"]

_APART = ("calibrated", "changed_source")
"""What stands beside the figures of an evaluation."""


def train(
    preset: Preset = "docstrings",
    data: Data = None,
    out: Out = None,
    start_from: From = None,
    assignments: Assignments = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    seed: Seed = None,
    threads: Threads = None,
    device: Device = None,
    restart: Restart = False,
    seeds: Seeds = None,
    parameters: Parameters = None,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Train a model, or go on with it, and report beside a baseline.

    The same command goes on where it was stopped; on a finished run it prints the report again.
    With --seeds there is a run for each seed in the directory, one thread each, and a table.
    """
    from recurra.learning.config import with_settings
    from recurra.run.presets import preset as make

    changed = changes(epochs=epochs, seed=seed, threads=threads, device=device)
    start = [] if start_from is None else [f"start_from={start_from}"]
    wanted = None if parameters is None else wanted_parameters(parameters)
    how: dict[str, Any] = {"restart": restart, "allow_import": allow_import or (), "json": json}
    if seeds is not None:
        fixed = [*changed, *start, *(assignments or [])]
        request = {"data": data, "minutes": minutes, "changes": fixed}
        request |= {"seeds": seeds, "parameters": wanted}
        carry_out(preset, request, out or Path("runs") / f"{preset}-seeds", **how)
        return
    config = with_settings(
        make(preset, data=data, minutes=minutes), [*changed, *(assignments or [])]
    )
    if wanted is not None:
        config = _of_parameters(config, wanted, assignments or [], json=json)
    _run(config, out=out, start_from=start_from, **how)


def _of_parameters(
    config: RunConfig, wanted: int, assignments: list[str], *, json: bool
) -> RunConfig:
    from recurra.tune.width import require_unset, sketch_of, told, with_parameters

    require_unset(assignments)
    config, found = with_parameters(config, wanted, sketch_of(config))
    open_console(json=json).print(told(config, found, wanted))
    return config


def _run(config: RunConfig, *, json: bool, **how: Any) -> None:
    from recurra.cli.progress import Progress
    from recurra.run.report import render
    from recurra.run.session import Reported
    from recurra.run.session import train as run

    interrupt = current()
    interrupt.hint = f"to go on: {resume_command()}"
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
                console.print(f"  {resume_command()}", markup=False)
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
    told = {name: value for name, value in metrics.items() if name not in _APART}
    print_lines(f"  {n.replace('_', ' '):16}{shown(n, v):>12}" for n, v in told.items())
    if metrics.get("calibrated"):
        said = "The intervals were calibrated on these windows: their coverage is no promise."
        print_lines(["", *folded(said)])
