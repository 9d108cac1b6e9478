"""What every recurrence is: a step with explicit state, `(input, state) -> (output, state)`.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.declared import declared_shapes, declared_starts, require_free
from recurra.nn.cells.kernel import Kernel, is_watched
from recurra.nn.kernels.compiler.compiled import unserved
from recurra.nn.state import State, fitted, flatten, is_plain

__all__ = [
    "NOTHING_YET",
    "Cell",
    "Kernel",
    "check_step",
    "gates_of",
    "kernel_of",
    "require_input",
    "require_pair",
    "require_recurrence",
    "require_state",
    "zeros",
]

ALL_LIKE_THE_OUTPUT: Mapping[str, tuple[int, ...]] = {}

NOTHING_YET = -1e4
"""The logarithm of no weight at all: its exponential is 0, and float16 holds it."""


class Cell(nn.Module):
    """A recurrence over vectors that is one step by itself; subclasses give the step.

    A subclass names its `state_type` and defines `forward`. It says as well which tensors of its
    state are not `(B, O)`, in `state_shapes`, and which do not start at zero, in `starts_at`; or
    defines `initial_state` in the place of all three. It may define `kernel` too, where something
    faster than the loop over `forward` exists, and `gates`, where it has any to be looked at.

    Args:
        input_size: I, features of an input.
        output_size: O, features of an output.
    """

    state_type: ClassVar[Any] = None
    """The NamedTuple that its states are."""

    starts_at: ClassVar[Mapping[str, float]] = {}
    """Name -> number that all of a tensor of its state is before the first step, if not zero."""

    state_is_output: ClassVar[bool] = False
    """Whether its state is its output and nothing else, so that outputs are all its states."""

    recipes: ClassVar[tuple[str, ...]] = ()
    """What of its start a network's recipes may draw over: `"weights"`, `"biases"`. Not inherited:
    a class that derives from it says so anew, or keeps what its constructor gave it."""

    marks: tuple[str, ...] = ()
    """The tensors of its state that count or mark something: no start of theirs is learned."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        sizes: tuple[Any, Any] = (input_size, output_size)
        if not all(isinstance(size, Integral) for size in sizes):
            raise ShapeError(f"sizes are whole numbers, got {sizes[0]!r:.80} -> {sizes[1]!r:.80}")
        if input_size < 1 or output_size < 1:
            raise ShapeError(f"sizes are at least 1, got {input_size} -> {output_size}")
        self.input_size = input_size
        self.output_size = output_size

    def __setattr__(self, name: str, value: Any) -> None:
        require_free(Cell, name, value)
        super().__setattr__(name, value)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before the first step: zeros, but for what `starts_at` names.

        Args:
            batch_size: B, rows.
            device: where; the parameters' by default.
            dtype: of which kind; the parameters' by default.
        """
        names = getattr(self.state_type, "_fields", None)
        if names is None:
            raise ConfigError(
                f"{type(self).__name__} defines no initial_state(batch_size), nor a state_type, "
                "the NamedTuple of its state"
            )
        where = _where(self, device, dtype)
        shapes, common = declared_shapes(self, names), (self.output_size,)
        parts = [zeros(batch_size, *shapes.get(name, common), **where) for name in names]
        for name, start in declared_starts(self, names).items():
            parts[names.index(name)].fill_(start)
        return self.state_type(*parts)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take one step, hooks and all; the output is the caller's, to be written over at will."""
        result = super().__call__(*args, **kwargs)
        if type(result) is tuple and result and isinstance(result[0], Tensor):
            return (result[0].clone(), *result[1:])
        return result

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step; the output may be a part of the state.

        Args:
            x: `(B, I)`.
            state: what `initial_state` or the step before returned, of the shapes that stand in
                the description of the class.
        """
        raise ConfigError(f"{type(self).__name__} defines no forward(x, state)")

    def gates(self, x: Tensor, state: State) -> dict[str, Tensor]:
        """Return the gates of a step, to be looked at, by their letters in the equation; no gate.

        Args:
            x: `(B, I)`.
            state: before the step.

        Each is `(B, O)`, after its activation.
        """
        return {}

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape without B, of those tensors of a state that are not `(B, O)`."""
        return ALL_LIKE_THE_OUTPUT

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return what runs this cell over `x (B, T, I)` faster than the loop, or why nothing does.

        Args:
            x: the sequences, or anything of their device and dtype.
        """
        return "the cell has no kernel of its own"

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(O), 1/sqrt(O)), as torch does.

        Args:
            generator: where the numbers come from.
        """
        bound = self.output_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def zeros(
        self, batch_size: int, size: int, device: torch.device | None, dtype: torch.dtype | None
    ) -> Tensor:
        """Return zeros `(batch_size, size)` where the parameters are.

        Args:
            batch_size: B, rows.
            size: of a row.
            device: where; the parameters' by default.
            dtype: of which kind; the parameters' by default.
        """
        return zeros(batch_size, size, **_where(self, device, dtype))

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.input_size}, {self.output_size}"


def _where(
    cell: Cell, device: torch.device | None, dtype: torch.dtype | None
) -> dict[str, torch.device | torch.dtype | None]:
    """Return the device and dtype of new tensors; the parameters' where not told."""
    like = None if device and dtype else next(cell.parameters(), None)
    if like is not None:
        device, dtype = device or like.device, dtype or like.dtype
    return {"device": device, "dtype": dtype}


def zeros(batch_size: int, *sizes: int, **where: Any) -> Tensor:
    """Return zeros `(batch_size, *sizes)`.

    Args:
        batch_size: B, rows.
        sizes: of a row.
        where: the device and dtype.

    Raises:
        ShapeError: B is no number of rows.

    Example:
        >>> zeros(1, 2)
        tensor([[0., 0.]])
    """
    try:
        return torch.zeros(batch_size, *sizes, **where)
    except (TypeError, RuntimeError):
        rows: Any = batch_size
        if isinstance(rows, Integral) and int(rows) >= 0:
            raise
    told = type(rows).__name__ if isinstance(rows, Tensor) else repr(rows)
    raise ShapeError(f"batch_size is a whole number of rows, got {told:.40}")


def gates_of(cell: Cell, x: Tensor, state: State) -> dict[str, Tensor]:
    """Return the gates of one step; none where the cell's class has none, or only the step.

    Args:
        cell: whose step it is.
        x: `(B, I)`.
        state: before the step.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> cell = GRUCell(3, 5)
        >>> list(gates_of(cell, torch.zeros(1, 3), cell.initial_state()))
        ['r', 'z', 'n']
    """
    for owner in type(cell).__mro__:
        if inspect.isfunction(method := vars(owner).get("gates")):
            gates: dict[str, Tensor] = method(cell, x, state)
            return gates
        if "forward" in vars(owner):  # it may have changed the step behind the gates' back
            break
    return {}


def kernel_of(cell: Cell, x: Tensor) -> Kernel | str:
    """Return the kernel of a cell, or why it has none that does what its step does.

    A subclass may have changed the step behind the back of the kernel it inherits.

    Args:
        cell: which.
        x: the sequences, or anything of their device and dtype.

    Example:
        >>> kernel_of(Cell(3, 5), torch.zeros(1))
        'the cell has no kernel of its own'
    """
    if is_watched(cell):
        return "its hooks act at every step"
    if reason := unserved(x):
        return reason
    for owner in type(cell).__mro__:
        if "kernel" in vars(owner):
            return cell.kernel(x)
        if "forward" in vars(owner):
            break
    return "its class gives the step and no kernel for it"


def require_recurrence(given: Any, taker: str) -> None:
    """Raise ConfigError unless something is a recurrence, or a module with all that one has.

    Args:
        given: what should be one.
        taker: whose argument it is, for the message.

    Example:
        >>> require_recurrence(nn.GRU(3, 5), "Stack")
        Traceback (most recent call last):
        recurra.errors.ConfigError: Stack takes a cell or wrapper, got GRU of torch.nn: \
recurra.from_torch(module) makes one of it
    """
    parts = ("input_size", "output_size", "initial_state")
    lacks = [part for part in parts if not hasattr(given, part)]
    if isinstance(given, nn.Module) and not lacks:
        return
    said = f"{taker} takes a cell or wrapper, got "
    name = type(given).__name__
    if isinstance(given, type):
        raise ConfigError(f"{said}the class {given.__name__}: make one of it, with its sizes")
    if isinstance(given, nn.RNNBase | nn.RNNCellBase):
        raise ConfigError(f"{said}{name} of torch.nn: recurra.from_torch(module) makes one of it")
    if isinstance(given, Cell):
        raise ConfigError(
            f"{said}{name} without sizes: call super().__init__(input_size, output_size)"
        )
    if isinstance(given, nn.Module):
        raise ConfigError(f"{said}{name}, which has no {' nor '.join(lacks)}")
    raise ConfigError(f"{said}{given!r:.40}" if isinstance(given, str) else f"{said}{name}")


def require_input(taker: Any, x: Any) -> None:
    """Raise ShapeError unless `x` is `(B, I)`, as a step takes it.

    Args:
        taker: the cell or wrapper whose step it is.
        x: the input.
    """
    if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] != taker.input_size:
        got = tuple(x.shape) if isinstance(x, Tensor) else f"{type(x).__name__}, no tensor"
        raise ShapeError(
            f"{type(taker).__name__}: a step takes x of shape (batch, {taker.input_size})"
            f"{getattr(taker, 'input_note', '')}, got {got}; recurra.unroll takes whole sequences"
        )


def require_pair(taker: Any, result: Any) -> tuple[Any, Any]:
    """Return what a step gave, an output and a state, or raise ShapeError where it is no such pair.

    Args:
        taker: the cell or wrapper whose step it is.
        result: what its forward returned.
    """
    if type(result) is not tuple or len(result) != 2:
        raise ShapeError(
            f"{type(taker).__name__}.forward returns (y, state), got {type(result).__name__}"
        )
    return result


def require_state(taker: Any, x: Tensor, state: State, initial: State) -> State:
    """Return the state nested as `initial`, or raise ShapeError where it does not fit it and `x`.

    Args:
        taker: the cell or wrapper that starts from it.
        x: the inputs.
        state: of which plain tuples will do.
        initial: what the taker starts from by itself, with `x`.
    """
    if _is_like(state, initial):
        return state
    name = type(taker).__name__
    try:
        state = fitted(state, initial)
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from None
    cast = torch.is_autocast_enabled(x.device.type)
    for (place, tensor), like in zip(flatten(state).items(), flatten(initial).values()):
        if tensor.device != like.device:
            raise ShapeError(
                f"{name}: {place} is on {tensor.device}, x on {x.device}; move one with .to(device)"
            )
        floating = tensor.is_floating_point() and like.is_floating_point()
        if tensor.dtype != like.dtype and not (floating and (cast or tensor.dtype == x.dtype)):
            raise ShapeError(
                f"{name}: x is of {x.dtype}, its {place} of {tensor.dtype}; make them one with "
                ".to(dtype)"
            )
    return state


def _is_like(state: State, initial: State) -> bool:
    if type(state) is not type(initial):
        return False
    if not isinstance(initial, Tensor):
        return len(state) == len(initial) and all(map(_is_like, state, initial))
    of_a_kind = is_plain(state) and state.shape == initial.shape and state.dtype is initial.dtype
    return of_a_kind and bool(state.device == initial.device)


def check_step(cell: Cell, x: Tensor, state: State) -> None:
    """Raise ShapeError unless `x` is `(B, I)` and `state` of B rows, the cell's parts and shapes.

    Args:
        cell: whose step is taken.
        x: the input.
        state: the state.
    """
    known = cell.state_type
    if (
        type(state) is known
        and isinstance(x, Tensor)
        and x.dim() == 2
        and x.shape[1] == cell.input_size
    ):
        rows, dtype = x.shape[0], x.dtype
        shapes, common = cell.state_shapes(), (rows, cell.output_size)
        for name, tensor in zip(known._fields, state):
            expected = (rows, *shapes[name]) if name in shapes else common
            of_a_kind = isinstance(tensor, Tensor) and tensor.dtype is dtype and is_plain(tensor)
            if not of_a_kind or tensor.shape != expected:
                break
        else:
            return
    _check_state(cell, x, state)


def _check_state(cell: Cell, x: Tensor, state: State) -> None:
    """Do so more slowly: plain tuples pass, and what does not fit is named."""
    require_input(cell, x)
    initial = cell.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
    require_state(cell, x, state, initial)
