"""Weights of torch and Keras, beside the libraries' own outputs.

What Keras computes is known here three ways: by its equations, written out in numpy; by
outputs that the library itself made, kept in a file; and by the library, where it is installed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.nn.weights import from_keras, from_torch, to_keras, to_torch
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack

GOLDEN = Path(__file__).parents[1] / "golden" / "keras_layers.json"

MODULES: dict[str, Any] = {
    "lstm": lambda **o: nn.LSTM(3, 4, **o),
    "gru": lambda **o: nn.GRU(3, 4, **o),
    "rnn": lambda **o: nn.RNN(3, 4, **o),
    "rnn relu": lambda **o: nn.RNN(3, 4, nonlinearity="relu", **o),
    "projected": lambda **o: nn.LSTM(3, 6, proj_size=2, **o),
}
FORMS: dict[str, dict[str, Any]] = {
    "one": {},
    "three layers": {"num_layers": 3},
    "both ways": {"bidirectional": True},
    "deep both ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False, "num_layers": 2},
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_there_and_back_for_torch(make: Any, form: dict[str, Any], batch_first: bool) -> None:
    theirs = make(batch_first=batch_first, **form)
    x = torch.randn(2, 5, 3)
    y, _ = theirs(x if batch_first else x.transpose(0, 1))
    expected = y if batch_first else y.transpose(0, 1)
    ours = from_torch(theirs)
    torch.testing.assert_close(unroll(ours, x)[0], expected)
    back = to_torch(ours)
    assert type(back) is type(theirs) and back.batch_first
    torch.testing.assert_close(back(x)[0], expected)
    given = theirs.state_dict()
    assert back.state_dict().keys() == given.keys() and back.bias == theirs.bias
    for name, value in back.state_dict().items():
        assert torch.equal(value, given[name]), name
        assert value.data_ptr() != getattr(theirs, name).data_ptr()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_of_torch(kind: Any, bias: bool) -> None:
    theirs = kind(3, 4, bias=bias).double()
    ours = from_torch(theirs)
    x = torch.randn(2, 3, dtype=torch.float64)
    h = theirs(x)
    torch.testing.assert_close(
        ours(x, ours.initial_state(2))[0], h[0] if isinstance(h, tuple) else h
    )
    assert all(p.requires_grad == (bias or "bias" not in n) for n, p in ours.named_parameters())
    assert to_torch(ours)(x.unsqueeze(1))[0].shape == (2, 1, 4)


def test_biases_that_are_zero_but_learned_and_those_held_at_a_value_stay() -> None:
    cell = LSTMCell(3, 4)
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    assert to_torch(cell).bias and len(to_keras(cell)) == 3
    cell.bias_ih.requires_grad_(False)
    cell.bias_hh.requires_grad_(False)
    assert not to_torch(cell).bias and len(to_keras(cell)) == 2
    cell.bias_ih[2] = 1.0
    back = to_torch(Stack([cell, from_torch(nn.LSTM(4, 4, bias=False))]))
    assert back.bias and back.bias_ih_l0[2] == 1 and not back.bias_ih_l0.requires_grad
    assert not back.bias_ih_l1.any() and not back.bias_ih_l1.requires_grad


def test_nothing_is_drawn_for_weights_that_are_given() -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True)
    before = torch.get_rng_state()
    from_torch(theirs)
    from_keras(to_keras(LSTMCell(3, 4)), "lstm")
    assert not torch.equal(before, torch.get_rng_state())  # LSTMCell above drew its own
    torch.set_rng_state(before)
    from_torch(theirs)
    assert torch.equal(before, torch.get_rng_state())


def test_mode_kind_and_what_is_learned_go_along() -> None:
    theirs = nn.GRU(3, 4, 2).double().eval()
    theirs.weight_hh_l1.requires_grad_(False)
    ours = from_torch(theirs)
    assert not ours.training and next(ours.parameters()).dtype == torch.float64
    assert [n for n, p in ours.named_parameters() if not p.requires_grad] == ["cells.1.weight_hh"]
    back = to_torch(ours)
    assert not back.training and back.weight_ih_l0.dtype == torch.float64
    assert not back.weight_hh_l1.requires_grad and back.weight_hh_l0.requires_grad


def test_dropout_between_layers_goes_there_and_back() -> None:
    theirs = nn.LSTM(3, 4, 3, dropout=0.25, batch_first=True)
    ours = from_torch(theirs)
    assert [type(layer) for layer in ours.cells] == [Dropout, Dropout, LSTMCell]
    assert ours.inner(0).output == 0.25 and not ours.inner(0).variational
    assert to_torch(ours).dropout == 0.25
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(unroll(ours.eval(), x)[0], theirs.eval()(x)[0])
    awake = unroll(ours.train(), x, generator=torch.Generator().manual_seed(1))[0]
    assert not torch.allclose(awake, theirs(x)[0])


def test_parametrised_weights_go_as_they_are() -> None:
    cell = GRUCell(3, 4)
    parametrizations.weight_norm(cell, "weight_hh")
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(to_torch(cell)(x)[0], unroll(cell, x)[0])


def test_parametrised_weights_are_learned_as_what_makes_them_is() -> None:
    x = torch.randn(2, 5, 3)
    for theirs in (nn.LSTMCell(3, 4), nn.LSTM(3, 4)):
        end = "" if isinstance(theirs, nn.LSTMCell) else "_l0"
        parametrizations.weight_norm(theirs, f"weight_hh{end}")
        ours = from_torch(theirs)
        unroll(ours, x)[0].sum().backward()
        assert ours.weight_hh.is_leaf and ours.weight_hh.grad is not None
        made = theirs.parametrizations[f"weight_hh{end}"]
        made.original0.requires_grad_(False)
        made.original1.requires_grad_(False)
        assert not from_torch(theirs).weight_hh.requires_grad
    cell = parametrizations.weight_norm(GRUCell(3, 4), "weight_hh")
    back = to_torch(cell)
    back(x)[0].sum().backward()
    assert back.weight_hh_l0.is_leaf and back.weight_hh_l0.grad is not None


class Mine(LSTMCell):
    """Whose step is another."""

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        return super().forward(2 * x, state)


@pytest.mark.parametrize(
    ("ours", "why"),
    [
        (lambda: GRUCell(3, 4, reset_after=False), "GRUCell, whose reset gate acts before"),
        (lambda: PeepholeLSTMCell(3, 4), "torch.nn has no module for PeepholeLSTMCell"),
        (lambda: Mine(3, 4), "torch.nn has no module for Mine"),
        (lambda: Residual(LSTMCell(4, 4)), "to_torch: torch.nn has nothing for Residual"),
        (lambda: Stack([LSTMCell(3, 4), GRUCell(4, 4)]), r"one kind .* LSTMCell\(3, 4\), GRUCell"),
        (lambda: Stack([LSTMCell(3, 4), LSTMCell(4, 5)]), "of one kind and width in torch"),
        (lambda: Bidirectional(RNNCell(3, 4), RNNCell(3, 4, "relu")), "of one kind and width"),
        (lambda: Bidirectional(RNNCell(3, 4), RNNCell(3, 4), "sum"), "concatenates the two"),
        (lambda: Dropout(LSTMCell(3, 4), output=0.5), "one probability, between layers"),
        (
            lambda: Stack([Dropout(LSTMCell(3, 4), output=0.5), LSTMCell(4, 4), LSTMCell(4, 4)]),
            r"between layers; got \[0.5, 0.0, 0.0\], a layer each",
        ),
        (
            lambda: Stack([Dropout(LSTMCell(3, 4), input=0.1, output=0.5), LSTMCell(4, 4)]),
            "torch drops outputs of layers, step by step",
        ),
        (lambda: ProjectedLSTMCell(3, 4, 8, cell_clip=1.0), "clips nothing"),
        (lambda: ProjectedLSTMCell(3, 4, 4), "its outputs are fewer"),
        (lambda: Stack([Stack([LSTMCell(3, 4)])]), "put all layers into one"),
        (lambda: nn.LSTM(3, 4), r"to_torch takes a cell or wrapper, got LSTM of torch.nn"),
        (lambda: LSTMCell, "got the class LSTMCell: make one"),
        (lambda: "lstm", "got 'lstm'"),
    ],
)
def test_what_torch_has_nothing_for(ours: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        to_torch(ours())
    assert "\n" not in str(error.value)


def test_modules_that_are_not_recurrent_are_refused() -> None:
    class Other(nn.LSTM):
        def forward(self, *args: Any) -> Any:  # type: ignore[override]
            return super().forward(2 * args[0])

    given: dict[Any, str] = {
        nn.Linear(3, 4): "Linear$",
        LSTMCell(3, 4): "LSTMCell of recurra, which needs no conversion",
        Stack([LSTMCell(3, 4)]): "Stack of recurra, which needs no conversion",
        nn.LSTM: "the class LSTM: make one of it",
        Other(3, 4): "Other, a subclass with a forward of its own",
        nn.Sequential(nn.LSTM(3, 4)): "Sequential: hand over the recurrent module that is in it",
        "lstm": "str$",
    }
    for each, why in given.items():
        with pytest.raises(ConfigError, match=f"nn.RNN, or a cell of torch.nn, got {why}"):
            from_torch(each)
    with pytest.raises(ConfigError, match="got OrderedDict: load it into its module first"):
        from_torch(nn.LSTM(3, 4).state_dict())  # type: ignore[arg-type]


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
        options["nonlinearity"] = "relu"
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
        with pytest.raises(ShapeError, match=f"2 or 3 arrays, a Bidirectional 4 or 6, got {count}"):
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


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", reason="Keras is not here: its outputs are in a file")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAYERS)
def test_keras_itself(name: str, keras: Any) -> None:
    options = read(name)
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
    told: dict[str, Any] = {"return_sequences": True, "use_bias": "without" not in name}
    if "before" in name:
        told["reset_after"] = False
    if "relu" in name:
        told["activation"] = "relu"
    layer = kind[options["kind"]](4, **told)
    if "merge" in options:
        modes = {"mean": "ave", "product": "mul"}
        merge = modes.get(options["merge"], options["merge"])
        layer = keras.layers.Bidirectional(layer, merge_mode=merge)
    x = torch.randn(2, 5, 3)

    def theirs() -> Tensor:
        return torch.tensor(keras.ops.convert_to_numpy(layer(x.numpy())))

    theirs()  # makes its weights
    ours = from_keras([np.random.default_rng(2).normal(size=w.shape).astype("float32")
                       for w in layer.get_weights()], **options)  # fmt: skip
    back = to_keras(ours)
    layer.set_weights(back)
    torch.testing.assert_close(unroll(ours, x)[0], theirs(), rtol=1e-5, atol=1e-5)
