"""`recurra check`: sentences, JSON and exit codes."""

from __future__ import annotations

import json
import re

import pytest

from recurra.nn.contract.suite import PARTS

CELLS = """
from typing import NamedTuple
import torch
from recurra.nn.cells.base import Cell

class S(NamedTuple):
    h: torch.Tensor

class Good(Cell):
    state_type = S

    def __init__(self, input_size, output_size):
        super().__init__(input_size, output_size)
        self.read = torch.nn.Linear(input_size, output_size)

    def forward(self, x, state):
        h = torch.tanh(self.read(x) + state.h)
        return h, S(h)

class Raises(Good):
    def forward(self, x, state):
        raise KeyError("gone")

class Heads(Good):
    def __init__(self, input_size, output_size, heads=2):
        assert output_size % heads == 0, f"{output_size} units in {heads} heads"
        super().__init__(input_size, output_size)

class Inside(Good):
    def forward(self, x, state):
        import recurra as rc
        return rc.unroll(rc.GRUCell(3, 4), x)

def made(input_size, output_size):
    return Good(input_size, output_size)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_to_check.py").write_text(CELLS)
    (tmp_path / "unparsed_cells.py").write_text("x = 1\nclass X(:\n")
    (tmp_path / "failing_cells.py").write_text("import torch\nx = nothing\n")


@pytest.mark.usefixtures("mine")
def test_a_sound_cell_ends_with_0(recurra):
    answer = recurra("check", "mine_to_check:made")
    assert answer.code == 0
    assert answer.out.startswith(
        f"mine_to_check:made: all {len(PARTS)} parts of the contract hold\n"
    )


@pytest.mark.usefixtures("mine")
def test_a_broken_one_ends_with_1_and_names_the_line(recurra):
    answer = recurra("check", "mine_to_check:Raises", "--json")
    assert answer.code == 1
    (failure,) = json.loads(answer.out)["failures"]
    said = r"a step of B = 2 raises KeyError: 'gone' \(.*mine_to_check\.py:22\)"
    assert re.fullmatch(said, failure["said"])


@pytest.mark.usefixtures("mine")
def test_sizes_can_be_given(recurra):
    answer = recurra("check", "mine_to_check:Heads(heads=7)", "--hidden-size", "4")
    assert answer.code == 1
    assert "4 units in 7 heads" in answer.out and "tried" not in answer.out
    answer = recurra("check", "mine_to_check:Raises", "--hidden-size", "6", "--input-size", "2")
    assert answer.code == 1
    answer = recurra("check", "gru", "--hidden-size", "0")
    assert answer.code == 2


@pytest.mark.usefixtures("mine")
def test_an_error_of_ours_inside_a_step_names_the_line(recurra):
    answer = recurra("check", "mine_to_check:Inside", "--json")
    (failure,) = json.loads(answer.out)["failures"]
    assert re.search(r"raises ShapeError: .*\(.*mine_to_check\.py:32\)", failure["said"])


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("lsmt", "no cell is named 'lsmt'. Did you mean 'lstm'?"),
        ("mine_to_check:Other", "has no attribute 'Other'"),
        ("unparsed_cells:X", "cannot be imported: invalid syntax (unparsed_cells.py:2)"),
        ("failing_cells:X", "name 'nothing' is not defined (failing_cells.py:2)"),
    ],
)
def test_what_is_no_cell_ends_with_2(recurra, cell, said):
    answer = recurra("check", cell)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err and answer.err.count("\n") == 1
