"""The options that commands which train have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from recurra.cli.console import existing
from recurra.cli.places import place

__all__ = [
    "Assignments",
    "Data",
    "Device",
    "Epochs",
    "From",
    "Minutes",
    "Out",
    "Parameters",
    "Restart",
    "Seed",
    "Seeds",
    "Threads",
    "Workers",
    "changes",
]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        callback=existing,
        help="A name from recurra data list, or a file or directory of your own.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", parser=place, help="Where the run is kept; runs/PRESET by default."
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="RUN",
        callback=existing,
        help="Start from the weights of another run.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting that recurra show prints."),
]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training data.")]
Minutes = Annotated[
    float | None, typer.Option(help="How long training may take; sets the schedule.")
]
Seed = Annotated[int | None, typer.Option(help="Where all randomness derives from.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads to use.")]
Device = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to compute.")]
Restart = Annotated[bool, typer.Option("--restart", help="Discard the run so far.")]
Seeds = Annotated[
    int | None,
    typer.Option(min=1, max=1000, metavar="N", help="Runs of as many seeds, and their mean."),
]
Parameters = Annotated[
    str | None,
    typer.Option(metavar="N", help="Find the width of about so many parameters, as 500k or 1.2M."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Runs side by side, a thread each; one for each core."),
]


def changes(
    *, epochs: float | None, seed: int | None, threads: int | None, device: str | None
) -> list[str]:
    """Return what the options change, as `--set` would."""
    flags = {"train.epochs": epochs, "seed": seed, "threads": threads, "device": device}
    found = [f"{key}={value}" for key, value in flags.items() if value is not None]
    if epochs is not None:
        found.append("train.steps=none")  # a preset's steps would stand in place of epochs
    return found
