"""What `unroll` is given, checked before a kernel reads it: wrong tensors are told in one line.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Cell, require_recurrence, require_state
from recurra.nn.cells.declared import shapes_note
from recurra.nn.kernels.compiler.compiled import unserved
from recurra.nn.state import State, fitted, flatten, is_plain
from recurra.nn.wrappers.base import Recurrence

__all__ = [
    "check_first_step",
    "checked_flags",
    "checked_lengths",
    "first_state",
    "is_one_step",
    "require_sequences",
]


def require_sequences(x: Any) -> None:
    """Raise ShapeError unless `x` is a tensor `(B, T, I)`.

    Args:
        x: the inputs.
    """
    said = "unroll takes x of shape (batch, time, input)"
    if not isinstance(x, Tensor):
        raise ShapeError(
            f"{said}, got {type(x).__name__}; torch.as_tensor(x, dtype=torch.float32) makes one"
        )
    if not is_plain(x):
        kind = "a nested" if x.is_nested else f"a {str(x.layout).removeprefix('torch.')}"
        how = "torch.nested.to_padded_tensor(x, 0), with lengths=," if x.is_nested else "to_dense()"
        raise ShapeError(f"{said}, got {kind} tensor; {how} makes it a plain one")
    if x.is_quantized:
        raise ShapeError(f"{said}, got a quantised tensor; dequantize() makes it a plain one")
    if x.dim() != 3:
        raise ShapeError(f"{said}, got {tuple(x.shape)}")


def checked_lengths(given: Tensor | Sequence[int] | None, x: Tensor) -> Tensor | None:
    """Return the lengths of rows as int64 where `x` is, if any are given.

    Args:
        given: `(B,)` integers in 0..T.
        x: `(B, T, I)`.

    Raises:
        ShapeError: they are something else.

    Example:
        >>> checked_lengths([3, 0], torch.zeros(2, 3, 1))
        tensor([3, 0])
    """
    if given is None:
        return None
    B, T = x.shape[:2]
    lengths = _tensor(given, "lengths", x)
    is_real = lengths.is_floating_point() or lengths.is_complex()
    if lengths.shape != (B,) or is_real or lengths.dtype == torch.bool:
        raise ShapeError(
            f"lengths is one integer a row, shape ({B},), got {tuple(lengths.shape)} "
            f"{lengths.dtype}"
        )
    lengths = lengths.to(torch.int64)  # the least of unsigned ones torch does not find
    if _readable(lengths, x) and B and not 0 <= int(lengths.min()) <= int(lengths.max()) <= T:
        raise ShapeError(
            f"lengths lie between 0 and {T}, the steps of x, got {int(lengths.min())} to "
            f"{int(lengths.max())}"
        )
    return lengths.to(x.device)


def checked_flags(
    given: Tensor | Sequence[Sequence[bool]] | None, x: Tensor, name: str
) -> Tensor | None:
    """Return what holds or does not at each step, where `x` is, if it is given.

    Args:
        given: `(B, T)` bool.
        x: `(B, T, I)`.
        name: what it is called.

    Raises:
        ShapeError: it is something else.

    Example:
        >>> checked_flags([[True, False]], torch.zeros(1, 2, 1), "reset")
        tensor([[ True, False]])
    """
    if given is None:
        return None
    flags = _tensor(given, name, x)
    if flags.shape != x.shape[:2] or flags.dtype != torch.bool:
        raise ShapeError(
            f"{name} is bool of shape {tuple(x.shape[:2])}, got {tuple(flags.shape)} {flags.dtype}"
        )
    return flags.to(x.device)


def is_one_step(cell: Any, x: Tensor, state: State) -> bool:
    """Return whether `x` is one step, of a cell that says itself what does not fit it.

    Args:
        cell: maybe a cell of this package.
        x: maybe `(B, 1, I)`.
        state: maybe of that cell.
    """
    return (
        x.is_cpu
        and x.dim() == 3
        and not x.is_nested
        and x.shape[1] == 1
        and isinstance(cell, Cell)
        and type(state) is cell.state_type
        and type(cell).__module__.startswith("recurra.nn.cells.")
    )


def first_state(cell: Recurrence, x: Tensor, state: State) -> State:
    """Return the state before the first step, once it and `x` fit the cell.

    Args:
        cell: any cell or wrapper.
        x: `(B, T, I)`.
        state: as given; the cell's initial state for None.

    Raises:
        ConfigError: `cell` is no recurrence.
        ShapeError: a shape, a dtype or a device does not fit.
    """
    require_recurrence(cell, "unroll")
    name = type(cell).__name__
    if x.shape[2] != cell.input_size:
        raise ShapeError(
            f"{name} takes {cell.input_size} features{getattr(cell, 'input_note', '')}, got x of "
            f"shape {tuple(x.shape)}, batch first"
        )
    device = _device_of(cell)
    if device not in (None, x.device):
        raise ShapeError(f"{name} is on {device}, x on {x.device}; move one with .to(device)")
    try:
        initial = cell.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
    except TypeError as error:
        raise ConfigError(
            f"{name}.initial_state(batch_size=1, *, device=None, dtype=None) cannot be called so: "
            f"{error}"
        ) from error
    if state is None:
        state = initial
        _require_rows(name, initial, x.shape[0])
    else:
        # A kernel would read past the end of a state that is too small.
        try:
            state = fitted(state, initial)
        except ShapeError as error:
            raise ShapeError(f"{name}: {error}") from None
    if _learns_in(x.dtype, cell) and _is_of(x.dtype, state, initial):
        return state
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):  # of meta torch tells nothing
        _require_one_dtype(cell, x, state)
    return require_state(cell, x, state, initial)


def check_first_step(inner: Recurrence, x: Tensor, before: State, y: Any, after: Any) -> None:
    """Raise ShapeError unless a step, maybe of someone's own, gave what it must.

    Args:
        inner: whose step it was.
        x: `(B, I)`.
        before: the state before it.
        y: what it gave, and
        after: the state.
    """
    said, shape = (
        f"{type(inner).__name__}.forward returns (y, state)",
        (x.shape[0], inner.output_size),
    )
    if not isinstance(y, Tensor) or y.shape != shape:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ShapeError(f"{said}, y of shape {shape}, got {got}")
    try:
        fitted(after, before)
    except ShapeError as error:
        raise ShapeError(
            f"{said}, a state like the one before the step; {error}{shapes_note(inner)}"
        ) from None


def _readable(numbers: Tensor, x: Tensor) -> bool:
    """Return whether numbers can be looked at: a compiler or a transform has none yet."""
    fake = hasattr(numbers, "fake_mode") or hasattr(x, "fake_mode")
    return not (torch.compiler.is_compiling() or unserved(x) or numbers.is_meta or fake)


def _device_of(module: nn.Module) -> torch.device | None:
    """Return where its first parameter is."""
    for parameter in module._parameters.values():
        if parameter is not None:
            return parameter.device
    found = (_device_of(part) for part in module._modules.values() if part is not None)
    return next((device for device in found if device is not None), None)


def _tensor(given: Tensor | Sequence[Any], name: str, x: Tensor) -> Tensor:
    if isinstance(given, np.ndarray):
        given = given.copy()  # one that is read backwards, or may not be written, torch takes ill
    try:
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        said = f"{name} is a tensor or a list, got {given!r:.60}: {error}"
        raise ShapeError(" ".join(said.split())) from error
    if not is_plain(found):
        raise ShapeError(f"{name} is a plain tensor, got a sparse or nested one")
    if found.is_meta and not x.is_meta:
        raise ShapeError(f"{name} is on meta, x on {x.device}; move one with .to(device)")
    return found


def _require_rows(name: str, state: State, rows: int) -> None:
    if isinstance(state, Tensor):
        if state.dim() < 1 or state.shape[0] != rows:
            raise ShapeError(
                f"{name}.initial_state({rows}) returns tensors of {rows} rows, got "
                f"{tuple(state.shape)}"
            )
    elif isinstance(state, tuple | list):
        for part in state:
            _require_rows(name, part, rows)
    else:
        raise ShapeError(
            f"{name}.initial_state returns a tensor or a tuple of states, maybe (), got "
            f"{type(state).__name__}"
        )


def _require_one_dtype(cell: Recurrence, x: Tensor, state: State) -> None:
    # A kernel would read the bits of one kind of number as another's.
    weights = {p.dtype for p in cell.parameters() if p.is_floating_point()}
    states = {s.dtype for s in flatten(state).values() if s.is_floating_point()}
    if weights | states > {x.dtype} or (weights and x.dtype not in weights):
        found = ", ".join(sorted(str(kind) for kind in (weights | states) - {x.dtype}))
        raise ShapeError(
            f"{type(cell).__name__}: x is of {x.dtype}, its weights and state of {found}; "
            "make them one with .to(dtype)"
        )


def _learns_in(dtype: torch.dtype, module: nn.Module) -> bool:
    """Return whether all parameters are of a dtype, in a quarter of the time of `parameters`."""
    for parameter in module._parameters.values():
        if parameter is not None and parameter.dtype is not dtype:
            return False
    return all(_learns_in(dtype, part) for part in module._modules.values() if part is not None)


def _is_of(dtype: torch.dtype, state: State, initial: State) -> bool:
    """Return whether a state is of a dtype, or where `initial` counts of that, and where it is."""
    if isinstance(initial, Tensor):
        kind = initial.dtype
        wanted = kind is dtype or not kind.is_floating_point
        return wanted and state.dtype is kind and bool(state.device == initial.device)
    return all(_is_of(dtype, *parts) for parts in zip(state, initial))
