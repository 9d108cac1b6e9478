"""All pages of the site, by place: what the repository says, and what follows from its tables."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from commands import commands, group
from notebooks import notebook
from reference import contents, places, reference

__all__ = ["pages"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = (
    "tutorial",
    "tutorial.zh",
    "cells",
    "text",
    "series",
    "research",
    "torch",
    "trust",
    "house",
)
"""The order in which one reads them; what is not named here comes after."""
ROOTS = {"README": "index", "CONTRIBUTING": "contributing", "SECURITY": "security"}
ROOTS |= {"CHANGELOG": "changelog"}

FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s#]+)((?:#[^)\s]*)?)\)")
NAMED = re.compile(r"(?<![\[`])`(?:rc\.(\w+)|([A-Z]\w+))(?:\([^`]*\))?`(?!`)")
COMMAND = re.compile(r"(?<![\[`])`recurra ([a-z]+)[^`]*`(?!`)")


def pages() -> Iterator[tuple[str, str | bytes]]:
    """Yield place and content of everything that the site is built from."""
    yield from reference()
    yield from commands()
    yield from examples()
    for place in sorted(DOCS.rglob("*.md")):
        yield place.relative_to(DOCS).as_posix(), told(place)
    for name in ROOTS:
        yield f"{ROOTS[name]}.md", told(ROOT / f"{name}.md")
    for place in (DOCS / "guide").glob("*.md"):
        yield f"guide/{place.stem}.ipynb", notebook(place)
    yield "guide/index.md", "# Guide\n\n" + _titles("guide", guide()) + contents(guide())
    decisions = sorted(place.stem for place in (DOCS / "decisions").glob("*.md"))
    title = "# Decisions\n\nWhy it is built so, oldest first.\n\n"
    yield "decisions/index.md", title + _titles("decisions", decisions) + contents(decisions)
    for place, target in linked_files().items():
        yield target, place.read_bytes()


def guide() -> list[str]:
    """Return the names of the guide's pages in the order in which one reads them."""
    there = sorted(place.stem for place in (DOCS / "guide").glob("*.md"))
    return sorted(there, key=lambda name: GUIDE.index(name) if name in GUIDE else len(GUIDE))


def examples() -> Iterator[tuple[str, str]]:
    """Yield a page for every example, and one of all."""
    rows = []
    for place in sorted((ROOT / "examples").glob("*.py")):
        source = place.read_text()
        said = ast.get_docstring(ast.parse(source)) or ""
        name = place.name
        rows.append(f"| [`{name}`]({place.stem}.md) | {said.partition(chr(10) * 2)[0]} |")
        text = (
            f"# {name}\n\n{linked(said, f'examples/{place.stem}.md')}\n\n```python\n{source}```\n"
        )
        yield f"examples/{place.stem}.md", text
    table = "\n".join(
        ["| program | what it does |", "|---|---|", *(r.replace("\n", " ") for r in rows)]
    )
    names = [place.stem for place in sorted((ROOT / "examples").glob("*.py"))]
    title = "# Examples\n\nPrograms of under sixty lines, run by the tests.\n\n"
    yield "examples/index.md", f"{title}{table}\n\n{contents(names)}"


def told(place: Path) -> str:
    """Return a page of the repository as the site has it: its links lead to pages of the site.

    Args:
        place: of the page.
    """
    target = target_of(place)
    said = linked(place.read_text(), target, place.parent)
    if place.parent == DOCS / "guide":
        head, _, rest = said.partition("\n")
        said = f"{head}\n\n[As a notebook]({place.stem}.ipynb), with these outputs.\n{rest}"
    return said + (home() if target == "index.md" else "")


def home() -> str:
    """Return what hangs all pages below the first one."""
    parts = {
        "Learn": ["guide/index", "examples/index"],
        "Look up": ["reference/index", "command/index", "checkpoint-format"],
        "Judge": ["results", "LOG", "decisions/index"],
        "Take part": ["contributing", "security", "changelog"],
    }
    trees = [
        contents(names).replace(":hidden:", f":hidden:\n:caption: {title}")
        for title, names in parts.items()
    ]
    return "\n" + "\n".join(trees)


def linked(said: str, target: str, folder: Path = ROOT) -> str:
    """Return Markdown whose links lead to pages of the site, and whose names and commands do too.

    Args:
        said: as it stands in the repository.
        target: its place in the site.
        folder: where it stands in the repository.
    """
    parts = FENCE.split(said)
    for number in range(0, len(parts), 2):
        parts[number] = LINK.sub(lambda found: _followed(found, target, folder), parts[number])
        parts[number] = NAMED.sub(lambda found: _named(found, target), parts[number])
        parts[number] = COMMAND.sub(lambda found: _commanded(found, target), parts[number])
    return "".join(parts)


def target_of(place: Path) -> str:
    """Return the place in the site of a file of the repository.

    Args:
        place: of the file, or of the folder of examples.
    """
    if place == ROOT / "examples":
        return "examples/index.md"
    inner = place.relative_to(ROOT)
    if inner.parts[0] == "examples":
        return inner.with_suffix(".md").as_posix()
    if inner.parts[0] == "docs":
        return inner.relative_to("docs").as_posix()
    return f"{ROOTS[inner.stem]}.md" if inner.stem in ROOTS else f"files/{inner.as_posix()}"


@cache
def linked_files() -> dict[Path, str]:
    """Return the files that pages link to or show and that are no pages, with their places."""
    found: dict[Path, str] = {}
    for page in [*DOCS.rglob("*.md"), *(ROOT / f"{name}.md" for name in ROOTS)]:
        for prose in FENCE.split(page.read_text())[::2]:
            for link in LINK.findall(prose):
                place = (page.parent / link[0]).resolve()
                if place.is_file() and not target_of(place).endswith(".md"):
                    found[place] = target_of(place)
    return found


def _titles(folder: str, names: list[str]) -> str:
    """Return a list of pages by their titles."""
    heads = {name: (DOCS / folder / f"{name}.md").read_text().partition("\n")[0] for name in names}
    return "\n".join(f"* [{head.strip('# ')}]({name}.md)" for name, head in heads.items()) + "\n\n"


def _followed(found: re.Match[str], target: str, folder: Path) -> str:
    place = (folder / found[1]).resolve()
    if not place.exists() or not place.is_relative_to(ROOT):
        return found[0]
    return f"]({_from(target, target_of(place))}{found[2]})"


def _named(found: re.Match[str], target: str) -> str:
    place = places().get(found[1] or found[2])
    return found[0] if place in (None, target) else f"[{found[0]}]({_from(target, place)})"


def _commanded(found: re.Match[str], target: str) -> str:
    if found[1] not in group().commands:
        return found[0]
    return f"[{found[0]}]({_from(target, f'command/{found[1]}.md')})"


def _from(page: str, target: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(page))
