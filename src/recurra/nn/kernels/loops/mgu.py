"""The minimal gated unit over whole sequences on the processor, forward and backward.

B rows, T steps, I inputs, H units; sums in the order f, n. Each thread runs some rows through all
steps. What a step keeps for the backward pass lies side by side: f, n and f * h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import compiled, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.operator import (
    Shapes,
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)
from recurra.nn.kernels.pointwise import sigmoid, tanh
from recurra.nn.kernels.products.matmul import add_product, pack
from recurra.nn.kernels.products.sequence import CHUNK, linear_gradients, product_over_rows
from recurra.nn.kernels.vectors import copy

__all__ = ["mgu_sequence"]

SHAPES = Shapes(x="B T I", h="B H", weight_ih="2H I", weight_hh="2H H", bias="2H")


def mgu_sequence(
    x: Tensor, h: Tensor, weights: tuple[Tensor, Tensor, Tensor], lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a minimal gated unit over whole sequences; returns the outputs, and `h` at the end.

        f = sigmoid(W_if x + W_hf h + b_f)
        n = tanh(W_in x + W_hn (f * h) + b_n)
        h' = (1 - f) * h + f * n

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length repeat its last.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        h: hidden state before the first step.
        weights: `weight_ih (2H, I)`, `weight_hh (2H, H)`, one bias `(2H,)`.
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Zhou et al. 2016, "Minimal gated unit for recurrent neural networks", equation 6.

    Example:
        >>> weights = torch.zeros(4, 3), torch.zeros(4, 2), torch.zeros(4)
        >>> mgu_sequence(torch.ones(1, 2, 3), torch.ones(1, 2), weights)[1]
        tensor([[0.2500, 0.2500]])
    """
    SHAPES.check(x, h, *weights)
    with torch.autocast("cpu", enabled=False):
        y, end, _ = _ahead(x, h, *weights, lengths)
    return y, end


@torch.library.custom_op("recurra::mgu_sequence", mutates_args=())
def _ahead(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    y, end, kept = _like_outputs(x, h)
    packed = tuple(pack(weight) for weight in (weight_ih, *weight_hh.chunk(2)))
    steps = steps_of_rows(x.shape, lengths)
    arrays = (view(x), view(h), packed, view(bias), steps, view(kept), view(y))
    by_rows(_forward, arrays, len(h))
    end.copy_(y[:, -1])
    return y, end, kept


@torch.library.custom_op("recurra::mgu_sequence_backward", mutates_args=())
def _back(
    d_y: Tensor | None,
    d_end: Tensor | None,
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    lengths: Tensor | None,
    y: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    H = h.shape[1]
    d_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    d_h = writable(d_end, h)
    d_y = torch.zeros_like(y) if d_y is None else d_y
    d_sums = y.new_empty(*y.shape[:2], 2 * H)
    packed = tuple(pack(weight.t()) for weight in (weight_ih, *weight_hh.chunk(2)))
    steps = steps_of_rows(y.shape, lengths)
    arrays = (view(d_y), view(h), packed, steps, view(y), view(kept))
    by_rows(_backward, (*arrays, view(d_h), view(d_sums), view(d_x)), len(h))

    before = torch.cat([h.unsqueeze(1), y[:, :-1]], dim=1), kept[:, :, 2 * H :]
    flat = d_sums.view(-1, 2 * H)
    pairs = zip(flat.chunk(2, dim=1), before)
    of_state = [product_over_rows(part, each.reshape(-1, H)) for part, each in pairs]
    d_weight_ih, d_bias = linear_gradients(flat, x.reshape(-1, x.shape[2]))
    return d_x, d_h, d_weight_ih, torch.cat(of_state), d_bias


@_ahead.register_fake
def _like_outputs(x: Tensor, h: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    B, T, H = *x.shape[:2], h.shape[1]
    return x.new_empty(B, T, H), x.new_empty(B, H), x.new_empty(B, T, 3 * H)


@_back.register_fake
def _(d_y: Tensor | None, d_end: Tensor | None, *given: Any) -> tuple[Tensor, ...]:
    weight_ih = given[2]
    return tuple(like.new_empty(like.shape) for like in (*given[:4], weight_ih[:, 0]))


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    x, h, weight_ih, weight_hh, _, lengths = given
    return *_back(*d, x, h, weight_ih, weight_hh, lengths, *made), None


def _plain(x: Tensor, h: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
    weight_ih, weight_hh, bias, lengths = given
    sums = F.linear(x, weight_ih, bias).transpose(0, 1)
    of_f, of_n = weight_hh.chunk(2)

    def step(t: int, state: Any) -> Any:
        (h,) = state
        into_f, into_n = sums[t].chunk(2, dim=1)
        f = torch.sigmoid(into_f + F.linear(h, of_f))
        return (h + f * (torch.tanh(into_n + F.linear(f * h, of_n)) - h),)

    y, (end,) = steps_in_torch(step, x.shape[1], (h,), lengths)
    return y.transpose(0, 1), end


register_gradient(_ahead, _differentiate, _plain)


@compiled
def _forward(
    x: Any, first: Any, packed: Any, bias: Any, lengths: Any, kept: Any, y: Any,
    start: int, stop: int,
) -> None:  # fmt: skip
    T, H = y.shape[1:]
    flat, sums = x.reshape(-1, x.shape[2]), kept.reshape(-1, 3 * H)
    for a in range(start * T, stop * T, CHUNK):
        b = min(a + CHUNK, stop * T)
        for n in range(a, b):
            copy(sums[n, : 2 * H], bias)
        add_product(flat[a:b], packed[0], sums[a:b, : 2 * H])
    for t in range(T):
        h = y[start:stop, t - 1] if t else first[start:stop]
        own = kept[start:stop, t]
        add_product(h, packed[1], own[:, :H])
        for r in range(stop - start):
            _reset(h[r], own[r], H)
        add_product(own[:, 2 * H :], packed[2], own[:, H : 2 * H])
        for r in range(stop - start):
            _move(h[r], own[r], y[start + r, t], H)
            if t >= lengths[start + r]:
                copy(y[start + r, t], h[r])


# What is read beside `j` is cut out first: an index whose sign is open would keep a loop scalar.
@compiled
def _reset(h: Any, kept: Any, H: int) -> None:
    reset = kept[2 * H :]
    for j in range(H):
        kept[j] = sigmoid(kept[j])
    for j in range(H):
        reset[j] = kept[j] * h[j]


@compiled
def _move(h: Any, kept: Any, y: Any, H: int) -> None:
    n = kept[H : 2 * H]
    for j in range(H):
        n[j] = tanh(n[j])
    for j in range(H):
        y[j] = h[j] + kept[j] * (n[j] - h[j])


@compiled
def _backward(
    d_y: Any, first: Any, packed: Any, lengths: Any, y: Any, kept: Any, d_h: Any, d_sums: Any,
    d_x: Any, start: int, stop: int,
) -> None:  # fmt: skip
    T, H = y.shape[1:]
    rows = range(stop - start)
    d_reset = np.empty((stop - start, H), y.dtype)
    for t in range(T - 1, -1, -1):
        h = y[start:stop, t - 1] if t else first[start:stop]
        own, d, into = kept[start:stop, t], d_sums[start:stop, t], d_h[start:stop]
        for r in rows:
            if t < lengths[start + r]:
                _back_through_move(d_y[start + r, t], h[r], own[r], into[r], d[r], H)
            else:
                d[r] = 0
        d_reset[:] = 0
        add_product(d[:, H:], packed[2], d_reset)
        for r in rows:
            if t < lengths[start + r]:
                _back_through_reset(d_reset[r], h[r], own[r], into[r], d[r])
        add_product(d[:, :H], packed[1], into)
    flat, to = d_sums.reshape(-1, 2 * H), d_x.reshape(-1, d_x.shape[2])
    for a in range(start * T, stop * T, CHUNK):
        b = min(a + CHUNK, stop * T)
        to[a:b] = 0
        add_product(flat[a:b], packed[0], to[a:b])


@compiled
def _back_through_move(d_y: Any, h: Any, kept: Any, d_h: Any, d_sums: Any, H: int) -> None:
    """Set the gradients of n's sum and of f; what comes to f through the reset is added later."""
    one = h.dtype.type(1)
    n, d_n = kept[H : 2 * H], d_sums[H:]
    for j in range(H):
        d_h[j] += d_y[j]
    for j in range(H):
        d_n[j] = d_h[j] * kept[j] * (one - n[j] * n[j])
    for j in range(H):
        d_sums[j] = d_h[j] * (n[j] - h[j])
    for j in range(H):
        d_h[j] *= one - kept[j]


@compiled
def _back_through_reset(d_reset: Any, h: Any, kept: Any, d_h: Any, d_sums: Any) -> None:
    one = h.dtype.type(1)
    for j in range(len(h)):
        d_sums[j] = (d_sums[j] + d_reset[j] * h[j]) * kept[j] * (one - kept[j])
    for j in range(len(h)):
        d_h[j] += d_reset[j] * kept[j]
