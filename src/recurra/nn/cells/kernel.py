"""What runs a cell over whole sequences, and what stands in the way of anything that does.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from recurra.nn.state import State

__all__ = ["Kernel", "is_watched"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function that runs a cell over whole sequences, and its name in words.

    `run(x, state, lengths) -> (y, state)` with `x (B, T, I)`, `y (B, T, O)`, `lengths (B,)` or
    None; what `y` holds past a row's length does not matter. `looped`: Python takes its steps
    one by one, so that on a GPU a CUDA graph of it is worth having.
    """

    name: str
    run: Callable[[Tensor, State, Tensor | None], tuple[Tensor, State]]
    looped: bool = False


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
