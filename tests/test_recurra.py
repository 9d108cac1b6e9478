"""The package root: its names, and how little importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import recurra


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", recurra.__all__)
def test_every_public_name_is_there(name):
    assert getattr(recurra, name) is not None
    assert name in dir(recurra)


def test_names_come_from_where_they_are_defined():
    from recurra.nn.cells.lstm import LSTMCell
    from recurra.run.session import train

    assert recurra.LSTMCell is LSTMCell
    assert recurra.train is train
    assert recurra.CELLS["lstm"] is LSTMCell
    assert recurra.errors.ConfigError.exit_code == 2


def test_states_are_found_by_the_names_of_their_cells_and_not_listed():
    for name in recurra.CELLS:
        kind = type(recurra.CELLS[name](2, 3).initial_state())
        assert getattr(recurra, kind.__name__) is kind
        assert kind.__name__ not in dir(recurra)
    assert recurra.BidirectionalState._fields == ("forward", "backward")
    for name in ("StackState", "LSTMCel", "MadeUpState", "State", "GRUCellState"):
        with pytest.raises(AttributeError, match=f"module 'recurra' has no attribute '{name}'"):
            getattr(recurra, name)


def test_the_lazy_names_are_those_that_are_listed():
    assert set(recurra._MODULES) | {"train", "errors", "__version__"} == set(recurra.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'recurra' has no attribute 'LSTMCel'"):
        _ = recurra.LSTMCel


def test_train_stays_the_function_when_the_package_train_is_imported():
    said = run(
        "import warnings; warnings.simplefilter('error')\n"
        "import recurra.learning.event, recurra\n"
        "from recurra.learning.event import Saved\n"
        "print(recurra.train.__name__, recurra.train.__module__, Saved.__module__)"
    )
    assert said.split() == ["train", "recurra.run.session", "recurra.learning.event"]


def test_importing_recurra_imports_no_torch():
    assert run("import recurra, sys; print('torch' in sys.modules)").strip() == "False"


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import sys; from recurra.cli import main; code = main(['--help'])\n"
        "print(code, [name for name in sys.modules if name in ('torch', 'numpy', 'matplotlib')])"
    )
    assert run(code).splitlines()[-1] == "0 []"
    before = os.times()
    subprocess.run([sys.executable, "-m", "recurra", "--help"], capture_output=True, check=True)
    after = os.times()  # processor time, not the clock: other tests run at the same moment
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 0.3


def test_the_module_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "recurra", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr
    assert os.linesep not in done.stderr.strip()
