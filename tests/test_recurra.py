"""The package root: its names, and how little importing it costs."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recurra

ROOT = Path(__file__).parents[1]


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
        owner = recurra.CELLS[name].__name__
        assert hasattr(recurra, owner), f"make printed writes {owner} into src/recurra/__init__.pyi"
        assert getattr(recurra, kind.__name__) is kind
        assert kind.__name__ not in dir(recurra)
    assert recurra.BidirectionalState._fields == ("forward", "backward")
    for name in ("StackState", "LSTMCel", "MadeUpState", "State", "GRUCellState"):
        with pytest.raises(AttributeError, match=f"module 'recurra' has no attribute '{name}'"):
            getattr(recurra, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'recurra' has no attribute 'LSTMCel'"):
        _ = recurra.LSTMCel


def test_each_public_name_stands_in_the_stub_once_where_it_is_defined():
    stub = Path(recurra.__file__).with_suffix(".pyi").read_text()
    listed = re.findall(r"^from ([\w.]+) import (\w+) as (\w+)$", stub, re.M)
    assert [name for _, name, _ in listed] == [known for _, _, known in listed]
    assert sorted(name for _, name, _ in listed) == sorted({*recurra.__all__} - {"__version__"})
    for module, name, _ in listed:
        thing = getattr(recurra, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__module__ == module or module == "recurra.nn.weights", name


def test_no_public_name_is_that_of_a_package():
    packages = {path.name for path in Path(recurra.__file__).parent.iterdir() if path.is_dir()}
    assert not packages & {*recurra.__all__}


def test_mypy_and_editors_see_the_names_and_their_types(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import recurra as rc\n"
        "reveal_type(rc.train)\n"
        "reveal_type(rc.GRUCell(3, 5).hidden_size)\n"
        "rc.GRUCel\n"
    )
    words = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(program)]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "def (config: recurra.learning.config.RunConfig" in said
    assert 'Revealed type is "int"' in said or 'Revealed type is "builtins.int"' in said
    assert 'has no attribute "GRUCel"' in said and "Found 1 error" in said


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
    assert used - before.children_user - before.children_system < 0.6  # torch takes over a second


def test_the_module_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "recurra", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr
    assert os.linesep not in done.stderr.strip()
