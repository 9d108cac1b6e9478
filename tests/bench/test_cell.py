"""Cells as they are written."""

from __future__ import annotations

import pytest
import torch

from recurra.bench.cell import make_cell, require_cell, split_names
from recurra.errors import ConfigError

CELLS = """
from recurra.nn.cells.gru import GRUCell

class Mine(GRUCell):
    def __init__(self, input_size, hidden_size, depth=1):
        super().__init__(input_size, hidden_size)
        self.depth = depth

def one(input_size, hidden_size, depth=1):
    return Mine(input_size, hidden_size, depth)

some = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "benchmine.py").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_name_a_class_and_a_function_with_options_and_without(own):
    assert make_cell("mlstm", 3, 8).num_heads == 1
    assert make_cell("mlstm(num_heads=4, forget_bias=1.5)", 3, 8).forget_bias == 1.5
    assert make_cell("gru(reset_after=False)", 3, 8).reset_after is False
    for name in ("benchmine:Mine", "benchmine:one"):
        assert make_cell(name, 3, 8).depth == 1
        made = make_cell(f"{name}(depth=-2)", 3, 8)
        assert made.depth == -2 and made(torch.zeros(1, 3), made.initial_state())[0].shape == (1, 8)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gruu", "Did you mean 'gru'"),
        ("gruu(reset_after=False)", "Did you mean 'gru'"),
        ("benchmine:some", "is not a cell: derive it from"),
        ("benchmine:none", "cannot be imported"),
        ("nowhere:none", "cannot be imported"),
        ("mlstm(4)", "the options of 'mlstm\\(4\\)' cannot be read"),
        ("mlstm(num_heads=4", "cannot be read; they are written as in"),
        ("mlstm(num_heads=os.getcwd())", "cannot be read"),
        ("mlstm(**{})", "cannot be read"),
        ("mlstm(num_heads=4)+1", "cannot be read"),
    ],
)
def test_what_is_no_cell_is_refused(own, spec, said):
    with pytest.raises(ConfigError, match=said):
        require_cell(spec)


def test_names_are_split_at_commas_outside_brackets():
    assert split_names("a,b(c=1,d=[2,3]), m:N ,") == ["a", "b(c=1,d=[2,3])", "m:N"]
    assert split_names("") == [] and split_names("gru") == ["gru"]
