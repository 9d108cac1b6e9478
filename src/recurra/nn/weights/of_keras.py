"""Weights to and from layers of Keras. I inputs, H units, G gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell, require_recurrence
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.weights.parts import (
    directions_of,
    empty,
    has_bias,
    layers_of,
    names_of,
    parameters_of,
)
from recurra.nn.wrappers.base import Recurrence, steps_as
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.stack import Stack

__all__ = ["from_keras", "to_keras"]

Merge = Literal["concat", "sum", "mean", "product"]
Nonlinearity = Literal["tanh", "relu"]


def from_keras(
    weights: Sequence[Any],
    kind: Literal["lstm", "gru", "rnn"],
    *,
    reset_after: bool | None = None,
    nonlinearity: Nonlinearity = "tanh",
    merge: Merge = "concat",
) -> Recurrence:
    """Return the recurrence with the weights of a Keras layer, as its `get_weights()` gives them.

    A layer's weights are its kernel `(I, G H)`, recurrent kernel `(H, G H)` and, where it has
    any, biases; those of a `Bidirectional` are the forward layer's, then the backward one's.
    The one bias of Keras stands in `bias_ih`, and `bias_hh` is zero and not learned.

    Args:
        weights: of one layer; or of several, a sequence for each, which become a Stack.
        kind: `"lstm"`, `"gru"`, or `"rnn"` for a SimpleRNN, with the activations that are
            Keras 3's defaults.
        reset_after: as the GRU was made; its biases tell, and without any it is Keras' default,
            True.
        nonlinearity: a SimpleRNN's activation.
        merge: of a Bidirectional: Keras' `"ave"` is `"mean"`, its `"mul"` `"product"`.

    Raises:
        ConfigError: for another kind, or a `reset_after` that the biases contradict.
        ShapeError: for weights that are not those of such a layer.

    Example:
        >>> kernel, recurrent, bias = np.ones((3, 8)), np.ones((2, 8)), np.zeros(8)
        >>> from_keras([kernel, recurrent, bias], "lstm")
        LSTMCell(3, 2)
    """
    if not isinstance(weights, list | tuple):
        raise ShapeError(
            "from_keras takes first what layer.get_weights() returns, then the kind, got "
            f"{type(weights).__name__} first"
        )
    if not isinstance(kind, str) or kind not in ("lstm", "gru", "rnn"):
        got = f"{kind!r:.80}" if isinstance(kind, str) else type(kind).__name__
        raise ConfigError(f"kind is 'lstm', 'gru' or 'rnn', got {got}")
    if weights and all(isinstance(layer, list | tuple) for layer in weights):
        options: Any = {"reset_after": reset_after, "nonlinearity": nonlinearity, "merge": merge}
        return Stack([from_keras(layer, kind, **options) for layer in weights])
    arrays = [_array(each) for each in weights]
    told: Any = {"kind": kind, "reset_after": reset_after, "nonlinearity": nonlinearity}
    cell: Callable[..., Cell] = partial(_cell_of_keras, **told)
    if len(arrays) in (2, 3):
        return cell(arrays)
    if len(arrays) in (4, 6):
        half = len(arrays) // 2
        return Bidirectional(cell(arrays[:half]), cell(arrays[half:]), merge)
    raise ShapeError(
        f"from_keras: a layer has 2 or 3 arrays, a Bidirectional 4 or 6, got {len(arrays)}"
    )


def to_keras(recurrence: Recurrence) -> list[Any]:
    """Return the arrays that `set_weights` of the Keras layer takes; of a Stack, a list a layer.

    Biases that are added to each other in every use become one; those of a layer, all zero and
    not learned, are left out, as by a layer with `use_bias=False`.

    Args:
        recurrence: an LSTMCell, GRUCell (with the `reset_after` of the layer) or RNNCell, a
            Bidirectional of two of a kind, or a Stack of these.

    Raises:
        ConfigError: for what is no recurrence, or Keras has no layer for.

    Example:
        >>> [array.shape for array in to_keras(GRUCell(3, 4))]
        [(3, 12), (4, 12), (2, 12)]
    """
    require_recurrence(recurrence, "to_keras")
    if type(recurrence) is Stack:
        return [_layer_of_keras(layer) for layer in layers_of(recurrence)]
    return _layer_of_keras(recurrence)


def _array(given: Any) -> np.ndarray:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # of a ragged list, or a tensor with a gradient
        array = np.asarray(None)
    if array.dtype.kind != "f":
        got = type(given).__name__ if array.dtype.kind in "OU" else f"an array of {array.dtype}"
        raise ShapeError(
            f"from_keras takes floating-point arrays, as layer.get_weights(), got {got}"
        )
    return array


def _layer_of_keras(layer: Recurrence) -> list[np.ndarray]:
    cells = directions_of(layer, "to_keras: Keras")
    if len({(type(cell), cell.output_size) for cell in cells}) > 1:
        raise ConfigError(
            f"to_keras: directions are of one kind and width in Keras, got {names_of(cells)}"
        )
    arrays: list[np.ndarray] = []
    for cell in cells:
        if not any(steps_as(cell, kind) for kind in (LSTMCell, GRUCell, RNNCell)):
            raise ConfigError(f"to_keras: Keras has no layer for {type(cell).__name__}")
        weight_ih, weight_hh, bias_ih, bias_hh = (
            _swapped(value.detach().cpu(), cell) for value in parameters_of(cell).values()
        )
        apart = isinstance(cell, GRUCell) and cell.reset_after
        bias = torch.stack([bias_ih, bias_hh]) if apart else bias_ih + bias_hh
        parts = (weight_ih.T, weight_hh.T, bias) if has_bias(*cells) else (weight_ih.T, weight_hh.T)
        arrays += [each.numpy().copy() for each in parts]
    return arrays


def _cell_of_keras(
    arrays: list[np.ndarray], kind: str, reset_after: bool | None, nonlinearity: Nonlinearity
) -> Cell:
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    kernel, recurrent, *biases = (torch.from_numpy(array.copy()) for array in arrays)
    H = recurrent.shape[0]
    rows = gates * H
    apart = [tuple(bias.shape) for bias in biases] == [(2, rows)] and kind == "gru"
    if (
        kernel.dim() != 2
        or (*kernel.shape[1:], *recurrent.shape) != (rows, H, rows)
        or not (apart or all(bias.shape == (rows,) for bias in biases))
    ):
        raise ShapeError(
            f"from_keras: a layer of kind {kind!r} has a kernel (I, {gates} H), a recurrent kernel "
            f"(H, {gates} H) and biases ({gates} H,){' or (2, 3 H)' if kind == 'gru' else ''}, got "
            f"{', '.join(str(array.shape) for array in arrays)}"
        )
    if kind == "gru" and biases and reset_after not in (None, apart):
        raise ConfigError(
            f"reset_after={reset_after}, but biases {tuple(biases[0].shape)} are those of a layer "
            f"with reset_after={apart}"
        )
    after = apart or (not biases and reset_after is not False)
    I = kernel.shape[0]  # noqa: E741
    make: Callable[[], Cell] = {
        "lstm": lambda: LSTMCell(I, H),
        "gru": lambda: GRUCell(I, H, after),
        "rnn": lambda: RNNCell(I, H, nonlinearity),
    }[kind]
    cell = empty(make, kernel)
    bias = biases[0] if biases else torch.zeros(rows, dtype=kernel.dtype)
    values = (kernel.T, recurrent.T, *(bias if apart else (bias, torch.zeros_like(bias))))
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), values):
            parameter.copy_(_swapped(value, cell))
    for name, learned in (("bias_ih", bool(biases)), ("bias_hh", apart)):
        cell.get_parameter(name).requires_grad_(learned)
    return cell


def _swapped(rows: Tensor, cell: Cell) -> Tensor:
    """Return a GRU's rows in the other order: z, r, n of Keras and r, z, n of torch."""
    if not isinstance(cell, GRUCell):
        return rows
    first, second, third = rows.chunk(3)
    return torch.cat([second, first, third])
