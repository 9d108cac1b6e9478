"""What wrappers do with the cells inside them, and with their states. B rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor

from recurra.errors import ConfigError
from recurra.nn.cells.activation import Activated
from recurra.nn.cells.base import Cell
from recurra.nn.cells.kernel import is_watched
from recurra.nn.state import State
from recurra.nn.wrappers.base import Recurrence, Wrapper

__all__ = ["map_cells", "require_part", "require_steps", "steps_apart_from_activations", "steps_as"]


def map_cells(
    function: Callable[..., State], cell: Recurrence, *states: State, place: str = "state"
) -> State:
    """Return the state made of what `function(cell, place, *states)` returns for each cell inside.

    Args:
        function: takes a cell, the name of its place, and its states.
        cell: a cell or wrapper.
        states: of it, at least one.
        place: the name of its place.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.gru import GRUCell
        >>> map_cells(lambda cell, place, state: place, GRUCell(3, 5), torch.zeros(1, 5))
        'state'
    """
    if not isinstance(cell, Wrapper):
        return function(cell, place, *states)
    owners = cell.owners()
    inner = [*cell.cells]  # at once, as this runs at every step
    if owners is None:
        return map_cells(function, cast("Recurrence", inner[0]), *states, place=place)
    parts = [
        map_cells(function, cast("Recurrence", inner[owner]), *each, place=f"{place}.{n}")
        for n, (owner, *each) in enumerate(zip(owners, *states, strict=True))
    ]
    return type(states[0])(*parts) if hasattr(states[0], "_fields") else tuple(parts)


def require_part(wrapper: str, does: str, name: str, cell: Recurrence) -> None:
    """Raise ConfigError unless every state between steps has a tensor of that name in each cell.

    A state that is one tensor is its own `h`.

    Args:
        wrapper: that needs it, for the message.
        does: what it does with it.
        name: of the tensor.
        cell: a cell or wrapper.

    Example:
        >>> from recurra.nn.cells.sru import SRUCell
        >>> require_part("Dropout", "state= drops units of", "h", SRUCell(3, 5))
        Traceback (most recent call last):
        recurra.errors.ConfigError: Dropout: state= drops units of h, and the state of SRUCell \
is c; wrap those cells alone whose state has h
    """

    def require(part: Recurrence, _: str, state: State) -> State:
        names = getattr(state, "_fields", ("h",) if isinstance(state, Tensor) else ())
        if name not in names:
            raise ConfigError(
                f"{wrapper}: {does} {name}, and the state of {type(part).__name__} is "
                f"{', '.join(names) or 'unnamed'}; wrap those cells alone whose state "
                f"has {name}"
            )
        return state

    require_steps(wrapper, cell)
    for part in cell.modules():
        owners = (isinstance(part, Wrapper) and part.owners()) or ()
        if len(set(owners)) < len(owners):
            several = type(part).__name__
            raise ConfigError(
                f"{wrapper}: the state of {several} is those of several steps, of which a step "
                f"makes one; put it inside, {several}({wrapper}(cell))"
            )
    map_cells(require, cell, cell.initial_state())


def require_steps(wrapper: str, cell: Recurrence) -> None:
    """Raise ConfigError where something inside looks ahead, and so has no single step.

    Args:
        wrapper: that acts between steps, for the message.
        cell: a cell or wrapper.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> require_steps("Zoneout", GRUCell(3, 5))
    """
    for part in cell.modules():
        if isinstance(part, Wrapper) and part.looks_ahead:
            name = type(part).__name__
            raise ConfigError(
                f"{wrapper}: acts between steps, and {name} has none, as it reads the future; put "
                f"it inside, {name}({wrapper}(cell), ...)"
            )


def steps_as(cell: Recurrence, kind: type[Cell]) -> bool:
    """Return whether a cell steps as `kind` itself, with the usual activations and unwatched.

    A kernel of a wrapper reads the cell's parameters in the place of calling it, so it asks.

    Args:
        cell: what is wrapped.
        kind: a class of cells.
    """
    unusual = isinstance(cell, Activated) and cell.unusual()
    return steps_apart_from_activations(cell, kind) and not unusual


def steps_apart_from_activations(cell: Recurrence, kind: type[Cell]) -> bool:
    """Return whether a cell steps as `kind` itself, but maybe with other activations, unwatched.

    Args:
        cell: what is wrapped.
        kind: a class of cells.
    """
    own = isinstance(cell, kind) and type(cell).forward is kind.forward
    return own and not is_watched(cell)
