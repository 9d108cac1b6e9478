"""Weights of Flax, Haiku and Equinox, beside their equations in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, ShapeError
from recurra.nn.unroll import unroll
from recurra.nn.weights import from_flax
from recurra.nn.wrappers.stack import Stack

I, H = 3, 4  # noqa: E741
RNG = np.random.default_rng(6)
X = RNG.normal(size=(2, 5, I))


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def dense(inputs: int, units: int, bias: bool) -> dict[str, np.ndarray]:
    made = {"kernel": RNG.normal(size=(inputs, units))}
    return made | ({"bias": RNG.normal(size=units)} if bias else {})


def over(step: Any, state: Any) -> np.ndarray:
    ys = []
    for t in range(X.shape[1]):
        state = step(X[:, t], state)
        ys.append(state[0] if isinstance(state, tuple) else state)
    return np.stack(ys, axis=1)


def through(layer: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return x @ layer["kernel"] + layer.get("bias", 0)


ZERO = np.zeros((2, H))


def lstm(p: dict[str, Any]) -> np.ndarray:
    """flax.linen.LSTMCell."""

    def step(x: np.ndarray, state: Any) -> Any:
        h, c = state
        i, f, g, o = (through(p[f"i{k}"], x) + through(p[f"h{k}"], h) for k in "ifgo")
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c

    return over(step, (ZERO, ZERO))


def gru(p: dict[str, Any]) -> np.ndarray:
    """flax.linen.GRUCell."""

    def step(x: np.ndarray, h: Any) -> Any:
        r = logistic(through(p["ir"], x) + through(p["hr"], h))
        z = logistic(through(p["iz"], x) + through(p["hz"], h))
        n = np.tanh(through(p["in"], x) + r * through(p["hn"], h))
        return (1 - z) * n + z * h

    return over(step, ZERO)


LSTM: dict[str, Any] = {
    **{f"i{k}": dense(I, H, False) for k in "ifgo"},
    **{f"h{k}": dense(H, H, True) for k in "ifgo"},
}
GRU: dict[str, Any] = {
    **{f"i{k}": dense(I, H, True) for k in "rzn"},
    **{f"h{k}": dense(H, H, k == "n") for k in "rzn"},
}
SIMPLE: dict[str, Any] = {"i": dense(I, H, True), "h": dense(H, H, False)}


def outputs(tree: Any, kind: Any) -> np.ndarray:
    return unroll(from_flax(tree, kind), torch.from_numpy(X))[0].detach().numpy()


def joined(p: dict[str, Any], side: str, gates: str) -> dict[str, np.ndarray]:
    """As nnx keeps all gates of a side together."""
    layers = [p[f"{side}{k}"] for k in gates]
    made = {"kernel": np.concatenate([layer["kernel"] for layer in layers], axis=1)}
    biases = [layer["bias"] for layer in layers if "bias" in layer]
    return made | ({"bias": np.concatenate(biases)} if len(biases) == len(layers) else {})


def test_the_lstm_of_flax() -> None:
    expected = lstm(LSTM)
    nnx = {("if_" if name == "if" else name): layer for name, layer in LSTM.items()}
    together = {"dense_i": joined(LSTM, "i", "ifgo"), "dense_h": joined(LSTM, "h", "ifgo")}
    for tree in (LSTM, {"params": {"OptimizedLSTMCell_0": LSTM}}, nnx, together):
        np.testing.assert_allclose(outputs(tree, "lstm"), expected, rtol=1e-10)
    cell = from_flax(LSTM, "lstm")
    assert not cell.bias_ih.requires_grad and cell.bias_hh.requires_grad


def test_the_gru_of_flax() -> None:
    np.testing.assert_allclose(outputs({"params": GRU}, "gru"), gru(GRU), rtol=1e-10)
    bare = {name: layer if name[0] == "i" else {"kernel": layer["kernel"]}
            for name, layer in GRU.items()}  # fmt: skip
    together = {"dense_i": joined(bare, "i", "rzn"), "dense_h": joined(bare, "h", "rzn")}
    np.testing.assert_allclose(outputs(together, "gru"), gru(bare), rtol=1e-10)


def test_the_simple_cell_of_flax() -> None:
    def step(x: np.ndarray, h: Any) -> Any:
        return np.tanh(through(SIMPLE["i"], x) + through(SIMPLE["h"], h))

    expected = over(step, ZERO)
    np.testing.assert_allclose(outputs(SIMPLE, "rnn"), expected, rtol=1e-10)
    nnx = {"dense_i": SIMPLE["i"], "dense_h": SIMPLE["h"]}
    np.testing.assert_allclose(outputs(nnx, "rnn"), expected, rtol=1e-10)


def test_the_lstm_of_haiku() -> None:
    w, b = RNG.normal(size=(I + H, 4 * H)), RNG.normal(size=4 * H)

    def step(x: np.ndarray, state: Any) -> Any:
        h, c = state
        i, g, f, o = np.split(np.concatenate([x, h], axis=1) @ w + b, 4, axis=1)
        c = logistic(f + 1) * c + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c

    expected = over(step, (ZERO, ZERO))
    for name in ({"linear": {"w": w, "b": b}}, {"lstm/linear": {"w": w, "b": b}}):
        np.testing.assert_allclose(outputs(name, "lstm"), expected, rtol=1e-10)


def test_the_gru_of_haiku() -> None:
    w_i, w_h = RNG.normal(size=(I, 3 * H)), RNG.normal(size=(H, 3 * H))
    b = RNG.normal(size=3 * H)

    def step(x: np.ndarray, h: Any) -> Any:
        zr = x @ w_i[:, : 2 * H] + h @ w_h[:, : 2 * H] + b[: 2 * H]
        z, r = np.split(logistic(zr), 2, axis=1)
        a = np.tanh(x @ w_i[:, 2 * H :] + (r * h) @ w_h[:, 2 * H :] + b[2 * H :])
        return (1 - z) * h + z * a

    found = outputs({"gru": {"w_i": w_i, "w_h": w_h, "b": b}}, "gru")
    np.testing.assert_allclose(found, over(step, ZERO), rtol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
def test_cells_of_equinox(bias: bool) -> None:
    p = {"weight_ih": RNG.normal(size=(3 * H, I)), "weight_hh": RNG.normal(size=(3 * H, H))}
    b, b_n = RNG.normal(size=3 * H) * bias, RNG.normal(size=H) * bias

    def step(x: np.ndarray, h: Any) -> Any:
        into = np.split(x @ p["weight_ih"].T + b, 3, axis=1)
        back = np.split(h @ p["weight_hh"].T, 3, axis=1)
        reset, inp = logistic(into[0] + back[0]), logistic(into[1] + back[1])
        new = np.tanh(into[2] + reset * (back[2] + b_n))
        return new + inp * (h - new)

    tree = {**p, "bias": b if bias else None, "bias_n": b_n if bias else None, "input_size": I}
    np.testing.assert_allclose(outputs(tree, "gru"), over(step, ZERO), rtol=1e-10)
    q = {"weight_ih": RNG.normal(size=(4 * H, I)), "weight_hh": RNG.normal(size=(4 * H, H))}
    d = RNG.normal(size=4 * H) * bias

    def long(x: np.ndarray, state: Any) -> Any:
        h, c = state
        i, f, g, o = np.split(x @ q["weight_ih"].T + h @ q["weight_hh"].T + d, 4, axis=1)
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c

    tree = {**q, "bias": d if bias else None}
    np.testing.assert_allclose(outputs(tree, "lstm"), over(long, (ZERO, ZERO)), rtol=1e-10)


def test_layers_are_a_stack() -> None:
    above = {"i": dense(H, 2, True), "h": dense(2, 2, False)}
    deep = from_flax([SIMPLE, above], "rnn")
    assert isinstance(deep, Stack) and deep.output_size == 2


@pytest.mark.parametrize(
    ("tree", "kind", "why"),
    [
        (LSTM, "conv", "kind is 'lstm', 'gru' or 'rnn', got 'conv'"),
        (GRU, "mgu", "MGUCell of Flax resets after the product"),
        (None, "lstm", "takes a mapping of parameters, got NoneType"),
        (GRU, "lstm", "no cell of kind 'lstm' .* has the parameters hn, hr, hz, in, ir, iz"),
        (LSTM | {"ii": dense(I + 1, H, False)}, "lstm", "gates of unlike shapes"),
        (LSTM | GRU, "lstm", "of kind 'lstm' has no parameters ir/kernel"),
        (SIMPLE | {"j": dense(2, 2, False)}, "rnn", "of kind 'rnn' has no parameters j/kernel$"),
        (SIMPLE | {"i": SIMPLE["i"] | {"scale": np.ones(H)}}, "rnn", "no parameters i/scale$"),
        (LSTM | {"hi": {}}, "lstm", "the layer 'hi' has no kernel"),
        ({"dense_i": SIMPLE["i"], "dense_h": dense(3, H, False)}, "rnn", "are not those of a cell"),
        ({"linear": {"w": np.ones((7, 15)), "b": np.ones(15)}}, "lstm", "what linear hold are not"),
        ({"linear": 3}, "lstm", "what linear hold are not the arrays"),
        ({"linear": {"w": np.ones(7), "b": np.ones(16)}}, "lstm", "weights have 2 dimensions"),
        ({"w_i": np.ones(()), "w_h": np.ones((4, 12)), "b": np.ones(12)}, "gru", r"got \(\)"),
        ({"i": {"kernel": np.ones(3)}, "h": {"kernel": np.ones(3)}}, "rnn", r"got \(3,\)"),
        ({"weight_ih": [1], "weight_hh": [1], "bias": None}, "gru", "an array of int64"),
    ],
)
def test_what_is_refused(tree: Any, kind: Any, why: str) -> None:
    with pytest.raises((ConfigError, ShapeError), match=why) as error:
        from_flax(tree, kind)
    assert "\n" not in str(error.value)
