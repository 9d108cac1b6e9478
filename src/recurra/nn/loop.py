"""The loop over steps: Python's, or torch's scan where a compiler reads along.

Python's loop would be laid out step by step in a compiler's graph, and again for every length;
of a scan the compiler reads one step. B rows, T steps, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import unserved
from recurra.nn.state import State, flatten, map_tensors

__all__ = ["Step", "looped"]

Step = Callable[[Any, Tensor, State], tuple[Tensor, State]]
"""`(t, x_t, state) -> (y, state)`; t a number, or a tensor of one where a scan goes along."""


def looped(step: Step, x: Tensor, state: State, traced: bool) -> tuple[Tensor, State, State]:
    """Run a step over sequences; returns outputs, the state at the end, and those of all steps.

    Shapes: `x (B, T, I)`, at least one step; returns `(B, T, O)`, a state, and one of tensors
    `(B, T, ...)`.

    Args:
        step: takes one step.
        x: the inputs.
        state: before the first.
        traced: whether the states of all steps are asked for; None is returned without.

    Example:
        >>> x, h = torch.ones(1, 3, 1), torch.zeros(1, 1)
        >>> y, end, states = looped(lambda t, x, h: (h, h + x), x, h, True)
        >>> end, states.flatten()
        (tensor([[3.]]), tensor([1., 2., 3.]))
    """
    if torch.compiler.is_compiling() and not unserved(x):
        return _scanned(step, x, state, traced)
    outputs, states = [], []
    # Cut at once: the gradient of each x[:, t] would be as large as x.
    for t, x_t in enumerate(x.unbind(1)):
        y, state = step(t, x_t, state)
        outputs.append(y)
        if traced:
            states.append(state)
    together = map_tensors(lambda *each: torch.stack(each, 1), *states) if traced else None
    return torch.stack(outputs, 1), state, together


def _scanned(step: Step, x: Tensor, state: State, traced: bool) -> tuple[Tensor, State, State]:
    from torch._higher_order_ops.scan import scan  # brings the whole compiler with it

    # A step that is thrown away: it draws what is drawn once, and says of which dtypes states are.
    _, after = step(0, x[:, 0], state)
    kinds = [part.dtype for part in flatten(after).values()]
    begin = _carried(flatten(state).values(), kinds) or [x.new_zeros(())]  # it wants something

    def one(carry: list[Tensor], given: tuple[Tensor, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        y, made = step(given[0], given[1], _nested(carry, after))
        parts = flatten(made).values()
        again = _carried(parts, kinds) or [carry[0].clone()]
        return again, [y.clone(), *(_carried(parts, kinds) if traced else ())]

    steps = torch.arange(x.shape[1], device=x.device)
    end, made = scan(one, begin, (steps, x.transpose(0, 1)))
    y, *states = (each.transpose(0, 1) for each in made)
    return y, _nested(end, after), _nested(states, after) if traced else None


def _carried(parts: Iterable[Tensor], kinds: list[torch.dtype]) -> list[Tensor]:
    """Return copies that a scan carries: no two may be one, and its way back knows no integers."""
    wide = [kind if kind.is_floating_point or kind.is_complex else torch.float64 for kind in kinds]
    return [part.to(kind).to(as_, copy=True) for part, kind, as_ in zip(parts, kinds, wide)]


def _nested(tensors: list[Tensor], like: State) -> State:
    parts = iter(tensors)
    return map_tensors(lambda part: next(parts).to(part.dtype), like)
