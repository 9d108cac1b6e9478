"""`recurra presets` and `recurra show`: what can be run, and with which settings."""

from __future__ import annotations

from typing import Any

from recurra.cli.console import Json, Preset, open_console, print_json

__all__ = ["presets", "show"]


def presets(json: Json = False) -> None:
    """List the runs that have a name."""
    from recurra.run.presets import PRESETS

    described = {name: _first_line(PRESETS[name]) for name in PRESETS}
    if json:
        print_json({"presets": [{"name": n, "description": d} for n, d in described.items()]})
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, description in described.items():
        table.add_row(f"[bold]{name}[/bold]", description)
    console = open_console()
    console.print(table)
    console.print("\n[dim]recurra show PRESET prints its settings, recurra train PRESET runs it.")


def show(
    preset: Preset,
    json: Json = False,
) -> None:
    """Print every setting of a preset: its value, and what it means."""
    from recurra.learning.config import fields, settings
    from recurra.run.presets import PRESETS
    from recurra.run.presets import preset as make

    config = make(preset)
    if json:
        print_json(config.model_dump(mode="json"))
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    values = settings(config)
    section = ""
    for name, field in fields(type(config)):
        if section != (section := name.rpartition(".")[0]):
            table.add_row()
        table.add_row(f"[bold]{name}[/bold]", _value(values[name]), f"[dim]{field.description}")
    console = open_console()
    console.print(f"{_documentation(PRESETS[preset])}\n", markup=False)
    console.print(table)
    console.print(
        "\n[dim]Change one with --set, as recurra train "
        f"{preset} --set {next(reversed(values))}=VALUE"
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _first_line(function: Any) -> str:
    return _documentation(function).partition("\n")[0]


def _documentation(function: Any) -> str:
    import inspect

    return inspect.getdoc(function) or "(not described)"
