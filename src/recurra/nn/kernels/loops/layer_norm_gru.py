"""The layer-normalised GRU over whole sequences on the processor, as an operator of torch.

B rows, T steps, H units; gates in the order r, z, n. Each thread runs some rows through all steps.
What a step keeps for the backward pass lies side by side: the normalised products with the hidden
state (3H), then r, z, n, then what the products of the gates and of the candidate were scaled by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import compiled, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.loops.plain import normalised
from recurra.nn.kernels.operator import (
    Shapes,
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)
from recurra.nn.kernels.pointwise import sigmoid, tanh
from recurra.nn.kernels.products.linear import sequence_linear
from recurra.nn.kernels.products.matmul import add_product, pack
from recurra.nn.kernels.products.sequence import product_over_rows
from recurra.nn.kernels.vectors import add, copy

__all__ = ["layer_norm_gru_sequence"]

SHAPES = Shapes(
    x="B T I", h="B H", weight_ih="3H I", weight_hh="3H H",
    gain_ih="3H", gain_hh="3H", bias_ih="3H", bias_hh="3H",
)  # fmt: skip


def layer_norm_gru_sequence(
    x: Tensor,
    h: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
    eps: float,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a layer-normalised GRU over whole sequences; returns the outputs, and `h` at the end.

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length repeat its last.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        h: hidden state before the first step.
        weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `gain_ih`, `gain_hh`, `bias_ih`,
            `bias_hh` `(3H,)`.
        eps: added to each variance.
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", equations 22-25 of the supplement.

    Example:
        >>> weights = (torch.zeros(6, 3), torch.zeros(6, 2), *torch.zeros(4, 6))
        >>> layer_norm_gru_sequence(torch.ones(1, 2, 3), torch.ones(1, 2), weights, 1e-5)[1]
        tensor([[0.2500, 0.2500]])
    """
    SHAPES.check(x, h, *weights)
    weight_ih, weight_hh, gain_ih, gain_hh, bias_ih, bias_hh = weights
    H = h.shape[1]
    with torch.autocast("cpu", enabled=False):
        gates, candidate = (
            F.layer_norm(
                sequence_linear(x, weight_ih[part]), (size,), gain_ih[part], bias_ih[part], eps
            )
            for part, size in ((slice(2 * H), 2 * H), (slice(2 * H, None), H))
        )
        given = (gates, candidate, h, weight_hh, gain_hh, bias_hh)
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        y, end, _ = _ahead(*given, eps, lengths, keep)
    return y, end


@torch.library.custom_op("recurra::layer_norm_gru_sequence", mutates_args=())
def _ahead(
    gates: Tensor,
    candidate: Tensor,
    h: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    eps: float,
    lengths: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    y, end, kept = _like_outputs(gates, candidate, h, weight, gain, bias, eps, lengths, keep)
    given = (view(gates), view(candidate), view(h), pack(weight), view(gain), view(bias))
    arrays = (*given, steps_of_rows(y.shape, lengths), eps, kept.numpy(), y.numpy())
    by_rows(_forward, arrays, len(h))
    end.copy_(y[:, -1])
    return y, end, kept


@torch.library.custom_op("recurra::layer_norm_gru_sequence_backward", mutates_args=())
def _back(
    d_y: Tensor | None,
    d_end: Tensor | None,
    h: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    y: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    B, T, H = y.shape
    d_y = torch.zeros_like(y) if d_y is None else d_y
    d_h, d_candidate = writable(d_end, h), y.new_empty(B, T, H)
    d_gates, d_products = y.new_empty(B, T, 2 * H), y.new_empty(B, T, 3 * H)
    d_gain, d_bias = y.new_zeros(2, B, 3 * H)
    steps = steps_of_rows(y.shape, lengths)
    given = (view(d_y), view(h), pack(weight.T), view(gain), view(bias), steps)
    made = (d_h, d_gates, d_candidate, d_products, d_gain, d_bias)
    arrays = (*given, view(y), view(kept), *map(view, made))
    by_rows(_backward, arrays, B)
    before = torch.cat([h.unsqueeze(1), y[:, :-1]], dim=1).view(-1, H)
    d_weight = product_over_rows(d_products.view(-1, 3 * H), before)
    return d_gates, d_candidate, d_h, d_weight, d_gain.sum(dim=0), d_bias.sum(dim=0)


@_ahead.register_fake
def _like_outputs(
    gates: Tensor, candidate: Tensor, h: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    B, T, H = candidate.shape
    kept = h.new_empty(B, T if rest[-1] else 1, 6 * H + 2)
    return h.new_empty(B, T, H), h.new_empty(B, H), kept


@_back.register_fake
def _like_gradients(d_y: Tensor | None, d_end: Tensor | None, *given: Any) -> tuple[Tensor, ...]:
    *likes, _, y, _ = given
    B, T, H = y.shape
    others = (like.new_empty(like.shape) for like in likes)
    return y.new_empty(B, T, 2 * H), y.new_empty(B, T, H), *others


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    _, _, *tensors, _, lengths, _ = given
    return *_back(*d, *tensors, lengths, *made), None, None, None


def _plain(gates: Tensor, candidate: Tensor, h: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
    weight, gain, bias, eps, lengths, _ = given
    parts = slice(2 * h.shape[1]), slice(2 * h.shape[1], None)

    def step(t: int, state: Any) -> Any:
        (h,) = state
        products = F.linear(h, weight)
        from_h, h_n = (
            bias[part] + normalised(products[:, part], gain[part], eps) for part in parts
        )
        r, z = torch.sigmoid(gates[:, t] + from_h).chunk(2, dim=1)
        n = torch.tanh(candidate[:, t] + r * h_n)
        return (n + z * (h - n),)

    y, (end,) = steps_in_torch(step, gates.shape[1], (h,), lengths)
    return y.transpose(0, 1), end


register_gradient(_ahead, _differentiate, _plain)


@compiled
def _forward(
    gates: Any,
    candidate: Any,
    first: Any,
    packed: Any,
    gain: Any,
    bias: Any,
    lengths: Any,
    eps: float,
    kept: Any,
    y: Any,
    start: int,
    stop: int,
) -> None:
    T, H = y.shape[1:]
    for t in range(T):
        at = t if kept.shape[1] > 1 else 0
        h = y[start:stop, t - 1] if t else first[start:stop]
        products = kept[start:stop, at, : 3 * H]
        products[:] = 0
        add_product(h, packed, products)
        for b in range(start, stop):
            row = kept[b, at]
            if t < lengths[b]:
                _normalise(row[: 2 * H], row[6 * H :], eps)
                _normalise(row[2 * H : 3 * H], row[6 * H + 1 :], eps)
                _step(gates[b, t], candidate[b, t], gain, bias, row, h[b - start], y[b, t])
            else:
                copy(y[b, t], h[b - start])


@compiled
def _normalise(v: Any, scale: Any, eps: float) -> None:
    """Make the mean of `v` 0 and its variance 1; keep what it was multiplied by."""
    mean, var = v.dtype.type(0), v.dtype.type(0)
    for j in range(len(v)):
        mean += v[j]
    mean /= v.dtype.type(len(v))
    for j in range(len(v)):
        v[j] -= mean
        var += v[j] * v[j]
    s = v.dtype.type(1) / np.sqrt(var / v.dtype.type(len(v)) + v.dtype.type(eps))
    scale[0] = s
    for j in range(len(v)):
        v[j] *= s


@compiled
def _step(gates: Any, candidate: Any, gain: Any, bias: Any, kept: Any, h: Any, y: Any) -> None:
    H = len(h)
    for j in range(2 * H):
        kept[3 * H + j] = kept[j] * gain[j] + bias[j]
    for j in range(2 * H):
        kept[3 * H + j] = sigmoid(kept[3 * H + j] + gates[j])
    for j in range(2 * H, 3 * H):
        kept[3 * H + j] = kept[j] * gain[j] + bias[j]
    for j in range(H):
        kept[5 * H + j] = tanh(candidate[j] + kept[3 * H + j] * kept[5 * H + j])
    for j in range(H):
        n = kept[5 * H + j]
        y[j] = n + kept[4 * H + j] * (h[j] - n)


@compiled
def _backward(
    d_y: Any,
    first: Any,
    packed: Any,
    gain: Any,
    bias: Any,
    lengths: Any,
    y: Any,
    kept: Any,
    d_h: Any,
    d_gates: Any,
    d_candidate: Any,
    d_products: Any,
    d_gain: Any,
    d_bias: Any,
    start: int,
    stop: int,
) -> None:
    T, H = y.shape[1:]
    for t in range(T - 1, -1, -1):
        h = y[start:stop, t - 1] if t else first[start:stop]
        for b in range(start, stop):
            d, row = d_products[b, t], kept[b, t]
            if t < lengths[b]:
                add(d_h[b], d_y[b, t])
                own = h[b - start]
                _step_back(gain, bias, row, own, d_h[b], d_gates[b, t], d_candidate[b, t], d)
                _affine_back(d, row, gain, d_gain[b], d_bias[b])
                _normalise_back(d[: 2 * H], row[: 2 * H], row[6 * H])
                _normalise_back(d[2 * H :], row[2 * H : 3 * H], row[6 * H + 1])
            else:
                d[:] = 0
                d_gates[b, t] = 0
                d_candidate[b, t] = 0
        add_product(d_products[start:stop, t], packed, d_h[start:stop])


@compiled
def _step_back(
    gain: Any,
    bias: Any,
    kept: Any,
    h: Any,
    d_h: Any,
    d_gates: Any,
    d_candidate: Any,
    d_products: Any,
) -> None:
    H = len(h)
    one = h.dtype.type(1)
    for j in range(H):
        n = kept[5 * H + j]
        d_candidate[j] = d_h[j] * (one - kept[4 * H + j]) * (one - n * n)
    for j in range(H):
        z = kept[4 * H + j]
        d_gates[H + j] = d_h[j] * (h[j] - kept[5 * H + j]) * z * (one - z)
    for j in range(H):
        d_h[j] *= kept[4 * H + j]
    for j in range(H):
        d_gates[j] = kept[2 * H + j] * gain[2 * H + j] + bias[2 * H + j]
    for j in range(H):
        r = kept[3 * H + j]
        d_gates[j] *= d_candidate[j] * r * (one - r)
    for j in range(H):
        d_products[2 * H + j] = d_candidate[j] * kept[3 * H + j]
    for j in range(2 * H):
        d_products[j] = d_gates[j]


@compiled
def _affine_back(d: Any, v: Any, gain: Any, d_gain: Any, d_bias: Any) -> None:
    add(d_bias, d)
    for j in range(len(d)):
        d_gain[j] += d[j] * v[j]
    for j in range(len(d)):
        d[j] *= gain[j]


@compiled
def _normalise_back(d: Any, v: Any, scale: Any) -> None:
    mean, along = d.dtype.type(0), d.dtype.type(0)
    for j in range(len(d)):
        mean += d[j]
        along += d[j] * v[j]
    mean /= d.dtype.type(len(d))
    along /= d.dtype.type(len(d))
    for j in range(len(d)):
        d[j] = scale * (d[j] - mean - v[j] * along)
