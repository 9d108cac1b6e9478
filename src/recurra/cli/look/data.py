"""`recurra data`: which texts, series and labels there are, what they look like, fetching them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from recurra.cli.console import (
    Json,
    existing,
    folded,
    open_console,
    print_json,
    print_lines,
    width,
)
from recurra.cli.usage import list_commands

if TYPE_CHECKING:
    from recurra.learning.task import NamedData

__all__ = ["app"]

app = typer.Typer(
    help="The data there are: list them, look at one, fetch one.", invoke_without_command=True
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", callback=existing, help="A name, a directory, a file, or module:Name."
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="KIND",
        help="What a file of your own holds, text, series or labels; told by its name otherwise.",
    ),
]


@app.callback()
def _list(context: typer.Context, json: Json = False) -> None:
    """The data there are: list them, look at one, fetch one."""
    list_commands(context, json=json, title="commands")


@app.command("list")
def list_(json: Json = False) -> None:
    """List the data that have a name, and where each is found."""
    from recurra.cli.sources import named_data

    rows = []
    for kind, data in named_data().items():
        for name in data.table:
            source = data.open(name)
            described = (inspect.getdoc(type(source)) or "").partition("\n")[0]
            found = source.found()
            rows.append({"name": name, "task": kind, "description": described, "found": found})
    if json:
        print_json({"datasets": rows})
        return
    wide, kinds = (max(len(str(row[key])) for row in rows) for key in ("name", "task"))
    for row in rows:
        found = row["found"] or f"not here: recurra data fetch {row['name']}"
        named = f"{row['name']:{wide}}  {row['task']:{kinds}}  "
        indent = len(named) if width() >= 80 else 4
        print_lines(folded(f"{named}{row['description']}", indent))
        print_lines(folded(f"{'':{indent}}{found}", indent))


@app.command()
def show(name: Name, as_: As = None, json: Json = False) -> None:
    """Print how much data there are, and the first of them."""
    data = _data(name, as_)
    shown = data.describe(name)
    words = shown.pop("words", None)
    if json:
        print_json(shown)
        return
    for line in "\n".join(data.tell(shown)).splitlines():
        print_lines(folded(line, indent=5) or [""])
    if words is not None:
        open_console().print(f"\n{words}", style="dim", markup=False)


@app.command()
def fetch(name: Name, as_: As = None, json: Json = False) -> None:
    """Find the data here, else download them; verify them either way."""
    data = _data(name, as_)
    fingerprint = data.fetch(name)
    found = data.open(name).found()
    if json:
        print_json({"name": name, "found": found, "fingerprint": fingerprint})
    else:
        print_lines([f"{name} is here, and whole: {found}"])


def _data(name: str, kind: str | None) -> NamedData:
    from recurra.cli.sources import kind_of, named_data

    declared = named_data()
    if kind is not None and kind not in declared:
        raise typer.BadParameter(f"--as is one of {', '.join(declared)}, got {kind!r}")
    return declared[kind or kind_of(name)]
