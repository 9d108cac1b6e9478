from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.state import detach, fitted, flatten, index, map_tensors, unflatten, where


class Memory(NamedTuple):
    h: Any
    m: Any


tensors = st.integers(0, 10**6).map(
    lambda seed: torch.rand(3, seed % 4, 2, generator=torch.Generator().manual_seed(seed))
)
states = st.recursive(
    tensors,
    lambda parts: st.builds(Memory, parts, parts) | st.lists(parts, max_size=3).map(tuple),
    max_leaves=6,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))


@given(states)
def test_flatten_and_back(state: Any) -> None:
    flat = flatten(state)
    like = map_tensors(torch.zeros_like, state)
    assert same(unflatten(flat, like), state)
    assert all(name.split(".")[0] == "state" for name in flat)


@given(states)
def test_the_nesting_is_kept(state: Any) -> None:
    assert same(map_tensors(lambda tensor: tensor, state), state)
    assert same(map_tensors(torch.sub, state, state), map_tensors(torch.zeros_like, state))
    assert same(index(index(state, [2, 0, 1]), [1, 2, 0]), state)


@given(states, st.lists(st.booleans(), min_size=3, max_size=3))
def test_where_takes_whole_rows(state: Any, mask: list[bool]) -> None:
    other = map_tensors(lambda tensor: -1 - tensor, state)
    mixed = where(torch.tensor(mask), state, other)
    for row, own in enumerate(mask):
        assert same(index(mixed, row), index(state if own else other, row))


def test_names_of_a_nested_state() -> None:
    one = torch.ones(1)
    assert list(flatten((Memory(one, (one, one)), one), "carry")) == [
        "carry.0.h",
        "carry.0.m.0",
        "carry.0.m.1",
        "carry.1",
    ]
    assert flatten(()) == {}


def test_detach_cuts_the_graph_and_shares_the_numbers() -> None:
    leaf = torch.ones(2, requires_grad=True)
    grown = Memory(leaf * 2, (leaf * 3,))
    cut = detach(grown)
    assert not cut.h.requires_grad and not cut.m[0].requires_grad
    assert cut.m[0].data_ptr() == grown.m[0].data_ptr()
    assert isinstance(cut, Memory)


def test_unflatten_names_what_is_missing_or_misshapen() -> None:
    like = Memory(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ShapeError, match=r"state.m: got nothing, expected shape \(2, 4\)"):
        unflatten({"state.h": torch.zeros(2, 3)}, like)
    with pytest.raises(ShapeError, match=r"state.h: got \(1, 3\), expected shape \(2, 3\)"):
        unflatten({"state.h": torch.zeros(1, 3), "state.m": torch.zeros(2, 4)}, like)


def test_unflatten_takes_dtype_and_device_from_its_model() -> None:
    like = Memory(torch.zeros(2, dtype=torch.float64), torch.zeros(2, device="meta"))
    back = unflatten({"state.h": torch.ones(2), "state.m": torch.ones(2)}, like)
    assert (back.h.dtype, back.m.device.type) == (torch.float64, "meta")


def test_states_of_another_nesting_do_not_map() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        map_tensors(torch.add, (one, one), (one,))


def plain(state: Any) -> Any:
    """Return the same parts in lists."""
    return state if isinstance(state, Tensor) else [plain(part) for part in state]


@given(states)
def test_plain_lists_become_what_the_state_is_like(state: Any) -> None:
    like = map_tensors(torch.zeros_like, state)
    assert same(fitted(plain(state), like), state)
    with pytest.raises(ShapeError, match=r"^(got the state|state)"):
        fitted((plain(state), torch.zeros(1)), like)
    with pytest.raises(ShapeError):
        fitted(
            map_tensors(lambda tensor: tensor.new_zeros(4, 9), (state, like)), (like, like, like)
        )


def test_names_and_shapes_are_those_of_the_state_it_is_like() -> None:
    one, two = torch.ones(1), torch.ones(2)

    class Turned(NamedTuple):
        m: Tensor
        h: Tensor

    like = Memory(one, (one,))
    with pytest.raises(ShapeError, match=r"^state.m.0 is \(2,\), expected \(1,\)$"):
        fitted(Memory(one, [two]), like)
    with pytest.raises(ShapeError, match=r"got the state \{'state.m': .*\}, expected"):
        fitted(Turned(one, one), Memory(one, one))
    with pytest.raises(ShapeError, match=r"got the state .*'state.h': .*, expected .*'state.0'"):
        fitted(Memory(one, one), (one, one))


@pytest.mark.parametrize("other", [None, "state", {"h": torch.ones(1)}, 0.0], ids=str)
def test_what_is_no_state_is_said(other: Any) -> None:
    for look in (flatten, detach):
        with pytest.raises(ShapeError, match="a state is a tensor or a tuple of states, got"):
            look((torch.ones(1), other))
