"""Weights from the cells of JAX's libraries: Flax, Haiku and Equinox. I inputs, H units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.weights.parts import Kind, array_of, filled, require_kind
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.stack import Stack

__all__ = ["from_flax"]

LETTERS = {"lstm": "ifgo", "gru": "rzn", "rnn": ("",)}

Values = dict[str, np.ndarray | None]


def from_flax(tree: Any, kind: Kind) -> Recurrence:
    """Return the recurrence with the parameters of a cell of Flax, Haiku or Equinox.

    They are nested mappings of arrays, of one cell: `variables["params"]` of flax.linen, what
    `nnx.to_pure_dict` makes of an nnx state, the parameters of Haiku, `vars(cell)` of Equinox.
    Which library it was the names tell. Haiku adds 1 to an LSTM's forget gate at every step: here
    it is added to `bias_ih`. Biases that a library has not are zero and not learned.

    Args:
        tree: the parameters of one cell; or a sequence of these, a layer each.
        kind: `"lstm"` for LSTMCell, OptimizedLSTMCell and Haiku's LSTM; `"gru"` for GRUCell and
            Haiku's GRU, which resets before the product; `"rnn"` for Flax's SimpleCell without
            a residual connection.

    Raises:
        ConfigError: for another kind; for Flax's MGUCell, whose forget gate acts after the
            product and not before it, as the MGUCell here.
        ShapeError: for parameters that are not those of such a cell, or others beside them.

    Example:
        >>> gates = {f"i{gate}": {"kernel": np.ones((3, 2))} for gate in "ifgo"}
        >>> own = {"kernel": np.ones((2, 2)), "bias": np.ones(2)}
        >>> gates |= {f"h{gate}": own for gate in "ifgo"}
        >>> from_flax({"params": gates}, "lstm")
        LSTMCell(3, 2)
    """
    if str(kind) == "mgu":
        raise ConfigError(
            "from_flax: the MGUCell of Flax resets after the product, ours before it, as its paper"
        )
    require_kind(kind)
    if isinstance(tree, list | tuple):
        return Stack([from_flax(layer, kind) for layer in tree])
    if not isinstance(tree, Mapping):
        raise ShapeError(f"from_flax takes a mapping of parameters, got {type(tree).__name__}")
    cell = _within(tree)
    for read in (_flax, _flax_joined, _haiku, _equinox):
        try:
            values = read(cell, kind)
        except KeyError:
            continue
        _require_all_read(cell, kind)
        return _cell(values, kind, read is _haiku)
    raise ShapeError(
        f"from_flax: no cell of kind {kind!r} in Flax, Haiku or Equinox has the parameters "
        f"{', '.join(sorted(map(str, cell)))[:200]}"
    )


def _within(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the one cell that lies within scopes."""
    while len(tree) == 1:
        ((name, inner),) = tree.items()
        if name == "linear" or not isinstance(inner, Mapping):
            break
        if str(name).endswith("/linear"):
            return {"linear": inner}
        tree = inner
    return tree


def _array(given: Any, dims: int) -> np.ndarray:
    array = array_of(given, "from_flax takes floating-point arrays")
    if array.ndim != dims:
        raise ShapeError(f"from_flax: weights have 2 dimensions, biases 1, got {array.shape}")
    return array


def _dense(cell: Mapping[str, Any], name: str, into: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the kernel of a dense layer as rows, and its bias."""
    layer = cell["if_"] if name == "if" and "if_" in cell else cell[name]
    bias = layer.get("bias") if isinstance(layer, Mapping) else None
    if not isinstance(layer, Mapping) or "kernel" not in layer:
        raise ShapeError(f"from_flax: {into} {name!r} has no kernel")
    return _array(layer["kernel"], 2).T, None if bias is None else _array(bias, 1)


def _flax(cell: Mapping[str, Any], kind: Kind) -> Values:
    """Read one dense layer a gate and direction, `ii` to `ho`; of a SimpleCell `i` and `h`."""
    values: Values = {}
    for side in "ih":
        layers = [_dense(cell, f"{side}{gate}", "the layer") for gate in LETTERS[kind]]
        rows, biases = zip(*layers)
        values[f"weight_{side}h"] = _joined(rows)
        lengths = [len(each) for each in rows]
        given = [np.zeros(n, rows[0].dtype) if b is None else b for n, b in zip(lengths, biases)]
        values[f"bias_{side}h"] = None if all(b is None for b in biases) else _joined(given)
    return values


def _flax_joined(cell: Mapping[str, Any], kind: Kind) -> Values:
    """Read nnx' layers of all gates together."""
    values: Values = {}
    for side in "ih":
        rows, bias = _dense(cell, f"dense_{side}", "the layer")
        values |= {f"weight_{side}h": rows, f"bias_{side}h": bias}
    return values


def _haiku(cell: Mapping[str, Any], kind: Kind) -> Values:
    """Read `linear` with columns i, g, f, o over inputs and state; of a GRU z, r, a."""
    if kind == "lstm":
        linear = cell["linear"]
        _require(isinstance(linear, Mapping) and {"w", "b"} <= {*linear}, cell)
        rows, bias = _array(linear["w"], 2).T, _array(linear["b"], 1)
        _require(rows.shape[:1] == bias.shape and len(bias) % 4 == 0, cell)
        H = len(bias) // 4
        i, g, f, o = np.split(np.concatenate([rows, bias[:, None]], axis=1), 4)
        f[:, -1] += 1
        rows = np.concatenate([i, f, g, o])
        I = rows.shape[1] - 1 - H  # noqa: E741
        return {"weight_ih": rows[:, :I], "weight_hh": rows[:, I:-1], "bias_ih": rows[:, -1]}
    if kind == "rnn":
        raise KeyError(kind)
    values: Values = {}
    for name, own in (("weight_ih", "w_i"), ("weight_hh", "w_h"), ("bias_ih", "b")):
        whole = _array(cell[own], 1 if own == "b" else 2).T
        _require(len(whole) % 3 == 0, cell)
        z, r, a = np.split(whole, 3)
        values[name] = np.concatenate([r, -z, a])  # their z lets in what is new, ours what is old
    return values


def _equinox(cell: Mapping[str, Any], kind: Kind) -> Values:
    """Read torch's rows with one bias, and of a GRU the candidate's second."""
    if kind == "rnn":
        raise KeyError(kind)
    bias, second = cell["bias"], cell.get("bias_n")
    values = {name: _array(cell[name], 2) for name in ("weight_ih", "weight_hh")}
    bias_hh = None
    if second is not None:
        new = _array(second, 1)
        bias_hh = np.concatenate([np.zeros(2 * len(new), new.dtype), new])
    return {**values, "bias_ih": None if bias is None else _array(bias, 1), "bias_hh": bias_hh}


def _require_all_read(cell: Mapping[str, Any], kind: Kind) -> None:
    """Raise ShapeError where there are arrays beside those of such a cell."""
    layers = [f"{side}{gate}" for side in "ih" for gate in LETTERS[kind]]
    known = {"weight_ih", "weight_hh", "bias", "bias_n", "w_i", "w_h", "b"}
    for layer in (*layers, "if_", "dense_i", "dense_h", "linear"):
        known |= {f"{layer}/{part}" for part in ("kernel", "bias", "w", "b")}
    if more := [name for name in _arrays_in(cell, "") if name not in known]:
        raise ShapeError(
            f"from_flax: a cell of kind {kind!r} has no parameters {', '.join(more)[:200]}"
        )


def _arrays_in(tree: Any, name: str) -> Iterator[str]:
    """Return the names of the floating-point arrays in it; keys and counts of draws are none."""
    if isinstance(tree, Mapping):
        for part, inner in tree.items():
            yield from _arrays_in(inner, f"{name}/{part}" if name else str(part))
    elif "float" in str(getattr(tree, "dtype", "")):
        yield name


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    if len({part.shape for part in parts}) > 1:
        raise ShapeError(f"from_flax: gates of unlike shapes, {[part.shape for part in parts]}")
    return np.concatenate(list(parts))


def _require(fits: bool, cell: Mapping[str, Any]) -> None:
    if not fits:
        raise ShapeError(f"from_flax: what {', '.join(cell)} hold are not the arrays of a cell")


def _cell(values: Values, kind: Kind, before: bool) -> Cell:
    """Return the cell of these parameters, where their shapes are those of one."""
    weight_ih, weight_hh = values["weight_ih"], values["weight_hh"]
    assert weight_ih is not None and weight_hh is not None
    H, rows = weight_hh.shape[-1], len(LETTERS[kind]) * weight_hh.shape[-1]
    biases = [values.get("bias_ih"), values.get("bias_hh")]
    if (weight_ih.shape[:1], weight_hh.shape[:1]) != ((rows,), (rows,)) or any(
        bias is not None and bias.shape != (rows,) for bias in biases
    ):
        got = [None if value is None else value.shape for value in values.values()]
        raise ShapeError(f"from_flax: the shapes {got} are not those of a cell of kind {kind!r}")
    I = weight_ih.shape[1]  # noqa: E741
    make: Callable[[], Cell] = {
        "lstm": lambda: LSTMCell(I, H),
        "gru": lambda: GRUCell(I, H, reset_after=not before),
        "rnn": lambda: RNNCell(I, H),
    }[kind]
    return filled(make, values)
