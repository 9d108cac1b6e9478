"""Weights from the cells of TensorFlow 1. I inputs, H units, P outputs of a projection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.weights.parts import Kind, array_of, filled, require_kind
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.stack import Stack

__all__ = ["from_tensorflow"]


CELL = re.compile(r"(?:basic_|layer_norm_basic_|cudnn_compatible_)?(lstm|gru|rnn)_cell(?:_\d+)?")
OLD = {"weights": "kernel", "biases": "bias"}  # before TensorFlow 1.2
PARTS: Mapping[str, tuple[str, ...]] = {
    "lstm": ("kernel", "bias"),
    "gru": ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"),
    "rnn": ("kernel", "bias"),
}
PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")
MORE: Mapping[str, tuple[str, ...]] = {"lstm": (*PEEPHOLES, "projection/kernel")}

STACKED = re.compile(r"(?:^|/)cell_\d+(?=/)")

Arrays = dict[str, np.ndarray]


def from_tensorflow(weights: Any, kind: Kind, *, forget_bias: float = 1.0) -> Recurrence:
    """Return the recurrence with the weights of a cell of TensorFlow 1, as a checkpoint has them.

    Of a checkpoint's variables those are taken whose names have a cell's in them, such as
    `basic_lstm_cell` or `gru_cell`; `cell_0`, `cell_1` of a `multi_rnn_cell` become a Stack, `fw`
    and `bw` a Bidirectional, of Stacks or, in a `stack_bidirectional_rnn`, one a layer. An LSTM's
    columns are in the order i, j, f, o, a GRU's in r, u, and its reset gate acts before the
    product. TensorFlow adds the forget bias at every step, and its variables lack it: here it is
    added to `bias_ih`. `bias_hh` is zero and not learned.

    Args:
        weights: name -> array; or the arrays of one cell, `[kernel, bias]`, of a GRU those of the
            gates, then of the candidate; or a list of either, a layer each.
        kind: `"lstm"` for BasicLSTMCell and LSTMCell, with peepholes or a projection; `"gru"` for
            GRUCell; `"rnn"` for BasicRNNCell.
        forget_bias: as the LSTM was made.

    Raises:
        ConfigError: for another kind, variables of several networks, of some layers or of one
            direction alone, or of a cell that there is none of here: peepholes beside a
            projection, layer normalisation.
        ShapeError: for arrays that are not those of such a cell.

    Example:
        >>> names = {"rnn/basic_lstm_cell/kernel": np.ones((5, 8)), "rnn/basic_lstm_cell/bias":
        ...          np.zeros(8)}
        >>> from_tensorflow(names, "lstm").bias_ih.chunk(4)[1].tolist()
        [1.0, 1.0]
    """
    require_kind(kind)
    if not isinstance(forget_bias, Real) or not np.isfinite(float(forget_bias)):
        raise ConfigError(f"from_tensorflow: forget_bias is a number, got {forget_bias!r:.40}")
    if isinstance(weights, Mapping):
        return _of_variables(weights, kind, forget_bias)
    if not isinstance(weights, list | tuple) or not weights:
        raise ShapeError(
            "from_tensorflow takes a mapping of names to arrays, or a list of arrays, got "
            f"{type(weights).__name__}"
        )
    if all(isinstance(layer, list | tuple | Mapping) for layer in weights):
        return Stack([from_tensorflow(layer, kind, forget_bias=forget_bias) for layer in weights])
    if len(weights) != len(PARTS[kind]):
        raise ShapeError(
            f"from_tensorflow: a cell of kind {kind!r} has the arrays {', '.join(PARTS[kind])}, "
            f"got {len(weights)}"
        )
    return _cell(dict(zip(PARTS[kind], map(_array, weights))), kind, forget_bias)


def _array(given: Any) -> np.ndarray:
    return array_of(given, "from_tensorflow takes floating-point arrays")


def _of_variables(variables: Mapping[str, Any], kind: Kind, forget_bias: float) -> Recurrence:
    """Return the recurrence of variables, sorted by direction and layer."""
    known = {*PARTS[kind], *MORE.get(kind, ())}
    found: dict[tuple[str, int], Arrays] = {}
    scopes: dict[tuple[str, int], set[str]] = {}
    stacks: dict[str, set[str]] = {}  # stack of layers -> scopes of cells, of any kind
    for name, value in variables.items():
        scope, leaf = _taken(name, kind)
        if STACKED.search(scope):
            stacks.setdefault(STACKED.split(scope)[0], set()).add(scope)
        if leaf not in known:
            if leaf and not any(leaf.startswith(f"{part}/") for part in known):  # no optimizer's
                raise ConfigError(f"from_tensorflow: there is no cell here with {name!r:.120}")
            continue
        parts = scope.split("/")
        direction = next((part for part in parts if part in ("fw", "bw")), "")
        layers = [int(part[5:]) for part in parts if re.fullmatch(r"cell_\d+", part)]
        key = (direction, layers[-1] if layers else 0)
        scopes.setdefault(key, set()).add(scope)
        found.setdefault(key, {})[leaf] = _array(value)
    several = next((each for each in scopes.values() if len(each) > 1), None)
    if several:
        raise ConfigError(
            f"from_tensorflow: variables of several networks, {' and '.join(sorted(several))}; "
            "hand over those of one"
        )
    if not found:
        raise ShapeError(
            f"from_tensorflow: no name has a cell of kind {kind!r} in it, such as "
            f"{'gru_cell/gates/kernel' if kind == 'gru' else f'{kind}_cell/kernel'}"
        )
    taken = set().union(*scopes.values())
    for stack in stacks.values():
        if taken & stack and (other := stack - taken):
            raise ConfigError(
                f"from_tensorflow: of the layers of one stack, {', '.join(sorted(other))} is of "
                "another kind; hand over a layer at a time"
            )
    return _laid_out(
        {key: _cell(arrays, kind, forget_bias) for key, arrays in found.items()},
        any(re.search(r"(^|/)cell_\d+/(.*/)?(fw|bw)/", scope) for scope in taken),
    )


def _laid_out(cells: Mapping[tuple[str, int], Recurrence], outside: bool) -> Recurrence:
    """Return cells by direction and layer in one; `outside`: each layer has two directions."""
    ways = sorted({way for way, _ in cells}, reverse=True)  # fw before bw
    if ways in (["fw"], ["bw"]):
        raise ConfigError(
            f"from_tensorflow: of two directions {ways[0]} alone; hand over both, or the arrays of "
            "one as a list"
        )
    layers = {way: sorted(n for each, n in cells if each == way) for way in ways}
    for numbers in layers.values():
        if numbers != [*range(len(numbers))]:
            raise ConfigError(
                f"from_tensorflow: of a stack the layers {', '.join(map(str, numbers))} alone; "
                "hand over all from 0 on, or a list with the variables of each"
            )
    if outside and layers["fw"] == layers["bw"]:
        return _stacked([Bidirectional(cells["fw", n], cells["bw", n]) for n in layers["fw"]])
    each = [_stacked([cells[way, n] for n in numbers]) for way, numbers in layers.items()]
    return each[0] if len(each) == 1 else Bidirectional(each[0], each[1])


def _stacked(layers: list[Recurrence]) -> Recurrence:
    return layers[0] if len(layers) == 1 else Stack(layers)


def _taken(name: str, kind: Kind) -> tuple[str, str]:
    """Return the scope of a cell's variable, and its name within; no name where it is no cell's."""
    parts = [OLD.get(part, part) for part in str(name).removesuffix(":0").split("/")]
    for n, part in enumerate(parts):
        match = CELL.fullmatch(part)
        if match:
            return "/".join(parts[: n + 1]), "/".join(parts[n + 1 :]) if match[1] == kind else ""
    whole = "/".join(parts)
    return "", whole if whole in {*PARTS[kind], *MORE.get(kind, ())} else ""


def _cell(arrays: Arrays, kind: Kind, forget_bias: float) -> Cell:
    missing = [name for name in PARTS[kind] if name not in arrays]
    if missing:
        raise ShapeError(f"from_tensorflow: a {kind} cell without {', '.join(missing)}")
    if kind == "gru":
        return _gru(arrays)
    kernel, bias = arrays["kernel"], arrays["bias"]
    gates = 4 if kind == "lstm" else 1
    projection = arrays.get("projection/kernel")
    H = bias.shape[0] // gates if bias.ndim == 1 else 0
    O = H if projection is None or projection.ndim != 2 else projection.shape[1]  # noqa: E741
    fits = kernel.ndim == 2 and kernel.shape[1:] == (gates * H,) == bias.shape
    _require(fits and kernel.shape[0] > O, kind, arrays)
    I = kernel.shape[0] - O  # noqa: E741
    rows = kernel.T
    if kind == "lstm":
        rows, bias = _ifgo(rows), _ifgo(bias)
        bias[H : 2 * H] += forget_bias
    values: dict[str, np.ndarray | None] = {
        "weight_ih": rows[:, :I],
        "weight_hh": rows[:, I:],
        "bias_ih": bias,
        "bias_hh": None,
    }
    if kind == "rnn":
        return filled(lambda: RNNCell(I, H), values)
    peepholes = [name for name in PEEPHOLES if name in arrays]
    if projection is not None:
        if peepholes:
            raise ConfigError("from_tensorflow: there is no cell with peepholes and a projection")
        _require(projection.shape == (H, O), kind, arrays)
        return filled(
            lambda: ProjectedLSTMCell(I, O, H), values | {"weight_hr": projection.T.copy()}
        )
    if not peepholes:
        return filled(lambda: LSTMCell(I, H), values)
    _require(len(peepholes) == 3, kind, arrays)
    for name in PEEPHOLES:
        _require(arrays[name].shape == (H,), kind, arrays)
        values[f"peephole_{name[2]}"] = arrays[name]
    return filled(lambda: PeepholeLSTMCell(I, H), values)


def _gru(arrays: Arrays) -> Cell:
    gates, gates_bias, candidate, bias = (arrays[name] for name in PARTS["gru"])
    H = bias.shape[0] if bias.ndim == 1 else 0
    shapes = (gates.shape[1:], gates_bias.shape, candidate.shape[1:])
    fits = shapes == ((2 * H,), (2 * H,), (H,)) and gates.shape[0] == candidate.shape[0] > H
    _require(fits, "gru", arrays)
    rows = np.concatenate([gates.T, candidate.T])
    I = len(gates) - H  # noqa: E741
    values = {
        "weight_ih": rows[:, :I],
        "weight_hh": rows[:, I:],
        "bias_ih": np.concatenate([gates_bias, bias]),
        "bias_hh": None,
    }
    return filled(lambda: GRUCell(I, H, reset_after=False), values)


def _require(fits: bool, kind: str, arrays: Arrays) -> None:
    if not fits:
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ShapeError(f"from_tensorflow: these are not the arrays of a {kind} cell: {got}")


def _ifgo(rows: np.ndarray) -> np.ndarray:
    """Return rows in torch's order i, f, g, o of TensorFlow's i, j, f, o."""
    i, j, f, o = np.split(rows, 4)
    return np.concatenate([i, f, j, o])
