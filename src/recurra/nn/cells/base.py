"""What every recurrence is: a step with explicit state, `(input, state) -> (output, state)`.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurra.errors import ShapeError
from recurra.nn.state import State, flatten, where

__all__ = [
    "Cell",
    "Kernel",
    "check_step",
    "gates_of",
    "is_watched",
    "kernel_of",
    "steps_over",
]

ALL_LIKE_THE_OUTPUT: Mapping[str, tuple[int, ...]] = {}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function that runs a cell over whole sequences, and its name in words.

    `run(x, state, lengths) -> (y, state)` with `x (B, T, I)`, `y (B, T, O)`, `lengths (B,)` or
    None; what `y` holds past a row's length does not matter.
    """

    name: str
    run: Callable[[Tensor, State, Tensor | None], tuple[Tensor, State]]


class Cell(nn.Module):
    """A recurrence over vectors that is one step by itself; subclasses give the step.

    A subclass sets `input_size`, `output_size` and defines `initial_state` and `forward`, and
    `state_shapes` where a tensor of its state is not `(B, O)`. It may define `kernel` as well,
    where something faster than the loop over `forward` exists, and
    `gates(x, state) -> dict[str, Tensor]`, where it has any to be looked at: each `(B, O)`
    after its activation, under the letter it has in the cell's equation.

    Args:
        input_size: I, features of an input.
        output_size: O, features of an output.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        if input_size < 1 or output_size < 1:
            raise ShapeError(f"sizes are at least 1, got {input_size} -> {output_size}")
        self.input_size = input_size
        self.output_size = output_size

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before the first step.

        Args:
            batch_size: B, rows.
            device: where; the parameters' by default.
            dtype: of which kind; the parameters' by default.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no initial_state")

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step.

        Args:
            x: `(B, I)`.
            state: what `initial_state` or the step before returned.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

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
        like = next(self.parameters(), None)
        if like is not None:
            device, dtype = device or like.device, dtype or like.dtype
        return torch.zeros(batch_size, size, device=device, dtype=dtype)

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.input_size}, {self.output_size}"


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
    for owner in type(cell).__mro__:
        if "kernel" in vars(owner):
            return cell.kernel(x)
        if "forward" in vars(owner):
            break
    return "its class gives the step and no kernel for it"


def is_watched(module: nn.Module) -> bool:
    """Return whether something of the user's acts at each call of a module, which must be made.

    Args:
        module: a cell, or what a kernel would take the place of.

    Example:
        >>> is_watched(nn.Linear(1, 1))
        False
    """
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in vars(module)


def steps_over(
    step: Callable[[Tensor, State], tuple[Tensor, State]],
    sums: Tensor,
    state: State,
    lengths: Tensor | None,
) -> tuple[Tensor, State]:
    """Run the recurrent part of a step over what all the inputs came to in one product.

    That is faster than products step by step, and more so backwards, where the gradients of
    the input's weights are one product too.

    Shapes: `sums (B, T, K)`, `lengths (B,)`; returns `(B, T, O)` and the state at each row's
    length.

    Args:
        step: `(sums (B, K), state) -> (y (B, O), state)`.
        sums: of all steps, at least one.
        state: before the first.
        lengths: steps of each row, at most T; all of them.

    Example:
        >>> step = lambda sums, h: (h + sums, h + sums)
        >>> steps_over(step, torch.ones(1, 3, 1), torch.zeros(1, 1), None)[0].flatten()
        tensor([1., 2., 3.])
    """
    outputs = []
    for t, part in enumerate(sums.unbind(1)):
        y, after = step(part, state)
        state = after if lengths is None else where(lengths > t, after, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def check_step(cell: Cell, x: Tensor, state: State) -> None:
    """Raise ShapeError unless `x` is `(B, I)` and `state` of B rows and the cell's shapes.

    Args:
        cell: whose step is taken.
        x: the input.
        state: the state.
    """
    rows = x.shape[0] if x.dim() == 2 else None
    if rows is None or x.shape[1] != cell.input_size:
        raise ShapeError(
            f"{type(cell).__name__}: a step takes x of shape (batch, {cell.input_size}), got "
            f"{tuple(x.shape)}; recurra.unroll takes whole sequences"
        )

    shapes, common = cell.state_shapes(), (rows, cell.output_size)
    for name, tensor in zip(getattr(state, "_fields", ()), state):
        expected = (rows, *shapes[name]) if name in shapes else common
        if getattr(tensor, "shape", None) != expected:
            break
    else:
        if hasattr(state, "_fields"):
            return
    for place, tensor in flatten(state).items():  # slower, as it makes the names
        name = place.removeprefix("state.")
        expected = (rows, *shapes[name]) if name in shapes else common
        if tensor.shape != expected:
            raise ShapeError(
                f"{type(cell).__name__}: {place} is {tuple(tensor.shape)}, expected {expected}"
            )
