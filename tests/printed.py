"""What the documentation prints: found, produced again, and compared.

A block that begins with ```console holds commands, each after a `$`, and what they print. The
tests carry them out. One that takes long stands under a comment that names when it was recorded and
where that lies: `<!-- recorded 2026-11-30: docs/printed/NAME.txt -->`, with the command in its
first line; a line `...` of a page stands for lines that it leaves out. `python tests/printed.py`
records all of them again.
"""

from __future__ import annotations

import datetime
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COLUMNS = "96"

_BLOCK = re.compile(
    r"(?:<!-- recorded (?P<date>\S+): (?P<file>\S+) -->\n)?```console\n(?P<text>.*?)```", re.S
)
_SAID = re.compile(r"^(print\(.*\)\n)((?:# .*\n?)+)", re.M)
_DIFFERS = (
    (re.compile(r"\d[\d,.]* s\b"), "# s"),
    (re.compile(r"[\d,.]+ (\w+)/s"), r"# \1/s"),
    (re.compile(r" {2,}"), "  "),
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        page: where it stands.
        text: commands, each after a `$`, and what they print.
        file: where what takes long was recorded, and when; None of what the tests carry out.
        date: the same.
    """

    page: Path
    text: str
    file: Path | None = None
    date: str | None = None

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Every command with what it prints."""
        parts = re.split(r"^\$ (.*)\n", self.text, flags=re.M)
        return list(zip(parts[1::2], parts[2::2]))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page that print something.

    Args:
        page: Markdown.
    """
    for found in _BLOCK.finditer(page.read_text()):
        file = found["file"]
        yield Block(page, found["text"], ROOT / file if file else None, found["date"])


def said(block: str) -> str:
    """Return what a block of Python says it prints: the comments right after each print.

    Args:
        block: its text.

    Example:
        >>> said("print(2)\\n# 2\\n")
        '2\\n'
    """
    return "".join(re.sub(r"^# ", "", lines, flags=re.M) for _, lines in _SAID.findall(block))


def without_said(block: str) -> str:
    """Return a block of Python without what it says it prints.

    Args:
        block: its text.
    """
    return _SAID.sub(r"\1", block)


def masked(text: str) -> str:
    """Return a text without what differs each time: seconds, and what is done in one.

    Args:
        text: printed.
    """
    for pattern, mark in _DIFFERS:
        text = pattern.sub(mark, text)
    return text.strip()


def printed(command: str, folder: Path) -> str:
    """Return what a command prints to stdout.

    Args:
        command: as one types it, beginning with `recurra`.
        folder: where.
    """
    words = [sys.executable, "-m", *command.split()]
    environment = os.environ | {"COLUMNS": COLUMNS, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        words, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def python(page: Path) -> list[str]:
    """Return the blocks of Python on a page.

    Args:
        page: Markdown.
    """
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


def agree(one: str, other: str) -> bool:
    """Return whether two texts are the same but for the last digits of what they tell.

    Another processor rounds otherwise, and a training carries that on.

    Args:
        one: printed.
        other: printed elsewhere.
    """
    words = [_NUMBER.sub("#", text).split() for text in (one, other)]
    numbers = [[float(each) for each in _NUMBER.findall(text)] for text in (one, other)]
    return words[0] == words[1] and all(
        math.isclose(a, b, rel_tol=0.05) for a, b in zip(*numbers, strict=True)
    )


@cache  # as pages in two languages show the same
def recorded(commands: tuple[str, ...]) -> str:
    """Return what commands print one after another in an empty folder, each below itself.

    Args:
        commands: as one types them, each beginning with `recurra`.
    """
    with tempfile.TemporaryDirectory() as folder:
        steps = [(command, printed(command, Path(folder))) for command in commands]
    return "".join(f"$ {command}\n{out}" for command, out in steps)


def shown(whole: str, page: str) -> str:
    """Return what a page shows of what was recorded: all of it, or its pieces between `...`.

    Args:
        whole: what was recorded.
        page: what the page shows; a piece is found by its first word, and as many lines are taken.

    Example:
        >>> shown("a 1\\nb 2\\nc 3\\nd 4\\ne 5\\n", "a 0\\n...\\nc 0\\nd 0\\n...\\n")
        'a 1\\n...\\nc 3\\nd 4\\n...\\n'
    """
    lines, at, taken = whole.splitlines(keepends=True), 0, list[str]()
    pieces = re.split(r"^\.\.\.\n", page, flags=re.M)
    if len(pieces) == 1:
        return whole
    for number, piece in enumerate(pieces):
        taken += ["...\n"] * (number > 0)
        first, count = piece.split()[:1], piece.count("\n")
        at = next((n for n in range(at, len(lines)) if lines[n].split()[:1] == first), at)
        taken += lines[at : at + count]
        at += count
    return "".join(taken)


def record(page: Path) -> None:
    """Carry out every command of a page again, and write what it prints.

    Args:
        page: Markdown.
    """
    text = page.read_text()
    for block in blocks(page):
        fresh = recorded(tuple(command for command, _ in block.steps))
        text = text.replace(block.text, shown(fresh, block.text))
        if block.file is not None:
            block.file.write_text(fresh)
            today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
            name = block.file.relative_to(ROOT)
            text = text.replace(f"recorded {block.date}: {name}", f"recorded {today}: {name}")
    page.write_text(text)


if __name__ == "__main__":
    for each in PAGES:
        record(each)
