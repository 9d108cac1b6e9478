"""Weights to and from `torch.nn` and Keras. I inputs, H units, P outputs of a projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.wrappers.base import Recurrence, steps_as
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack

__all__ = ["from_keras", "from_torch", "to_keras", "to_torch"]

Merge = Literal["concat", "sum", "mean", "product"]
Nonlinearity = Literal["tanh", "relu"]


def from_torch(module: nn.Module) -> Recurrence:
    """Return the recurrence that computes what a recurrent module of torch computes.

    Layers become a Stack, directions a Bidirectional, dropout between layers a Dropout around
    each layer but the last, whose masks come from a generator and so are others. Whether the
    module takes the batch first does not matter: a recurrence here always does. The parameters
    are copies; a module without biases gets zeros that are not learned.

    Args:
        module: an `nn.LSTM` (with `proj_size` or without), `nn.GRU`, `nn.RNN`, `nn.LSTMCell`,
            `nn.GRUCell` or `nn.RNNCell`.

    Raises:
        ConfigError: for another module.

    Example:
        >>> from recurra.nn.unroll import unroll
        >>> theirs = nn.GRU(3, 4, num_layers=2, batch_first=True)
        >>> ours, x = from_torch(theirs), torch.ones(1, 5, 3)
        >>> torch.allclose(unroll(ours, x)[0], theirs(x)[0], atol=1e-6)
        True
    """
    if isinstance(module, nn.RNNCellBase):
        cell = _cell_like(module, module.input_size)
        return _filled(cell, module, "").train(module.training)
    if not isinstance(module, nn.LSTM | nn.GRU | nn.RNN):
        raise ConfigError(
            f"from_torch takes nn.LSTM, nn.GRU, nn.RNN or a cell of torch's, got "
            f"{type(module).__name__}"
        )
    layers: list[Recurrence] = []
    for number in range(module.num_layers):
        size = layers[-1].output_size if layers else module.input_size
        layer: Recurrence = _filled(_cell_like(module, size), module, f"_l{number}")
        if module.bidirectional:
            back = _filled(_cell_like(module, size), module, f"_l{number}_reverse")
            layer = Bidirectional(layer, back)
        if module.dropout and number < module.num_layers - 1:
            layer = Dropout(layer, output=module.dropout)
        layers.append(layer)
    return (layers[0] if len(layers) == 1 else Stack(layers)).train(module.training)


def to_torch(recurrence: Recurrence) -> nn.LSTM | nn.GRU | nn.RNN:
    """Return the module of torch, batch first, that computes what a recurrence computes.

    Args:
        recurrence: an LSTMCell, ProjectedLSTMCell, GRUCell or RNNCell, a Bidirectional of two
            of a kind, or a Stack of layers that are alike; the layers but the last may stand in
            a Dropout of their outputs.

    Raises:
        ConfigError: for what torch has no module for.

    Example:
        >>> to_torch(Stack([LSTMCell(3, 4), LSTMCell(4, 4)]))
        LSTM(3, 4, num_layers=2, batch_first=True)
    """
    layers = _layers(recurrence)
    probabilities = {_dropout_of(layer) for layer in layers[:-1]} or {0.0}
    if len(probabilities) > 1 or isinstance(layers[-1], Dropout):
        raise ConfigError(
            "to_torch: torch drops with one probability, between layers; got "
            f"{[_dropout_of(layer) for layer in layers]}, a layer each"
        )
    rows = [_directions(layer.inner() if isinstance(layer, Dropout) else layer) for layer in layers]
    kinds = {_module_of(cell) for row in rows for cell in row}
    if len({len(row) for row in rows}) > 1 or len(kinds) > 1:
        names = (f"{type(cell).__name__}({cell.extra_repr()})" for row in rows for cell in row)
        raise ConfigError(
            "to_torch: layers and directions are of one kind and width in torch, got "
            f"{', '.join(names)}"
        )
    ((kind, size, options),) = kinds
    module: nn.LSTM | nn.GRU | nn.RNN = kind(
        rows[0][0].input_size,
        size,
        len(rows),
        batch_first=True,
        dropout=probabilities.pop(),
        bidirectional=len(rows[0]) == 2,
        **dict(options),
    )
    like = next(recurrence.parameters())
    module = module.to(like.device, like.dtype).train(recurrence.training)
    with torch.no_grad():
        for number, row in enumerate(rows):
            for cell, end in zip(row, ("", "_reverse")):
                for name, parameter in _parameters(cell).items():
                    own = getattr(module, f"{name}_l{number}{end}")
                    own.copy_(parameter)
                    own.requires_grad_(parameter.requires_grad)
    return module


def from_keras(
    weights: Sequence[Any],
    kind: Literal["lstm", "gru", "rnn"],
    *,
    reset_after: bool | None = None,
    nonlinearity: Nonlinearity = "tanh",
    merge: Merge = "concat",
) -> Recurrence:
    """Return the recurrence with the weights of a Keras layer, as its `get_weights()` gives them.

    A layer's weights are its kernel `(I, G H)`, recurrent kernel `(H, G H)` and, where it has
    any, biases; those of a `Bidirectional` are the forward layer's, then the backward one's.
    The one bias of Keras stands in `bias_ih`, and `bias_hh` is zero and not learned.

    Args:
        weights: of one layer; or of several, a sequence for each, which become a Stack.
        kind: `"lstm"`, `"gru"`, or `"rnn"` for a SimpleRNN, with the activations that are
            Keras 3's defaults.
        reset_after: as the GRU was made; its biases tell, and without any it is Keras' default,
            True.
        nonlinearity: a SimpleRNN's activation.
        merge: of a Bidirectional: Keras' `"ave"` is `"mean"`, its `"mul"` `"product"`.

    Raises:
        ConfigError: for another kind, or a `reset_after` that the biases contradict.
        ShapeError: for weights that are not those of such a layer.

    Example:
        >>> kernel, recurrent, bias = np.ones((3, 8)), np.ones((2, 8)), np.zeros(8)
        >>> from_keras([kernel, recurrent, bias], "lstm")
        LSTMCell(3, 2)
    """
    if kind not in ("lstm", "gru", "rnn"):
        raise ConfigError(f"kind is 'lstm', 'gru' or 'rnn', got {kind!r}")
    if weights and isinstance(weights[0], Sequence) and np.ndim(weights[0][0]) == 2:
        options: Any = {"reset_after": reset_after, "nonlinearity": nonlinearity, "merge": merge}
        return Stack([from_keras(layer, kind, **options) for layer in weights])
    arrays = [np.asarray(array) for array in weights]

    def cell(arrays: list[np.ndarray]) -> Cell:
        return _cell_of_keras(arrays, kind, reset_after, nonlinearity)

    if len(arrays) in (2, 3):
        return cell(arrays)
    if len(arrays) in (4, 6):
        half = len(arrays) // 2
        return Bidirectional(cell(arrays[:half]), cell(arrays[half:]), merge)
    raise ShapeError(
        f"from_keras: a layer has 2 or 3 arrays, a Bidirectional 4 or 6, got {len(arrays)}"
    )


def to_keras(recurrence: Recurrence) -> list[Any]:
    """Return the arrays that `set_weights` of the Keras layer takes; of a Stack, a list a layer.

    Biases that are added to each other in every use become one.

    Args:
        recurrence: an LSTMCell, GRUCell (with the `reset_after` of the layer) or RNNCell, a
            Bidirectional of two of a kind, or a Stack of these.

    Raises:
        ConfigError: for what Keras has no layer for.

    Example:
        >>> [array.shape for array in to_keras(GRUCell(3, 4))]
        [(3, 12), (4, 12), (2, 12)]
    """
    if type(recurrence) is Stack:
        return [to_keras(layer) for layer in _layers(recurrence)]
    arrays = []
    for cell in _directions(recurrence, any_merge=True):
        if not any(steps_as(cell, kind) for kind in (LSTMCell, GRUCell, RNNCell)):
            raise ConfigError(f"Keras has no layer for {type(cell).__name__}")
        weight_ih, weight_hh, bias_ih, bias_hh = (
            _swapped(value.detach().cpu(), cell) for value in _parameters(cell).values()
        )
        apart = isinstance(cell, GRUCell) and cell.reset_after
        bias = torch.stack([bias_ih, bias_hh]) if apart else bias_ih + bias_hh
        arrays += [each.numpy().copy() for each in (weight_ih.T, weight_hh.T, bias)]
    return arrays


def _cell_like(module: nn.Module, input_size: int) -> Cell:
    """Return an empty cell that takes one layer and direction of the module."""
    hidden_size = cast("int", module.hidden_size)
    make: Callable[[], Cell]
    if isinstance(module, nn.LSTM) and module.proj_size:
        P = module.proj_size
        make = lambda: ProjectedLSTMCell(input_size, P, hidden_size, forget_bias=0)  # noqa: E731
    elif isinstance(module, nn.LSTM | nn.LSTMCell):
        make = lambda: LSTMCell(input_size, hidden_size, forget_bias=0)  # noqa: E731
    elif isinstance(module, nn.GRU | nn.GRUCell):
        make = lambda: GRUCell(input_size, hidden_size)  # noqa: E731
    elif isinstance(module, nn.RNN | nn.RNNCell):
        nonlinearity = cast("Nonlinearity", module.nonlinearity)
        make = lambda: RNNCell(input_size, hidden_size, nonlinearity)  # noqa: E731
    else:
        raise ConfigError(f"from_torch takes cells that torch has, got {type(module).__name__}")
    return _empty(make, next(module.parameters()))


def _empty(make: Callable[[], Cell], like: Tensor) -> Cell:
    """Return what `make` makes, where and as `like` is, without drawing a number for it."""
    with torch.device("meta"):
        cell = make()
    return cell.to(like.dtype).to_empty(device=like.device)


def _filled(cell: Cell, module: nn.Module, end: str) -> Cell:
    """Return the cell with the module's parameters, whose names end so; biases may be missing."""
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            given = getattr(module, f"{name}{end}", None)
            if given is None:
                parameter.zero_()
            else:
                parameter.copy_(given)
            parameter.requires_grad_(given is not None and given.requires_grad)
    return cell


def _parameters(cell: Cell) -> dict[str, Tensor]:
    """Return what stands under torch's names, parametrised or not."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return {name: getattr(cell, name) for name in names if hasattr(cell, name)}


def _layers(recurrence: Recurrence) -> list[Recurrence]:
    if type(recurrence) is not Stack:
        return [recurrence]
    return [recurrence.inner(n) for n in range(len(recurrence.cells))]


def _dropout_of(layer: Recurrence) -> float:
    """Return the probability that outputs of the layer are dropped with, as torch drops them."""
    if not isinstance(layer, Dropout):
        return 0.0
    if type(layer) is not Dropout or layer.input or layer.state or layer.variational:
        raise ConfigError(f"to_torch: torch drops outputs of layers, step by step; got {layer}")
    return layer.output


def _directions(layer: Recurrence, any_merge: bool = False) -> list[Cell]:
    both = type(layer) is Bidirectional
    parts = [layer.inner(0), layer.inner(1)] if isinstance(layer, Bidirectional) else [layer]
    if both and not any_merge and cast("Bidirectional", layer).merge != "concat":
        raise ConfigError(f"to_torch: torch concatenates the two directions, got {layer}")
    for part in parts:
        if not isinstance(part, Cell):
            raise ConfigError(f"torch.nn and Keras have nothing for {type(part).__name__}")
    return cast("list[Cell]", parts)


def _module_of(cell: Any) -> tuple[Callable[..., Any], int, tuple[tuple[str, Any], ...]]:
    """Return the module of torch that holds such a cell, its hidden size, and options beside."""
    if steps_as(cell, LSTMCell):
        return nn.LSTM, cell.hidden_size, ()
    if steps_as(cell, GRUCell) and cell.reset_after:
        return nn.GRU, cell.hidden_size, ()
    if steps_as(cell, RNNCell):
        return nn.RNN, cell.hidden_size, (("nonlinearity", cell.nonlinearity),)
    if steps_as(cell, ProjectedLSTMCell):
        if cell.cell_clip is None and cell.output_size < cell.memory_size:
            return nn.LSTM, cell.memory_size, (("proj_size", cell.output_size),)
        raise ConfigError("torch's projected LSTM clips nothing, and its outputs are fewer")
    why = ", whose reset gate acts before the product" if steps_as(cell, GRUCell) else ""
    raise ConfigError(f"torch.nn has no module for {type(cell).__name__}{why}")


def _cell_of_keras(
    arrays: list[np.ndarray], kind: str, reset_after: bool | None, nonlinearity: Nonlinearity
) -> Cell:
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    kernel, recurrent, *biases = (torch.from_numpy(array.copy()) for array in arrays)
    H = recurrent.shape[0]
    rows = gates * H
    apart = [tuple(bias.shape) for bias in biases] == [(2, rows)] and kind == "gru"
    if (
        kernel.dim() != 2
        or (*kernel.shape[1:], *recurrent.shape) != (rows, H, rows)
        or not (apart or all(bias.shape == (rows,) for bias in biases))
    ):
        raise ShapeError(
            f"from_keras: a layer of kind {kind!r} has a kernel (I, {gates} H), a recurrent kernel "
            f"(H, {gates} H) and biases ({gates} H,){' or (2, 3 H)' if kind == 'gru' else ''}, got "
            f"{', '.join(str(array.shape) for array in arrays)}"
        )
    if kind == "gru" and biases and reset_after not in (None, apart):
        raise ConfigError(
            f"reset_after={reset_after}, but biases {tuple(biases[0].shape)} are those of a layer "
            f"with reset_after={apart}"
        )
    after = apart or (not biases and reset_after is not False)
    I = kernel.shape[0]  # noqa: E741
    make: Callable[[], Cell] = {
        "lstm": lambda: LSTMCell(I, H),
        "gru": lambda: GRUCell(I, H, after),
        "rnn": lambda: RNNCell(I, H, nonlinearity),
    }[kind]
    cell = _empty(make, kernel)
    bias = biases[0] if biases else torch.zeros(rows, dtype=kernel.dtype)
    values = (kernel.T, recurrent.T, *(bias if apart else (bias, torch.zeros_like(bias))))
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), values):
            parameter.copy_(_swapped(value, cell))
    for name, learned in (("bias_ih", bool(biases)), ("bias_hh", apart)):
        cell.get_parameter(name).requires_grad_(learned)
    return cell


def _swapped(rows: Tensor, cell: Cell) -> Tensor:
    """Return a GRU's rows in the other order: z, r, n of Keras and r, z, n of torch."""
    if not isinstance(cell, GRUCell):
        return rows
    first, second, third = rows.chunk(3)
    return torch.cat([second, first, third])
