"""What a class of one's own says of itself, held to what it must be, in one line.

B rows, O outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from recurra.errors import ConfigError

__all__ = ["declared_shapes", "declared_starts", "require_free", "shapes_note"]


def require_free(kind: type, name: str, value: Any) -> None:
    """Raise ConfigError where a name that is assigned to is a method, which would hide the value.

    Args:
        kind: `Cell`, whose methods they are.
        name: of the attribute.
        value: what it is to be; a function may take the place of a method.

    Example:
        >>> require_free(nn.Module, "half", nn.Linear(1, 1))
        Traceback (most recent call last):
        recurra.errors.ConfigError: half is a method of rc.Cell; give the layer another name
    """
    if not inspect.isfunction(getattr(kind, name, None)):
        return
    what = "the layer" if isinstance(value, nn.Module) else "the tensor"
    if not isinstance(value, nn.Module | Tensor):
        if callable(value) or name not in vars(kind):
            return
        what = "it"
    raise ConfigError(f"{name} is a method of rc.Cell; give {what} another name")


def declared_shapes(cell: Any, names: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """Return what `state_shapes()` of a cell gives, once it is what it must be.

    Args:
        cell: whose state it is.
        names: of the tensors of its state.

    Raises:
        ConfigError: it is no dict of shapes, or names what the state has not.
    """
    method = cell.state_shapes
    shapes = method() if callable(method) else method
    if not shapes and isinstance(shapes, dict):
        return shapes
    name = type(cell).__name__
    if not callable(method):
        raise ConfigError(f"{name}: state_shapes is a method that returns a dict, got {shapes!r}")
    must = f"{name}: state_shapes() must be a dict of shapes without B"
    if not isinstance(shapes, Mapping):
        raise ConfigError(f"{must}, got {shapes!r:.60}")
    for part, shape in shapes.items():
        if part not in names:
            raise ConfigError(_unknown(f"{name}: state_shapes()", part, names))
        if not isinstance(shape, tuple | list) or not all(isinstance(n, Integral) for n in shape):
            raise ConfigError(f"{must}, got {part!r}: {shape!r:.60}")
    return shapes


def declared_starts(cell: Any, names: Sequence[str]) -> Mapping[str, float]:
    """Return what `starts_at` of a cell gives, once it names tensors of the state.

    Args:
        cell: whose state it is.
        names: of the tensors of its state.

    Raises:
        ConfigError: it names what the state has not.
    """
    starts: Mapping[str, float] = cell.starts_at
    for part in starts:
        if part not in names:
            raise ConfigError(_unknown(f"{type(cell).__name__}: starts_at", part, names))
    return starts


def shapes_note(cell: Any) -> str:
    """Return, for the end of a message, what a state of other shapes than `(B, O)` asks for.

    Args:
        cell: of whose state a shape is wrong.
    """
    if not isinstance(cell, nn.Module) or not hasattr(cell, "state_shapes"):
        return ""
    owners = (each for each in type(cell).__mro__ if "initial_state" in vars(each))
    if next(owners).__module__ != "recurra.nn.cells.base":
        return ""
    return f"; state_shapes() says, without B, which are not (B, {cell.output_size})"


def _unknown(where: str, part: str, names: Sequence[str]) -> str:
    return f"{where} names {part!r}, the state has {', '.join(names)}"
