"""The page of cells: its equations are those of the docstrings, and what it says still holds."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path

import pytest
from matplotlib.mathtext import MathTextParser

from recurra.nn.cells import CELLS

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "campaigns")]
equations = importlib.import_module("cell_equations")
page = importlib.import_module("cells_page")
cell_facts = importlib.import_module("cell_facts")

PAGE = (ROOT / "docs" / "guide" / "cells.md").read_text()


def test_equations_are_set_from_plain_letters():
    for plain, rows in {
        "i, f = W_ih x + b_ih, cut in four": [r"i, f &= W_{ih} x + b_{ih}, \text{ cut in four}"],
        "c' = sigmoid(f) * c": [r"c' &= \sigma(f) \odot c"],
        "z = a / sqrt(var(z) + eps)": [r"z &= a / \sqrt{\operatorname{var}(z) + \varepsilon}"],
        "a = b,  c = d or e": ["a &= b", r"c &= d \text{ or }e"],
        'n = g(x)          candidate="positive"': [r"n &= g(x)\qquad \text{candidate = positive}"],
        "h'_i = W_ij h_j   where P_i divides": [
            r"h_{i}' &= W_{ij} h_{j}\qquad \text{where }P_{i}\text{ divides}"
        ],
        "y = sum over s < t of k_s": [r"y &= \sum_{s < t} k_{s}"],
        "for l = 1 ... L, from s_0 = h:": [r"&\text{ for }l = 1 \ldots L, \text{ from }s_{0} = h:"],
        "v k^T . q * lambda": [r"&\text{v k^T . q * lambda}"],
    }.items():
        assert list(equations.rows_of(plain)) == rows


@pytest.mark.parametrize("name", CELLS)
def test_every_equation_of_a_cell_can_be_set(name):
    said = equations.described(CELLS[name].__doc__)
    blocks = said.split("$$")[1::2]
    assert blocks, f"{name}: its docstring has no equation"
    parser = MathTextParser("path")
    for row in (row for block in blocks for row in block.strip().splitlines()[1:-1]):
        text = row.removesuffix(r" \\").replace("&", "").replace(r"\text", r"\mathrm")
        parser.parse(f"${text}$")


def test_each_cell_has_its_section_and_make_docs_writes_it():
    headings = [line for line in PAGE.splitlines() if line.startswith("### ")]
    assert [f"### {name}" for name in CELLS] == [each for each in headings if each[4:] in CELLS]
    assert page.with_parts(PAGE) == PAGE, "make printed writes what follows from tables and records"
    cut = PAGE.replace("### gru\n", "")
    assert page.with_parts(cut) == PAGE


def test_every_cell_was_run():
    kept = page.read(page.FACTS)
    assert set(kept["cells"]) == set(CELLS), "make campaign cell_facts runs what is lacking"
    words = page.read(page.WORDS)
    assert {row["cell"] for row in words["results"]} <= set(CELLS)


@pytest.mark.parametrize("name", random.Random(7).sample(sorted(CELLS), 6))
def test_what_was_found_of_a_cell_is_found_again(name):
    kept = page.read(page.FACTS)["cells"][name]
    found = cell_facts.quick(name, seed=3)
    for what in ("parameters", "state_numbers"):
        assert found[what] == kept[what]
    assert found["streams"] <= max(10 * kept["streams"], 1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_what_was_exported_is_again():
    kept = page.read(page.FACTS)["cells"]
    (name,) = random.Random(19).sample(sorted(CELLS), 1)  # tests/nn compiles every cell
    assert cell_facts.transformed(name, "export") == kept[name]["export"]


def test_the_table_beside_each_other_is_what_was_measured():
    row = {
        "cell": "lstm", "parameters": 9, "steps": 100, "test": {"perplexity": 90.04},
        "deviation": {"perplexity": 0.26},
    }  # fmt: skip
    lost = {**row, "cell": "gru", "test": None, "deviation": None}
    task = {
        "title": "words", "steps": 100, "batch_size": 2, "length": 3, "equal_seconds": 4.4,
        "baselines": {"kn5": {"perplexity": 70.0}},
    }  # fmt: skip
    machine = {"cores": 2, "processor": "X", "torch": "2", "date": "2026-01-01"}
    words = {
        "machine": machine, "tasks": [task], "results": [lost, row], "seeds": 2,
        "equal_seconds": [{**row, "steps": 80, "test": {"perplexity": 91.0}}], "beside": "busy",
    }  # fmt: skip
    lines = page.compared(words).splitlines()
    assert lines[2].endswith("| Hochreiter & Schmidhuber 1997 | 90.0 ± 0.3 | 91.0 ± 0.3 |")
    assert lines[3] == "| [`gru`](#gru) | Cho et al. 2014 | ran away |  |"
    assert lines[4].startswith("| 5-grams") and "70.0" in lines[4]
    assert "torch 2, 2026-01-01; busy." in lines[-1]
    (said,) = page.on_words("lstm", words)
    assert said.endswith(
        "90.0 ± 0.3 after 100 steps; 91.0 ± 0.3 at equal seconds, which were 80 steps"
    )
    assert page.on_words("rnn", words) == [] and page.on_words("lstm", None) == []


def test_what_the_gates_are_worth_is_what_was_measured():
    machine = {"cores": 2, "processor": "X", "torch": "2", "date": "2026-01-01"}
    gates = {
        "machine": machine, "task": {"title": "words", "batch_size": 2, "length": 3},
        "verdict": ["at the same width: all"], "steps": 1200, "seeds": 3,
    }  # fmt: skip
    said, told = page.of_gates(gates).split("\n\n")
    assert said == "* At the same width: all."
    assert told.startswith("Words; 1,200 steps of 2 x 3 words, 3 seeds")
    assert told.endswith("2 cores of an X, torch 2, 2026-01-01.")
