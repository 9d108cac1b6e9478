"""The LSTM with a recurrent projection over whole sequences on the processor, both ways.

B rows, T steps, I inputs, P outputs, H memory cells; 4H sums for the gates i, f, g, o. Steps stand
before rows within, so that a step's rows lie together; each thread takes some of the rows through
all steps. The two products of a step stay two: W_hh W_hr at once is larger where P < 4H / 5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import compiled, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.loops.lstm_steps import step, step_backward
from recurra.nn.kernels.loops.plain import lstm_step
from recurra.nn.kernels.operator import (
    Shapes,
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)
from recurra.nn.kernels.products.matmul import add_product, pack
from recurra.nn.kernels.products.sequence import (
    linear_gradients,
    product_of_rows,
    product_over_rows,
)

__all__ = ["projected_lstm_sequence"]

SHAPES = Shapes(
    x="B T I", h="B P", c="B H", weight_ih="4H I", weight_hh="4H P", bias="4H", weight_hr="P H"
)


def projected_lstm_sequence(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    lengths: Tensor | None = None,
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM with a recurrent projection; returns the outputs, and `h` and `c` at the end.

        i, f, g, o = W_ih x + W_hh h + b
        c' = clip(sigmoid(f) * c + sigmoid(i) * tanh(g))
        h' = W_hr (sigmoid(o) * tanh(c'))

    Shapes: `x (B, T, I)`; h `(B, P)`, c `(B, H)`; `lengths (B,)`; returns `(B, T, P)`, `(B, P)`,
    `(B, H)`. Past a row's length the outputs are `h` at its end.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        state: h and c before the first step.
        weights: `weight_ih (4H, I)`, `weight_hh (4H, P)`, one bias `(4H,)`, `weight_hr (P, H)`.
        lengths: steps of each row, at most T; all of them.
        clip: bound of the memory; none.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Sak et al. 2014, "Long short-term memory based recurrent neural network
        architectures for large scale acoustic modeling", section 2.2.

    Example:
        >>> weights = torch.zeros(8, 3), torch.zeros(8, 1), torch.zeros(8), torch.ones(1, 2)
        >>> state = torch.ones(1, 1), torch.ones(1, 2)
        >>> y, h, c = projected_lstm_sequence(torch.ones(1, 4, 3), state, weights)
        >>> y.shape, c
        (torch.Size([1, 4, 1]), tensor([[0.0625, 0.0625]]))
    """
    SHAPES.check(x, *state, *weights)
    bound = math.inf if clip is None else clip
    with torch.autocast(x.device.type, enabled=False):
        y, h, c, *_ = _ahead(x.transpose(0, 1), *state, *weights, lengths, bound)
    return y.transpose(0, 1), h, c


@torch.library.custom_op("recurra::projected_lstm_sequence", mutates_args=())
def _ahead(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    weight_hr: Tensor,
    lengths: Tensor | None,
    bound: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return `y (T, B, P)`, h and c at the end, and for the way back gates, all c and what of
    each is read."""
    T, B = x.shape[:2]
    sums = product_of_rows(x.reshape(T * B, -1), weight_ih, bias).view(T, B, -1)
    y, cs = h.new_empty(T, *h.shape), c.new_empty(T, *c.shape)
    read = torch.empty_like(cs)
    first = view(h), view(c), steps_of_rows((B, T), lengths)
    packed = pack(weight_hh), pack(weight_hr)
    arrays = view(sums), view(y), view(cs), view(read)
    by_rows(_forward, (*arrays, first, packed, bound), B)
    return y, y[-1].clone(), cs[-1].clone(), sums, cs, read


@torch.library.custom_op("recurra::projected_lstm_sequence_backward", mutates_args=())
def _back(
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    saved: list[Tensor],
    lengths: Tensor | None,
    bound: float,
) -> list[Tensor]:
    """Return the gradients of x, h, c, `weight_ih`, `weight_hh`, the bias and `weight_hr`."""
    x, h, c, weight_ih, weight_hh, weight_hr, y, sums, cs, read = saved
    T, B = x.shape[:2]
    d_sums, d_out = torch.empty_like(sums), torch.empty_like(y)
    dy = torch.zeros_like(y) if dy is None else dy
    dh, dc = writable(dh, h), writable(dc, c)
    grads = tuple(view(tensor) for tensor in (dy, dh, dc, d_sums, d_out))
    first = view(c), steps_of_rows((B, T), lengths)
    packed = pack(weight_hh.t()), pack(weight_hr.t())
    by_rows(_backward, (grads, view(sums), view(cs), first, packed, bound), B)
    flat, d_flat = x.reshape(T * B, -1), d_sums.view(T * B, -1)
    before = torch.cat([h.unsqueeze(0), y[:-1]]).view(T * B, -1)
    d_weight_ih, d_bias = linear_gradients(d_flat, flat)
    return [
        product_of_rows(d_flat, weight_ih.t()).view(T, B, -1),
        dh,
        dc,
        d_weight_ih,
        product_over_rows(d_flat, before),
        d_bias,
        product_over_rows(d_out.view(T * B, -1), read.view(T * B, -1)),
    ]


@_ahead.register_fake
def _(x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    T, B = x.shape[:2]
    ends = torch.empty_like(h), torch.empty_like(c)
    cs, read = c.new_empty(T, *c.shape), c.new_empty(T, *c.shape)
    return h.new_empty(T, *h.shape), *ends, x.new_empty(T, B, weight_ih.shape[0]), cs, read


@_back.register_fake
def _(dy: Any, dh: Any, dc: Any, saved: list[Tensor], *rest: Any) -> list[Tensor]:
    x, h, c, weight_ih, weight_hh, weight_hr = saved[:6]
    bias = x.new_empty(weight_ih.shape[0])
    like = (h, c, weight_ih, weight_hh, bias, weight_hr)
    return [x.new_empty(x.shape), *(torch.empty_like(tensor) for tensor in like)]


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    *tensors, _, weight_hr, lengths, bound = given
    return *_back(*d, [*tensors, weight_hr, *made], lengths, bound), None, None


def _plain(x: Tensor, h: Tensor, c: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    weight_ih, weight_hh, bias, weight_hr, lengths, bound = given
    sums, none = F.linear(x, weight_ih, bias), x.new_empty(0)

    def step(t: int, state: Any) -> Any:
        h, c = state
        read, c = lstm_step(sums[t] + F.linear(h, weight_hh), c, none, none, bound)
        return F.linear(read, weight_hr), c

    y, (h, c) = steps_in_torch(step, x.shape[0], (h, c), lengths)
    return y, h, c


register_gradient(_ahead, _differentiate, _plain, ends=2)


@compiled
def _forward(
    sums: Any, y: Any, cs: Any, read: Any, first: Any, packed: Any, bound: float,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Run rows `start` to `stop`, each to its length; `sums (T, B, 4H)` become the gates."""
    h0, c0, lengths = first
    weight_hh, weight_hr = packed
    none, numbers = np.empty((0, cs.shape[2]), cs.dtype), np.full(2, bound, cs.dtype)
    for t in range(y.shape[0]):
        h_before = h0[start:stop] if t == 0 else y[t - 1, start:stop]
        c_before = c0[start:stop] if t == 0 else cs[t - 1, start:stop]
        add_product(h_before, weight_hh, sums[t, start:stop])
        for r in range(start, stop):
            c_old = c_before[r - start]
            if t < lengths[r]:
                step(sums[t, r], c_old, read[t, r], cs[t, r], none, none, numbers, False)
            else:
                cs[t, r] = c_old
                read[t, r] = 0
        y[t, start:stop] = 0
        add_product(read[t, start:stop], weight_hr, y[t, start:stop])
        for r in range(start, stop):
            if t >= lengths[r]:
                y[t, r] = h_before[r - start]


@compiled
def _backward(
    grads: Any, sums: Any, cs: Any, first: Any, packed: Any, bound: float, start: int, stop: int
) -> None:
    """Take `_forward` back: `dh` and `dc` become those of the start, `d_out` those of outputs."""
    dy, dh, dc, d_sums, d_out = grads
    c0, lengths = first
    weight_hh, weight_hr = packed
    H = cs.shape[2]
    none, numbers = np.empty((0, H), cs.dtype), np.full(2, bound, cs.dtype)
    own = (none, none, numbers, False)
    d_read, scratch = np.empty((stop - start, H), cs.dtype), np.empty(H, cs.dtype)
    for t in range(dy.shape[0] - 1, -1, -1):
        c_before = c0[start:stop] if t == 0 else cs[t - 1, start:stop]
        for r in range(start, stop):
            if t < lengths[r]:
                d, d_h, d_y = d_out[t, r], dh[r], dy[t, r]
                for p in range(len(d)):
                    d[p] = d_h[p] + d_y[p]
                d_h[:] = 0
            else:
                d_out[t, r] = 0
        d_read[:] = 0
        add_product(d_out[t, start:stop], weight_hr, d_read)
        for r in range(start, stop):
            if t < lengths[r]:
                at = r - start
                step_backward(
                    sums[t, r], c_before[at], cs[t, r], d_read[at], dc[r], d_sums[t, r], own,
                    (none, none), scratch,
                )  # fmt: skip
            else:
                d_sums[t, r] = 0
        add_product(d_sums[t, start:stop], weight_hh, dh[start:stop])
