"""`recurra presets` and `recurra show`: what can be run, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recurra.cli.console import (
    Json,
    Preset,
    folded,
    open_console,
    print_json,
    print_lines,
    width,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["presets", "show"]

_BESIDE = 100
"""Columns from which on what a setting means stands beside its value."""


def presets(json: Json = False) -> None:
    """List the runs that have a name."""
    from recurra.run.presets import PRESETS

    described = {name: _first_line(PRESETS[name]) for name in PRESETS}
    if json:
        print_json({"presets": [{"name": n, "description": d} for n, d in described.items()]})
        return
    from rich.markup import escape

    console = open_console()
    wide = max(map(len, described)) + 2
    for name, description in described.items():
        first, *rest = folded(f"{name:{wide}}{description}", indent=wide)
        console.print(f"[bold]{name}[/bold]{escape(first[len(name) :])}")
        print_lines(rest)
    console.print("")
    for said in folded("recurra show PRESET prints its settings, recurra train PRESET runs it."):
        console.print(f"[dim]{said}")


def show(
    preset: Preset,
    json: Json = False,
) -> None:
    """Print every setting of a preset: its value, and what it means."""
    from rich.markup import escape

    from recurra.learning.config import fields, settings
    from recurra.run.presets import PRESETS
    from recurra.run.presets import preset as make

    config = make(preset)
    if json:
        print_json(config.model_dump(mode="json"))
        return
    values = settings(config)
    console = open_console()
    for paragraph in _documentation(PRESETS[preset]).split("\n\n"):
        print_lines([*folded(paragraph, most=100), ""])
    described = {name: field.description or "" for name, field in fields(type(config))}
    if width() >= _BESIDE:
        console.print(_table(values, described))
    else:
        for name, what in described.items():
            console.print(f"[bold]{name}[/bold]  {escape(_value(values[name]))}")
            print_lines(folded(f"    {what}", indent=4))
    console.print(
        "\n[dim]Change one with --set, as recurra train "
        f"{preset} --set {next(reversed(values))}=VALUE"
    )


def _table(values: Mapping[str, Any], described: Mapping[str, str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    section = ""
    for name, what in described.items():
        if section != (section := name.rpartition(".")[0]):
            table.add_row()
        table.add_row(f"[bold]{name}[/bold]", escape(_value(values[name])), f"[dim]{what}")
    return table


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items()) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _first_line(function: Any) -> str:
    return _documentation(function).partition("\n")[0]


def _documentation(function: Any) -> str:
    import inspect

    said = inspect.getdoc(function) or "(not described)"
    return said.partition("\n\nArgs:")[0]
