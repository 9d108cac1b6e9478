"""What is said of words that a command does not take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer

from recurra.cli.console import folded, print_json, print_lines

__all__ = ["list_commands", "said_of"]


def said_of(error: Any, words: Sequence[str]) -> str:
    """Return in a line what is wrong with a command, and what to write in its place.

    Args:
        error: as the parser of commands raised it.
        words: of the command.
    """
    return _as_setting(error, words) or _in_words(error) or str(error.format_message())


def list_commands(context: typer.Context, *, json: bool, title: str) -> None:
    """Print what a group of commands offers, where it was given alone.

    Args:
        context: of the group.
        json: as one JSON object.
        title: what they are called in it.
    """
    if context.invoked_subcommand is not None:
        return
    group: Any = context.command
    helps = {name: (command.help or "") for name, command in group.commands.items()}
    described = {name: text.partition("\n")[0].partition("\f")[0] for name, text in helps.items()}
    if json:
        print_json({title: [{"name": n, "description": d} for n, d in described.items()]})
        return
    wide = max(map(len, described)) + 2
    for name, description in described.items():
        print_lines(folded(f"{name:{wide}}{description}", indent=wide))
    print_lines(["", *folded(f"{context.command_path} NAME carries one out; --help says more.")])


def _in_words(error: Any) -> str | None:
    """Return what an option or argument must be, where what was given is none of it."""
    from pydantic import ValidationError

    refused = error.__cause__
    if not isinstance(refused, ValidationError) or getattr(error, "param", None) is None:
        return None
    from recurra.learning.written import wanted

    first = refused.errors(include_url=False)[0]
    param = error.param
    name = param.opts[0] if param.param_type_name == "option" else param.make_metavar(error.ctx)
    return f"{name} is {first['input']!r:.80}, but must be {wanted(first)}"


def _as_setting(error: Any, words: Sequence[str]) -> str | None:
    """Return what to write where one that trains was given a setting as if it were an option."""
    option = getattr(error, "option_name", None)
    if not option or error.ctx.info_name not in ("train", "sweep"):
        return None
    from recurra.learning.config import nearest_setting, settings
    from recurra.run.presets import PRESETS, preset
    from recurra.table import called

    chosen = next((word for word in words if word in list(PRESETS)), "docstrings")
    name = option.lstrip("-").replace("-", "_")
    known = [key for key in settings(preset(chosen)) if "." in key]
    found = nearest_setting(name, known)
    if found is None or (error.possibilities and called(name, [found.rpartition(".")[2]]) is None):
        return None  # an option is nearer
    for word, after in pairwise([*words, "VALUE"]):
        given, _, value = word.partition("=")
        if given == option:
            return f"No such option: {option}; give --set {found}={value or after}"
    return None
