"""Weights of Keras, beside the library's own outputs.

What Keras computes is known here three ways: by its equations, written out in numpy; by
outputs that the library itself made, kept in a file; and by the library, where it is installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.nn.weights import from_keras, to_keras
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.reversed import Reversed
from recurra.nn.wrappers.stack import Stack

GOLDEN = Path(__file__).parents[2] / "golden" / "keras_layers.json"


class Mine(LSTMCell):
    """Whose step is another."""

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        return super().forward(2 * x, state)


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def keras_equations(
    x: np.ndarray, weights: list[np.ndarray], kind: str, reset_after: bool, relu: bool
) -> np.ndarray:
    """Keras' cells as its documentation and sources of version 3 give them, default activations.

    LSTM: columns in the order i, f, c, o. GRU: z, r, h, and the old state is kept by z.
    """
    kernel, recurrent, *biases = weights
    H = recurrent.shape[0]
    bias = biases[0] if biases else np.zeros(kernel.shape[1])
    into, back = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    h = c = np.zeros((len(x), H))
    ys = []
    for t in range(x.shape[1]):
        a = x[:, t] @ kernel + into
        if kind == "lstm":
            i, f, new, o = np.split(a + h @ recurrent, 4, axis=1)
            c = logistic(f) * c + logistic(i) * np.tanh(new)
            h = logistic(o) * np.tanh(c)
        elif kind == "gru":
            b = h @ recurrent + back
            z = logistic(a[:, :H] + b[:, :H])
            r = logistic(a[:, H : 2 * H] + b[:, H : 2 * H])
            if reset_after:
                new = np.tanh(a[:, 2 * H :] + r * b[:, 2 * H :])
            else:
                new = np.tanh(a[:, 2 * H :] + (r * h) @ recurrent[:, 2 * H :])
            h = z * h + (1 - z) * new
        else:
            a = a + h @ recurrent
            h = np.maximum(a, 0) if relu else np.tanh(a)
        ys.append(h)
    return np.stack(ys, axis=1)


def read(name: str) -> dict[str, Any]:
    """What `from_keras` is told of a layer by the words of its name in the file."""
    options: dict[str, Any] = {"kind": name.split()[0]}
    if "relu" in name:
        options["activation"] = "relu"
    for merge in ("concat", "sum", "mean", "product"):
        if merge in name:
            options["merge"] = merge
    return options


LAYERS: dict[str, Any] = json.loads(GOLDEN.read_text())["layers"]
INPUTS = torch.tensor(json.loads(GOLDEN.read_text())["x"])


def arrays(name: str) -> list[np.ndarray]:
    return [np.array(array, np.float32) for array in LAYERS[name]["weights"]]


@pytest.mark.parametrize("name", LAYERS)
def test_the_outputs_that_keras_itself_made(name: str) -> None:
    ours = from_keras(arrays(name), **read(name))
    y = unroll(ours, INPUTS)[0]
    torch.testing.assert_close(y, torch.tensor(LAYERS[name]["y"]), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_the_equations_of_keras(name: str) -> None:
    weights = [array.astype(np.float64) for array in arrays(name)]
    options = read(name)
    x = np.random.default_rng(1).normal(size=(3, 7, 2))
    told = (options["kind"], "before" not in name, "relu" in name)
    if len(weights) > 3:
        half = len(weights) // 2
        parts = (
            keras_equations(x, weights[:half], *told),
            np.flip(keras_equations(np.flip(x, 1), weights[half:], *told), 1),
        )
        both = np.stack(parts)
        expected = {
            "concat": np.concatenate(parts, axis=2),
            "sum": both.sum(0),
            "mean": both.mean(0),
            "product": both.prod(0),
        }[options["merge"]]
    else:
        expected = keras_equations(x, weights, *told)
    y = unroll(from_keras(weights, **options), torch.from_numpy(x))[0]
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back_for_keras(name: str) -> None:
    weights = arrays(name)
    back = to_keras(from_keras(weights, **read(name)))
    for got, expected in zip(back, weights, strict=True):
        np.testing.assert_array_equal(got, expected)
    again = from_keras(back, **read(name))
    first = from_keras(weights, **read(name))
    assert torch.equal(unroll(again, INPUTS)[0], unroll(first, INPUTS)[0])


@pytest.mark.parametrize("name", ["lstm", "gru", "gru reset before", "rnn"])
def test_two_learned_biases_become_what_keras_has(name: str) -> None:
    kinds: dict[str, Any] = {"lstm": LSTMCell, "gru": GRUCell, "rnn": RNNCell}
    options = {"reset_after": False} if "before" in name else {}
    cell = kinds[name.split()[0]](3, 4, **options)
    x = torch.randn(2, 5, 3)
    again = from_keras(to_keras(cell), name.split()[0])
    torch.testing.assert_close(unroll(again, x)[0], unroll(cell, x)[0])
    learned = [p.requires_grad for n, p in again.named_parameters() if n == "bias_hh"]
    assert learned == [name == "gru"]


def test_layers_of_keras_are_a_stack() -> None:
    deep = Stack([Bidirectional(LSTMCell(3, 4), LSTMCell(3, 4)), LSTMCell(8, 5)])
    weights = to_keras(deep)
    assert [len(layer) for layer in weights] == [6, 3]
    again = from_keras(weights, "lstm")
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(unroll(again, x)[0], unroll(deep, x)[0])


def test_a_gru_without_biases_is_told_how_it_resets() -> None:
    weights = arrays("gru without biases")
    for told, expected in ((None, True), (True, True), (False, False)):
        cell = from_keras(weights, "gru", reset_after=told)
        assert isinstance(cell, GRUCell) and cell.reset_after is expected


def test_weights_that_are_not_those_of_the_layer() -> None:
    kernel, recurrent, bias = arrays("lstm")
    with pytest.raises(ConfigError, match="kind is 'lstm', 'gru' or 'rnn', got 'conv'"):
        from_keras([kernel, recurrent], "conv")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"kind 'gru' has a kernel \(I, 3 H\).*, got \(2, 12\)"):
        from_keras([kernel, recurrent, bias], "gru")
    with pytest.raises(ShapeError, match=r"recurrent kernel \(H, 4 H\) .*, got \(2, 12\), \(12, 3"):
        from_keras([kernel, recurrent.T, bias], "lstm")
    with pytest.raises(ShapeError, match=r"biases \(4 H,\), got .* \(11,\)"):
        from_keras([kernel, recurrent, bias[1:]], "lstm")
    for count in (0, 1, 5, 7):
        with pytest.raises(ShapeError, match=f"; {count} arrays are no whole|^from_keras: a layer"):
            from_keras([kernel] * count, "lstm")
    with pytest.raises(ConfigError, match=r"reset_after=False, but biases \(2, 9\) are those"):
        from_keras(arrays("gru"), "gru", reset_after=False)
    with pytest.raises(ConfigError, match=r"reset_after=True, but biases \(9,\) are those"):
        from_keras(arrays("gru reset before"), "gru", reset_after=True)


def test_arguments_that_stand_in_the_wrong_places() -> None:
    weights: Any = arrays("lstm")
    with pytest.raises(ShapeError, match=r"get_weights\(\) returns, then the kind, got str first$"):
        from_keras("lstm", weights)
    with pytest.raises(ConfigError, match=r"kind is 'lstm', 'gru' or 'rnn', got list$"):
        from_keras(weights, weights)
    with pytest.raises(ConfigError, match=r"kind is 'lstm', 'gru' or 'rnn', got ndarray$"):
        from_keras(weights, weights[0])


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"go_backwards": "no"}, "go_backwards is True or False, got 'no'"),
        ({"go_backwards": None}, "go_backwards is True or False, got None"),
        ({"bidirectional": "yes"}, "bidirectional is None, True or False, got 'yes'"),
        ({"reset_after": 1}, "reset_after is None, True or False, got 1"),
        ({"merge": "ave"}, "merge is concat, sum, mean or product, got 'ave'"),
    ],
)
def test_what_is_told_is_never_guessed_at(told: Any, why: str) -> None:
    for weights in (arrays("lstm"), [arrays("lstm")]):
        with pytest.raises(ConfigError, match=f"from_keras: {why}$"):
            from_keras(weights, "lstm", **told)


def test_tensors_are_arrays() -> None:
    given = [torch.tensor(each, dtype=torch.bfloat16) for each in arrays("lstm")]
    cell = from_keras([each.requires_grad_() for each in given], "lstm")
    assert cell.weight_ih.dtype == torch.float32
    assert torch.equal(cell.weight_ih, given[0].T.float())
    with pytest.raises(ShapeError, match=r"takes floating-point arrays, .* got Tensor"):
        from_keras([each.to("meta") for each in given], "lstm")


def test_what_numpy_has_no_numbers_for() -> None:
    small = RNNCell(3, 4).to(torch.float8_e5m2)
    assert np.array_equal(to_keras(small)[0], small.weight_ih.detach().float().T)
    with pytest.raises(ConfigError, match="to_keras: the cell is on meta, where there are no"):
        to_keras(GRUCell(3, 4).to("meta"))
    cell = LSTMCell(3, 4)
    cell.register_forward_hook(lambda *given: None)
    with pytest.raises(ConfigError, match="for LSTMCell, whose hooks act at every step: remove"):
        to_keras(cell)


@pytest.mark.parametrize("make", [lambda: PeepholeLSTMCell(3, 4), lambda: Mine(3, 4)])
def test_what_keras_has_nothing_for(make: Any) -> None:
    with pytest.raises(ConfigError, match="Keras has no layer for"):
        to_keras(make())
    with pytest.raises(ConfigError, match="Keras has nothing for Dropout"):
        to_keras(Dropout(LSTMCell(3, 4)))
    with pytest.raises(ConfigError, match="put all layers into one"):
        to_keras(Stack([Stack([LSTMCell(3, 4)])]))
    with pytest.raises(ConfigError, match=r"got LSTMCell\(3, 4\), GRUCell\(3, 4\)"):
        to_keras(Bidirectional(LSTMCell(3, 4), GRUCell(3, 4)))
    with pytest.raises(ConfigError, match=r"got LSTM of torch.nn: recurra.from_torch"):
        to_keras(nn.LSTM(3, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "what layer.get_weights.. returns, then the kind, got NoneType"),
        ("weights.h5", "what layer.get_weights.. returns, then the kind, got str"),
        (["a", "b", "c"], "floating-point arrays, .* got str"),
        ([1, 2, 3], "floating-point arrays, .* got an array of int64"),
        ([np.ones((3, 8), int), np.ones((2, 8), int)], "got an array of int64"),
        ([np.array([None]), np.ones(2)], "floating-point arrays, .* got ndarray"),
        ([[[1.0], [1.0, 2.0]], np.ones(2)], "floating-point arrays, .* got list"),
    ],
)
def test_what_keras_does_not_give(given: Any, why: str) -> None:
    """In a line, and without a number of what was given."""
    with pytest.raises(ShapeError, match=why):
        from_keras(given, "lstm")


MORE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "keras_layers.json").read_text()
)


@pytest.mark.parametrize("name", MORE["layers"])
def test_what_keras_3_made_of_other_options(name: str) -> None:
    case = MORE["layers"][name]
    ours = from_keras([np.array(array, np.float32) for array in case["weights"]], **case["told"])
    lengths = MORE["lengths"] if case["masked"] else None
    y, _ = unroll(ours, torch.tensor(MORE["x"]), lengths=lengths)
    expected = torch.tensor(case["y"])
    if "softmax" in name:
        assert torch.allclose(y.sum(2), torch.ones(2, 5))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=3e-6)


def layers(*sizes: tuple[int, int], gates: int = 4, bias: bool = True) -> list[np.ndarray]:
    """Arrays of layers one after the other."""
    made: list[np.ndarray] = []
    for inputs, units in sizes:
        made += [np.ones((inputs, gates * units)), np.ones((units, gates * units))]
        made += [np.ones(gates * units)] if bias else []
    return made


def test_layers_or_directions_are_told_by_their_shapes() -> None:
    both = from_keras(layers((3, 4), (3, 4)), "lstm")
    assert isinstance(both, Bidirectional) and both.output_size == 8
    deep = from_keras(layers((4, 4), (4, 5)), "lstm")
    assert isinstance(deep, Stack) and [cell.output_size for cell in deep.cells] == [4, 5]
    deep = from_keras(layers((3, 4), (4, 4), (4, 2), bias=False), "lstm")
    assert isinstance(deep, Stack) and len(deep.cells) == 3
    deep = from_keras(layers((3, 4), (3, 4), (8, 2), (8, 2)), "lstm")
    assert isinstance(deep, Stack) and all(isinstance(cell, Bidirectional) for cell in deep.cells)
    for merge in ("sum", "mean", "product"):
        deep = from_keras(layers((3, 4), (3, 4), (4, 2), (4, 2)), "lstm", merge=merge)
        assert isinstance(deep, Stack) and deep.output_size == 2


def test_where_shapes_do_not_tell_the_user_is_asked() -> None:
    given = layers((4, 4), (4, 4))
    with pytest.raises(ConfigError, match=r"4 -> 4, which may stand .* bidirectional=False"):
        from_keras(given, "lstm")
    assert isinstance(from_keras(given, "lstm", bidirectional=True), Bidirectional)
    assert isinstance(from_keras(given, "lstm", bidirectional=False), Stack)
    assert isinstance(from_keras([given[:3], given[3:]], "lstm"), Stack)
    wide = from_keras(layers((3, 4), (3, 5)), "lstm", bidirectional=True)
    assert wide.output_size == 9
    gru = layers((2, 2), (2, 2), gates=3, bias=False)
    with pytest.raises(ShapeError, match="could be 3 layers without biases or 2 with them"):
        from_keras([*gru[:2], np.ones((2, 6)), *gru[2:], np.ones((2, 6))], "gru")


@pytest.mark.parametrize(
    ("sizes", "told", "why"),
    [
        (((3, 4), (5, 4)), {}, "3 -> 4, 5 -> 4 are no layers on each other"),
        (((3, 4), (3, 5)), {"bidirectional": False}, "are no layers on each other"),
        (((3, 4), (4, 4)), {"bidirectional": True}, "are no two directions"),
        (((3, 4),), {"bidirectional": True}, "3 -> 4 are no two directions"),
        (((3, 4), (3, 4)), {"go_backwards": True}, "reads both ways"),
    ],
)
def test_layers_that_do_not_fit_each_other(sizes: Any, told: Any, why: str) -> None:
    with pytest.raises((ConfigError, ShapeError), match=why):
        from_keras(layers(*sizes), "lstm", **told)


class Layer:
    """What `from_keras` asks of a layer; each class below has the name of Keras' own."""

    def __init__(self, weights: Any = (), trainable: bool = True, **config: Any) -> None:
        self.weights, self.config, self.trainable = weights, config, trainable

    def get_weights(self) -> Any:
        return [np.array(array, np.float32) for array in self.weights]

    def get_config(self) -> dict[str, Any]:
        return self.config


class LSTM(Layer): ...


class GRU(Layer): ...


class SimpleRNN(Layer): ...


class Dense(Layer): ...


class Bidirectional_(Layer):  # noqa: N801
    def __init__(self, forward: Layer, backward: Layer, **config: Any) -> None:
        super().__init__(**config)
        self.forward_layer, self.backward_layer = forward, backward


Bidirectional_.__name__ = "Bidirectional"


def layer_of(case: dict[str, Any]) -> Any:
    """A stand-in for the layer that a case of the file was made by."""
    kind = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}[case["told"]["kind"]]
    if "merge_mode" not in case["config"]:
        return kind(case["weights"], **case["config"])
    half = len(case["weights"]) // 2
    config = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    forward = kind(case["weights"][:half], **config)
    backward = kind(case["weights"][half:], go_backwards=True, **config)
    return Bidirectional_(forward, backward, **case["config"])


@pytest.mark.parametrize("name", [name for name in MORE["layers"] if "cells" not in name])
def test_a_layer_says_itself_how_it_was_made(name: str) -> None:
    case = MORE["layers"][name]
    lengths = MORE["lengths"] if case["masked"] else None
    y, _ = unroll(from_keras(layer_of(case)), torch.tensor(MORE["x"]), lengths=lengths)
    torch.testing.assert_close(y, torch.tensor(case["y"]), rtol=1e-5, atol=3e-6)


def test_what_else_layers_say() -> None:
    weights = layers((3, 4))
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    cell = from_keras(LSTM(weights, trainable=False, dropout=0.2, recurrent_dropout=0.1, **usual))
    assert isinstance(cell, Dropout) and cell.variational
    assert (cell.input, cell.state, cell.output) == (0.2, 0.1, 0.0)
    assert not any(parameter.requires_grad for parameter in cell.parameters())
    old = {"recurrent_activation": "hard_sigmoid", "implementation": 1, "time_major": False}
    cell = from_keras(LSTM(weights, activation="swish", **old))
    assert isinstance(cell, LSTMCell) and cell.recurrent_activation == "keras2_hard_sigmoid"
    assert cell.activation == "silu"
    deep = from_keras([LSTM(weights, **usual), LSTM(layers((4, 4)), **usual)])
    assert isinstance(deep, Stack)


def test_layers_that_are_refused_by_name() -> None:
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    lstm = LSTM(layers((3, 4)), **usual)
    back = LSTM(layers((3, 4)), go_backwards=True, **usual)
    for layer, why in (
        (Dense(), "from_keras takes an LSTM, GRU, .* got Dense"),
        (LSTM(**usual), "the LSTM has no weights yet: call it, or build"),
        (LSTM(layers((3, 4)), activation={"config": "mine"}), "a function of its own: from_keras"),
        (Bidirectional_(lstm, back, merge_mode=None), "merge_mode=None returns two outputs"),
        (Bidirectional_(back, lstm, merge_mode="sum"), "forward layer .* has go_backwards"),
    ):
        with pytest.raises(ConfigError, match=why):
            from_keras(layer)
    for options in ({"kind": "lstm"}, {"activation": "relu"}, {"go_backwards": True}):
        with pytest.raises(ConfigError, match="reads everything from the layer"):
            from_keras(lstm, **options)
    with pytest.raises(ShapeError, match=r"what layer.get_weights.. returns"):
        from_keras(LSTM, "lstm")


def test_bfloat16_becomes_equal_numbers_of_float32() -> None:
    cell = GRUCell(3, 4).bfloat16()
    arrays = to_keras(cell)
    assert all(array.dtype == np.float32 for array in arrays)
    again = from_keras(arrays, "gru")
    for name, parameter in cell.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter.float()), name


def test_activations_and_the_way_of_reading_go_with_the_layer() -> None:
    x = torch.randn(2, 5, 3)
    told: dict[str, Any] = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
    cell = LSTMCell(3, 4, **told)
    again = from_keras(to_keras(Reversed(cell)), "lstm", go_backwards=True, **told)
    torch.testing.assert_close(unroll(again, x)[0], unroll(Reversed(cell), x)[0])
    function = from_keras(to_keras(cell), "lstm", activation=torch.relu, recurrent_activation=None)
    assert isinstance(function, LSTMCell) and function.activation is torch.relu
    assert function.recurrent_activation == "linear"
    with pytest.raises(ConfigError, match="no layer for LSTMCell"):
        to_keras(watched(cell))


def watched(cell: LSTMCell) -> LSTMCell:
    cell.register_forward_hook(lambda *given: None)
    return cell
