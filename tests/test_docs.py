"""What the documentation says is so: arguments, examples, commands."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from typer.testing import CliRunner

import recurra
from recurra.nn.cells import CELLS
from recurra.nn.wrappers import WRAPPERS

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
printed = importlib.import_module("printed")
tables = importlib.import_module("tables")
README = (ROOT / "README.md").read_text()
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(recurra.__path__, "recurra.")
    if not found.name.endswith("__main__")
)
SECTION = re.compile(r"^(Args|Shapes|Raises|Source|Differs|Example|Yields|Returns)\b.*", re.M)


def sections(docstring: str) -> dict[str, str]:
    """A docstring's sections by name, without their headings."""
    parts = SECTION.split(inspect.cleandoc(docstring))
    return dict(zip(parts[1::2], parts[2::2]))


def described(docstring: str) -> list[str] | None:
    """The names in a docstring's Args; None where there is no such section."""
    args = sections(docstring).get("Args")
    return None if args is None else re.findall(r"^    (\w+):", args, re.M)


def taken(function: FunctionType | type) -> list[str]:
    """The names a function or class takes."""
    names = inspect.signature(function).parameters
    return [name for name in names if name not in ("self", "cls")]


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The functions and classes that a module defines without an underscore."""
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
            yield name, thing


def is_protocol(thing: object) -> bool:
    return getattr(thing, "_is_protocol", False)


def methods(kind: type) -> Iterator[tuple[str, FunctionType]]:
    """The public methods that a class brings in, not those it overrides or a protocol describes."""
    protocols = [thing for _, thing in public(inspect.getmodule(kind)) if is_protocol(thing)]
    for name, thing in vars(kind).items():
        function = getattr(thing, "__func__", thing)
        inherited = any(name in vars(base) for base in [*kind.__mro__[1:], *protocols])
        if isinstance(function, FunctionType) and not name.startswith("_") and not inherited:
            yield name, function


def faults(module: ModuleType) -> Iterator[str]:
    """What a module's docstrings leave out or get wrong."""
    for name, thing in public(module):
        if isinstance(thing, FunctionType):
            yield from wrong_args(name, thing, required=True)
        elif isinstance(thing, type) and not is_protocol(thing):
            if not thing.__doc__:
                yield f"{name} has no docstring"
            elif "__init__" in vars(thing) and not issubclass(thing, tuple):
                yield from wrong_args(name, thing, required=False)
            for method, function in methods(thing):
                yield from wrong_args(f"{name}.{method}", function, required=True)


def wrong_args(name: str, thing: FunctionType | type, required: bool) -> Iterator[str]:
    said = described(thing.__doc__ or "")
    if said is None and not required:
        return
    if (said or []) != taken(thing):
        yield f"{name} takes {taken(thing)}, but its Args say {said}"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("recurra.cli")])
def test_args_are_those_of_the_signature(name):
    assert list(faults(importlib.import_module(name))) == []


def test_a_wrong_docstring_is_noticed():
    module = ModuleType("wrong")

    def renamed(size: int) -> None:
        """Do it.

        Args:
            width: as it was called before.
        """

    def silent(size: int) -> None:
        """Do it."""

    for function in (renamed, silent):
        function.__module__ = "wrong"
        setattr(module, function.__name__, function)
    assert list(faults(module)) == [
        "renamed takes ['size'], but its Args say ['width']",
        "silent takes ['size'], but its Args say None",
    ]


def kernels() -> list[object]:
    package = importlib.import_module("recurra.nn.kernels")
    return [
        thing
        for found in pkgutil.walk_packages(package.__path__, "recurra.nn.kernels.")
        for name, thing in public(importlib.import_module(found.name))
        if isinstance(thing, FunctionType)
        and "Tensor" in str(inspect.signature(thing).return_annotation)
    ]


@pytest.mark.parametrize(
    "thing",
    [*(CELLS[name] for name in CELLS), *(WRAPPERS[name] for name in WRAPPERS), *kernels()],
    ids=lambda thing: thing.__name__,
)
def test_cells_wrappers_and_kernels_say_shapes_source_and_example(thing):
    said = sections(thing.__doc__)
    assert {"Shapes", "Source", "Example"} <= set(said)
    assert ">>>" in said["Example"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0


def test_the_readme_names_every_command():
    from recurra.cli import app

    command = re.compile(r"^\s*[│|]?\s*(\w+) {2,}\S", re.M)
    text = CliRunner().invoke(app, ["--help"]).output.partition("Commands")[2]
    offered = set(command.findall(text))
    named = set(re.findall(r"^\| `recurra (\w+)", README, re.M))
    assert named == offered and "train" in offered


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "guide").glob("*.md")), ids=lambda p: p.stem
)
def test_the_guide_s_python_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in printed.python(page):
        capsys.readouterr()
        exec(compile(block, page.name, "exec"), names)
        if said := printed.said(block):
            assert capsys.readouterr().out == said


def test_the_guide_s_table_of_transforms_is_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    measured = json.loads((ROOT / "benchmarks" / "results" / "transforms.json").read_text())
    table = importlib.import_module("transforms").table(measured)
    page = (ROOT / "docs" / "guide" / "torch.md").read_text()
    assert table in page, f"docs/guide/torch.md has another table than:\n{table}"
    assert f"torch {measured['machine']['torch']}, {measured['machine']['date']}" in page


PRINTED = [block for page in printed.PAGES for block in printed.blocks(page)]
# a block that stands on pages of two languages runs once
ONCE = list({(block.text, block.file): block for block in PRINTED}.values())


@pytest.mark.parametrize("block", ONCE, ids=lambda block: block.steps[0][0])
def test_what_a_page_prints_is_what_the_command_prints(block, recurra_in, monkeypatch):
    monkeypatch.setenv("COLUMNS", printed.COLUMNS)
    if block.file is not None:
        fresh = printed.shown(block.file.read_text(), block.text)
        assert block.text == fresh, "python tests/printed.py records it again"
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", block.date)
        return
    for command, said in block.steps:
        words = command.split()
        assert words[0] == "recurra"
        assert printed.masked(recurra_in(words[1:])) == printed.masked(said)


@pytest.fixture
def recurra_in(capsys, tmp_path, monkeypatch):
    """Carries out a command in an empty folder, and returns what it prints."""
    from recurra.cli import main

    monkeypatch.chdir(tmp_path)

    def carry_out(words):
        capsys.readouterr()
        assert main(words) == 0
        return capsys.readouterr().out

    return carry_out


def test_a_page_may_leave_lines_out():
    whole = "a 1\nb 2\nc 3\nd 4\ne 5\n"
    assert printed.shown(whole, "a 0\n") == whole
    assert printed.shown(whole, "a 0\n...\nc 0\nd 0\n...\n") == "a 1\n...\nc 3\nd 4\n...\n"


def code(page: str) -> tuple[list[str], list[str]]:
    """Return a page's Python without its comments, and its commands with what they print."""
    place = ROOT / "docs" / "guide" / page
    said = re.findall(r"```console\n(.*?)```", place.read_text(), re.S)
    python = printed.python(place)
    return [ast.dump(ast.parse(block)) + printed.said(block) for block in python], said


def test_the_tutorial_is_the_same_in_both_languages():
    assert code("tutorial.md") == code("tutorial.zh.md")


def test_the_pages_print_something():
    assert {block.file is None for block in PRINTED} == {True, False}
    assert printed.masked("took  9.4 s (1,234.5 windows/s)") == "took  # s (# windows/s)"


def test_the_pages_say_what_follows_from_the_tables():
    page, stub = tables.GUIDE.read_text(), tables.STUB.read_text()
    lacking = [each for each in tables.rows() if each not in page.splitlines()]
    lacking += [each for each in tables.public() if each not in stub.splitlines()]
    lacking += [tables.count()] * (tables.count() not in README)
    assert not lacking, "make printed writes what is lacking:\n" + "\n".join(lacking)


def test_make_printed_writes_what_follows_from_the_tables():
    page, stub = tables.GUIDE.read_text(), tables.STUB.read_text()
    assert tables.with_rows(page) == page and tables.with_names(stub) == stub
    cut = [line for line in page.splitlines() if not line.startswith(("### gru", "| `Reset`"))]
    assert sorted(tables.with_rows("\n".join(cut)).splitlines()) == sorted(page.splitlines())
    cut = [line for line in stub.splitlines() if " GRUCell " not in line]
    assert tables.with_names("\n".join(cut)) == stub


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_held_against_its_paper(name):
    place = ROOT / "tests" / "nn" / "cells" / f"test_{name}.py"
    assert place.exists(), (
        f"{place.relative_to(ROOT)} is lacking: hold {name} against its equations, transcribed"
    )
