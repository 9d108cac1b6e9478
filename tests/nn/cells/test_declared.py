"""What a class of one's own says of itself is refused in one line where it cannot be so."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.declared import declared_shapes, declared_starts
from recurra.nn.unroll import unroll


class Matrix(NamedTuple):
    S: Tensor


class Outer(Cell):
    """A matrix of 2 x 2, to which the input adds its product with itself."""

    state_type = Matrix

    def __init__(self, shapes: Any = None) -> None:
        super().__init__(2, 2)
        self.shapes = {"S": (2, 2)} if shapes is None else shapes

    def state_shapes(self) -> Any:
        return self.shapes

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        S = state.S + x.unsqueeze(2) * x.unsqueeze(1)
        return S.sum(2), Matrix(S)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gates", nn.Linear(2, 2)),
        ("kernel", nn.Parameter(torch.ones(1))),
        ("initial_state", nn.Linear(2, 2)),
        ("state_shapes", {"S": (2, 2)}),
        ("kernel", 5),
        ("half", nn.Linear(2, 2)),
    ],
)
def test_a_name_of_a_method_is_refused_where_it_is_assigned(name: str, value: Any) -> None:
    cell = Outer()
    with pytest.raises(ConfigError, match=f"^{name} is a method of rc.Cell; give .* another name"):
        setattr(cell, name, value)


def test_functions_may_take_the_place_of_methods_and_other_names_are_free() -> None:
    cell, forward = Outer(), Outer().forward
    cell.forward = forward  # type: ignore[method-assign]
    cell.gate, cell.heads = nn.Linear(2, 2), 4
    assert vars(cell)["forward"] == forward and "gate" in dict(cell.named_children())


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ((2, 2), r"Outer: state_shapes\(\) must be a dict of shapes without B, got \(2, 2\)$"),
        ({"S": 4}, r"must be a dict of shapes without B, got 'S': 4$"),
        ({"s": (2, 2)}, r"^Outer: state_shapes\(\) names 's', the state has S$"),
    ],
)
def test_shapes_that_are_none_are_refused(shapes: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        unroll(Outer(shapes), torch.ones(3, 4, 2))


def test_a_state_of_a_shape_that_nobody_said_is_told_where_to_say_it() -> None:
    with pytest.raises(
        ShapeError, match=r"state_shapes\(\) says, without B, which are not \(B, 2\)"
    ):
        unroll(Outer({}), torch.ones(2, 4, 2))


def test_what_is_right_passes() -> None:
    y, after = unroll(Outer(), torch.ones(3, 4, 2))
    assert torch.equal(after.S, torch.full((3, 2, 2), 4.0)) and y.shape == (3, 4, 2)
    assert declared_shapes(Outer(), ("S",)) == {"S": (2, 2)}
    assert declared_starts(Outer(), ("S",)) == {}


def test_a_misspelt_start_is_refused() -> None:
    class Started(Outer):
        starts_at = {"s": 1.0}  # noqa: RUF012

    with pytest.raises(ConfigError, match="Started: starts_at names 's', the state has S"):
        Started().initial_state()
