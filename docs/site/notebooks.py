"""A page of the guide as a notebook, its outputs those that the page shows and the tests hold."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import printed

__all__ = ["notebook", "outputs"]

BLOCK = re.compile(
    r"^(?:<!-- recorded \S+ \S+ -->\n)?```(?P<kind>python|console)\n(?P<text>.*?)^```$", re.M | re.S
)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.png)\)")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)([^)\s]+)\)")


def outputs(page: str) -> list[tuple[str, str]]:
    """Return what each cell of code is, in the order of the page, and what it prints.

    Args:
        page: Markdown.

    Example:
        >>> outputs("```console\\n$ recurra show\\nno\\n```\\n```python\\nprint(2)\\n# 2\\n```\\n")
        [('!recurra show\\n', 'no\\n'), ('print(2)\\n', '2\\n')]
    """
    cells: list[tuple[str, str]] = []
    for found in BLOCK.finditer(page):
        if found["kind"] == "python":
            cells.append((printed.without_said(found["text"]), printed.said(found["text"])))
        else:
            block = printed.Block(Path(), found["text"])
            cells += [(f"!{command}\n", out) for command, out in block.steps]
    return cells


def notebook(place: Path) -> str:
    """Return a page as the text of a notebook.

    Args:
        place: of the page.
    """
    import jupytext

    page = place.read_text()
    cells = outputs(page)
    left = iter(cells)

    def fenced(found: re.Match[str]) -> str:
        number = 1 if found["kind"] == "python" else found["text"].count("\n$ ") + 1
        return "\n\n".join(f"```python\n{next(left)[0]}```" for _ in range(number))

    made = jupytext.reads(BLOCK.sub(fenced, page), fmt="md")
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    for number, (cell, (_, out)) in enumerate(zip(code, cells, strict=True), start=1):
        stream = {"output_type": "stream", "name": "stdout", "text": out}
        cell.execution_count = number
        cell.outputs = [_node(stream)] if out else []
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"  # drawn at random otherwise
        if cell.cell_type == "markdown":
            _carry(cell, place.parent)
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made.metadata = _node({"kernelspec": python})
    return str(jupytext.writes(made, fmt="ipynb"))


def _node(values: dict[str, Any]) -> Any:
    from nbformat import from_dict

    return from_dict(values)


def _carry(cell: Any, folder: Path) -> None:
    """Have a cell hold its pictures, and name no page that does not come with it."""
    for _, name in PICTURE.findall(cell.source):
        data = base64.b64encode((folder / name).read_bytes()).decode()
        held = cell.setdefault("attachments", {})
        held[Path(name).name] = {"image/png": data}
        cell.source = cell.source.replace(f"]({name})", f"](attachment:{Path(name).name})")
    cell.source = LINK.sub(lambda found: _beside(found, folder), cell.source)


def _beside(found: re.Match[str], folder: Path) -> str:
    """Return a link to a page of the guide as one to its notebook; of any other its words."""
    name, _, _ = found[2].partition("#")
    if name.endswith(".md") and (folder / name).parent == folder:
        return f"[{found[1]}]({name.removesuffix('.md')}.ipynb)"
    return found[0] if found[2].startswith(("attachment:", "#")) else found[1]
