"""The state of an optimizer of someone's own, whatever it is made of, for a checkpoint and back.

A tree of JSON values in which what JSON does not know is a list that begins with its sort:
`["tensor", "3"]`, `["list", ...]`, `["tuple", ...]`, `["dict", [key, value], ...]`.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

import torch
from torch import Tensor

from recurra.errors import CheckpointError

__all__ = ["decoded", "encoded", "equal", "kept_outside", "outside", "restore"]

Tensors = dict[str, Tensor]
SORTS: dict[type, str] = {list: "list", tuple: "tuple", dict: "dict", OrderedDict: "dict"}
DEEPEST = 20


def encoded(value: Any, tensors: Tensors, place: str = "state", depth: int = 0) -> Any:
    """Return a value as JSON holds it, its tensors apart.

    Args:
        value: tensors, numbers, text, None, and lists, tuples and dictionaries of these.
        tensors: to which its tensors are added, uncopied, by numbers.
        place: where it stands, for the message.
        depth: how deep.

    Raises:
        CheckpointError: something else is in it; names the place.

    Example:
        >>> apart = {}
        >>> encoded({"k": 3, "seen": (torch.ones(1), None)}, apart)
        ['dict', ['k', 3], ['seen', ['tuple', ['tensor', '0'], None]]]
        >>> apart
        {'0': tensor([1.])}
    """
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            raise _unkept(place, f"a tensor of layout {value.layout}")
        known = (name for name, other in tensors.items() if other is value)
        name = next(known, str(len(tensors)))
        tensors[name] = value
        return ["tensor", name]
    if value is None or type(value) in (bool, float, str):
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    sort = SORTS.get(type(value))
    if sort is None or depth > DEEPEST:
        raise _unkept(place, f"of type {type(value).__name__}")
    if sort != "dict":
        inner = (encoded(v, tensors, f"{place}[{n}]", depth + 1) for n, v in enumerate(value))
        return [sort, *inner]
    if odd := [key for key in value if type(key) not in (int, str)]:
        raise _unkept(place, f"a dictionary with the key {odd[0]!r:.40}")
    return [sort, *([k, encoded(v, tensors, f"{place}.{k}", depth + 1)] for k, v in value.items())]


def _unkept(place: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{place:.200} is {what}, which no checkpoint keeps: tensors, numbers, text, None, and "
        "lists, tuples and dictionaries of these are kept"
    )


def decoded(tree: Any, tensors: Tensors) -> Any:
    """Return the value that `encoded` gave as a tree and tensors, which are copied.

    Args:
        tree: read back from JSON.
        tensors: by their numbers.

    Raises:
        CheckpointError: it is no such tree, or lacks a tensor.

    Example:
        >>> decoded(["dict", ["k", ["list", 1, ["tensor", "0"]]]], {"0": torch.ones(1)})
        {'k': [1, tensor([1.])]}
    """
    return _decoded(tree, {name: tensor.clone() for name, tensor in tensors.items()}, 0)


def _decoded(tree: Any, tensors: Tensors, depth: int) -> Any:
    if not isinstance(tree, list):
        if tree is None or isinstance(tree, bool | int | float | str):
            return tree
    elif depth <= DEEPEST + 1:
        match tree:
            case ["tensor", str(name)] if name in tensors:
                return tensors[name]
            case ["list" | "tuple" as sort, *inner]:
                found = [_decoded(each, tensors, depth + 1) for each in inner]
                return tuple(found) if sort == "tuple" else found
            case ["dict", *pairs] if all(map(_is_pair, pairs)):
                return {key: _decoded(each, tensors, depth + 1) for key, each in pairs}
    raise CheckpointError(f"optimizer: found {tree!r:.80} where its state should be")


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (int, str)


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the whole state that its `state_dict` said, to the bit.

    Torch's own way back makes all tensors of the parameter's dtype, and breaks text; where the
    class does not go its own way, its state is put back as it was.

    Args:
        optimizer: of the same class, over the same parameters.
        state: is the optimizer's from now on.

    Raises:
        CheckpointError: it says something else afterwards; names where.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> optimizer.state[weight]["seen"] = torch.tensor([3])
        >>> other = torch.optim.SGD([weight], lr=0.1)
        >>> restore(other, optimizer.state_dict())
        >>> other.state[weight], other.param_groups[0]["lr"]
        ({'seen': tensor([3])}, 0.5)
    """
    optimizer.load_state_dict(state)
    if type(optimizer).load_state_dict is torch.optim.Optimizer.load_state_dict:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for key, value in state["state"].items():
            if isinstance(key, int) and key < len(parameters):
                parameter = parameters[key]
                optimizer.state[parameter] = _moved(value, parameter.device)
    if (fault := equal(optimizer.state_dict(), state)) is not None:
        name = type(optimizer).__name__
        raise CheckpointError(
            f"optimizer: {name}.load_state_dict does not give back what its state_dict said: "
            f"{fault:.200}"
        )


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value if value.dim() == 0 else value.to(device)
    if isinstance(value, dict):
        return {key: _moved(each, device) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(each, device) for each in value)
    return value


def equal(one: Any, other: Any, place: str = "") -> str | None:
    """Return where two states differ, and how; None where they are the same to the bit.

    Args:
        one: nested values, as `encoded` takes them.
        other: the same.
        place: where they stand.

    Example:
        >>> equal({"k": [1, torch.ones(1)]}, {"k": [1, torch.zeros(1)]})
        'k.1 is other numbers'
        >>> equal({"k": 1}, {"k": 1}) is None
        True
    """
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.dtype != other.dtype or one.shape != other.shape:
            return (
                f"{place} is {one.dtype} {list(one.shape)}, not {other.dtype} {list(other.shape)}"
            )
        same = torch.equal(one.cpu(), other.cpu())
        return None if same else f"{place} is other numbers"
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            odd = min(map(str, one.keys() ^ other.keys()))
            return f"{place} has {odd!r} in one alone".strip()
        pairs: Any = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
        pairs = [(n, *both) for n, both in enumerate(zip(one, other))]
    else:
        same = type(one) is type(other) and (one == other or (one != one and other != other))
        return None if same else f"{place} is {one!r:.40}, not {other!r:.40}"
    faults = (equal(mine, its, f"{place}.{key}".lstrip(".")) for key, mine, its in pairs)
    return next((fault for fault in faults if fault is not None), None)


def outside(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return marks of what an optimizer keeps on itself, where no `state_dict` of torch sees it.

    Args:
        optimizer: whose class leaves `state_dict` as it is; of others nothing is returned.

    Example:
        >>> outside(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))]))
        {}
    """
    if type(optimizer).state_dict is not torch.optim.Optimizer.state_dict:
        return {}
    return {name: _mark(v) for name, v in vars(optimizer).items() if name not in _of_all()}


@cache
def _of_all() -> frozenset[str]:
    """Return the names of what every optimizer of torch has on itself."""
    return frozenset(vars(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])))


def _mark(value: Any) -> Any:
    """Return what tells whether a value has changed since, as far as can be told."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, list | tuple | set):
        return [_mark(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _mark(each) for key, each in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else id(value)


def kept_outside(optimizer: torch.optim.Optimizer, before: dict[str, Any]) -> str | None:
    """Return the name of something that changed on an optimizer itself, outside of its state.

    Args:
        optimizer: whose.
        before: as `outside` returned it earlier.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))])
        >>> optimizer.steps = 0
        >>> before = outside(optimizer)
        >>> optimizer.steps += 1
        >>> kept_outside(optimizer, before)
        'steps'
    """
    now = outside(optimizer)
    changed = (name for name in {**before, **now} if before.get(name) != now.get(name))
    return next(changed, None)
