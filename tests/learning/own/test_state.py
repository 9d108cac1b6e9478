"""Whatever the state of an optimizer is made of, it comes back to the bit, or is refused."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, defaultdict
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from recurra.errors import CheckpointError
from recurra.learning.checkpoint import pack_optimizer, unpack_optimizer
from recurra.learning.own.state import decoded, encoded, equal, kept_outside, outside

DTYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def there_and_back(value: Any) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    return decoded(json.loads(json.dumps(encoded(value, tensors))), tensors)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**63), 0.1, math.inf, math.nan, "", "tensor", [], (), {}, [[]], ((1,),),
        ["tensor", "0"], ["dict"], {1: "a", "1": "b"}, {"a": {"b": [None, (1, [2.5, {}])]}},
        *(torch.ones(2, 3).to(dtype) for dtype in DTYPES), torch.tensor(3), torch.zeros(0, 2),
        {"m": torch.arange(4.0).view(2, 2).T}, [torch.ones(1), (torch.zeros(2), None)],
    ],
    ids=str,
)  # fmt: skip
def test_it_comes_back(value: Any) -> None:
    assert equal(there_and_back(value), value) is None


def test_tensors_that_are_one_stay_one() -> None:
    shared = torch.ones(2)
    first, second = there_and_back([shared, shared])
    assert first is second and first is not shared


def test_an_ordered_dictionary_comes_back_as_a_dictionary_in_its_order() -> None:
    assert list(there_and_back(OrderedDict(b=1, a=2))) == ["b", "a"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "state.0 is of type set"),
        (Fraction(1, 2), "state.0 is of type Fraction"),
        (2**64, "state.0 is of type int"),
        (len, "of type builtin_function_or_method"),
        (defaultdict(int), "of type defaultdict"),
        ({(1, 2): 3}, r"a dictionary with the key \(1, 2\)"),
        (torch.eye(2).to_sparse(), "a tensor of layout torch.sparse_coo"),
        (1j, "of type complex"),
    ],
)
def test_what_cannot_be_kept_is_named(value: Any, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        encoded({0: value}, {})


@pytest.mark.parametrize(
    "tree",
    [
        ["tensor", "9"],
        ["tensor"],
        ["set", 1],
        ["dict", [1]],
        ["dict", [[], 1]],
        [],
        {"a": 1},
        [[1]],
    ],
)
def test_no_other_tree_is_read(tree: Any) -> None:
    with pytest.raises(CheckpointError, match="where its state should be"):
        decoded(tree, {})


def test_a_tree_that_is_too_deep_is_refused() -> None:
    tree: Any = 1
    for _ in range(50):
        tree = ["list", tree]
    with pytest.raises(CheckpointError, match="where its state should be"):
        decoded(tree, {})


@pytest.mark.parametrize(
    "name", ["RAdam", "NAdam", "Rprop", "ASGD", "Adadelta", "RMSprop", "Adamax"]
)
def test_each_of_torchs_own_goes_on_to_the_bit(name: str) -> None:
    """Those that have no name here are kept as one's own are."""
    make = getattr(torch.optim, name)
    weights = [nn.Parameter(torch.linspace(-1, 1, 6).view(2, 3)) for _ in range(2)]
    first, second = (make([weight], lr=0.05) for weight in weights)

    def step(weight: nn.Parameter, optimizer: torch.optim.Optimizer, n: int) -> None:
        optimizer.zero_grad()
        (weight.sin() * n).sum().backward()
        optimizer.step()

    for n in range(3):
        step(weights[0], first, n)
    tensors, facts = pack_optimizer(first)
    weights[1].data.copy_(weights[0].data)
    unpack_optimizer(second, tensors, json.loads(json.dumps(facts)))
    for n in range(3, 6):
        step(weights[0], first, n)
        step(weights[1], second, n)
        assert torch.equal(*weights)


def test_a_state_of_other_parameters_is_refused() -> None:
    def made(*shapes: tuple[int, ...]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop([nn.Parameter(torch.ones(shape)) for shape in shapes])

    tensors, facts = pack_optimizer(made((2,), (3,)))
    with pytest.raises(CheckpointError, match="the state does not fit: ValueError"):
        unpack_optimizer(made((2,)), tensors, facts)
    for damaged in ({**facts, "tree": None}, {**facts, "tree": ["dict"]}, {"kind": "RMSprop"}):
        with pytest.raises(CheckpointError):
            unpack_optimizer(made((2,), (3,)), tensors, damaged)
    with pytest.raises(CheckpointError, match="expected the state of RMSprop, found 'Adam'"):
        unpack_optimizer(made((2,)), tensors, {**facts, "kind": "Adam"})


@pytest.mark.parametrize(
    "change",
    [
        lambda o: setattr(o, "count", 1),
        lambda o: o.seen.append(1),
        lambda o: o.mean.add_(1),
        lambda o: o.table.update(a=2),
        lambda o: torch.rand(1, generator=o.stream),
        lambda o: setattr(o, "mean", torch.zeros(2)),
    ],
)
def test_what_changes_on_the_optimizer_itself_is_seen(change: Any) -> None:
    optimizer: Any = torch.optim.SGD([nn.Parameter(torch.ones(1))])
    optimizer.seen, optimizer.table, optimizer.mean = [], {"a": 1}, torch.zeros(2)
    optimizer.stream = torch.Generator().manual_seed(1)
    before = outside(optimizer)
    assert kept_outside(optimizer, before) is None
    change(optimizer)
    assert kept_outside(optimizer, before) in ("count", "seen", "mean", "table", "stream")
