"""RWKV's means of all values so far, weighted by key and age, in one pass over time.

B rows, T steps, C channels. Nothing is kept but the products and the outputs: the gradient makes
the means anew. The reference is the loop over the steps of the cell, which is what runs where
compiled kernels do not serve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.logarithm import log_add
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import expm1, sigmoid
from recurra.nn.kernels.scans.channels import ChannelLoop, clear, unit_of

__all__ = ["wkv_scan"]

SHAPES = Shapes(r="B T C", k="B T C", v="B T C", w="C", u="C", c="B C", m="B C")


def wkv_scan(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    weights: tuple[Tensor, Tensor],
    state: tuple[Tensor, Tensor],
    lengths: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the means as gates let them through, and mean and weight at the end of each row.

        y_t = sigmoid(r_t) (c_{t-1} + sigmoid(u + k_t - m_{t-1}) (v_t - c_{t-1}))
        m_t = logaddexp(m_{t-1} - w, k_t)
        c_t = c_{t-1} + exp(k_t - m_t) (v_t - c_{t-1})

    Shapes: `r`, `k`, `v` `(B, T, C)`, w and u `(C,)`, c and m `(B, C)`, `lengths (B,)`; returns
    `(B, T, C)`, zeros past a row's length, and c and m `(B, C)`.

    Args:
        r: the gates, before their activation.
        k: the keys, logarithms of weights, of any size.
        v: the values.
        weights: w, by how much a logarithm falls a step, and u, the bonus of the step at hand.
        state: c, the mean before the first step, and m, the logarithm of its weight.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Peng et al. 2023, "RWKV: reinventing RNNs for the transformer era", equations 24-28.

    Example:
        >>> zero = torch.zeros
        >>> r, k, v = zero(1, 3, 1), zero(1, 3, 1), torch.ones(1, 3, 1)
        >>> wkv_scan(r, k, v, (zero(1), zero(1)), (zero(1, 1), zero(1, 1)))[0].flatten()
        tensor([0.2500, 0.3333, 0.3750])
    """
    SHAPES.check(r, k, v, *weights, *state)
    y, end = _wkv([r, k, v], torch.cat(weights), torch.cat(state, dim=1), lengths)
    c, m = end.chunk(2, dim=1)
    return y, (c, m)


# Within a row, m is kept as `top + log(total)` with a total of at least 1: no logarithm a step,
# and exponentials of what is not above 0 alone. Each loop over channels writes to few arrays: of
# many, the compiler cannot tell that none overlap.
@compiled
def _shares(k: Any, w: Any, u: Any, top: Any, total: Any, with_bonus: Any, to_keep: Any) -> None:
    """Set the new value's shares of the output and of the mean; move `top` and `total` on."""
    one, nought = k.dtype.type(1), k.dtype.type(0)
    for c in range(len(k)):
        ahead = u[c] + k[c] - top[c]
        e = expm1(-abs(ahead)) + one
        new, old = (one, e) if ahead >= nought else (e, one)
        with_bonus[c] = new / (new + old * total[c])
    for c in range(len(k)):
        ahead = k[c] - (top[c] - w[c])
        e = expm1(-abs(ahead)) + one
        new, old = (one, e) if ahead >= nought else (e, one)
        to_keep[c] = new
        total[c] = new + old * total[c]
    for c in range(len(k)):
        to_keep[c] /= total[c]
        top[c] = max(top[c] - w[c], k[c])


@compiled
def _gate(r: Any, y: Any) -> None:
    for c in range(len(y)):
        y[c] *= sigmoid(r[c])


@compiled
def _back_through_gate(r: Any, y: Any, d_y: Any, d_r: Any, d_wkv: Any) -> None:
    one = y.dtype.type(1)
    for c in range(len(y)):
        gate = sigmoid(r[c])
        d_wkv[c] = d_y[c] * gate
        d_r[c] = d_y[c] * y[c] * (one - gate)


@compiled
def _forward(
    r: Any, k: Any, v: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, y.shape[2])
        first, second, _, _ = places
        w, u = weights[first], weights[second]
        mean, top = end[row, first], end[row, second]
        total, share = np.ones_like(mean), np.empty_like(mean)
        for t in range(lengths[row]):
            v_t, y_t = v[row, t, first], y[row, t, first]
            _shares(k[row, t, first], w, u, top, total, y_t, share)
            for c in range(len(mean)):
                y_t[c] = mean[c] + y_t[c] * (v_t[c] - mean[c])
            _gate(r[row, t, first], y_t)
            for c in range(len(mean)):
                mean[c] += share[c] * (v_t[c] - mean[c])
        for c in range(len(mean)):
            top[c] += np.log(total[c])
        clear(y, row, lengths[row], places)


@compiled
def _backward(
    r: Any, k: Any, v: Any, weights: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any,
    d_state: Any, d_r: Any, d_k: Any, d_v: Any, d_weights: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, y.shape[2])
        first, second, _, _ = places
        w, u = weights[first], weights[second]
        means = np.empty((lengths[row] + 1, len(w)), state.dtype)
        means[0] = state[row, first]
        top, total = state[row, second].copy(), np.ones_like(means[0])
        for t in range(lengths[row]):
            # The shares stand for a while where gradients will.
            v_t, before, after = v[row, t, first], means[t], means[t + 1]
            share = d_v[row, t, first]
            _shares(k[row, t, first], w, u, top, total, d_k[row, t, first], share)
            for c in range(len(w)):
                after[c] = before[c] + share[c] * (v_t[c] - before[c])
        d_mean, d_m, d_wkv = d_state[row, first], d_state[row, second], total
        d_w, d_u = d_weights[row, first], d_weights[row, second]
        for t in range(lengths[row] - 1, -1, -1):
            _back_through_gate(
                r[row, t, first], y[row, t, first], d_y[row, t, first], d_r[row, t, first], d_wkv
            )
            _back_through_step(
                v[row, t, first], means[t], d_wkv, d_mean, d_m,
                d_k[row, t, first], d_v[row, t, first], d_w, d_u,
            )  # fmt: skip
        for d_sequence in (d_r, d_k, d_v):
            clear(d_sequence, row, lengths[row], places)


@compiled
def _back_through_step(
    v: Any, before: Any, d_wkv: Any, d_mean: Any, d_m: Any, d_k: Any, d_v: Any, d_w: Any, d_u: Any
) -> None:
    one = v.dtype.type(1)
    for c in range(len(v)):
        a, q, new = d_k[c], d_v[c], v[c] - before[c]
        with_bonus = d_wkv[c] * new * a * (one - a)
        to_keep = d_mean[c] * new * q * (one - q)
        d_old = d_m[c] * (one - q) - to_keep
        d_k[c] = with_bonus + d_m[c] * q + to_keep
        d_v[c] = d_wkv[c] * a + d_mean[c] * q
        d_mean[c] = d_wkv[c] * (one - a) + d_mean[c] * (one - q)
        d_m[c] = d_old - with_bonus
        d_w[c] -= d_old
        d_u[c] += with_bonus


def _step(parts: list[Tensor], weights: Tensor, state: Tensor, option: float) -> Any:
    (r, k, v), (w, u), (c, m) = parts, weights.chunk(2), state.chunk(2, dim=1)
    new = v - c
    y = torch.sigmoid(r) * (c + torch.sigmoid(u + k - m) * new)
    m = log_add(m - w, k)
    return y, torch.cat([c + torch.exp(k - m) * new, m], dim=1)


_wkv = ChannelLoop("wkv_scan", _forward, _backward, _step, states=2)
