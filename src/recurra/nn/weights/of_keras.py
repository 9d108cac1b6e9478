"""Weights to and from layers of Keras. I inputs, H units, G gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.activation import Activation
from recurra.nn.cells.base import require_recurrence
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.weights.keras_arrays import (
    ARRAYS,
    Told,
    cell_of,
    in_pairs,
    layers_in,
    swapped,
)
from recurra.nn.weights.keras_layer import activation_of, is_keras_layer, recurrence_of
from recurra.nn.weights.parts import (
    Kind,
    array_of,
    directions_of,
    has_bias,
    hooks_of,
    layers_of,
    names_of,
    parameters_of,
    require_kind,
)
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.inside import steps_apart_from_activations
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack

__all__ = ["from_keras", "to_keras"]

LAYERS = (LSTMCell, GRUCell, RNNCell)
Merge = Literal["concat", "sum", "mean", "product"]


def from_keras(
    weights: Any,
    kind: Kind | None = None,
    *,
    reset_after: bool | None = None,
    activation: Activation | None = "tanh",
    recurrent_activation: Activation | None = "sigmoid",
    go_backwards: bool = False,
    bidirectional: bool | None = None,
    merge: Merge = "concat",
) -> Recurrence:
    """Return the recurrence with the weights of a Keras layer, or of its `get_weights()`.

    Of a layer itself everything is read from its config, and nothing else is given: an LSTM,
    GRU, SimpleRNN, a Bidirectional of these, or an RNN over their cells; its dropout becomes a
    Dropout. A layer's weights are its kernel `(I, G H)`, recurrent kernel `(H, G H)` and, where
    it has any, biases; those of a `Bidirectional` are the forward layer's, then the backward
    one's. The one bias of Keras stands in `bias_ih`, and `bias_hh` is zero and not learned.

    Args:
        weights: a layer; or the arrays of one; or a sequence of either, or the arrays of several
            layers one after the other, which become a Stack.
        kind: `"lstm"`, `"gru"`, or `"rnn"` for a SimpleRNN; of a layer None.
        reset_after: as the GRU was made; its biases tell, and without any it is Keras' default,
            True.
        activation: as the layer was made: a name of Keras 3 or a function of tensors.
        recurrent_activation: likewise, of an LSTM or GRU. In Keras 2 `"hard_sigmoid"` was
            another, here `"keras2_hard_sigmoid"`.
        go_backwards: whether the layer reads from the end, which makes it a Reversed.
        bidirectional: whether arrays of several layers are the two directions of each; None
            where their shapes tell.
        merge: of a Bidirectional: Keras' `"ave"` is `"mean"`, its `"mul"` `"product"`.

    Raises:
        ConfigError: for another kind or layer, a `reset_after` that the biases contradict, and
            arrays that may be two directions or two layers, until `bidirectional` says.
        ShapeError: for weights that are not those of such a layer.

    Example:
        >>> kernel, recurrent, bias = np.ones((3, 8)), np.ones((2, 8)), np.zeros(8)
        >>> from_keras([kernel, recurrent, bias], "lstm")
        LSTMCell(3, 2)
    """
    options: Any = {
        "reset_after": reset_after,
        "activation": activation,
        "recurrent_activation": recurrent_activation,
        "go_backwards": go_backwards,
        "bidirectional": bidirectional,
        "merge": merge,
    }
    if not is_keras_layer(weights):
        return _of_sequence(weights, kind, options)
    if kind is not None or options != from_keras.__kwdefaults__:
        raise ConfigError(
            "from_keras reads everything from the layer; give its get_weights() to say otherwise"
        )
    return recurrence_of(weights)


def to_keras(recurrence: Recurrence) -> list[Any]:
    """Return the arrays that `set_weights` of the Keras layer takes; of a Stack, a list a layer.

    Biases that are added to each other in every use become one; those of a layer, all zero and
    not learned, are left out, as by a layer with `use_bias=False`. Numbers of bfloat16, which
    numpy has not, become equal ones of float32. Activations and `go_backwards` go with the layer.

    Args:
        recurrence: an LSTMCell, GRUCell (with the `reset_after` of the layer) or RNNCell, a
            Bidirectional of two of a kind, a Reversed of one, or a Stack of these.

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


def _of_sequence(weights: Any, kind: Any, options: dict[str, Any]) -> Recurrence:
    """Return the recurrence of a sequence of layers, of their arrays, or of the arrays of one."""
    if not isinstance(weights, list | tuple):
        raise ShapeError(
            "from_keras takes first what layer.get_weights() returns, then the kind, got "
            f"{type(weights).__name__} first"
        )
    if weights and all(map(is_keras_layer, weights)):
        return Stack([from_keras(layer, kind, **options) for layer in weights])
    require_kind(kind)
    _check_told(options)
    if weights and all(isinstance(layer, list | tuple) for layer in weights):
        return Stack([from_keras(layer, cast("Kind", kind), **options) for layer in weights])
    layers = layers_in([array_of(each, ARRAYS) for each in weights], kind)
    both = (activation_of(options[name]) for name in ("activation", "recurrent_activation"))
    told = Told(cast("Kind", kind), options["reset_after"], *both)
    cells: list[Recurrence] = [cell_of(each, told) for each in layers]
    bidirectional, back, merge = (options[n] for n in ("bidirectional", "go_backwards", "merge"))
    if (bidirectional or len(cells) > 1) and in_pairs(layers, bidirectional, merge == "concat"):
        if back:
            raise ConfigError("from_keras: a Bidirectional reads both ways: go_backwards=False")
        cells = [Bidirectional(*pair, merge) for pair in zip(cells[::2], cells[1::2])]
    if back:
        cells = [Reversed(cell) for cell in cells]
    return cells[0] if len(cells) == 1 else Stack(cells)


def _layer_of_keras(layer: Recurrence) -> list[np.ndarray]:
    cells = directions_of(layer.inner() if type(layer) is Reversed else layer, "to_keras: Keras")
    if len({(type(cell), cell.output_size) for cell in cells}) > 1:
        raise ConfigError(
            f"to_keras: directions are of one kind and width in Keras, got {names_of(cells)}"
        )
    arrays: list[np.ndarray] = []
    for cell in cells:
        if not any(
            steps_apart_from_activations(cell, kind) for kind in (LSTMCell, GRUCell, RNNCell)
        ):
            why = hooks_of(cell)
            raise ConfigError(f"to_keras: Keras has no layer for {type(cell).__name__}{why}")
        weight_ih, weight_hh, bias_ih, bias_hh = (
            swapped(_numbers(value), cell) for value in parameters_of(cell).values()
        )
        apart = isinstance(cell, GRUCell) and cell.reset_after
        bias = torch.stack([bias_ih, bias_hh]) if apart else bias_ih + bias_hh
        parts = (weight_ih.T, weight_hh.T, bias) if has_bias(*cells) else (weight_ih.T, weight_hh.T)
        arrays += [each.numpy().copy() for each in parts]
    return arrays


def _numbers(value: Tensor) -> Tensor:
    """Return a parameter where numpy finds it, and of a dtype that it knows."""
    if value.is_meta:
        raise ConfigError("to_keras: the cell is on meta, where there are no numbers to hand over")
    value = value.detach().cpu()
    return value if value.dtype in (torch.float16, torch.float32, torch.float64) else value.float()


def _check_told(options: Mapping[str, Any]) -> None:
    for name, forms in (
        ("reset_after", "None, "),
        ("bidirectional", "None, "),
        ("go_backwards", ""),
    ):
        given = options[name]
        if not isinstance(given, bool) and not (forms and given is None):
            raise ConfigError(f"from_keras: {name} is {forms}True or False, got {given!r:.40}")
    if (merge := options["merge"]) not in get_args(Merge):
        raise ConfigError(f"from_keras: merge is concat, sum, mean or product, got {merge!r:.40}")
