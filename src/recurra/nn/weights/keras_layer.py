"""Recurrences out of layers of Keras themselves, by what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recurra.errors import ConfigError
from recurra.nn.cells.activation import ACTIVATIONS, Activation
from recurra.nn.weights.keras_arrays import ARRAYS, Told, cell_of
from recurra.nn.weights.parts import array_of
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack

__all__ = ["activation_of", "is_keras_layer", "recurrence_of"]

KINDS: Mapping[str, Any] = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
MERGES: Mapping[str | None, Any] = {
    "concat": "concat",
    "sum": "sum",
    "ave": "mean",
    "mul": "product",
}
OTHER_NAMES = {None: "linear", "swish": "silu", "hard_swish": "hard_silu"}


def is_keras_layer(given: Any) -> bool:
    """Return whether something is a layer of Keras, going by what it can do.

    Args:
        given: anything.
    """
    can = hasattr(given, "get_weights") and hasattr(given, "get_config")
    return can and not isinstance(given, type)


def activation_of(given: Any, keras2: bool = False) -> Activation:
    """Return an activation by its name in Keras, which has other names for some.

    Args:
        given: a name, None for none, or a function.
        keras2: whether the name means what it does in Keras 2.
    """
    if given is not None and not isinstance(given, str):
        function: Activation = given
        return function
    if keras2 and given == "hard_sigmoid":
        return "keras2_hard_sigmoid"
    return OTHER_NAMES.get(given, given or "linear")


def recurrence_of(layer: Any) -> Recurrence:
    """Return the recurrence that computes what a layer computes, its whole sequence of outputs.

    Args:
        layer: an LSTM, GRU, SimpleRNN, a cell of these, an RNN over such cells, or a
            Bidirectional.

    Raises:
        ConfigError: for another layer, or one that is not built.
    """
    recurrence = _forwards(layer)
    if _config(layer).get("go_backwards"):
        return Reversed(recurrence)
    return recurrence


def _config(layer: Any) -> dict[str, Any]:
    return dict(layer.get_config())


def _forwards(layer: Any) -> Recurrence:
    """Return what a layer does, whichever way it reads."""
    name, config = type(layer).__name__, _config(layer)
    if name == "Bidirectional":
        return _both_ways(layer, config.get("merge_mode"))
    if name == "RNN":
        cells = getattr(layer.cell, "cells", [layer.cell])
        inner = [_forwards(cell) for cell in cells]
        return inner[0] if len(inner) == 1 else Stack(inner)
    kind = KINDS.get(name.removesuffix("Cell"))
    if kind is None:
        raise ConfigError(
            f"from_keras takes an LSTM, GRU, SimpleRNN, Bidirectional or RNN of Keras, got {name}"
        )
    weights = layer.get_weights()
    if not weights:
        raise ConfigError(f"from_keras: the {name} has no weights yet: call it, or build(shape)")
    keras2 = "implementation" in config or "time_major" in config  # Keras 3 has neither
    names = {part: config.get(part) for part in ("activation", "recurrent_activation")}
    if kind == "rnn":
        names["recurrent_activation"] = "sigmoid"
    told = {part: activation_of(given, keras2) for part, given in names.items()}
    for part, given in told.items():
        if not isinstance(given, str) or given not in ACTIVATIONS:
            raise ConfigError(
                f"from_keras: the {part} of the {name} is {given!r:.80}, a function of its own: "
                f"from_keras(layer.get_weights(), {kind!r}, {part}=...) takes one of tensors"
            )
    cell = cell_of(
        [array_of(each, ARRAYS) for each in weights],
        Told(kind, config.get("reset_after"), **told),
    )
    if not getattr(layer, "trainable", True):
        cell.requires_grad_(False)
    drops = {"input": config.get("dropout"), "state": config.get("recurrent_dropout")}
    given_drops = {place: float(p) for place, p in drops.items() if p}
    return Dropout(cell, **given_drops, variational=True) if given_drops else cell


def _both_ways(layer: Any, merge: str | None) -> Bidirectional:
    if merge not in MERGES:
        raise ConfigError(
            f"from_keras: a Bidirectional with merge_mode={merge!r} returns two outputs; take its "
            "forward_layer and its backward_layer each by itself"
        )
    if _config(layer.forward_layer).get("go_backwards"):
        raise ConfigError("from_keras: the forward layer of the Bidirectional has go_backwards")
    both = (_forwards(layer.forward_layer), _forwards(layer.backward_layer))
    return Bidirectional(*both, MERGES[merge])
