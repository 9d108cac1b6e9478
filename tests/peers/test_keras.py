"""Layers of Keras 3, taken as they are and run beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.nn.unroll import unroll
from recurra.nn.weights import from_keras, to_keras

pytestmark = pytest.mark.filterwarnings("ignore")

SEQUENCES: dict[str, Any] = {"return_sequences": True}
LAYERS: dict[str, Any] = {
    "lstm": lambda k: k.LSTM(4, **SEQUENCES),
    "lstm without biases": lambda k: k.LSTM(4, use_bias=False, **SEQUENCES),
    "lstm backwards": lambda k: k.LSTM(4, go_backwards=True, **SEQUENCES),
    "lstm relu": lambda k: k.LSTM(
        4, activation="relu", recurrent_activation="hard_sigmoid", **SEQUENCES
    ),
    "gru": lambda k: k.GRU(4, **SEQUENCES),
    "gru reset before": lambda k: k.GRU(4, reset_after=False, **SEQUENCES),
    "gru without biases": lambda k: k.GRU(4, use_bias=False, reset_after=False, **SEQUENCES),
    "gru swish": lambda k: k.GRU(4, activation="swish", **SEQUENCES),
    "rnn": lambda k: k.SimpleRNN(4, **SEQUENCES),
    "rnn backwards": lambda k: k.SimpleRNN(4, activation=None, go_backwards=True, **SEQUENCES),
    "cells": lambda k: k.RNN([k.LSTMCell(4), k.GRUCell(3), k.SimpleRNNCell(2)], **SEQUENCES),
    **{
        f"both ways {merge}": lambda k, merge=merge: k.Bidirectional(
            k.LSTM(4, **SEQUENCES), merge_mode=merge
        )
        for merge in ("concat", "sum", "ave", "mul")
    },
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name: str, peer: Any) -> None:
    keras = peer("keras")
    layer = LAYERS[name](keras.layers)
    x = torch.randn(2, 5, 3)

    def theirs() -> torch.Tensor:
        return torch.tensor(keras.ops.convert_to_numpy(layer(x.numpy())))

    theirs()  # makes its weights
    draw = np.random.default_rng(2)
    layer.set_weights([draw.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
    ours = from_keras(layer)
    torch.testing.assert_close(unroll(ours, x)[0], theirs(), rtol=1e-5, atol=1e-5)
    if name == "cells":
        return
    before = layer.get_weights()
    for got, expected in zip(to_keras(ours), before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_every_activation_of_the_same_name(peer: Any) -> None:
    from recurra.nn.cells.activation import ACTIVATIONS, activate

    keras = peer("keras")
    x = torch.linspace(-4, 4, 33)
    names = [name for name in ACTIVATIONS if name != "keras2_hard_sigmoid"]
    for name in names:
        theirs = keras.activations.get(name)(keras.ops.convert_to_tensor(x.numpy()))
        expected = torch.tensor(keras.ops.convert_to_numpy(theirs))
        torch.testing.assert_close(activate(name, x), expected, rtol=1e-5, atol=1e-5, msg=name)
