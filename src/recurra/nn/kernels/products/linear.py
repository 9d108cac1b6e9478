"""`F.linear` of all steps of a sequence on our own threads, as an operator of torch.

B rows, T steps, K inputs, M outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.products.sequence import (
    linear_gradients,
    product_of_rows,
)

__all__ = ["Linear", "linear_of_steps", "sequence_linear"]

Linear = Callable[[Tensor, Tensor], Tensor]

SHAPES = Shapes(x="B T K", weight="M K", bias="M")


@torch.library.custom_op("recurra::sequence_linear", mutates_args=())
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    flat = x.reshape(-1, x.shape[2])
    return product_of_rows(flat, weight, bias).view(*x.shape[:2], weight.shape[0])


@torch.library.custom_op("recurra::sequence_linear_gradients", mutates_args=())
def _gradients(d_y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    return linear_gradients(d_y.reshape(-1, d_y.shape[2]), x.reshape(-1, x.shape[2]))


def sequence_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `x weight^T + bias` at every step.

    Shapes: `x (B, T, K)`, `weight (M, K)`, `bias (M,)`; returns `(B, T, M)`.

    Args:
        x: on the processor, float32 or float64.
        weight: of its dtype.
        bias: of its dtype; none.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication".

    Example:
        >>> sequence_linear(torch.ones(1, 2, 3), torch.ones(4, 3)).shape
        torch.Size([1, 2, 4])
    """
    SHAPES.check(x, weight, bias)
    y: Tensor = _linear(x, weight, bias)
    return y


def linear_of_steps(x: Tensor, weight: Tensor) -> Tensor:
    """Return `x weight^T` at every step in the dtype of `x`: narrow under autocast, else ours.

    Shapes: `x (B, T, K)`, `weight (M, K)`; returns `(B, T, M)`.

    Args:
        x: on the processor, float32 or float64.
        weight: of its dtype.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: as `sequence_linear`.

    Example:
        >>> linear_of_steps(torch.ones(1, 2, 3), torch.ones(4, 3)).shape
        torch.Size([1, 2, 4])
    """
    if autocast_dtype(x) != x.dtype:
        return F.linear(x, weight).to(x.dtype)
    return sequence_linear(x, weight)


@_linear.register_fake
def _like(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:2], weight.shape[0])


@_gradients.register_fake
def _like_gradients(d_y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(d_y.shape[2], x.shape[2]), x.new_empty(d_y.shape[2])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _differentiate(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = ctx.needs_input_grad
    if torch.is_grad_enabled():  # in torch, to be differentiated again
        d_weight = torch.einsum("btm,btk->mk", d_y, x) if of_weight else None
        return F.linear(d_y, weight.T), d_weight, d_y.sum((0, 1)) if of_bias else None
    d_x = sequence_linear(d_y, weight.T) if of_x else None
    d_weight, d_bias = _gradients(d_y, x) if of_weight or of_bias else (None, None)
    return d_x, d_weight, d_bias if of_bias else None


_linear.register_autograd(_differentiate, setup_context=_keep)
