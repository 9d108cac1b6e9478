"""The GRU over whole sequences on the processor, forward and backward, as an operator of torch.

B rows, T steps, H units; gates in the order r, z, n. Each thread runs some rows through all steps.
What a step keeps for the backward pass lies side by side: r, z, then what `weight_hn` took part in
(its product, or r * h where the reset gate acts before it), then n.
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

__all__ = ["gru_sequence"]

SHAPES = Shapes(x="B T I", h="B H", weight_ih="3H I", weight_hh="3H H", bias_ih="3H", bias_hh="3H")


def gru_sequence(
    x: Tensor,
    h: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    lengths: Tensor | None = None,
    reset_after: bool = True,
) -> tuple[Tensor, Tensor]:
    """Run a one-layer GRU over whole sequences; returns the outputs, and `h` at the end.

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length repeat its last.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        h: hidden state before the first step.
        weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `bias_ih (3H,)`, `bias_hh (3H,)`.
        lengths: steps of each row, at most T; all of them.
        reset_after: whether the reset gate acts after the product with `weight_hh`.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Cho et al. 2014.

    Example:
        >>> weights = (torch.zeros(6, 3), torch.zeros(6, 2), torch.zeros(6), torch.zeros(6))
        >>> gru_sequence(torch.ones(1, 2, 3), torch.ones(1, 2), weights)[1]
        tensor([[0.2500, 0.2500]])
    """
    SHAPES.check(x, h, *weights)
    with torch.autocast("cpu", enabled=False):
        y, end, _ = _ahead(x, h, *weights, lengths, reset_after)
    return y, end


@torch.library.custom_op("recurra::gru_sequence", mutates_args=())
def _ahead(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    lengths: Tensor | None,
    reset_after: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    y, end, kept = _like_outputs(x, h, weight_ih)
    H = h.shape[1]
    gates, (ih, hh) = bias_ih[: 2 * H] + bias_hh[: 2 * H], (b[2 * H :] for b in (bias_ih, bias_hh))
    sums = (hh, ih) if reset_after else (torch.zeros_like(hh), ih + hh)
    packed = tuple(pack(part) for weight in (weight_ih, weight_hh) for part in _parts(weight))
    steps = steps_of_rows(x.shape, lengths)
    arrays = (view(x), view(h), packed, view(torch.cat([gates, *sums])), steps, view(kept), view(y))
    by_rows(_forward, (*arrays, reset_after), len(h))
    end.copy_(y[:, -1])
    return y, end, kept


@torch.library.custom_op("recurra::gru_sequence_backward", mutates_args=())
def _back(
    d_y: Tensor | None,
    d_end: Tensor | None,
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    lengths: Tensor | None,
    reset_after: bool,
    y: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    H = h.shape[1]
    d_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    d_h = writable(d_end, h)
    d_y = torch.zeros_like(y) if d_y is None else d_y
    d_sums = y.new_empty(*y.shape[:2], 3 * H)
    d_after = torch.empty_like(d_sums) if reset_after else d_sums
    packed = tuple(pack(part.T) for part in (*_parts(weight_hh), weight_ih))
    steps = steps_of_rows(y.shape, lengths)
    arrays = (view(d_y), view(h), packed, steps, view(y), view(kept))
    made = (d_h.numpy(), d_sums.numpy(), d_after.numpy(), d_x.numpy())
    by_rows(_backward, (*arrays, *made, reset_after), len(h))

    before = torch.cat([h.unsqueeze(1), y[:, :-1]], dim=1).view(-1, H)
    flat, after = d_sums.view(-1, 3 * H), d_after.view(-1, 3 * H)
    d_weight_ih, d_bias_ih = linear_gradients(flat, x.reshape(-1, x.shape[2]))
    if reset_after:
        d_weight_hh, d_bias_hh = linear_gradients(after, before)
    else:
        d_bias_hh = d_bias_ih.clone()
        reset = kept[:, :, 2 * H : 3 * H].reshape(-1, H)
        pairs = zip(_parts(flat.T), (before, reset))
        d_weight_hh = torch.cat([product_over_rows(part.T, each) for part, each in pairs])
    return d_x, d_h, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh


def _parts(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return what makes the gates, and what makes the candidate."""
    H = weight.shape[0] // 3
    return weight[: 2 * H], weight[2 * H :]


@_ahead.register_fake
def _like_outputs(
    x: Tensor, h: Tensor, weight_ih: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    B, T, H = *x.shape[:2], h.shape[1]
    return x.new_empty(B, T, H), x.new_empty(B, H), x.new_empty(B, T, 4 * H)


@_back.register_fake
def _like_gradients(
    d_y: Tensor | None, d_end: Tensor | None, x: Tensor, h: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    weight_ih, weight_hh = rest[:2]
    likes = (x, h, weight_ih, weight_hh, weight_ih[:, 0], weight_hh[:, 0])
    return tuple(like.new_empty(like.shape) for like in likes)


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    x, h, weight_ih, weight_hh, _, _, *how = given
    return *_back(*d, x, h, weight_ih, weight_hh, *how, *made), None, None


def _plain(x: Tensor, h: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
    weight_ih, weight_hh, bias_ih, bias_hh, lengths, reset_after = given
    sums, H = F.linear(x, weight_ih, bias_ih).transpose(0, 1), h.shape[1]
    (of_gates, of_n), biases = _parts(weight_hh), _parts(bias_hh)

    def step(t: int, state: Any) -> Any:
        (h,) = state
        into, into_n = sums[t, :, : 2 * H], sums[t, :, 2 * H :]
        r, z = torch.sigmoid(into + F.linear(h, of_gates, biases[0])).chunk(2, dim=1)
        from_h = (
            r * F.linear(h, of_n, biases[1]) if reset_after else F.linear(r * h, of_n, biases[1])
        )
        n = torch.tanh(into_n + from_h)
        return (n + z * (h - n),)

    y, (end,) = steps_in_torch(step, x.shape[1], (h,), lengths)
    return y.transpose(0, 1), end


register_gradient(_ahead, _differentiate, _plain)


@compiled
def _forward(
    x: Any,
    first: Any,
    packed: Any,
    bias: Any,
    lengths: Any,
    kept: Any,
    y: Any,
    reset_after: bool,
    start: int,
    stop: int,
) -> None:
    T, H = y.shape[1:]
    rows = range(start, stop)
    flat, sums = x.reshape(-1, x.shape[2]), kept.reshape(-1, 4 * H)
    for a in range(start * T, stop * T, CHUNK):
        b = min(a + CHUNK, stop * T)
        for n in range(a, b):
            copy(sums[n], bias)
        add_product(flat[a:b], packed[0], sums[a:b, : 2 * H])
        add_product(flat[a:b], packed[1], sums[a:b, 3 * H :])
    for t in range(T):
        h = y[start:stop, t - 1] if t else first[start:stop]
        add_product(h, packed[2], kept[start:stop, t, : 2 * H])
        for b in rows:
            _sigmoid_of_all(kept[b, t, : 2 * H])
        if reset_after:
            add_product(h, packed[3], kept[start:stop, t, 2 * H : 3 * H])
            for b in rows:
                _reset_after(kept[b, t], H)
        else:
            for b in rows:
                _reset_before(h[b - start], kept[b, t], H)
            add_product(kept[start:stop, t, 2 * H : 3 * H], packed[3], kept[start:stop, t, 3 * H :])
        for b in rows:
            if t < lengths[b]:
                _move(h[b - start], kept[b, t], y[b, t], H)
            else:
                copy(y[b, t], h[b - start])


# What is read beside `j` is cut out first: an index whose sign is open would keep a loop scalar.
@compiled
def _sigmoid_of_all(v: Any) -> None:
    for j in range(len(v)):
        v[j] = sigmoid(v[j])


@compiled
def _reset_after(kept: Any, H: int) -> None:
    product, n = kept[2 * H : 3 * H], kept[3 * H :]
    for j in range(H):
        n[j] += kept[j] * product[j]


@compiled
def _reset_before(h: Any, kept: Any, H: int) -> None:
    product = kept[2 * H : 3 * H]
    for j in range(H):
        product[j] = kept[j] * h[j]


@compiled
def _move(h: Any, kept: Any, y: Any, H: int) -> None:
    z, n = kept[H : 2 * H], kept[3 * H :]
    for j in range(H):
        n[j] = tanh(n[j])
    for j in range(H):
        y[j] = n[j] + z[j] * (h[j] - n[j])


@compiled
def _backward(
    d_y: Any,
    first: Any,
    packed: Any,
    lengths: Any,
    y: Any,
    kept: Any,
    d_h: Any,
    d_sums: Any,
    d_after: Any,
    d_x: Any,
    reset_after: bool,
    start: int,
    stop: int,
) -> None:
    T, H = y.shape[1:]
    rows = range(start, stop)
    d_reset = np.empty((stop - start, H), y.dtype)
    for t in range(T - 1, -1, -1):
        h = y[start:stop, t - 1] if t else first[start:stop]
        for b in rows:
            if t < lengths[b]:
                _back_through_move(d_y[b, t], h[b - start], kept[b, t], d_h[b], d_sums[b, t], H)
                if reset_after:
                    _back_through_reset_after(kept[b, t], d_sums[b, t], d_after[b, t], H)
            else:
                d_sums[b, t] = 0
                d_after[b, t] = 0
        if reset_after:
            add_product(d_after[start:stop, t, 2 * H :], packed[1], d_h[start:stop])
        else:
            d_reset[:] = 0
            add_product(d_sums[start:stop, t, 2 * H :], packed[1], d_reset)
            for b in rows:
                if t < lengths[b]:
                    back = d_reset[b - start]
                    _back_through_reset_before(back, h[b - start], kept[b, t], d_h[b], d_sums[b, t])
        add_product(d_sums[start:stop, t, : 2 * H], packed[0], d_h[start:stop])
    flat, to = d_sums.reshape(-1, 3 * H), d_x.reshape(-1, d_x.shape[2])
    for a in range(start * T, stop * T, CHUNK):
        b = min(a + CHUNK, stop * T)
        to[a:b] = 0
        add_product(flat[a:b], packed[2], to[a:b])


@compiled
def _back_through_move(d_y: Any, h: Any, kept: Any, d_h: Any, d_sums: Any, H: int) -> None:
    one = h.dtype.type(1)
    z, n = kept[H : 2 * H], kept[3 * H :]
    d_z, d_n = d_sums[H : 2 * H], d_sums[2 * H :]
    for j in range(H):
        d_h[j] += d_y[j]
    for j in range(H):
        d_n[j] = d_h[j] * (one - z[j]) * (one - n[j] * n[j])
    for j in range(H):
        d_z[j] = d_h[j] * (h[j] - n[j])
    for j in range(H):
        d_z[j] *= z[j] * (one - z[j])
    for j in range(H):
        d_h[j] *= z[j]


@compiled
def _back_through_reset_after(kept: Any, d_sums: Any, d_after: Any, H: int) -> None:
    one = kept.dtype.type(1)
    product, d_n, d_product = kept[2 * H : 3 * H], d_sums[2 * H :], d_after[2 * H :]
    for j in range(H):
        d_product[j] = d_n[j] * kept[j]
    for j in range(H):
        d_sums[j] = d_product[j] * product[j] * (one - kept[j])
    for j in range(2 * H):
        d_after[j] = d_sums[j]


@compiled
def _back_through_reset_before(d_reset: Any, h: Any, kept: Any, d_h: Any, d_sums: Any) -> None:
    one = h.dtype.type(1)
    for j in range(len(h)):
        d_sums[j] = d_reset[j] * h[j] * kept[j] * (one - kept[j])
    for j in range(len(h)):
        d_h[j] += d_reset[j] * kept[j]
