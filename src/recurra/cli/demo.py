"""`recurra demo`: small computations, printed in full."""

from __future__ import annotations

import dataclasses

import typer

from recurra.cli.console import Json, open_console, print_json

__all__ = ["app"]

app = typer.Typer(help="Small computations, printed in full.")


@app.callback()
def _group() -> None:
    """Keep `forward` a command of its own while it is the only one."""


@app.command()
def forward(json: Json = False) -> None:
    """Compute the forward pass of a plain recurrent network by hand: two steps, two units."""
    from recurra.run.demo import forward as demo

    steps = demo.forward()
    if json:
        print_json({"steps": [dataclasses.asdict(step) for step in steps]})
        return
    console = open_console()
    console.print("h = tanh(h W_hh + x w_xh + b),  y = h W_hy + b_y,  h = 0 at first\n")
    for x, step in zip(demo.INPUTS, steps):
        console.print(f"[bold]x = {x:g}[/bold]")
        for name, values in dataclasses.asdict(step).items():
            shown = "  ".join(f"{value:.8f}" for value in values)
            console.print(f"  {name.replace('_', ' '):18} {shown}")
