"""Cells out of the arrays of Keras' layers, and how many layers a list of arrays holds.

I inputs, H units, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.activation import Activation
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.weights.parts import empty

__all__ = ["ARRAYS", "GATES", "Told", "cell_of", "in_pairs", "layers_in", "swapped"]

GATES = {"lstm": 4, "gru": 3, "rnn": 1}

ARRAYS = "from_keras takes floating-point arrays, as layer.get_weights()"

Arrays = list[np.ndarray]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a layer beside its arrays: its kind, and how it was made."""

    kind: Literal["lstm", "gru", "rnn"]
    reset_after: bool | None
    activation: Activation
    recurrent_activation: Activation


def is_layer(arrays: Arrays, kind: str) -> bool:
    """Return whether arrays have the shapes of one layer of a kind.

    Args:
        arrays: a kernel, a recurrent kernel, and perhaps biases.
        kind: of the layer.
    """
    kernel, recurrent, *biases = (array.shape for array in arrays)
    if len(kernel) != 2 or len(recurrent) != 2:
        return False
    H, rows = recurrent
    widths = [(rows,), (2, rows)] if kind == "gru" else [(rows,)]
    fits = rows == GATES[kind] * H == kernel[1]
    return fits and all(bias in widths for bias in biases)


def layers_in(arrays: Arrays, kind: str) -> list[Arrays]:
    """Return the arrays of each layer, or direction, that stand one after the other in a list.

    Args:
        arrays: of all of them.
        kind: of each.

    Raises:
        ShapeError: the list holds no whole layers, or could hold so many or so many.
    """
    count = len(arrays)
    if count in (2, 3):
        return [arrays]
    cuts = {
        size: [arrays[n : n + size] for n in range(0, count, size)]
        for size in (2, 3)
        if count and count % size == 0
    }
    if not cuts:
        raise ShapeError(
            f"from_keras: a layer has a kernel, a recurrent kernel and perhaps biases; {count} "
            "arrays are no whole number of such layers"
        )
    whole = [layers for layers in cuts.values() if all(is_layer(each, kind) for each in layers)]
    if len(whole) > 1:
        raise ShapeError(
            f"from_keras: {count} arrays could be {len(whole[0])} layers without biases or "
            f"{len(whole[1])} with them; give a list for each layer"
        )
    return whole[0] if whole else [*cuts.values()][-1]


def in_pairs(layers: Sequence[Arrays], bidirectional: bool | None, joined: bool) -> bool:
    """Return whether layers are the two directions of one after the other, or stand on each other.

    Args:
        layers: the arrays of each.
        bidirectional: what the user said; None where shapes are to tell.
        joined: whether the outputs of two directions are laid side by side.

    Raises:
        ConfigError: shapes do not tell, or contradict what the user said.
        ShapeError: the layers are neither.
    """
    sizes = [(each[0].shape[0], each[1].shape[0]) for each in layers]
    ahead, behind = sizes[::2], sizes[1::2]
    outs = [a[1] + b[1] if joined else a[1] for a, b in zip(ahead, behind)]
    pairs = len(sizes) % 2 == 0 and all(a[0] == b[0] for a, b in zip(ahead, behind))
    pairs = pairs and all(out == below[0] for out, below in zip(outs, ahead[1:]))
    alike = pairs and all(a == b for a, b in zip(ahead, behind))
    stacked = all(out == below for (_, out), (below, _) in pairwise(sizes))
    told = ", ".join(f"{inputs} -> {units}" for inputs, units in sizes)
    if bidirectional is None and alike and stacked and len(sizes) > 1:
        raise ConfigError(
            f"from_keras: the arrays are those of layers {told}, which may stand on each other or "
            "be two directions: say bidirectional=False or bidirectional=True, or give a list for "
            "each layer"
        )
    if bidirectional is not False and (alike or (bidirectional and pairs)):
        return True
    if bidirectional or not stacked:
        what = "two directions" if bidirectional else "layers on each other"
        raise ShapeError(f"from_keras: layers {told} are no {what}; give a list for each layer")
    return False


def cell_of(arrays: Arrays, told: Told) -> Cell:
    """Return the cell with the weights of one layer and direction.

    Args:
        arrays: as its `get_weights()` gives them.
        told: what else is known of it.

    Raises:
        ConfigError: for a `reset_after` that the biases contradict, or no activation.
        ShapeError: for weights that are not those of such a layer.
    """
    kind, gates = told.kind, GATES[told.kind]
    if not is_layer(arrays, kind):
        raise ShapeError(
            f"from_keras: a layer of kind {kind!r} has a kernel (I, {gates} H), a recurrent kernel "
            f"(H, {gates} H) and biases ({gates} H,){' or (2, 3 H)' if kind == 'gru' else ''}, got "
            f"{', '.join(str(array.shape) for array in arrays)}"
        )
    kernel, recurrent, *biases = (torch.from_numpy(array.copy()) for array in arrays)
    apart = bool(biases) and biases[0].dim() == 2
    if kind == "gru" and biases and told.reset_after not in (None, apart):
        raise ConfigError(
            f"reset_after={told.reset_after}, but biases {tuple(biases[0].shape)} are those of a "
            f"layer with reset_after={apart}"
        )
    after = apart or (not biases and told.reset_after is not False)
    (I, rows), H = kernel.shape, recurrent.shape[0]  # noqa: E741
    both: Any = {"activation": told.activation, "recurrent_activation": told.recurrent_activation}
    make: Callable[[], Cell] = {
        "lstm": lambda: LSTMCell(I, H, **both),
        "gru": lambda: GRUCell(I, H, after, **both),
        "rnn": lambda: RNNCell(I, H, told.activation),
    }[kind]
    cell = empty(make, kernel)
    bias = biases[0] if biases else torch.zeros(rows, dtype=kernel.dtype)
    values = (kernel.T, recurrent.T, *(bias if apart else (bias, torch.zeros_like(bias))))
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), values):
            parameter.copy_(swapped(value, cell))
    for name, learned in (("bias_ih", bool(biases)), ("bias_hh", apart)):
        cell.get_parameter(name).requires_grad_(learned)
    return cell


def swapped(rows: Tensor, cell: Cell) -> Tensor:
    """Return a GRU's rows in the other order: z, r, n of Keras and r, z, n of torch.

    Args:
        rows: of a weight or bias.
        cell: whose they are; those of others stay.
    """
    if not isinstance(cell, GRUCell):
        return rows
    first, second, third = rows.chunk(3)
    return torch.cat([second, first, third])
