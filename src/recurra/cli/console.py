"""Where the command line writes: one JSON object on stdout, or text to read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from recurra.table import nearest

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Json",
    "Lines",
    "Preset",
    "Run",
    "existing",
    "open_console",
    "presets_like",
    "print_json",
    "print_lines",
    "say",
    "saying_what_compiles",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Lines = Annotated[bool, typer.Option("--json", help="Print a JSON object a line on stdout.")]
_PIPED_WIDTH = 200

Given = TypeVar("Given", bound="str | Path | list[Path] | None")


def open_console(*, json: bool = False) -> Console:
    """Return where to write text: stdout, or stderr when stdout is for JSON.

    Args:
        json: whether stdout is for JSON.
    """
    from rich.console import Console

    terminal = (sys.stderr if json else sys.stdout).isatty()
    return Console(
        stderr=json, width=None if terminal else _PIPED_WIDTH, highlight=False, emoji=False
    )


def print_lines(lines: Iterable[str], *, soft_wrap: bool = False) -> None:
    """Write lines to stdout, whatever looks like markup in them as it is.

    Args:
        lines: of text.
        soft_wrap: leave those wider than the terminal to it.
    """
    console = open_console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=soft_wrap)


def print_json(value: object, *, line: bool = False) -> None:
    """Write one JSON value to stdout, in UTF-8; non-finite numbers become null.

    Args:
        value: mappings, sequences, strings, numbers, booleans and None, nested.
        line: in one line, not indented.
    """
    from recurra.storage.files import json_bytes

    sys.stdout.flush()
    sys.stdout.buffer.write(json_bytes(value, line=line))


def say(message: str) -> None:
    """Write one line to stderr.

    Args:
        message: what to say; line breaks in it become spaces.
    """
    sys.stderr.write(" ".join(message.split()) + "\n")


@contextmanager
def saying_what_compiles() -> Iterator[None]:
    """Say once on stderr that kernels are being compiled, should any be: it takes a while."""
    import logging  # help does without

    log = logging.getLogger("recurra.nn.kernels.compiler.kept")

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno > logging.INFO:
                say(record.getMessage())
                return
            log.removeHandler(self)
            say("compiling kernels for this processor, once: some seconds")

    once, level = Once(), log.level
    log.addHandler(once)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(once)
        log.setLevel(level)


def presets_like(incomplete: str) -> list[str]:
    """Return the presets that a word may become, for the shell's completion.

    Args:
        incomplete: its beginning.
    """
    from recurra.run.presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


Preset = Annotated[
    str,
    typer.Argument(
        metavar="PRESET", help="A name from recurra presets.", autocompletion=presets_like
    ),
]


def existing(given: Given) -> Given:
    """Return what was given, unless it is a path that leads nowhere, or some of them do.

    Args:
        given: a path, or a name that may be one, or several.

    Raises:
        BadParameter: nothing is there; says the nearest name beside it.
    """
    for each in given if isinstance(given, list) else [given]:
        _require(each)
    return given


def _require(given: str | Path | None) -> None:
    path = Path(given or ".")
    is_path = isinstance(given, Path) or path.suffix or len(path.parts) > 1
    if is_path and ":" not in path.name and not path.exists():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise typer.BadParameter(f"{given} is not there.{nearest(path.name, beside)}")


Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        callback=existing,
        help="A run, or a model; n-grams in .arpa too.",
    ),
]
