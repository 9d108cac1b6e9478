"""What our operators over sequences share: shapes that are checked, as loops follow them blindly,
the steps of each row, and derivatives of derivatives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef

from recurra.errors import ShapeError
from recurra.nn.kernels.compiler.compiled import view
from recurra.nn.state import State, where

__all__ = [
    "Shapes",
    "plain_gradients",
    "register_gradient",
    "steps_in_torch",
    "steps_of_rows",
    "writable",
]

Gradient = Callable[[tuple[Tensor | None, ...], list[Any], list[Any]], tuple[Any, ...]]


class Shapes:
    """The shapes of an operator's tensors, which have one dtype.

    Args:
        given: name -> sizes, as `"B T I"` or `"3H I"`: a letter, which the first tensor that has
            it alone decides, a multiple of one from before, or a number.

    Example:
        >>> Shapes(h="B H", weight="3H H").check(torch.zeros(2, 4), torch.zeros(12, 5))
        Traceback (most recent call last):
        recurra.errors.ShapeError: weight is (3H, H) of torch.float32 where B = 2, H = 4, got ...
    """

    def __init__(self, **given: str) -> None:
        split = re.compile(r"(\d*)(\D*)").fullmatch
        self.sizes = {
            name: [(int(m[1] or 1), m[2]) for m in map(split, sizes.split()) if m]
            for name, sizes in given.items()
        }

    def check(self, *tensors: Tensor | None) -> None:
        """Refuse tensors that do not fit each other.

        Args:
            tensors: in the order of the names; None for one that is not there.

        Raises:
            ShapeError: for the first that has another shape than those before it leave it, or
                another dtype than the first.
        """
        known, dtype = {"": 1}, None
        for (name, sizes), tensor in zip(self.sizes.items(), tensors, strict=True):
            if tensor is None:
                continue
            shape, dtype = tensor.shape, dtype or tensor.dtype
            fits = len(shape) == len(sizes) and tensor.dtype == dtype
            for size, (times, letter) in zip(shape, sizes):
                fits = fits and size == times * known.setdefault(letter, size)
            if not fits:
                wanted = ", ".join(f"{times if times > 1 else ''}{s}" for times, s in sizes)
                where = ", ".join(f"{s} = {size}" for s, size in known.items() if s)
                raise ShapeError(
                    f"{name} is ({wanted}) of {dtype}{' where ' * bool(where)}{where}, got "
                    f"{tuple(shape)} of {tensor.dtype}"
                )


def register_gradient(
    operator: CustomOpDef, back: Gradient, plain: Callable[..., tuple[Tensor, ...]], ends: int = 1
) -> None:
    """Let an operator be differentiated: by its own way back, or, to be differentiated again,
    through the same steps in torch.

    Args:
        operator: gives y, the states at the end, and then what the way back reads.
        back: `(d, given, made)` -> the gradients of what was given, where `d` are those of y and
            of the states at the end, or None, and `made` is y and what the way back reads.
        plain: the operator in torch: of the same arguments, y and the states at the end.
        ends: how many of those states there are.

    Source: the contract of `torch.library.register_autograd`; Pearlmutter 1994, "Fast exact
        multiplication by the Hessian", for what second derivatives are good for.

    Example:
        >>> @torch.library.custom_op("recurra::example", mutates_args=())
        ... def cube(x: Tensor) -> Tensor:
        ...     return x**3
        >>> def back(d, given, made):
        ...     return (3 * given[0] ** 2 * d[0],)
        >>> register_gradient(cube, back, lambda x: (x**3,), ends=0)
        >>> x = torch.tensor(2.0, requires_grad=True)
        >>> (first,) = torch.autograd.grad(cube(x), x, create_graph=True)
        >>> first.item(), torch.autograd.grad(first, x)[0].item()
        (12.0, 12.0)
    """

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        y, *rest = output if isinstance(output, tuple) else (output,)
        leaves, ctx.sizes = _flat((*inputs, y, *rest[ends:]))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(leaf if isinstance(leaf, Tensor) else None for leaf in leaves))
        ctx.others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        ctx.given = len(inputs)

    def differentiate(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        pairs = zip(ctx.saved_tensors, ctx.others)
        known = _nested([other if saved is None else saved for saved, other in pairs], ctx.sizes)
        given, made = known[: ctx.given], known[ctx.given :]
        if torch.is_grad_enabled():
            return plain_gradients(plain, given, gradients[: 1 + ends])
        return back(gradients[: 1 + ends], given, made)

    operator.register_autograd(differentiate, setup_context=keep)


def steps_in_torch(
    step: Callable[[int, State], State], count: int, state: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """Return the first tensor of the state after every step `(T, B, ...)`, and the last state.

    Shapes: each of a state's tensors `(B, ...)`; `lengths (B,)`; returns as said.

    Args:
        step: `(t, state) -> state`.
        count: T, at least 1.
        state: a tuple, before the first step.
        lengths: steps of each row, past which its state stays; all of them.

    Source: the contract of `recurra.unroll`.

    Example:
        >>> steps_in_torch(lambda t, state: (state[0] + t,), 3, (torch.ones(1),), None)
        (tensor([[1.],
                [2.],
                [4.]]), (tensor([4.]),))
    """
    firsts = []
    for t in range(count):
        after = step(t, state)
        state = after if lengths is None else where(lengths > t, after, state)
        firsts.append(state[0])
    return torch.stack(firsts), state


def plain_gradients(
    plain: Callable[..., tuple[Tensor, ...]],
    given: Sequence[Any],
    gradients: Sequence[Tensor | None],
) -> tuple[Any, ...]:
    """Return the gradients of what was given, as functions of it and of those of the outputs.

    Args:
        plain: a function of tensors, lists of tensors, and whatever else.
        given: its arguments.
        gradients: of its outputs, or None.

    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".

    Example:
        >>> x = torch.tensor(2.0, requires_grad=True)
        >>> first, _ = plain_gradients(lambda x, n: (x**n,), [x, 3], [torch.tensor(1.0)])
        >>> first.item(), torch.autograd.grad(first, x)[0].item()
        (12.0, 12.0)
    """
    leaves, sizes = _flat(given)
    moving = [isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves]
    with torch.enable_grad():
        # Of itself a leaf may be a function of another; its alias is not.
        leaves = [leaf.view_as(leaf) if moves else leaf for leaf, moves in zip(leaves, moving)]
        outputs = plain(*_nested(leaves, sizes))
        pairs = [(y, d) for y, d in zip(outputs, gradients) if d is not None and y.requires_grad]
        ys, ds = zip(*pairs)
        wanted = [leaf for leaf, moves in zip(leaves, moving) if moves]
        found = iter(torch.autograd.grad(ys, wanted, ds, create_graph=True, allow_unused=True))
        nested = _nested([next(found) if moves else None for moves in moving], sizes)
    # Of a list of numbers torch takes no gradient, not even one of Nones.
    return tuple(
        d if not isinstance(d, list) or any(isinstance(leaf, Tensor) for leaf in each) else None
        for d, each in zip(nested, given)
    )


def _flat(given: Sequence[Any]) -> tuple[list[Any], list[int | None]]:
    """Return what stands in arguments and in lists among them, and how long those lists are."""
    sizes = [len(each) if isinstance(each, list | tuple) else None for each in given]
    leaves: list[Any] = []
    for each, size in zip(given, sizes):
        leaves += [each] if size is None else each
    return leaves, sizes


def _nested(leaves: list[Any], sizes: list[int | None]) -> list[Any]:
    """Do the reverse of `_flat`."""
    rest = iter(leaves)
    return [next(rest) if n is None else list(islice(rest, n)) for n in sizes]


def steps_of_rows(shape: Sequence[int], lengths: Tensor | None) -> np.ndarray[Any, Any]:
    """Return how many steps each row has, as compiled loops read it.

    Args:
        shape: of the sequences, (B, T, ...).
        lengths: `(B,)`; None for all steps of every row.

    Raises:
        ShapeError: a row's length lies outside the sequence, where a loop would follow it.

    Example:
        >>> steps_of_rows((2, 3), None), steps_of_rows((2, 3), torch.tensor([0, 2]))
        (array([3, 3]), array([0, 2]))
    """
    B, T = shape[:2]
    if lengths is None:
        return np.full(B, T, np.int64)
    if lengths.is_floating_point():
        raise ShapeError(f"lengths are integers, got {lengths.dtype}")
    steps = view(lengths.to(torch.int64))
    if steps.shape != (B,) or (B and not 0 <= steps.min() <= steps.max() <= T):
        raise ShapeError(f"lengths are {B} integers in 0 ... {T}, got {lengths.tolist()}")
    return steps


def writable(gradient: Tensor | None, like: Tensor) -> Tensor:
    """Return a copy of a gradient in C order, as it is written to through its view.

    Args:
        gradient: None for zeros.
        like: of its shape and kind.

    Shapes: any; returns the same.

    Source: the contract of `torch.autograd.Function.set_materialize_grads`.

    Example:
        >>> writable(None, torch.ones(2)), writable(torch.ones(2, 3).t(), torch.ones(3, 2)).stride()
        (tensor([0., 0.]), (2, 1))
    """
    if gradient is None:
        return torch.zeros_like(like, memory_format=torch.contiguous_format)
    return gradient.clone(memory_format=torch.contiguous_format)
