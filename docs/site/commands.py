"""The command line: a page for every command, from what the commands themselves say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from reference import contents

from recurra.cli import app

__all__ = ["commands", "group"]


def group() -> Any:
    """Return the commands as their parser holds them."""
    return typer.main.get_command(app)


def commands() -> Iterator[tuple[str, str]]:
    """Yield the place and the Markdown of every command's page."""
    root = group()
    context = typer.Context(root, info_name="recurra", **root.context_settings)
    for name, command in root.commands.items():
        yield f"command/{name}.md", page(name, command, context)
    rows = [
        f"| [`recurra {name}`]({name}.md) | {_plain(_first(command.help))} |"
        for name, command in root.commands.items()
    ]
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    title = f"# Command line\n\n{_plain(_first(root.help))}\n\n{table}\n\n"
    yield "command/index.md", title + contents(list(root.commands))


def page(name: str, command: Any, context: typer.Context) -> str:
    """Return the page of a command: usage, arguments, options, commands below it.

    Args:
        name: such as `train`.
        command: as the parser holds it.
        context: of the root.
    """
    from typer.cli import get_docs_for_click

    said = get_docs_for_click(obj=command, ctx=context, name=name, call_prefix="recurra")
    # what is no output must not look like one, of which the first word is a prompt
    said = re.sub(r"```console\n\$ ", "```text\n", said.replace("\f", ""))
    return _plain(said)


def _first(said: str | None) -> str:
    return (said or "").partition("\n\n")[0].replace("\n", " ")


def _plain(said: str) -> str:
    """Return Markdown in which no sign of a help text opens a tag."""
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or r"\<", said)
