"""`recurra sweep`: several settings and seeds in one folder, and one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.console import AllowChangedSource, AllowImport, Json, Preset
from recurra.cli.learn.options import (
    Assignments,
    Data,
    Device,
    Epochs,
    From,
    Minutes,
    Parameters,
    Restart,
    Seed,
    Seeds,
    Threads,
    Workers,
    changes,
)
from recurra.cli.learn.swept import carry_out, wanted_parameters
from recurra.cli.places import place

__all__ = ["sweep"]


def sweep(
    preset: Preset = "docstrings",
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=place, help="Where the runs are kept; runs/PRESET-sweep."
        ),
    ] = None,
    start_from: From = None,
    assignments: Assignments = None,
    seeds: Seeds = None,
    parameters: Parameters = None,
    workers: Workers = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    seed: Seed = None,
    threads: Threads = None,
    device: Device = None,
    restart: Restart = False,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Train every combination of several settings, and compare them in one table.

    Several values of a setting are written with commas: --set network.cell=gru,lstm. What has
    commas of its own stands in brackets: [a,b],[c]. Each run is one thread's, whatever the
    workers, and lies in the directory as any other run does. The same command goes on where it
    was stopped. The best setting is chosen by validation; the test says what it is worth.
    """
    request = {
        "data": data,
        "minutes": minutes,
        "changes": [
            *changes(epochs=epochs, seed=seed, threads=threads, device=device),
            *([] if start_from is None else [f"start_from={start_from}"]),
        ],
        "assignments": assignments or [],
        "seeds": seeds,
        "parameters": None if parameters is None else wanted_parameters(parameters),
    }
    carry_out(
        preset,
        request,
        out or Path("runs") / f"{preset}-sweep",
        workers=workers,
        restart=restart,
        allow_import=allow_import or (),
        json=json,
    )
