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

from recurra.nn.kernels.compiled import compiled, view
from recurra.nn.kernels.matmul import add_product, pack
from recurra.nn.kernels.operator import once_only, steps_of_rows
from recurra.nn.kernels.pointwise import sigmoid, tanh
from recurra.nn.kernels.sequence_linear import sequence_linear
from recurra.nn.kernels.sequence_product import product_over_rows
from recurra.nn.kernels.team import by_batch

__all__ = ["gru_sequence"]

Gradients = tuple[Tensor, Tensor, Tensor, Tensor]


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

    Source: Cho et al. 2014.

    Example:
        >>> weights = (torch.zeros(6, 3), torch.zeros(6, 2), torch.zeros(6), torch.zeros(6))
        >>> gru_sequence(torch.ones(1, 2, 3), torch.ones(1, 2), weights)[1]
        tensor([[0.2500, 0.2500]])
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    with torch.autocast("cpu", enabled=False):
        sums = sequence_linear(x, weight_ih, bias_ih)
        given = (sums, h, weight_hh, bias_hh)
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        y, end, _ = _ahead(*given, lengths, reset_after, keep)
    return y, end


@torch.library.custom_op("recurra::gru_sequence", mutates_args=())
def _ahead(
    sums: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    reset_after: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    y, end, kept = _like_outputs(sums, h, weight, bias, lengths, reset_after, keep)
    H = h.shape[1]
    packed = pack(weight[: 2 * H]), pack(weight[2 * H :])
    steps = steps_of_rows(sums.shape, lengths)
    arrays = (view(sums), view(h), *packed, view(bias), steps, view(kept), view(y))
    by_batch(lambda start, stop: _forward(*arrays, reset_after, start, stop), len(h))
    end.copy_(y[:, -1])
    return y, end, kept


@torch.library.custom_op("recurra::gru_sequence_backward", mutates_args=())
def _back(
    d_y: Tensor,
    d_end: Tensor,
    h: Tensor,
    weight: Tensor,
    lengths: Tensor | None,
    reset_after: bool,
    y: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d_sums, d_h, d_weight, d_bias = _like_gradients(d_y, d_end, h, weight, *[None] * 4)
    H = h.shape[1]
    d_after = torch.empty_like(y) if reset_after else d_sums
    d_h.copy_(d_end)
    packed = pack(weight[: 2 * H].T), pack(weight[2 * H :].T)
    steps = steps_of_rows(y.shape, lengths)
    arrays = (view(d_y), view(h), *packed, steps, view(y), view(kept))
    made = (d_h.numpy(), d_sums.numpy(), d_after.numpy())
    by_batch(lambda start, stop: _backward(*arrays, *made, reset_after, start, stop), len(h))

    before = torch.cat([h.unsqueeze(1), y[:, :-1]], dim=1).view(-1, H)
    flat = d_sums.view(-1, 3 * H)
    after = d_after.view(-1, H) if reset_after else flat[:, 2 * H :]
    d_weight[: 2 * H] = product_over_rows(flat[:, : 2 * H], before)
    if not reset_after:
        before = kept[:, :, 2 * H : 3 * H].reshape(-1, H)
    d_weight[2 * H :] = product_over_rows(after, before)
    torch.sum(flat[:, : 2 * H], dim=0, out=d_bias[: 2 * H])
    torch.sum(after, dim=0, out=d_bias[2 * H :])
    return d_sums, d_h, d_weight, d_bias


@_ahead.register_fake
def _like_outputs(
    sums: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None,
    reset_after: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    B, T, H = len(h), sums.shape[1], h.shape[1]
    kept = sums.new_empty(B, T if keep else 1, 4 * H)
    return sums.new_empty(B, T, H), sums.new_empty(B, H), kept


@_back.register_fake
def _like_gradients(
    d_y: Tensor, d_end: Tensor, h: Tensor, weight: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    B, T, H = d_y.shape
    d_sums = d_y.new_empty(B, T, 3 * H)
    return d_sums, d_y.new_empty(B, H), d_y.new_empty(3 * H, H), d_y.new_empty(3 * H)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, h, weight, _, lengths, ctx.reset_after, _ = inputs
    y, _, kept = output
    ctx.save_for_backward(h, weight, lengths, y, kept)


def _differentiate(ctx: Any, d_y: Tensor, d_end: Tensor, _: Tensor) -> Any:
    h, weight, lengths, y, kept = ctx.saved_tensors
    gradients = _back(d_y, d_end, h, weight, lengths, ctx.reset_after, y, kept)
    return *gradients, None, None, None


_ahead.register_autograd(_differentiate, setup_context=_keep)
_back.register_autograd(once_only("gru_sequence"))


@compiled
def _forward(
    sums: Any,
    first: Any,
    packed: Any,
    packed_n: Any,
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
    for t in range(T):
        at = t if kept.shape[1] > 1 else 0
        h = y[start:stop, t - 1] if t else first[start:stop]
        for b in rows:
            _begin(sums[b, t], bias, kept[b, at], 2 * H, 3 * H)
        add_product(h, packed, kept[start:stop, at, : 2 * H])
        for b in rows:
            _sigmoid_of_all(kept[b, at, : 2 * H])
        if reset_after:
            add_product(h, packed_n, kept[start:stop, at, 2 * H : 3 * H])
            for b in rows:
                _reset_after(sums[b, t], kept[b, at], H)
        else:
            for b in rows:
                _reset_before(h[b - start], sums[b, t], kept[b, at], H)
            reset = kept[start:stop, at, 2 * H : 3 * H]
            add_product(reset, packed_n, kept[start:stop, at, 3 * H :])
            for b in rows:
                _tanh_of_all(kept[b, at, 3 * H :])
        for b in rows:
            if t < lengths[b]:
                _move(h[b - start], kept[b, at], y[b, t], H)
            else:
                y[b, t] = h[b - start]


# What is read beside `j` is cut out first: an index whose sign is open would keep a loop scalar.
@compiled
def _begin(sums: Any, bias: Any, kept: Any, gates: int, products: int) -> None:
    for j in range(gates):
        kept[j] = sums[j] + bias[j]
    to, b = kept[gates:products], bias[gates:products]
    for j in range(len(to)):
        to[j] = b[j]


@compiled
def _sigmoid_of_all(v: Any) -> None:
    for j in range(len(v)):
        v[j] = sigmoid(v[j])


@compiled
def _tanh_of_all(v: Any) -> None:
    for j in range(len(v)):
        v[j] = tanh(v[j])


@compiled
def _reset_after(sums: Any, kept: Any, H: int) -> None:
    x, product, n = sums[2 * H :], kept[2 * H : 3 * H], kept[3 * H :]
    for j in range(H):
        n[j] = x[j] + kept[j] * product[j]
    for j in range(H):
        n[j] = tanh(n[j])


@compiled
def _reset_before(h: Any, sums: Any, kept: Any, H: int) -> None:
    x, product, n = sums[2 * H :], kept[2 * H : 3 * H], kept[3 * H :]
    for j in range(H):
        n[j] = x[j] + product[j]
    for j in range(H):
        product[j] = kept[j] * h[j]


@compiled
def _move(h: Any, kept: Any, y: Any, H: int) -> None:
    z, n = kept[H : 2 * H], kept[3 * H :]
    for j in range(H):
        y[j] = n[j] + z[j] * (h[j] - n[j])


@compiled
def _backward(
    d_y: Any,
    first: Any,
    packed: Any,
    packed_n: Any,
    lengths: Any,
    y: Any,
    kept: Any,
    d_h: Any,
    d_sums: Any,
    d_after: Any,
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
                _clear(d_sums[b, t])
                if reset_after:
                    _clear(d_after[b, t])
        if reset_after:
            add_product(d_after[start:stop, t], packed_n, d_h[start:stop])
        else:
            d_reset[:] = 0
            add_product(d_sums[start:stop, t, 2 * H :], packed_n, d_reset)
            for b in rows:
                if t < lengths[b]:
                    back = d_reset[b - start]
                    _back_through_reset_before(back, h[b - start], kept[b, t], d_h[b], d_sums[b, t])
        add_product(d_sums[start:stop, t, : 2 * H], packed, d_h[start:stop])


@compiled
def _clear(v: Any) -> None:
    for j in range(len(v)):
        v[j] = 0


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
    product, d_n = kept[2 * H : 3 * H], d_sums[2 * H :]
    for j in range(H):
        d_after[j] = d_n[j] * kept[j]
    for j in range(H):
        d_sums[j] = d_after[j] * product[j] * (one - kept[j])


@compiled
def _back_through_reset_before(d_reset: Any, h: Any, kept: Any, d_h: Any, d_sums: Any) -> None:
    one = h.dtype.type(1)
    for j in range(len(h)):
        d_sums[j] = d_reset[j] * h[j] * kept[j] * (one - kept[j])
    for j in range(len(h)):
        d_h[j] += d_reset[j] * kept[j]
