"""Where the command line writes: one JSON object on stdout, or text to read."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from recurra.table import nearest

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "AllowChangedSource",
    "AllowImport",
    "Json",
    "Lines",
    "Preset",
    "Run",
    "existing",
    "folded",
    "open_console",
    "presets_like",
    "print_json",
    "print_lines",
    "print_text",
    "printable",
    "say",
    "saying_what_compiles",
    "width",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Lines = Annotated[bool, typer.Option("--json", help="Print a JSON object a line on stdout.")]
_PIPED_WIDTH = 200
_REORDERING = r"\u202a-\u202e\u2066-\u2069"  # shows what follows in another order
_CONTROL = re.compile(rf"[\x00-\x1f\x7f-\x9f{_REORDERING}]")
_CONTROL_IN_JSON = re.compile(rf"[\x7f-\x9f{_REORDERING}]")

AllowImport = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-import",
        metavar="MODULE:NAME",
        help="Let a run or model use this class of someone's own; that one alone.",
    ),
]


def _allow_changes(context: typer.Context, value: bool) -> bool:
    from recurra.storage.sources import changed_source_allowed

    context.with_resource(changed_source_allowed(value))
    return value


AllowChangedSource = Annotated[
    bool,
    typer.Option(
        "--allow-changed-source",
        callback=_allow_changes,
        help="Go on where one's own code is not what the run was trained with; says what changed.",
    ),
]

Given = TypeVar("Given", bound="str | Path | list[Path] | None")


def printable(text: str, keep: str = "") -> str:
    """Return text that tells a terminal nothing but what to show.

    Args:
        text: anything, as a name out of a stranger's file.
        keep: control characters that stay, as line breaks.

    Example:
        >>> printable("\\x1b[2Jcat\\n")
        '\ufffd[2Jcat\ufffd'
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else "\ufffd", text)


def width() -> int:
    """Return how many columns there are to print in: as `COLUMNS` says, else the terminal's."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED_WIDTH


def folded(text: str, indent: int = 0, most: int = _PIPED_WIDTH) -> list[str]:
    """Return a text as lines that fit; what cannot be broken, as a path, stays whole.

    Args:
        text: of one line.
        indent: of the lines after the first.
        most: columns that are used where there are more.

    Example:
        >>> folded("a  word and another", indent=3, most=12)
        ['a  word and', '   another']
    """
    return textwrap.wrap(
        text,
        min(most, width()),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def open_console(*, json: bool = False) -> Console:
    """Return where to write text: stdout, or stderr when stdout is for JSON.

    What is printed is safe for a terminal; a line that is wider stays one, which can be pasted.

    Args:
        json: whether stdout is for JSON.
    """
    known = (sys.stderr if json else sys.stdout).isatty() or "COLUMNS" in os.environ
    made: Console = _console_class()(
        stderr=json, width=None if known else _PIPED_WIDTH, highlight=False, emoji=False
    )
    return made


def _console_class() -> Any:
    from rich.console import Console

    class Safe(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            text = all(isinstance(each, str) for each in objects)
            # a bar that is being drawn needs lines that fit
            how = {"soft_wrap": text and not self._render_hooks} | how
            safe = (printable(o, "\n\t") if isinstance(o, str) else o for o in objects)
            super().print(*safe, **how)

    return Safe


def print_text(text: str, end: str = "\n") -> None:
    """Write text to stdout at once, safe for a terminal.

    Args:
        text: what to write; line breaks and tabs in it stay.
        end: what follows.
    """
    sys.stdout.write(printable(text, "\n\t") + end)
    sys.stdout.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout, whatever looks like markup in them as it is.

    Args:
        lines: of text.
    """
    console = open_console()
    for line in lines:
        console.print(line, markup=False)


def print_json(value: object, *, line: bool = False) -> None:
    """Write one JSON value to stdout, in UTF-8; non-finite numbers become null.

    Args:
        value: mappings, sequences, strings, numbers, booleans and None, nested.
        line: in one line, not indented.
    """
    from recurra.storage.files import json_bytes

    # JSON lets stand as they are what some terminals take for the beginning of a command
    text = _CONTROL_IN_JSON.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json_bytes(value, line=line).decode()
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())


def say(message: str) -> None:
    """Write one line to stderr, if that can be.

    Args:
        message: what to say; line breaks in it become spaces.
    """
    with suppress(OSError, ValueError):  # a full disk or a closed terminal ends no command
        sys.stderr.write(printable(" ".join(message.split())) + "\n")
        sys.stderr.flush()


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
        help="A run, or a model; a file of n-grams in ARPA's form too.",
    ),
]
