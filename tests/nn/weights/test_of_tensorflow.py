"""Weights of TensorFlow 1, beside its equations in numpy, as rnn_cell_impl.py has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.nn.weights import from_tensorflow
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.stack import Stack

I, H, P = 3, 4, 2  # noqa: E741
RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 6, I))


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def drawn(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name.replace("__", "/"): RNG.normal(size=shape) for name, shape in shapes.items()}


def lstm(x: np.ndarray, w: dict[str, np.ndarray], forget_bias: float) -> np.ndarray:
    """LSTMCell.call: with peepholes and a projection where there are any."""
    width = w["projection/kernel"].shape[1] if "projection/kernel" in w else w["bias"].size // 4
    m, c, ys = np.zeros((len(x), width)), np.zeros((len(x), w["bias"].size // 4)), []
    seen = {gate: w.get(f"w_{gate}_diag", np.zeros(1)) for gate in "ifo"}
    for t in range(x.shape[1]):
        inputs = np.concatenate([x[:, t], m], axis=1)
        i, j, f, o = np.split(inputs @ w["kernel"] + w["bias"], 4, axis=1)
        keep = logistic(f + forget_bias + seen["f"] * c)
        c = keep * c + logistic(i + seen["i"] * c) * np.tanh(j)
        m = logistic(o + seen["o"] * c) * np.tanh(c)
        m = m @ w["projection/kernel"] if "projection/kernel" in w else m
        ys.append(m)
    return np.stack(ys, axis=1)


def gru(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """GRUCell.call."""
    h, ys = np.zeros((len(x), H)), []
    for t in range(x.shape[1]):
        inputs = np.concatenate([x[:, t], h], axis=1)
        r, u = np.split(logistic(inputs @ w["gates/kernel"] + w["gates/bias"]), 2, axis=1)
        inputs = np.concatenate([x[:, t], r * h], axis=1)
        c = np.tanh(inputs @ w["candidate/kernel"] + w["candidate/bias"])
        h = u * h + (1 - u) * c
        ys.append(h)
    return np.stack(ys, axis=1)


def simple(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """BasicRNNCell.call."""
    h, ys = np.zeros((len(x), H)), []
    for t in range(x.shape[1]):
        h = np.tanh(np.concatenate([x[:, t], h], axis=1) @ w["kernel"] + w["bias"])
        ys.append(h)
    return np.stack(ys, axis=1)


def under(scope: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{scope}/{name}": value for name, value in weights.items()}


LSTM = drawn(kernel=(I + H, 4 * H), bias=(4 * H,))
PEEPHOLES = LSTM | drawn(w_i_diag=(H,), w_f_diag=(H,), w_o_diag=(H,))
PROJECTED = drawn(kernel=(I + P, 4 * H), bias=(4 * H,), projection__kernel=(H, P))
GRU = drawn(
    gates__kernel=(I + H, 2 * H), gates__bias=(2 * H,), candidate__kernel=(I + H, H),
    candidate__bias=(H,)
)  # fmt: skip
RNN = drawn(kernel=(I + H, H), bias=(H,))
ABOVE = drawn(kernel=(H + H, 4 * H), bias=(4 * H,))


def outputs(given: Any, kind: Any, **options: float) -> np.ndarray:
    ours = from_tensorflow(given, kind, **options)
    return unroll(ours, torch.from_numpy(X))[0].detach().numpy()


@pytest.mark.parametrize("forget_bias", [1.0, 0.0, 2.5])
@pytest.mark.parametrize(
    ("weights", "kind"),
    [(LSTM, LSTMCell), (PEEPHOLES, PeepholeLSTMCell), (PROJECTED, ProjectedLSTMCell)],
)
def test_lstms(weights: Any, kind: type, forget_bias: float) -> None:
    given = under("rnn/lstm_cell", weights)
    assert type(from_tensorflow(given, "lstm")) is kind
    found = outputs(given, "lstm", forget_bias=forget_bias)
    np.testing.assert_allclose(found, lstm(X, weights, forget_bias), rtol=1e-10)


def test_the_forget_bias_is_added_once_and_the_arrays_are_left() -> None:
    before = {name: value.copy() for name, value in LSTM.items()}
    first, second = (from_tensorflow(LSTM, "lstm") for _ in range(2))
    assert torch.equal(first.bias_ih, second.bias_ih)
    assert all(np.array_equal(LSTM[name], value) for name, value in before.items())
    assert not first.bias_hh.requires_grad and not first.bias_hh.any()


def test_a_gru_and_a_simple_network() -> None:
    np.testing.assert_allclose(outputs(under("gru_cell", GRU), "gru"), gru(X, GRU), rtol=1e-10)
    found = outputs(under("rnn/basic_rnn_cell", RNN), "rnn")
    np.testing.assert_allclose(found, simple(X, RNN), rtol=1e-10)
    assert isinstance(from_tensorflow(GRU, "gru"), GRUCell)
    assert isinstance(from_tensorflow(RNN, "rnn"), RNNCell)


def test_lists_of_arrays_and_of_layers() -> None:
    np.testing.assert_allclose(outputs([*LSTM.values()], "lstm"), lstm(X, LSTM, 1), rtol=1e-10)
    np.testing.assert_allclose(outputs([*GRU.values()], "gru"), gru(X, GRU), rtol=1e-10)
    deep = outputs([[*LSTM.values()], ABOVE], "lstm")
    np.testing.assert_allclose(deep, lstm(lstm(X, LSTM, 1), ABOVE, 1), rtol=1e-10)


def test_the_variables_of_a_checkpoint() -> None:
    scope = "model/rnn/multi_rnn_cell"
    given = {
        **under(f"{scope}/cell_1/basic_lstm_cell", ABOVE),
        **under(f"{scope}/cell_0/basic_lstm_cell", LSTM),
        f"{scope}/cell_0/basic_lstm_cell/kernel/Adam_1": np.ones((2, 2)),
        "embedding": np.ones((5, 3)),
        "global_step": np.array(7),
    }
    assert isinstance(from_tensorflow(given, "lstm"), Stack)
    found = outputs(given, "lstm")
    np.testing.assert_allclose(found, lstm(lstm(X, LSTM, 1), ABOVE, 1), rtol=1e-10)
    old = {"rnn/basic_lstm_cell/weights:0": LSTM["kernel"], "rnn/basic_lstm_cell/biases:0":
           LSTM["bias"]}  # fmt: skip
    np.testing.assert_allclose(outputs(old, "lstm"), lstm(X, LSTM, 1), rtol=1e-10)


def test_two_directions() -> None:
    other = drawn(kernel=(I + H, 4 * H), bias=(4 * H,))
    given = under("bidirectional_rnn/bw/lstm_cell", other) | under(
        "bidirectional_rnn/fw/lstm_cell", LSTM
    )
    assert isinstance(from_tensorflow(given, "lstm"), Bidirectional)
    expected = [lstm(X, LSTM, 1), lstm(X[:, ::-1], other, 1)[:, ::-1]]
    np.testing.assert_allclose(outputs(given, "lstm"), np.concatenate(expected, 2), rtol=1e-10)


def test_layers_of_two_directions_each() -> None:
    place = "stack_bidirectional_rnn/cell_{}/bidirectional_rnn/{}/lstm_cell"
    below, (fw, bw) = drawn(kernel=(I + H, 4 * H), bias=(4 * H,)), (
        drawn(kernel=(3 * H, 4 * H), bias=(4 * H,)) for _ in "fb"
    )  # fmt: skip
    given = {
        **under(place.format(0, "fw"), LSTM),
        **under(place.format(0, "bw"), below),
        **under(place.format(1, "fw"), fw),
        **under(place.format(1, "bw"), bw),
    }

    def both(x: Any, ahead: Any, behind: Any) -> Any:
        back = lstm(x[:, ::-1], behind, 1)[:, ::-1]
        return np.concatenate([lstm(x, ahead, 1), back], 2)

    expected = both(both(X, LSTM, below), fw, bw)
    np.testing.assert_allclose(outputs(given, "lstm"), expected, rtol=1e-10)


def test_arrays_of_another_machine() -> None:
    swapped = [array.astype(">f8") for array in LSTM.values()]
    np.testing.assert_array_equal(outputs(swapped, "lstm"), outputs(LSTM, "lstm"))
    long = [array.astype(np.longdouble) for array in LSTM.values()]
    np.testing.assert_array_equal(outputs(long, "lstm"), outputs(LSTM, "lstm"))
    with pytest.raises(ConfigError, match="forget_bias is a number, got '1'"):
        from_tensorflow(LSTM, "lstm", forget_bias="1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kind", "why"),
    [
        (LSTM, "conv", "kind is 'lstm', 'gru' or 'rnn', got 'conv'"),
        (None, "lstm", "a mapping of names to arrays, or a list of arrays, got NoneType"),
        ([], "lstm", "or a list of arrays, got list"),
        ([LSTM["kernel"]], "lstm", "has the arrays kernel, bias, got 1"),
        ([1, 2], "lstm", "floating-point arrays, got an array of int64"),
        ({"kernel": LSTM["kernel"]}, "lstm", "a lstm cell without bias"),
        ({"dense/kernel": RNN["kernel"]}, "rnn", "no name has a cell of kind 'rnn'"),
        (under("gru_cell", GRU), "lstm", "no name has a cell of kind 'lstm'"),
        (LSTM | {"bias": RNN["bias"]}, "lstm", r"not the arrays of a lstm cell: kernel \(7, 16\)"),
        (GRU | {"gates/bias": RNN["bias"]}, "gru", "not the arrays of a gru cell"),
        (PEEPHOLES | {"w_i_diag": np.ones(3)}, "lstm", "not the arrays of a lstm cell"),
        ({**LSTM, "w_i_diag": np.ones(H)}, "lstm", "not the arrays of a lstm cell"),
        (LSTM | {"projection/kernel": np.ones(())}, "lstm", "not the arrays of a lstm cell"),
        (PROJECTED | {"w_i_diag": np.ones(H)}, "lstm", "no cell with peepholes and a projection"),
        (
            under("layer_norm_basic_lstm_cell", LSTM | {"input/gamma": np.ones(H)}),
            "lstm",
            "no cell here with 'layer_norm_basic_lstm_cell/input/gamma'",
        ),
        (
            under("lstm/lstm_cell", LSTM | {"recurrent_kernel": np.ones((H, 4 * H))}),
            "lstm",
            "no cell here with 'lstm/lstm_cell/recurrent_kernel'",
        ),
        (
            under("lstm_cell", PROJECTED | {"projection/bias": np.ones(2)}),
            "lstm",
            "no cell here with 'lstm_cell/projection/bias'",
        ),
        (under("bidirectional_rnn/bw/lstm_cell", LSTM), "lstm", "two directions bw alone"),
        (
            under("multi_rnn_cell/cell_0/lstm_cell", LSTM)
            | under("multi_rnn_cell/cell_2/lstm_cell", LSTM),
            "lstm",
            "of a stack the layers 0, 2 alone",
        ),
        (
            under("multi_rnn_cell/cell_0/lstm_cell", LSTM)
            | under("multi_rnn_cell/cell_1/gru_cell", GRU),
            "lstm",
            "multi_rnn_cell/cell_1/gru_cell is of another kind",
        ),
        (
            under("a/lstm_cell", LSTM) | under("b/lstm_cell", LSTM),
            "lstm",
            "several networks, a/lstm_cell and b/lstm_cell",
        ),
    ],
)
def test_what_is_refused(given: Any, kind: Any, why: str) -> None:
    with pytest.raises((ConfigError, ShapeError), match=why) as error:
        from_tensorflow(given, kind)
    assert "\n" not in str(error.value)
