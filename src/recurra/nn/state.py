"""Nested (named) tuples of tensors: the explicit state of every recurrence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from recurra.errors import ShapeError

__all__ = [
    "State",
    "apart",
    "detach",
    "fitted",
    "flatten",
    "index",
    "is_plain",
    "map_tensors",
    "step_of",
    "unflatten",
    "where",
]

State = Any
"""A tensor `(B, ...)`, or a tuple (often a NamedTuple) of states."""


def map_tensors(function: Callable[..., Any], state: State, *others: State) -> State:
    """Apply `function` to every tensor of `state`, and to those at the same place in `others`.

    Args:
        function: takes one tensor of each state and returns a tensor.
        state: the state whose nesting the result has.
        others: states of the same nesting.

    Example:
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> map_tensors(torch.add, (one, (one,)), (one, (zero,)))
        (tensor([2.]), (tensor([1.]),))
    """
    if isinstance(state, Tensor):
        return function(state, *others)
    _require_parts(state, "state")
    parts = [map_tensors(function, *each) for each in zip(state, *others, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def apart(state: State, given: State) -> State:
    """Return the state with copies of those tensors that are tensors of `given` as well.

    Args:
        state: after steps.
        given: before them, which a caller may write over, as over what is returned.

    Example:
        >>> old, new = torch.zeros(1), torch.ones(1)
        >>> one, other = apart((old, new), (old,))
        >>> one is old, other is new
        (False, True)
    """
    before = {id(tensor) for tensor in _tensors(given)}
    if before.isdisjoint(map(id, _tensors(state))):
        return state
    return map_tensors(lambda tensor: tensor.clone() if id(tensor) in before else tensor, state)


def detach(state: State) -> State:
    """Return the state cut off from the graph that made it: its values stay, its past does not.

    Truncated back-propagation carries a detached state from chunk to chunk. What was read before
    still acts, through the state; but no gradient goes back past the beginning of a chunk, so that
    memory and time do not grow with the length of the text.

    Args:
        state: any state, nested as it may be; the tensors keep their memory.

    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories".

    Example:
        >>> import recurra as rc
        >>> cell = rc.LSTMCell(3, 5)
        >>> state = cell.initial_state()
        >>> for chunk in torch.zeros(2, 1, 4, 3):  # 2 chunks, 1 row, 4 steps, 3 features
        ...     y, state = rc.unroll(cell, chunk, rc.detach(state))
        ...     y.sum().backward()  # through these four steps alone
        >>> state.h.requires_grad, rc.detach(state).h.requires_grad
        (True, False)
    """
    return map_tensors(Tensor.detach, state)


def index(state: State, rows: Any) -> State:
    """Return the state of some rows of the batch.

    Args:
        state: tensors `(B, ...)`.
        rows: anything that indexes the first dimension.

    Example:
        >>> index((torch.arange(6).view(3, 2),), [2, 0])
        (tensor([[4, 5],
                [0, 1]]),)
    """
    return map_tensors(lambda tensor: tensor[rows], state)


def step_of(x: Tensor, t: int | Tensor) -> Tensor:
    """Return what sequences have at one step, `(B, ...)`.

    Args:
        x: `(B, T, ...)`.
        t: which, a number; or a tensor of one, whose value a compiler need not know.

    Example:
        >>> step_of(torch.tensor([[5, 6, 7]]), torch.tensor(1))
        tensor([6])
    """
    return x[:, t] if isinstance(t, int) else x.index_select(1, t.view(1)).squeeze(1)


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is neither sparse nor nested.

    Args:
        tensor: which.

    Example:
        >>> is_plain(torch.eye(2)), is_plain(torch.eye(2).to_sparse())
        (True, False)
    """
    return tensor.layout is torch.strided and not tensor.is_nested


def where(mask: Tensor, state: State, other: State) -> State:
    """Return `state` in the rows where `mask` holds, `other` elsewhere.

    Args:
        mask: `(B,)` bool.
        state: tensors `(B, ...)`.
        other: the same nesting and shapes.

    Example:
        >>> where(torch.tensor([True, False]), torch.ones(2, 1), torch.zeros(2, 1))
        tensor([[1.],
                [0.]])
    """

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)

    return map_tensors(choose, state, other)


def flatten(state: State, prefix: str = "state") -> dict[str, Tensor]:
    """Return every tensor of the state under a name, as `"state.0.h"`.

    Args:
        state: any state.
        prefix: what the names begin with.

    Raises:
        ShapeError: something in it is neither a tensor nor a tuple of states.

    Example:
        >>> list(flatten((torch.ones(1), (torch.ones(1),))))
        ['state.0', 'state.1.0']
    """
    if isinstance(state, Tensor):
        return {prefix: state}
    _require_parts(state, prefix)
    names = getattr(state, "_fields", range(len(state)))
    return {
        name: tensor
        for part, value in zip(names, state, strict=True)
        for name, tensor in flatten(value, f"{prefix}.{part}").items()
    }


def fitted(state: State, like: State) -> State:
    """Return a state nested as `like`: plain tuples and lists of the right parts become its tuples.

    Args:
        state: of tensors as large as those of `like`.
        like: a state of the wanted nesting and shapes, as `initial_state` returns.

    Raises:
        ShapeError: for other parts or shapes.

    Example:
        >>> from recurra.nn.cells.gru import GRUState
        >>> fitted([torch.ones(1)], GRUState(torch.zeros(1)))
        GRUState(h=tensor([1.]))
    """
    found = _fitted(state, like)
    if found is None:
        got, expected = _told(state), _told(like)
        for name in got if got.keys() == expected.keys() else ():
            if got[name] != expected[name]:
                raise ShapeError(f"{name} is {got[name]}, expected {expected[name]}")
        raise ShapeError(f"got the state {got}, expected {expected}, as initial_state returns")
    return found


def unflatten(tensors: Mapping[str, Tensor], like: State, prefix: str = "state") -> State:
    """Return a state nested as `like`, out of what `flatten` gave.

    Args:
        tensors: name -> tensor.
        like: a state of the wanted nesting and shapes.
        prefix: what the names begin with.

    Raises:
        ShapeError: if a tensor is missing or has another shape.

    Example:
        >>> unflatten({"state.0": torch.ones(1)}, (torch.zeros(1),))
        (tensor([1.]),)
    """
    if isinstance(like, Tensor):
        found = tensors.get(prefix)
        if found is None or found.shape != like.shape:
            got = "nothing" if found is None else str(tuple(found.shape))
            raise ShapeError(f"{prefix}: got {got}, expected shape {tuple(like.shape)}")
        return found.to(like.device, like.dtype)
    names = getattr(like, "_fields", range(len(like)))
    parts = [
        unflatten(tensors, value, f"{prefix}.{part}")
        for part, value in zip(names, like, strict=True)
    ]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def _tensors(state: State) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
        return
    for part in state:
        yield from _tensors(part)


def _fitted(state: State, like: State) -> State:
    """Return None where the state does not fit."""
    if isinstance(like, Tensor):
        plain = isinstance(state, Tensor) and is_plain(state)
        return state if plain and state.shape == like.shape else None
    fields = getattr(like, "_fields", None)
    if not isinstance(state, tuple | list) or len(state) != len(like):
        return None
    if getattr(state, "_fields", fields) != fields:
        return None
    parts = [_fitted(*each) for each in zip(state, like)]
    if any(part is None for part in parts):
        return None
    return type(like)(*parts) if fields else tuple(parts)


def _told(state: State, name: str = "state") -> dict[str, Any]:
    """Return the shape of every tensor under its name; of what is none, its type's name."""
    if not isinstance(state, tuple | list):
        told: Any = type(state).__name__
        if isinstance(state, Tensor):
            layout = "nested" if state.is_nested else str(state.layout).removeprefix("torch.")
            told = tuple(state.shape) if is_plain(state) else f"a {layout} tensor"
        return {name: told}
    names = getattr(state, "_fields", range(len(state)))
    parts = (_told(value, f"{name}.{part}") for part, value in zip(names, state))
    return {place: told for each in parts for place, told in each.items()}


def _require_parts(state: State, name: str) -> None:
    if not isinstance(state, tuple | list):
        raise ShapeError(
            f"{name}: a state is a tensor or a tuple of states, got {type(state).__name__}"
        )
