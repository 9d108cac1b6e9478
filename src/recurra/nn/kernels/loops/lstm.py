"""Whole sequences of the LSTM's relatives on the processor, forward and backward.

B rows, T steps, I inputs, H units; G sums, 4H for the gates i, f, g, o, or 3H for f, g, o where
i = 1 - f. Steps stand before rows within, so that a step's rows lie together; the products with
the inputs, and those that give the weights' gradients, are of all steps at once. Each thread
takes some of the rows through all steps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.loops import lstm_steps
from recurra.nn.kernels.loops.plain import lstm_step, normalised
from recurra.nn.kernels.operator import (
    Shapes,
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)
from recurra.nn.kernels.products.matmul import pack
from recurra.nn.kernels.products.sequence import product_of_rows, product_over_rows

__all__ = ["LSTMParts", "LSTMWeights", "lstm_family_sequence"]

LSTMWeights = tuple[Tensor, Tensor, Tensor]
"""`weight_ih (G, I)`, `weight_hh (G, H)` and one bias `(G,)`."""

SHAPES = [
    Shapes(
        x="B T I", h="B H", c="B H", weight_ih=f"{gates}H I", weight_hh=f"{gates}H H",
        bias=f"{gates}H", peephole="3 H", gains=f"2 {gates}H", norm="2 H", keep_h="B T H",
        keep_c="B T H",
    )
    for gates in (4, 3)
]  # fmt: skip
"""Of a member of the family, and of one whose gates are coupled."""


class LSTMParts(NamedTuple):
    """What a member of the family has beside the LSTM's weights; `none` of it by default.

    `peephole (3, H)`, of i, f and o; `gains (2, G)` of the normalised sums from x and h, and
    `norm (2, H)`, gain and bias of the memory as the output reads it; `coupled`, i = 1 - f;
    `clip`, the memory's bound; `eps`, added to variances; `keep_h` and `keep_c`, of zoneout:
    masks `(B, T', H)` that are 0 where a unit keeps what it held, of which the steps from
    `begin` on are taken, or the share that each keeps.
    """

    peephole: Tensor | None = None
    gains: Tensor | None = None
    norm: Tensor | None = None
    coupled: bool = False
    clip: float | None = None
    eps: float = 0.0
    keep_h: Tensor | float = 0.0
    keep_c: Tensor | float = 0.0
    begin: int = 0


def lstm_family_sequence(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: LSTMWeights,
    parts: LSTMParts,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a relative of the LSTM over sequences; returns outputs, and `h` and `c` at the end.

        i, f, g, o = W_ih x + W_hh h + b, or LN(W_ih x) + LN(W_hh h) + b
        c~ = clip(sigmoid(f + p_f c) * c + sigmoid(i + p_i c) * tanh(g))
        h~ = sigmoid(o + p_o c~) * tanh(c~), or tanh(LN(c~)) at the end
        c' = m_c * c + (1 - m_c) * c~,  h' = m_h * h + (1 - m_h) * h~

    Shapes: `x (B, T, I)`; `h`, `c` `(B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`,
    `(B, H)`. Past a row's length the outputs are `h` at its end.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        h: hidden state before the first step.
        c: cell state before the first step.
        weights: `weight_ih (G, I)`, `weight_hh (G, H)`, and one bias `(G,)`.
        parts: what it has beside them.
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Gers & Schmidhuber 2000 for peepholes, Ba et al. 2016 for the normalised sums, Greff
        et al. 2017 for coupled gates, Krueger et al. 2017 for zoneout.

    Example:
        >>> weights = torch.zeros(8, 3), torch.zeros(8, 2), torch.zeros(8)
        >>> one = torch.ones(1, 2)
        >>> y, h, c = lstm_family_sequence(torch.ones(1, 4, 3), one, one, weights, LSTMParts())
        >>> y.shape, c
        (torch.Size([1, 4, 2]), tensor([[0.0625, 0.0625]]))
    """
    steps = slice(parts.begin, parts.begin + x.shape[1])
    keeps = (k[:, steps] if isinstance(k, Tensor) else None for k in (parts.keep_h, parts.keep_c))
    SHAPES[parts.coupled].check(x, h, c, *weights, parts.peephole, parts.gains, parts.norm, *keeps)
    with torch.autocast(x.device.type, enabled=False):
        given = x.transpose(0, 1), h, c, *weights
        y, h_end, c_end, *_ = _forward(*given, *_arguments(parts, x, h.shape[1], lengths))
    return y.transpose(0, 1), h_end, c_end


def _arguments(parts: LSTMParts, x: Tensor, H: int, lengths: Tensor | None) -> tuple[Any, ...]:
    """Return the parts as the operator takes them: no rows in the place of what is not there."""
    none = x.new_empty(0)
    keeps = (parts.keep_h, parts.keep_c)
    shares = [0.0 if isinstance(keep, Tensor) else keep for keep in keeps]
    return (
        none.view(0, H) if parts.peephole is None else parts.peephole,
        none.view(0, 0) if parts.gains is None else parts.gains,
        none.view(0, H) if parts.norm is None else parts.norm,
        *(keep if isinstance(keep, Tensor) else none for keep in keeps),
        torch.empty(0, dtype=torch.int64) if lengths is None else lengths,
        [math.inf if parts.clip is None else parts.clip, parts.eps, *shares],
        parts.coupled,
        parts.begin,
    )


@torch.library.custom_op("recurra::lstm_family", mutates_args=())
def _forward(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    peephole: Tensor,
    gains: Tensor,
    norm: Tensor,
    keep_h: Tensor,
    keep_c: Tensor,
    lengths: Tensor,
    numbers: list[float],
    coupled: bool,
    begin: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return `y (T, B, H)`, `h` and `c` at the end, and for the way back all c and the gates;
    where sums are normalised, also those from x and from h."""
    T, B, H = *x.shape[:2], h.shape[1]
    flat = x.reshape(T * B, -1)
    sums = product_of_rows(flat, weight_ih, None if len(gains) else bias).view(T, B, -1)
    gates, (from_x, from_h) = sums, (x.new_empty(0, 0, 0) for _ in range(2))
    if len(gains):
        gates, from_x, from_h = torch.empty_like(sums), sums, torch.zeros_like(sums)
    y, cs = x.new_empty(T, B, H), x.new_empty(T, B, H)
    first = _first(h, c, lengths, T)
    parts = _parts(bias, peephole, gains, norm, keep_h, keep_c, numbers, coupled, begin)
    weight = pack(weight_hh)
    arrays = [view(tensor) for tensor in (gates, from_x, from_h, y, cs)]
    by_rows(lstm_steps.forward, (*arrays, first, weight, parts), B)
    return y, y[-1].clone(), cs[-1].clone(), cs, gates, from_x, from_h


@_forward.register_fake
def _(x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    T, B, H, G = *x.shape[:2], h.shape[1], weight_ih.shape[0]
    gains = rest[4]
    y, cs = x.new_empty(T, B, H), x.new_empty(T, B, H)
    gates = x.new_empty(T, B, G)
    sums = [x.new_empty(T, B, G) if gains.shape[0] else x.new_empty(0, 0, 0) for _ in range(2)]
    return y, torch.empty_like(h), torch.empty_like(c), cs, gates, *sums


@torch.library.custom_op("recurra::lstm_family_backward", mutates_args=())
def _backward(
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    saved: list[Tensor],
    numbers: list[float],
    coupled: bool,
    begin: int,
) -> list[Tensor]:
    """Return the gradients of x, h, c, the weights, the bias, and the three parts."""
    x, h, c, weight_ih, weight_hh, bias, peephole, gains, norm, keep_h, keep_c = saved[:11]
    lengths, y, cs, gates, from_x, from_h = saved[11:]
    T, B, H = y.shape
    first = _first(h, c, lengths, T)
    parts = _parts(bias, peephole, gains, norm, keep_h, keep_c, numbers, coupled, begin)
    d_sums, d_from_h = torch.empty_like(gates), torch.empty_like(from_h)
    dy = torch.zeros_like(y) if dy is None else dy
    dh, dc = writable(dh, h), writable(dc, c)
    grads = tuple(view(tensor) for tensor in (dy, dh, dc, d_sums, d_from_h))
    arrays = tuple(view(tensor) for tensor in (gates, from_x, from_h, y, cs))
    d_parts = [x.new_zeros(B, *part.shape) for part in (bias, peephole, gains, norm)]
    accumulated = tuple(map(view, d_parts))
    weight = pack(weight_hh.t())
    by_rows(lstm_steps.backward, (grads, arrays, first, weight, parts, accumulated), B)
    flat, d_flat = x.reshape(T * B, -1), d_sums.view(T * B, -1)
    d_hidden = d_from_h if len(gains) else d_sums
    d_weight_ih = product_over_rows(d_flat, flat)
    before = torch.cat([h.unsqueeze(0), y[:-1]]).view(T * B, H)
    d_weight_hh = product_over_rows(d_hidden.view(T * B, -1), before)
    dx = product_of_rows(d_flat, weight_ih.t()).view(T, B, -1)
    return [dx, dh, dc, d_weight_ih, d_weight_hh, *(each.sum(0) for each in d_parts)]


@_backward.register_fake
def _(dy: Any, dh: Any, dc: Any, saved: list[Tensor], *rest: Any) -> list[Tensor]:
    x = saved[0]
    return [x.new_empty(x.shape), *(torch.empty_like(tensor) for tensor in saved[1:9])]


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    return *_backward(*d, [*given[:12], *made], *given[12:]), *[None] * 6


def _plain(x: Tensor, h: Tensor, c: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    weight_ih, weight_hh, bias, *parts = given
    peephole, gains, norm, keep_h, keep_c, lengths, numbers, _, begin = parts
    clip, eps, *shares = numbers
    from_x = F.linear(x, weight_ih)

    def kept(new: Tensor, old: Tensor, keep: Tensor, share: float, t: int) -> Tensor:
        if keep.shape[0]:
            return torch.where(keep[:, begin + t] == 0, old, new)
        return torch.lerp(new, old, share) if share else new

    def step(t: int, state: Any) -> Any:
        sums = from_x[t], F.linear(state[0], weight_hh)
        if gains.shape[0]:
            sums = normalised(sums[0], gains[0], eps), normalised(sums[1], gains[1], eps)
        after = lstm_step(sums[0] + sums[1] + bias, state[1], peephole, norm, clip, eps)
        pairs = zip(after, state, (keep_h, keep_c), shares)
        return tuple(kept(*pair, t) for pair in pairs)

    y, (h, c) = steps_in_torch(step, x.shape[0], (h, c), lengths if lengths.shape[0] else None)
    return y, h, c


register_gradient(_forward, _differentiate, _plain, ends=2)


def _first(h: Tensor, c: Tensor, lengths: Tensor, T: int) -> tuple[Any, ...]:
    return view(h), view(c), steps_of_rows((len(h), T), lengths if len(lengths) else None)


def _parts(bias: Tensor, *rest: Any) -> tuple[Any, ...]:
    peephole, gains, norm, keep_h, keep_c, numbers, coupled, begin = rest
    arrays = [view(tensor) for tensor in (bias, peephole, gains, norm)]
    masks = [view(keep if keep.dim() == 3 else keep.view(0, 0, 0)) for keep in (keep_h, keep_c)]
    return *arrays, *masks, np.array(numbers, arrays[0].dtype), coupled, begin
