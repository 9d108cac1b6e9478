"""`recurra check`: whether a cell keeps the contract that all of this rests on."""

from __future__ import annotations

from typing import Annotated

import typer

from recurra.cli.console import Json, folded, print_json, print_lines

__all__ = ["check"]

_INDENT = 10


def check(
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL",
            help="A cell's name, also as mlstm(num_heads=4); your own, or a function of it, "
            "as module:Name.",
        ),
    ],
    input_size: Annotated[
        int | None, typer.Option(min=1, help="Features of an input; 3, or what the cell takes.")
    ] = None,
    hidden_size: Annotated[
        int | None, typer.Option(min=1, help="Units; 4, or as many as the cell takes.")
    ] = None,
    json: Json = False,
) -> None:
    """Check whether a cell keeps the contract: in sentences, what holds and what is broken.

    A step is a function of its input, state and weights alone; rows know nothing of each other; a
    sequence is its steps, however it is cut; gradients are those of finite differences; a kernel
    is the loop over the step. The exit code is 1 where anything is broken.
    """
    from recurra.nn.contract.suite import check as checked
    from recurra.work import working

    with working(f"checking {cell}"):
        found = checked(cell, input_size, hidden_size)
    if json:
        print_json(found.as_json())
    else:
        print_lines(line for said in found.lines() for line in folded(said, indent=_INDENT) or [""])
    if not found.ok:
        raise typer.Exit(1)
