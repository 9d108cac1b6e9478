"""`check` names what is wrong with broken cells, and finds nothing in honest ones.

`make test` holds the six that were first met and a seeded part of the rest; `make campaign check`
all of it.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recurra as rc
from recurra.errors import ConfigError
from recurra.nn.cells import CELLS
from recurra.nn.contract.sizes import at
from recurra.nn.contract.suite import PARTS, _subject, check, first_failure
from recurra.nn.wrappers import WRAPPERS

sys.path.append(str(Path(__file__).parent))
from broken_cells import BROKEN, AcrossTheBatch, SetsDefault, Sound, SwitchesGradients, WithKernel
from honest_cells import HONEST, ComplexCell, GatedDeltaCell

FIRST_MET = list(BROKEN)[:6]


def around(name: str) -> rc.Stack:
    """A wrapper by its name, around GRUs."""
    torch.manual_seed(1)
    wrap, make = WRAPPERS[name], rc.GRUCell
    if name == "stack":
        return wrap([make(3, 4), make(4, 3)])
    if name == "bidirectional":
        return wrap(make(3, 4), make(3, 3))
    options: dict[str, dict[str, Any]] = {
        "dropout": {"input": 0.3, "output": 0.5},
        "weight_drop": {"probability": 0.5},
        "projection": {"output_size": 2},
        "attention": {"window": 3},
        "mogrifier": {"rounds": 3},
        "zoneout": {"hidden": 0.3},
        "dilated": {"dilation": 2},
    }
    sizes = {"residual": (3, 3), "highway": (3, 3), "reset": (2, 4)}.get(name, (3, 4))
    return wrap(make(*sizes), **options.get(name, {}))


@pytest.mark.parametrize("what", [f"must-{what}" if what in FIRST_MET else what for what in BROKEN])
def test_what_is_wrong_is_named_first(what: str) -> None:
    kind, pattern = BROKEN[what.removeprefix("must-")]
    found = first_failure(kind)
    assert found is not None
    assert re.search(pattern, found.said), found.said
    assert "\n" not in found.said


@pytest.mark.parametrize("make", [Sound, WithKernel, *HONEST], ids=lambda made: made.__name__)
def test_nothing_is_found_in_what_is_sound(make: Callable[[int, int], Any]) -> None:
    assert first_failure(make) is None


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_keeps_the_contract(name: str) -> None:
    assert first_failure(name) is None


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_keeps_the_contract(name: str) -> None:
    assert first_failure(around(name)) is None


def test_must_be_read_and_written() -> None:
    found = check(AcrossTheBatch)
    assert not found.ok and found.cell == "AcrossTheBatch"
    (failure,) = found.failures
    assert failure.aspect == "rows" and "(B = 2, T = 1; by 0." in failure.said
    assert {"NaN", "lengths", "gradients of rows"} <= {*found.unchecked}
    assert len(found.passed) + len(found.failures) + len(found.unchecked) == len(PARTS)
    written = json.loads(json.dumps(found.as_json()))
    assert written["failures"] == [{"aspect": "rows", "said": failure.said}]
    assert str(found).splitlines()[0].startswith("AcrossTheBatch: broken: 1 of ")
    assert f"  BROKEN  {failure.said}" in str(found).splitlines()


def test_must_leave_what_is_given_and_the_generators_as_they_were() -> None:
    cell = GatedDeltaCell(2, 3)
    before = {name: tensor.clone() for name, tensor in cell.state_dict().items()}
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    state = torch.get_rng_state()
    assert check(cell).ok
    assert torch.equal(torch.get_rng_state(), state)
    assert random.random() == random.Random(5).random()
    assert cell.training and all(p.grad is None for p in cell.parameters())
    for name, tensor in cell.state_dict().items():
        assert torch.equal(tensor, before[name]) and tensor.dtype == torch.float32


def test_must_say_what_is_no_cell() -> None:
    with pytest.raises(ConfigError, match=r"no cell is named 'lsmt'. Did you mean 'lstm'"):
        check("lsmt")
    with pytest.raises(ConfigError, match=r"check takes a cell or wrapper, .* or a name, got int"):
        check(5)
    said = check(lambda i, o: nn.GRU(i, o)).failures[0].said
    assert "takes a cell or wrapper, got GRU of torch.nn" in said


def test_must_tell_limits_from_faults() -> None:
    class Looks(Sound):
        def h(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            made = super().h(x, h)
            return made if float(made.detach().abs().max()) < 2 else made / 2

    found = check(Looks)
    assert found.ok
    assert any("torch.func.vmap does not take it" in said for said in found.limits)


class Unused(Sound):
    """Learns a number of which nothing comes."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size)
        self.temperature = nn.Parameter(torch.ones(()))


def test_must_say_of_which_parameter_nothing_comes() -> None:
    found = check(Unused)
    assert found.ok
    assert "nothing that comes out depends on temperature" in found.limits
    assert not any("depends on weight" in said for said in found.limits)


class Heads(Sound):
    """Refuses units that its heads do not divide."""

    def __init__(self, input_size: int, output_size: int, heads: int = 3) -> None:
        if output_size % heads:
            raise ValueError(f"{output_size} units in {heads} heads")
        super().__init__(input_size, output_size)


def test_must_take_another_width_where_four_is_refused() -> None:
    said = "made of 3 -> 6, as 3 -> 4 is refused: ValueError: 4 units in 3 heads"
    subject = _subject(Heads, None, None)
    assert subject.limits[0].startswith(said)
    assert subject.fresh().output_size == 6
    wide = at(subject, 20)
    assert wide is not None and wide.fresh().output_size == 21
    assert _subject(lambda i, o: Residual(i, o), None, None).sizes == (4, 4)
    assert _subject("mlstm(num_heads=3)", None, None).fresh().output_size == 6
    assert _subject(Heads, 5, None).sizes == (5, 6)


class Residual(Sound):
    """Refuses other inputs than units."""

    def __init__(self, input_size: int, output_size: int) -> None:
        assert input_size == output_size
        super().__init__(input_size, output_size)


def test_must_say_which_widths_were_tried() -> None:
    said = check(lambda i, o: Heads(i, o, 17)).failures[0].said
    assert "ValueError: 4 units in 17 heads" in said
    assert "(units that were tried: 4, 6, 8, 12, 16, 5, 10" in said
    said = check(Heads, output_size=5, input_size=3).failures[0].said
    assert "5 units in 3 heads" in said and "tried" not in said


def test_complex_numbers_of_a_half_are_a_limit() -> None:
    said = " ".join(check(ComplexCell).limits)
    assert re.search("bfloat16.* (is|are) not taken: RuntimeError: .*honest_cells", said)


def test_settings_of_the_process_are_put_back() -> None:
    assert not check(SwitchesGradients).ok and torch.is_grad_enabled()
    assert not check(SetsDefault).ok and torch.get_default_dtype() == torch.float32
