"""Scans whose gates read the input alone, from its products to the outputs in one pass.

B rows, T steps, C channels. Nothing is kept but the products and the outputs: the gradient makes
the gates anew. The reference is the loop over the steps of the cells, which is what runs where
compiled kernels do not serve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import Compiled, compiled
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.pointwise import expm1, sigmoid, tanh
from recurra.nn.kernels.scans.channels import ChannelLoop, clear, unit_of

__all__ = ["min_gru_scan", "min_lstm_scan", "positive", "qrnn_scan"]

OF_TWO = Shapes(state="B C", products="B T 2C", bias="2C")
OF_THREE = Shapes(state="B C", products="B T 3C", bias="3C")


def positive(a: Tensor) -> Tensor:
    """Return `a + 1/2` where a >= 0, `sigmoid(a)` elsewhere: continuous, above zero, linear.

    Shapes: any; returns the same.

    Args:
        a: what is to be positive.

    Source: Feng et al. 2024, "Were RNNs all we needed?", appendix B.

    Example:
        >>> positive(torch.tensor([-200.0, 0.0, 2.0]))
        tensor([0.0000, 0.5000, 2.5000])
    """
    return torch.where(a >= 0, a + 0.5, torch.sigmoid(a))


def min_gru_scan(
    products: Tensor,
    bias: Tensor,
    state: Tensor,
    is_positive: bool = False,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return every `h_t = (1 - z_t) h_{t-1} + z_t n_t`, and the last of each row.

    Shapes: `products (B, T, 2C)`, of z and n, `bias (2C,)`, `state (B, C)`, `lengths (B,)`;
    returns `(B, T, C)`, zeros past a row's length, and `(B, C)`.

    Args:
        products: of the inputs and weights, before bias and activation.
        bias: of z and n.
        state: h before the first step.
        is_positive: whether n is `positive` of its sum, or the sum itself.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Feng et al. 2024, "Were RNNs all we needed?", section 3.1.

    Example:
        >>> zero = torch.zeros
        >>> min_gru_scan(zero(1, 3, 2), zero(2), torch.ones(1, 1))[0].flatten()
        tensor([0.5000, 0.2500, 0.1250])
    """
    OF_TWO.check(state, products, bias)
    return _min_gru([products], bias, state, lengths, option=is_positive)


def min_lstm_scan(
    products: Tensor,
    bias: Tensor,
    state: Tensor,
    is_positive: bool = False,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return every `h_t = (f_t h_{t-1} + i_t g_t) / (f_t + i_t)`, and the last of each row.

    Shapes: `products (B, T, 3C)`, of i, f and g, `bias (3C,)`, `state (B, C)`, `lengths (B,)`;
    returns `(B, T, C)`, zeros past a row's length, and `(B, C)`.

    Args:
        products: of the inputs and weights, before bias and activation.
        bias: of i, f and g.
        state: h before the first step.
        is_positive: whether g is `positive` of its sum, or the sum itself.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Feng et al. 2024, "Were RNNs all we needed?", section 3.2.

    Example:
        >>> zero = torch.zeros
        >>> min_lstm_scan(zero(1, 3, 3), zero(3), torch.ones(1, 1))[0].flatten()
        tensor([0.5000, 0.2500, 0.1250])
    """
    OF_THREE.check(state, products, bias)
    return _min_lstm([products], bias, state, lengths, option=is_positive)


def qrnn_scan(
    products: Tensor, bias: Tensor, state: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return every `o_t c_t` with `c_t = f_t c_{t-1} + (1 - f_t) z_t`, and the last c of each row.

    Shapes: `products (B, T, 3C)`, of z, f and o, `bias (3C,)`, `state (B, C)`, `lengths (B,)`;
    returns `(B, T, C)`, zeros past a row's length, and `(B, C)`.

    Args:
        products: of the inputs and weights, before bias and activation.
        bias: of z, f and o.
        state: c before the first step.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Bradbury et al. 2017, "Quasi-recurrent neural networks", equation 4.

    Example:
        >>> zero = torch.zeros
        >>> qrnn_scan(zero(1, 3, 3), zero(3), torch.ones(1, 1))[0].flatten()
        tensor([0.2500, 0.1250, 0.0625])
    """
    OF_THREE.check(state, products, bias)
    return _qrnn([products], bias, state, lengths)


@compiled
def _min_gru_forward(
    s: Any, bias: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    nought = end.dtype.type(0)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first, second, _, _ = places
        h, b_z, b_n = end[row, first], bias[first], bias[second]
        for t in range(lengths[row]):
            s_z, s_n, y_t = s[row, t, first], s[row, t, second], y[row, t, first]
            for c in range(len(h)):
                n = s_n[c] + b_n[c]
                if option:
                    n = max(n, nought) + sigmoid(min(n, nought))
                h[c] += sigmoid(s_z[c] + b_z[c]) * (n - h[c])
                y_t[c] = h[c]
        clear(y, row, lengths[row], places)


@compiled
def _min_gru_backward(
    s: Any, bias: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_s: Any, d_bias: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    nought, one = state.dtype.type(0), state.dtype.type(1)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first, second, _, _ = places
        d_h, d_b_z, d_b_n = d_state[row, first], d_bias[row, first], d_bias[row, second]
        b_z, b_n = bias[first], bias[second]
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row, first] if t == 0 else y[row, t - 1, first]
            s_z, s_n, d_t = s[row, t, first], s[row, t, second], d_y[row, t, first]
            d_s_z, d_s_n = d_s[row, t, first], d_s[row, t, second]
            for c in range(len(d_h)):
                z, n = sigmoid(s_z[c] + b_z[c]), s_n[c] + b_n[c]
                slope = one
                if option:
                    p = sigmoid(min(n, nought))
                    slope = one if n >= nought else p * (one - p)
                    n = max(n, nought) + p
                d = d_h[c] + d_t[c]
                d_z = d * (n - before[c]) * z * (one - z)
                d_n = d * z * slope
                d_s_z[c], d_s_n[c] = d_z, d_n
                d_b_z[c] += d_z
                d_b_n[c] += d_n
                d_h[c] = d - d * z
        clear(d_s, row, lengths[row], places)


def _share_of_two(k_f: Any, k_i: Any, nought: Any, one: Any) -> Any:
    """Return f / (f + i), which would be 0 / 0 for gates both closed."""
    highest = max(max(-k_f, -k_i), nought)
    e = expm1(-highest) + one
    e_f, e_i = expm1(-k_f - highest) + one, expm1(-k_i - highest) + one
    return (e + e_i) / (e + e + e_i + e_f)


# A call in a loop, which the compiler makes of a long function, makes no vectors.
_share = Compiled(_share_of_two, forceinline=True)


@compiled
def _min_lstm_forward(
    s: Any, bias: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    nought, one = end.dtype.type(0), end.dtype.type(1)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first, second, third, _ = places
        h, b_i, b_f, b_g = end[row, first], bias[first], bias[second], bias[third]
        for t in range(lengths[row]):
            s_i, s_f, s_g = s[row, t, first], s[row, t, second], s[row, t, third]
            y_t = y[row, t, first]
            for c in range(len(h)):
                g = s_g[c] + b_g[c]
                if option:
                    g = max(g, nought) + sigmoid(min(g, nought))
                h[c] = g + _share(s_f[c] + b_f[c], s_i[c] + b_i[c], nought, one) * (h[c] - g)
                y_t[c] = h[c]
        clear(y, row, lengths[row], places)


@compiled
def _min_lstm_backward(
    s: Any, bias: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_s: Any, d_bias: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    nought, one = state.dtype.type(0), state.dtype.type(1)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first, second, third, _ = places
        d_h, b_i, b_f, b_g = d_state[row, first], bias[first], bias[second], bias[third]
        d_b_i, d_b_f, d_b_g = d_bias[row, first], d_bias[row, second], d_bias[row, third]
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row, first] if t == 0 else y[row, t - 1, first]
            s_i, s_f, s_g = s[row, t, first], s[row, t, second], s[row, t, third]
            d_s_i, d_s_f, d_s_g = d_s[row, t, first], d_s[row, t, second], d_s[row, t, third]
            d_t = d_y[row, t, first]
            # In loops of few arrays each: of many, the compiler cannot tell that none overlap.
            for c in range(len(d_h)):
                k_i, k_f = s_i[c] + b_i[c], s_f[c] + b_f[c]
                f = _share(k_f, k_i, nought, one)
                d_s_i[c] = -f * (one - f) * sigmoid(-k_i)
                d_s_f[c] = f * (one - f) * sigmoid(-k_f)
                d_s_g[c] = f
            for c in range(len(d_h)):
                g, f = s_g[c] + b_g[c], d_s_g[c]
                slope = one
                if option:
                    p = sigmoid(min(g, nought))
                    slope = one if g >= nought else p * (one - p)
                    g = max(g, nought) + p
                d = d_h[c] + d_t[c]
                d_f = d * (before[c] - g)
                d_s_i[c] *= d_f
                d_s_f[c] *= d_f
                d_s_g[c] = d * (one - f) * slope
                d_h[c] = d * f
            for c in range(len(d_h)):
                d_b_i[c] += d_s_i[c]
                d_b_f[c] += d_s_f[c]
                d_b_g[c] += d_s_g[c]
        clear(d_s, row, lengths[row], places)


@compiled
def _sigmoid_of_sums(s: Any, b: Any, out: Any) -> None:
    for c in range(len(out)):
        out[c] = sigmoid(s[c] + b[c])


@compiled
def _tanh_of_sums(s: Any, b: Any, out: Any) -> None:
    for c in range(len(out)):
        out[c] = tanh(s[c] + b[c])


@compiled
def _qrnn_forward(
    s: Any, bias: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first, second, third, _ = places
        cell, b_z, b_f, b_o = end[row, first], bias[first], bias[second], bias[third]
        for t in range(lengths[row]):
            s_z, s_f, s_o = s[row, t, first], s[row, t, second], s[row, t, third]
            y_t = y[row, t, first]
            for c in range(len(cell)):
                z = tanh(s_z[c] + b_z[c])
                cell[c] = z + sigmoid(s_f[c] + b_f[c]) * (cell[c] - z)
                y_t[c] = sigmoid(s_o[c] + b_o[c]) * cell[c]
        clear(y, row, lengths[row], places)


@compiled
def _qrnn_backward(
    s: Any, bias: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_s: Any, d_bias: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    one = state.dtype.type(1)
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first, second, third, _ = places
        d_cell, b_z, b_f, b_o = d_state[row, first], bias[first], bias[second], bias[third]
        d_b_z, d_b_f, d_b_o = d_bias[row, first], d_bias[row, second], d_bias[row, third]
        cells = np.empty((lengths[row] + 1, len(d_cell)), state.dtype)
        cells[0] = state[row, first]
        for t in range(lengths[row]):
            # Gates stand for a while where their gradients will, made in loops of few arrays
            # each: of many, the compiler cannot tell that none overlap.
            z, f = d_s[row, t, first], d_s[row, t, second]
            _tanh_of_sums(s[row, t, first], b_z, z)
            _sigmoid_of_sums(s[row, t, second], b_f, f)
            before, after = cells[t], cells[t + 1]
            for c in range(len(d_cell)):
                after[c] = z[c] + f[c] * (before[c] - z[c])
        for t in range(lengths[row] - 1, -1, -1):
            before, after, d_t = cells[t], cells[t + 1], d_y[row, t, first]
            z, f, o = d_s[row, t, first], d_s[row, t, second], d_s[row, t, third]
            _sigmoid_of_sums(s[row, t, third], b_o, o)
            for c in range(len(d_cell)):
                d, d_o, keep = d_cell[c] + d_t[c] * o[c], d_t[c] * after[c], f[c]
                d_cell[c] = d * keep
                f[c] = d * (before[c] - z[c]) * keep * (one - keep)
                z[c] = d * (one - keep) * (one - z[c] * z[c])
                o[c] = d_o * o[c] * (one - o[c])
            for c in range(len(d_cell)):
                d_b_z[c] += z[c]
                d_b_f[c] += f[c]
                d_b_o[c] += o[c]
        clear(d_s, row, lengths[row], places)


def _min_gru_step(parts: list[Tensor], bias: Tensor, h: Tensor, option: float) -> Any:
    z, n = (parts[0] + bias).chunk(2, dim=1)
    h = h + torch.sigmoid(z) * ((positive(n) if option else n) - h)
    return h, h


def _min_lstm_step(parts: list[Tensor], bias: Tensor, h: Tensor, option: float) -> Any:
    i, f, g = (parts[0] + bias).chunk(3, dim=1)
    g = positive(g) if option else g
    h = g + torch.sigmoid(F.logsigmoid(f) - F.logsigmoid(i)) * (h - g)
    return h, h


def _qrnn_step(parts: list[Tensor], bias: Tensor, c: Tensor, option: float) -> Any:
    z, f, o = (parts[0] + bias).chunk(3, dim=1)
    z = torch.tanh(z)
    c = z + torch.sigmoid(f) * (c - z)
    return torch.sigmoid(o) * c, c


_min_gru = ChannelLoop("min_gru_scan", _min_gru_forward, _min_gru_backward, _min_gru_step)
_min_lstm = ChannelLoop("min_lstm_scan", _min_lstm_forward, _min_lstm_backward, _min_lstm_step)
_qrnn = ChannelLoop("qrnn_scan", _qrnn_forward, _qrnn_backward, _qrnn_step)
