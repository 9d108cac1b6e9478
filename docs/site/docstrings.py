"""Docstrings of the house as reStructuredText, which Sphinx reads.

They are Markdown but for their sections: one line of what it is, paragraphs, equations that stand
indented, lists, then `Shapes:`, `Args:`, `Source:` and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from equations import in_latex

__all__ = ["in_rst"]

FIELD = re.compile(r"^(Shapes|Source|Differs): ")
SECTION = re.compile(r"(Args|Raises|Returns|Yields|Attributes|Example|Examples):$")
CODE = re.compile(r"(``[^`]+``|`[^`]+`)")


def in_rst(docstring: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText with sections that napoleon reads.

    Args:
        docstring: its lines, without the indentation that all have.

    Example:
        >>> in_rst(["One *of* many.", "", "Source: Elman 1990,", "    p. 3."])
        ['One \\\\*of\\\\* many.', '', ':Source: Elman 1990,', '    p. 3.']
    """
    made: list[str] = []
    section = ""
    for blank, block in groupby(docstring, key=lambda line: not line.strip()):
        lines = list(block)
        if blank:
            made.append("")
            continue
        head = SECTION.match(lines[0])
        if head or not lines[0].startswith(" "):
            section = head[1] if head else ""
        made.extend(_block(lines, section))
    return made


def _block(lines: list[str], section: str) -> Iterator[str]:
    """Yield what stands between two empty lines."""
    if section.startswith("Example") or lines[0].lstrip().startswith(">>>"):
        yield from lines
    elif section:
        yield from _escaped(lines)
    elif lines[0].startswith("    "):
        yield from _apart(lines)
    else:
        yield from _listed([FIELD.sub(r":\1: ", line) for line in _escaped(lines)])


def _apart(lines: list[str]) -> Iterator[str]:
    """Yield equations to be typeset; what is none as it is written."""
    latex = in_latex(lines)
    yield from (".. math::", "") if latex else ("::", "")
    yield from [f"   {latex}"] if latex else lines


def _listed(lines: list[str]) -> Iterator[str]:
    """Yield a paragraph; the points of a list stand apart from what is before them."""
    for number, line in enumerate(lines):
        point = line.startswith(("* ", "- ", r"\* "))
        if number and point and not lines[number - 1].startswith((" ", "* ", "- ", r"\* ")):
            yield ""
        yield re.sub(r"^\\\* ", "* ", line)


def _escaped(lines: list[str]) -> list[str]:
    """Return lines whose signs mean nothing to the reader, but for the marks of code."""
    parts = CODE.split("\n".join(lines))
    plain = [re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
    code = [part.replace("\\", "\\\\") if part[1] != "`" else part for part in parts[1::2]]
    return "".join(a + b for a, b in zip(plain, [*code, ""])).split("\n")
