"""The site: every public name, command and page is in it, and its notebooks print what pages do."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest

import recurra

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs" / "site"), str(ROOT / "tests")]
commands = importlib.import_module("commands")
docstrings = importlib.import_module("docstrings")
equations = importlib.import_module("equations")
notebooks = importlib.import_module("notebooks")
pages = importlib.import_module("pages")
printed = importlib.import_module("printed")
reference = importlib.import_module("reference")
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))


@pytest.fixture(scope="module")
def names():
    return dict(reference.reference())


@pytest.mark.parametrize("name", recurra.__all__)
def test_every_public_name_has_its_page_and_an_anchor(names, name):
    page = names[reference.places()[name]]
    kinds = "autoclass|autofunction|automodule"
    assert page.startswith(f"# {name}\n")
    assert re.search(rf"^(\.\. ({kinds})::|```{{py:data}}) recurra\.{name}$", page, re.M)


def test_every_page_of_the_reference_hangs_below_another(names):
    hung = {
        f"{place.rpartition('/')[0]}/{line}.md"
        for place, page in names.items()
        for line in page.partition("```{toctree}")[2].splitlines()
        if re.fullmatch(r"[\w/]+", line)
    }
    assert hung == {*names} - {"reference/index.md"}


def test_a_cell_s_page_says_its_key_its_state_and_what_it_inherits(names):
    page = names["reference/cells/LSTMCell.md"]
    assert 'By name it is `rc.CELLS["lstm"]`.' in page
    assert ".. autoclass:: recurra.LSTMState" in page
    assert page.endswith("What else it does is said of [`Cell`](/reference/cells/Cell.md).\n")


def test_the_page_of_settings_says_each_with_its_default(names):
    page = names["reference/learning/TrainOptions.md"]
    assert "| `epochs` | `1.0` | passes over the training data |" in page
    assert {*recurra.TrainOptions.model_fields} <= {*re.findall(r"^\| `(\w+)` ", page, re.M)}


def leaves(group, words=()):
    for name, command in group.commands.items():
        yield (*words, name), command
        if hasattr(command, "commands"):
            yield from leaves(command, (*words, name))


@pytest.fixture(scope="module")
def told():
    return dict(commands.commands())


LEAVES = list(leaves(commands.group()))


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(w) for w, _ in LEAVES])
def test_every_command_has_its_page_with_every_option(told, words, command):
    page = told[f"command/{words[0]}.md"]
    head = f"# `recurra {' '.join(words)}`\n"
    part = re.split(r"^#+ (?=`recurra)", page, flags=re.M)[1:]
    (said,) = [each for each in part if each.startswith(head.removeprefix("# "))]
    for param in command.params:
        option = param.param_type_name == "option"
        shown = param.opts[0] if option else param.metavar or param.name.upper()
        assert param.hidden or f"\n* `{shown}" in said
    assert "```console" not in page  # what has no output recorded is nothing to carry out


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_a_notebook_s_cells_print_what_the_page_says(page):
    text = page.read_text()
    cells = notebooks.outputs(text)
    steps = [step for block in printed.blocks(page) for step in block.steps]
    assert [(code[1:-1], out) for code, out in cells if code.startswith("!")] == steps
    python = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    rest = [cell for cell in cells if not cell[0].startswith("!")]
    assert [out for _, out in rest] == [printed.said(block) for block in python]
    for code, _ in rest:
        assert printed.said(code) == ""


def test_a_notebook_is_valid_and_carries_its_pictures(tmp_path):
    pytest.importorskip("jupytext", reason="the extra `docs` is not installed")
    import nbformat

    (tmp_path / "dot.png").write_bytes((ROOT / "docs" / "cells.png").read_bytes())
    (tmp_path / "other.md").write_text("# Other\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n![a dot](dot.png) and [other](other.md), [far](../far.md)\n\n"
        "```console\n$ recurra presets\nptb\n$ recurra doctor\nwell\n```\n\n"
        "```python\nprint(1 + 1)\n# 2\n```\n\n```\nrecurra train\n```\n"
    )
    made = nbformat.reads(notebooks.notebook(page), as_version=4)
    nbformat.validate(made)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == ["!recurra presets", "!recurra doctor", "print(1 + 1)"]
    assert [cell.outputs[0].text for cell in code] == ["ptb\n", "well\n", "2\n"]
    assert "![a dot](attachment:dot.png) and [other](other.ipynb), far" in made.cells[0].source
    assert [*made.cells[0].attachments] == ["dot.png"]
    assert notebooks.notebook(page) == notebooks.notebook(page)


def test_links_lead_to_pages_of_the_site():
    said = (
        "[a](docs/results.md#cells), `rc.GRUCell(3, 5)`, `recurra train words`, `GRU`, [b](no.md)"
    )
    made = "[a](../results.md#cells), [`rc.GRUCell(3, 5)`](../reference/cells/GRUCell.md), "
    made += "[`recurra train words`](../command/train.md), `GRU`, [b](no.md)"
    assert pages.linked(said, "guide/x.md") == made
    fenced = "```\n[a](docs/results.md) `rc.GRUCell`\n```"
    assert pages.linked(fenced, "guide/x.md") == fenced
    assert pages.linked("[x](examples) [y](examples/mix.py)", "index.md") == (
        "[x](examples/index.md) [y](examples/mix.md)"
    )


def test_the_guide_is_read_in_order_and_nothing_of_it_is_left_out():
    names = pages.guide()
    assert sorted(names) == sorted(page.stem for page in GUIDE)
    known = [name for name in names if name in pages.GUIDE]
    assert known == [name for name in pages.GUIDE if name in names]


def test_equations_are_read_as_docstrings_write_them():
    assert equations.in_latex(["c' = sigmoid(f_t) * c + g", "h' = W_hh c'"]) == (
        r"\begin{aligned}c' & = \sigma ( f_{t} ) \odot c + g \\ h' & = W_{hh} c'\end{aligned}"
    )
    assert equations.in_latex(["forward(s, w, h)"]) is None
    assert equations.in_latex(["x = {1: 2}"]) is None


@pytest.mark.parametrize("name", [recurra.CELLS[name].__name__ for name in recurra.CELLS])
def test_the_equations_of_every_cell_are_typeset(name):
    lines = docstrings.in_rst((inspect.getdoc(getattr(recurra, name)) or "").splitlines())
    assert name in ("RNNCell", "IndRNNCell") or ".. math::" in lines
    assert "::" not in lines


def test_a_docstring_keeps_its_signs():
    lines = ["Two *stars*, `a * b` and names_.", "", "* one", "* two", "", "Source: Ho, 1990."]
    assert docstrings.in_rst(lines) == [
        r"Two \*stars\*, `a * b` and names\_.",
        "",
        "* one",
        "* two",
        "",
        ":Source: Ho, 1990.",
    ]


def test_the_configuration_reads():
    said = runpy.run_path(str(ROOT / "docs" / "site" / "conf.py"))
    assert said["project"] == "Recurra" and said["release"] == recurra.__version__
    assert all(
        (ROOT / "docs" / "site" / "static" / each).exists() for each in said["html_css_files"]
    )
