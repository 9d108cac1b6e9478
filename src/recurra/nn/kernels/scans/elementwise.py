"""Recurrences whose units see themselves alone, but through a gate or a bend: no scan, one loop.

B rows, T steps, C channels. As in the gated scans, nothing is kept but the products and the
outputs, and the reference is the loop over the steps of the cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import sigmoid
from recurra.nn.kernels.scans.channels import ChannelLoop, clear, unit_of

__all__ = ["ind_rnn_sequence", "sru_sequence"]

IND_RNN = Shapes(state="B C", products="B T C", bias="C", weight="C")
SRU = Shapes(state="B C", products="B T 3C", skip="B T C", v="2C", b="2C")


def ind_rnn_sequence(
    products: Tensor, bias: Tensor, weight: Tensor, state: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return every `h_t = relu(s_t + u * h_{t-1} + b)`, and the last of each row.

    Shapes: `products (B, T, C)`, `bias (C,)`, `weight (C,)`, `state (B, C)`, `lengths (B,)`;
    returns `(B, T, C)`, zeros past a row's length, and `(B, C)`.

    Args:
        products: s, of the inputs and weights.
        bias: b.
        weight: u, the recurrent weight of each unit.
        state: h before the first step.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Li et al. 2018, "Independently recurrent neural network", equation 2.

    Example:
        >>> one = torch.ones
        >>> ind_rnn_sequence(one(1, 3, 1), one(1), one(1), one(1, 1))[0].flatten()
        tensor([3., 5., 7.])
    """
    IND_RNN.check(state, products, bias, weight)
    return _ind_rnn([products], torch.cat([bias, weight]), state, lengths)


def sru_sequence(
    products: Tensor,
    skip: Tensor,
    weights: tuple[Tensor, Tensor],
    state: Tensor,
    lengths: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return the outputs of simple recurrent units, and the last c of each row.

        f_t, r_t = sigmoid(s_t + v * c_{t-1} + b), of either gate
        c_t = f_t c_{t-1} + (1 - f_t) n_t
        y_t = r_t c_t + (1 - r_t) scale x_t

    Shapes: `products (B, T, 3C)`, of n, f and r, `skip (B, T, C)`, `weights` v and b, of f and
    then r, `(2C,)` each, `state (B, C)`, `lengths (B,)`; returns `(B, T, C)`, zeros past a row's
    length, and `(B, C)`.

    Args:
        products: n, and s of the two gates.
        skip: x, what goes past the recurrence.
        weights: v, the recurrent weights of the gates, and b.
        state: c before the first step.
        lengths: steps of each row; all of them.
        scale: of what goes past.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Lei et al. 2018, "Simple recurrent units for highly parallelizable recurrence",
        equations 1-5.

    Example:
        >>> zero, one = torch.zeros, torch.ones
        >>> sru_sequence(zero(1, 3, 3), zero(1, 3, 1), (zero(2), zero(2)), one(1, 1))[0].flatten()
        tensor([0.2500, 0.1250, 0.0625])
    """
    SRU.check(state, products, skip, *weights)
    return _sru([products, skip], torch.cat(weights), state, lengths, option=scale)


@compiled
def _ind_rnn_forward(
    s: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    nought = end.dtype.type(0)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first, second, _, _ = places
        h, b, u = end[row, first], weights[first], weights[second]
        for t in range(lengths[row]):
            s_t, y_t = s[row, t, first], y[row, t, first]
            for c in range(len(h)):
                a = s_t[c] + b[c] + u[c] * h[c]
                a = nought if a < nought else a  # which lets NaN through, as torch does
                h[c] = a
                y_t[c] = a
        clear(y, row, lengths[row], places)


@compiled
def _ind_rnn_backward(
    s: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_s: Any, d_weights: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    nought = state.dtype.type(0)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first, second, _, _ = places
        d_h, u = d_state[row, first], weights[second]
        d_b, d_u = d_weights[row, first], d_weights[row, second]
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row, first] if t == 0 else y[row, t - 1, first]
            y_t, d_t, d_s_t = y[row, t, first], d_y[row, t, first], d_s[row, t, first]
            for c in range(len(d_h)):
                d = d_h[c] + d_t[c]
                d = nought if y_t[c] <= nought else d  # NaN passes, as in torch
                d_s_t[c] = d
                d_b[c] += d
                d_u[c] += d * before[c]
                d_h[c] = d * u[c]
        clear(d_s, row, lengths[row], places)


@compiled
def _gate(s: Any, v: Any, b: Any, before: Any, out: Any) -> None:
    for c in range(len(out)):
        out[c] = sigmoid(s[c] + v[c] * before[c] + b[c])


@compiled
def _add_gradients(d: Any, before: Any, d_v: Any, d_b: Any) -> None:
    for c in range(len(d)):
        d_v[c] += d[c] * before[c]
        d_b[c] += d[c]


@compiled
def _sru_forward(
    s: Any, skip: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    scale = end.dtype.type(option)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first, second, third, fourth = places
        cell, v_f, v_r = end[row, first], weights[first], weights[second]
        b_f, b_r = weights[third], weights[fourth]
        for t in range(lengths[row]):
            s_n, s_f, s_r = s[row, t, first], s[row, t, second], s[row, t, third]
            x_t, y_t = skip[row, t, first], y[row, t, first]
            for c in range(len(cell)):
                f = sigmoid(s_f[c] + v_f[c] * cell[c] + b_f[c])
                r = sigmoid(s_r[c] + v_r[c] * cell[c] + b_r[c])
                cell[c] = s_n[c] + f * (cell[c] - s_n[c])
                past = scale * x_t[c]
                y_t[c] = past + r * (cell[c] - past)
        clear(y, row, lengths[row], places)


@compiled
def _sru_backward(
    s: Any, skip: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any,
    d_state: Any, d_s: Any, d_skip: Any, d_weights: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    scale, one = state.dtype.type(option), state.dtype.type(1)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first, second, third, fourth = places
        d_cell, v_f, v_r = d_state[row, first], weights[first], weights[second]
        b_f, b_r = weights[third], weights[fourth]
        d_v_f, d_v_r = d_weights[row, first], d_weights[row, second]
        d_b_f, d_b_r = d_weights[row, third], d_weights[row, fourth]
        cells = np.empty((lengths[row] + 1, len(d_cell)), state.dtype)
        cells[0] = state[row, first]
        for t in range(lengths[row]):
            # Gates stand for a while where their gradients will, made in loops of few arrays
            # each: of many, the compiler cannot tell that none overlap.
            n, f = s[row, t, first], d_s[row, t, second]
            before, after = cells[t], cells[t + 1]
            _gate(s[row, t, second], v_f, b_f, before, f)
            for c in range(len(d_cell)):
                after[c] = n[c] + f[c] * (before[c] - n[c])
        for t in range(lengths[row] - 1, -1, -1):
            before, after, d_t = cells[t], cells[t + 1], d_y[row, t, first]
            n, d_n, f = s[row, t, first], d_s[row, t, first], d_s[row, t, second]
            r = d_s[row, t, third]
            _gate(s[row, t, third], v_r, b_r, before, r)
            x_t, d_x = skip[row, t, first], d_skip[row, t, first]
            for c in range(len(d_cell)):
                d_n[c] = d_cell[c] + d_t[c] * r[c]
                d_x[c] = d_t[c] * (one - r[c]) * scale
                r[c] = d_t[c] * (after[c] - scale * x_t[c]) * r[c] * (one - r[c])
            for c in range(len(d_cell)):
                d, keep = d_n[c], f[c]
                f[c] = d * (before[c] - n[c]) * keep * (one - keep)
                d_n[c] = d * (one - keep)
                d_cell[c] = d * keep + f[c] * v_f[c] + r[c] * v_r[c]
            _add_gradients(f, before, d_v_f, d_b_f)
            _add_gradients(r, before, d_v_r, d_b_r)
        clear(d_s, row, lengths[row], places)
        clear(d_skip, row, lengths[row], places)


def _ind_rnn_step(parts: list[Tensor], weights: Tensor, h: Tensor, option: float) -> Any:
    b, u = weights.chunk(2)
    h = torch.relu(parts[0] + b + u * h)
    return h, h


def _sru_step(parts: list[Tensor], weights: Tensor, c: Tensor, option: float) -> Any:
    (n, f, r), (v_f, v_r, b_f, b_r) = parts[0].chunk(3, dim=1), weights.chunk(4)
    f, r = torch.sigmoid(f + v_f * c + b_f), torch.sigmoid(r + v_r * c + b_r)
    c, past = n + f * (c - n), option * parts[1]
    return past + r * (c - past), c


_ind_rnn = ChannelLoop("ind_rnn_sequence", _ind_rnn_forward, _ind_rnn_backward, _ind_rnn_step)
_sru = ChannelLoop("sru_sequence", _sru_forward, _sru_backward, _sru_step)
