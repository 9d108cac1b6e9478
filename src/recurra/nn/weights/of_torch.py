"""Weights to and from `torch.nn`. I inputs, H units, P outputs of a projection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.activation import Activated
from recurra.nn.cells.base import Cell, require_recurrence
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.weights.parts import (
    directions_of,
    empty,
    has_bias,
    hooks_of,
    layers_of,
    names_of,
    parameters_of,
)
from recurra.nn.wrappers.base import Recurrence, Wrapper
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.inside import steps_as
from recurra.nn.wrappers.stack import Stack

__all__ = ["from_torch", "to_torch"]

CELLS_OF_TORCH = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
MODULES_OF_TORCH = (nn.LSTM, nn.GRU, nn.RNN)


def from_torch(module: nn.Module) -> Recurrence:
    """Return the recurrence that computes what a recurrent module of torch computes.

    Layers become a Stack, directions a Bidirectional, dropout between layers a Dropout around
    each layer but the last, whose masks come from a generator and so are others. Whether the
    module takes the batch first does not matter: a recurrence here always does. The parameters
    are copies; a module without biases gets zeros that are not learned, of which `to_torch`
    makes none again.

    Args:
        module: an `nn.LSTM` (with `proj_size` or without), `nn.GRU`, `nn.RNN`, `nn.LSTMCell`,
            `nn.GRUCell` or `nn.RNNCell`.

    Raises:
        ConfigError: for another module, a quantised one, or a subclass that changes `forward`.
        ShapeError: a parameter is missing, or of another shape than the module's sizes say.

    Example:
        >>> from recurra.nn.unroll import unroll
        >>> theirs = nn.GRU(3, 4, num_layers=2, batch_first=True)
        >>> ours, x = from_torch(theirs), torch.ones(1, 5, 3)
        >>> torch.allclose(unroll(ours, x)[0], theirs(x)[0], atol=1e-6)
        True
    """
    kinds = [kind for kind in MODULES_OF_TORCH + CELLS_OF_TORCH if isinstance(module, kind)]
    if not kinds or type(module).forward is not kinds[0].forward:
        raise ConfigError(
            "from_torch takes an nn.LSTM, nn.GRU, nn.RNN, or a cell of torch.nn, got "
            f"{_no_module(module)}"
        )
    if not isinstance(module, nn.LSTM | nn.GRU | nn.RNN):
        cell = _cell_like(module, cast("int", module.input_size))
        return _filled(cell, module, "").train(module.training)
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

    Biases that are zero and not learned, all of them, become `bias=False`, as they came from.

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
    require_recurrence(recurrence, "to_torch")
    layers = layers_of(recurrence)
    probabilities = {_dropout_of(layer) for layer in layers[:-1]} or {0.0}
    if len(probabilities) > 1 or isinstance(layers[-1], Dropout):
        raise ConfigError(
            "to_torch: torch drops with one probability, between layers; got "
            f"{[_dropout_of(layer) for layer in layers]}, a layer each"
        )
    inner = [layer.inner() if isinstance(layer, Dropout) else layer for layer in layers]
    for layer in inner:
        if isinstance(layer, Bidirectional) and layer.merge != "concat":
            raise ConfigError(
                f"to_torch: torch concatenates the two directions, got merge={layer.merge!r}"
            )
    rows = [directions_of(layer, "to_torch: torch.nn") for layer in inner]
    cells = [cell for row in rows for cell in row]
    kinds = {_module_of(cell) for cell in cells}
    if len({len(row) for row in rows}) > 1 or len(kinds) > 1:
        raise ConfigError(
            "to_torch: layers and directions are of one kind and width in torch, got "
            f"{names_of(cells)}"
        )
    ((kind, size, options),) = kinds
    module: nn.LSTM | nn.GRU | nn.RNN = kind(
        rows[0][0].input_size,
        size,
        len(rows),
        batch_first=True,
        dropout=probabilities.pop(),
        bidirectional=len(rows[0]) == 2,
        bias=has_bias(*cells),
        **dict(options),
    )
    like = next(recurrence.parameters())
    module = module.to(like.device, like.dtype).train(recurrence.training)
    for number, row in enumerate(rows):
        for cell, end in zip(row, ("", "_reverse")):
            for name, parameter in parameters_of(cell).items():
                if (own := getattr(module, f"{name}_l{number}{end}", None)) is not None:
                    _copy(parameter, own)
    return module


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
    else:
        nonlinearity = cast('Literal["tanh", "relu"]', module.nonlinearity)
        make = lambda: RNNCell(input_size, hidden_size, nonlinearity)  # noqa: E731
    return empty(make, next(module.parameters()))


def _filled(cell: Cell, module: nn.Module, end: str) -> Cell:
    """Return the cell with the module's parameters, whose names end so; biases may be none."""
    for name, parameter in cell.named_parameters():
        given = getattr(module, f"{name}{end}", None)
        shape = None if given is None else tuple(given.shape)
        if shape != parameter.shape and (shape or module.bias or not name.startswith("bias")):
            raise ShapeError(
                f"from_torch: {name}{end} of the {type(module).__name__} is {shape or 'missing'}, "
                f"expected {tuple(parameter.shape)}, as its sizes say"
            )
        _copy(torch.zeros_like(parameter) if given is None else given, parameter)
    return cell


def _copy(given: Tensor, own: Tensor) -> None:
    """Copy numbers, and whether they are learned: what makes parametrised ones says so itself."""
    with torch.no_grad():
        own.copy_(given)
    own.requires_grad_(given.requires_grad)


def _no_module(given: Any) -> str:
    """Return in words what was given in the place of a recurrent module of torch."""
    name, torchs = type(given).__name__, MODULES_OF_TORCH + CELLS_OF_TORCH
    if isinstance(given, type):
        return f"the class {given.__name__}: make one of it, with its sizes"
    if isinstance(given, Cell | Wrapper):
        return f"{name} of recurra, which needs no conversion"
    if isinstance(given, torchs):
        return f"{name}, a subclass with a forward of its own"
    if isinstance(given, nn.Module) and "quant" in type(given).__module__:
        return f"{name} of {type(given).__module__}, whose weights are quantised: take the original"
    if isinstance(given, Mapping):
        return f"{name}: load it into its module first, by load_state_dict"
    parts = given.modules() if isinstance(given, nn.Module) else ()
    inside = any(isinstance(part, torchs) for part in parts)
    return f"{name}: hand over the recurrent module that is in it" if inside else name


def _dropout_of(layer: Recurrence) -> float:
    """Return the probability that outputs of the layer are dropped with, as torch drops them."""
    if not isinstance(layer, Dropout):
        return 0.0
    if type(layer) is not Dropout or layer.input or layer.state or layer.variational:
        got = f"{type(layer).__name__}({layer.extra_repr()})"
        raise ConfigError(f"to_torch: torch drops outputs of layers, step by step; got {got}")
    return layer.output


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
        raise ConfigError("to_torch: torch's projected LSTM clips nothing, its outputs are fewer")
    why = ", whose reset gate acts before the product" if steps_as(cell, GRUCell) else ""
    if isinstance(cell, Activated) and (unusual := cell.unusual()):
        why = f" with {unusual}"
    why = why or hooks_of(cell)
    raise ConfigError(f"to_torch: torch.nn has no module for {type(cell).__name__}{why}")
