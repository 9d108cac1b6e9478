"""What weights of torch, Keras and others are made from and into: cells, directions and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.kernel import is_watched
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.stack import Stack

__all__ = [
    "Kind",
    "array_of",
    "directions_of",
    "empty",
    "filled",
    "has_bias",
    "hooks_of",
    "layers_of",
    "names_of",
    "parameters_of",
    "require_kind",
]

Kind = Literal["lstm", "gru", "rnn"]
"""The cells that other libraries have."""


def empty(make: Callable[[], Cell], like: Tensor) -> Cell:
    """Return what `make` makes, where and as `like` is, without drawing a number for it.

    Args:
        make: a cell of the right sizes.
        like: a parameter.
    """
    with torch.device("meta"):
        cell = make()
    return cell.to(like.dtype).to_empty(device=like.device)


def array_of(given: Any, expected: str) -> np.ndarray:
    """Return an array of floating-point numbers, those of bfloat16 as float32.

    Args:
        given: what should be one.
        expected: who takes such arrays, for the message.

    Raises:
        ShapeError: for anything else.
    """
    try:
        if isinstance(given, Tensor):
            given = given.detach().cpu()
            given = given.float() if given.dtype == torch.bfloat16 else given
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # of a ragged list, or a tensor without numbers
        array = np.asarray(None)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind != "f":
        got = type(given).__name__ if array.dtype.kind in "OU" else f"an array of {array.dtype}"
        raise ShapeError(f"{expected}, got {got}")
    # As torch reads them: the machine's order of bytes, and no more than 64 bits.
    return array.astype(np.dtype(f"=f{min(array.itemsize, 8)}"), copy=False)


def filled(make: Callable[[], Cell], values: Mapping[str, np.ndarray | None]) -> Cell:
    """Return a cell with the given parameters; those that are None are zero and not learned.

    Args:
        make: a cell of the right sizes.
        values: of each parameter, by its name.
    """
    tensors = {n: torch.tensor(v) for n, v in values.items() if v is not None}
    cell = empty(make, next(iter(tensors.values())))
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            given = tensors.get(name)
            parameter.copy_(torch.zeros_like(parameter) if given is None else given)
            parameter.requires_grad_(given is not None)
    return cell


def parameters_of(cell: Cell) -> dict[str, Tensor]:
    """Return what stands under torch's names, parametrised or not.

    Args:
        cell: whose.
    """
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return {name: getattr(cell, name) for name in names if hasattr(cell, name)}


def names_of(cells: Sequence[Cell]) -> str:
    """Return the kinds and sizes of cells, for a message.

    Args:
        cells: which.
    """
    return ", ".join(f"{type(cell).__name__}({cell.extra_repr()})" for cell in cells)


def has_bias(*cells: Cell) -> bool:
    """Return whether a bias of the cells is learned, or other than zero.

    Args:
        cells: which.
    """
    biases = [getattr(cell, name) for cell in cells for name in ("bias_ih", "bias_hh")]
    return any(bias.requires_grad or (not bias.is_meta and bool(bias.any())) for bias in biases)


def hooks_of(cell: Recurrence) -> str:
    """Return that a cell has hooks, which no weights take along, for a message; nothing if not.

    Args:
        cell: which.
    """
    return ", whose hooks act at every step: remove them first" if is_watched(cell) else ""


def layers_of(recurrence: Recurrence) -> list[Recurrence]:
    """Return the layers of a Stack; of anything else, itself.

    Args:
        recurrence: which.
    """
    if type(recurrence) is not Stack:
        return [recurrence]
    return [recurrence.inner(n) for n in range(len(recurrence.cells))]


def directions_of(layer: Recurrence, place: str) -> list[Cell]:
    """Return the cells of a layer: two of a Bidirectional, else one.

    Args:
        layer: which.
        place: where the weights go, for the message.

    Raises:
        ConfigError: it is a wrapper that no other library has.
    """
    parts = [layer.inner(0), layer.inner(1)] if type(layer) is Bidirectional else [layer]
    for part in parts:
        if not isinstance(part, Cell):
            hint = " within a layer: put all layers into one" if type(part) is Stack else ""
            raise ConfigError(f"{place} has nothing for {type(part).__name__}{hint}")
    return cast("list[Cell]", parts)


def require_kind(kind: Any) -> None:
    """Raise ConfigError unless it is a kind of cells that other libraries have.

    Args:
        kind: what should be one.

    Example:
        >>> require_kind("elman")
        Traceback (most recent call last):
        recurra.errors.ConfigError: kind is 'lstm', 'gru' or 'rnn', got 'elman'
    """
    if not isinstance(kind, str) or kind not in get_args(Kind):
        got = f"{kind!r:.80}" if isinstance(kind, str) else type(kind).__name__
        raise ConfigError(f"kind is 'lstm', 'gru' or 'rnn', got {got}")
