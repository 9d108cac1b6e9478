"""The reference: a page for every public name, which autodoc fills, by where it is defined."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from pydantic.fields import FieldInfo

import recurra

__all__ = ["places", "reference"]

GROUPS = {
    "cells": ("Cells", "recurra.nn.cells"),
    "wrappers": ("Wrappers", "recurra.nn.wrappers"),
    "nn": ("Loop, kernels, weights", "recurra.nn"),
    "language": ("Language models", "recurra.language"),
    "series": ("Series", "recurra.series"),
    "labels": ("Labels", "recurra.labels"),
    "learning": ("Training", "recurra.learning"),
    "run": ("Runs", "recurra.run"),
    "estimators": ("scikit-learn", "recurra.estimators"),
    "package": ("The rest", "recurra"),
}
"""Folder -> its title, and where its names are defined; the first that fits takes a name."""


@cache
def owners() -> dict[str, str]:
    """Return name -> the module that defines it, in the order of the stub."""
    stub = Path(recurra.__file__).with_suffix(".pyi").read_text()
    listed = re.findall(r"^from (\S+) import (\w+) as \w+$", stub, re.M)
    return {name: module for module, name in listed} | {"__version__": "recurra"}


@cache
def places() -> dict[str, str]:
    """Return name -> the place of its page in the site."""
    return {
        name: f"reference/{_group(module)}/{name}.md" for name, module in sorted(owners().items())
    }


def reference() -> Iterator[tuple[str, str]]:
    """Yield the place and the Markdown of every page of the reference."""
    by_group: dict[str, list[str]] = {folder: [] for folder in GROUPS}
    for name, place in places().items():
        by_group[place.split("/")[1]].append(name)
        yield place, page(name)
    for folder, names in by_group.items():
        rows = [f"| [`{name}`]({name}.md) | {summary(name)} |" for name in names]
        table = "\n".join(["| name | what it is |", "|---|---|", *rows])
        yield (
            f"reference/{folder}/index.md",
            f"# {GROUPS[folder][0]}\n\n{table}\n\n{contents(names)}",
        )
    inner = [f"{folder}/index" for folder in GROUPS]
    lines = [f"* [{GROUPS[f][0]}]({f}/index.md): {_some(names)}" for f, names in by_group.items()]
    title = "# Python\n\nEvery public name, as `import recurra as rc` gives it.\n\n"
    yield "reference/index.md", title + "\n".join(lines) + "\n\n" + contents(inner)


def page(name: str) -> str:
    """Return the page of a public name.

    Args:
        name: such as `LSTMCell`.
    """
    thing = getattr(recurra, name)
    parts = [f"# {name}"]
    if inspect.isclass(thing):
        parts += [_directive("autoclass", name, "members:"), *_of_class(name, thing)]
    elif isinstance(thing, ModuleType):
        parts.append(_directive("automodule", name, "members:"))
    elif inspect.isroutine(thing):
        parts.append(_directive("autofunction", name))
    else:
        said = summary(name)
        parts.append(f"```{{py:data}} recurra.{name}\n{said}\n```")
    return "\n\n".join(parts) + "\n"


def summary(name: str) -> str:
    """Return in one line what a public name is.

    Args:
        name: such as `LSTMCell`.
    """
    thing = getattr(recurra, name)
    if inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, ModuleType):
        return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").replace("|", r"\|")
    return _said_below(name) or f"`{thing}`"


def contents(names: list[str]) -> str:
    """Return what hangs pages below one, in the list at the side.

    Args:
        names: of the pages, beside that one.
    """
    return "```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"


def _group(module: str) -> str:
    """Return the folder of what a module defines."""
    for folder, (_, start) in GROUPS.items():
        if f"{module}.".startswith(f"{start}."):
            return folder
    raise LookupError(module)


def _some(names: list[str]) -> str:
    """Return links to all of a group."""
    return ", ".join(f"[`{name}`]({places()[name].removeprefix('reference/')})" for name in names)


def _directive(kind: str, name: str, *options: str) -> str:
    inner = "".join(f"\n   :{option}" for option in options)
    return f"```{{eval-rst}}\n.. {kind}:: recurra.{name}{inner}\n```"


def _of_class(name: str, thing: type) -> Iterator[str]:
    """Yield what is said of a class beside its docstring: its key, state, settings and bases."""
    for key in (k for k in recurra.CELLS if recurra.CELLS.places[k].endswith(f":{name}")):
        yield f'By name it is `rc.CELLS["{key}"]`.'
    state = getattr(thing, "state_type", None)
    if inspect.isclass(state) and getattr(recurra, state.__name__, None) is state:
        yield f"## Its state\n\n{_directive('autoclass', state.__name__)}"
    if fields := getattr(thing, "model_fields", None):
        head = ["## Its settings", "", "| name | default | what it is |", "|---|---|---|"]
        yield "\n".join([*head, *(_row(field, about) for field, about in fields.items())])
    bases = [each.__name__ for each in thing.__mro__[1:]]
    if bases := [each for each in bases if each in owners()]:
        links = " and ".join(f"[`{each}`](/{places()[each]})" for each in bases)
        yield f"What else it does is said of {links}."


def _row(name: str, field: FieldInfo) -> str:
    """Return the row of a setting."""
    default = "" if field.is_required() else f"`{field.default!r}`"
    said = (field.description or "").replace("|", r"\|")
    return f"| `{name}` | {default} | {said} |"


def _said_below(name: str) -> str:
    """Return what stands below a name's assignment in the module that defines it."""
    source = inspect.getsource(importlib.import_module(owners()[name]))
    body = ast.parse(source).body
    for before, after in pairwise(body):
        if isinstance(before, (ast.Assign, ast.AnnAssign)) and isinstance(after, ast.Expr):
            target = before.targets[0] if isinstance(before, ast.Assign) else before.target
            if getattr(target, "id", None) == name and isinstance(after.value, ast.Constant):
                return str(after.value.value).replace("\n", " ")
    return ""
