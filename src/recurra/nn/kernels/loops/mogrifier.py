"""The Mogrifier around an LSTM over whole sequences on the processor, forward and backward.

B rows, T steps, I inputs, H units, r rounds, K the rank of their matrices, 0 where they are full.
Of both input and hidden state all that a step makes stands in one array, time behind it and rows
behind that: first the n + 1 vectors, the first as it came, then the n gates between them. So each
matrix has its gradient by one product over all steps. Each thread takes some of the rows through
all steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import ShapeError
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
from recurra.nn.kernels.pointwise import sigmoid
from recurra.nn.kernels.products.matmul import add_product, pack
from recurra.nn.kernels.products.sequence import linear_gradients, product_over_rows
from recurra.nn.kernels.vectors import add, copy

__all__ = ["mogrifier_sequence"]

Array = np.ndarray[Any, Any]
SHAPES = Shapes(x="B T I", h="B H", c="B H", weight_ih="4H I", weight_hh="4H H", bias="4H")

Eight = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def mogrifier_sequence(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor, Tensor],
    matrices: list[Tensor],
    rounds: int,
    lengths: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run an LSTM whose input and hidden state gate each other before every step.

    Shapes: `x (B, T, I)`; a state's `h` and `c` `(B, H)`; `lengths (B,)`; returns `(B, T, H)` and
    two `(B, H)`. Outputs past a row's length are `h` at its end.

    Args:
        x: the inputs, at least one step, float32 or float64 on the processor.
        state: `h` and `c` before the first step.
        weights: the LSTM's: `weight_ih (4H, I)`, `weight_hh (4H, H)` and one bias `(4H,)`.
        matrices: of each round Q `(I, H)` or R `(H, I)`, or its two factors.
        rounds: r, at least 1.
        lengths: steps of each row, at most T; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Melis et al. 2020, "Mogrifier LSTM", equations 1 and 2.

    Example:
        >>> weights = torch.zeros(8, 3), torch.zeros(8, 2), torch.zeros(8)
        >>> state = torch.ones(1, 2), torch.ones(1, 2)
        >>> y, (h, c) = mogrifier_sequence(
        ...     torch.ones(1, 4, 3), state, weights, [torch.zeros(3, 2)], rounds=1
        ... )
        >>> y.shape, c
        (torch.Size([1, 4, 2]), tensor([[0.0625, 0.0625]]))
    """
    SHAPES.check(x, *state, *weights)
    _check(matrices, rounds, x, weights[0].shape[1], state[0].shape[1])
    with torch.autocast("cpu", enabled=False):
        given = (x.transpose(0, 1), *state, *weights, matrices)
        tensors = (x, *state, *weights, *matrices)
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
        y, h, c, *_ = _ahead(*given, rounds, lengths, keep)
    return y.transpose(0, 1), (h, c)


def _check(matrices: list[Tensor], rounds: int, like: Tensor, *sizes: int) -> None:
    inner = matrices[0].shape[1:] if len(matrices) > rounds else ()
    pairs = [sizes if i % 2 == 0 else sizes[::-1] for i in range(rounds)]
    shapes = [shape for rows, columns in pairs for shape in zip((rows, *inner), (*inner, columns))]
    got = [tuple(matrix.shape) for matrix in matrices]
    if got != shapes:
        raise ShapeError(f"the matrices of {rounds} rounds are {shapes}, got {got}")
    if any(matrix.dtype != like.dtype for matrix in matrices):
        kinds = ", ".join(str(matrix.dtype) for matrix in matrices)
        raise ShapeError(f"the matrices are of {like.dtype} as x is, got {kinds}")


@torch.library.custom_op("recurra::mogrifier_sequence", mutates_args=())
def _ahead(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    matrices: list[Tensor],
    rounds: int,
    lengths: Tensor | None,
    keep: bool,
) -> Eight:
    """Return `y (T, B, H)`, `h` and `c` at the end, and for the way back all c, what became of x
    and of h, what lies between the factors, and the LSTM's gates."""
    made: Eight = _like_outputs(
        x, h, c, weight_ih, weight_hh, bias, matrices, rounds, lengths, keep
    )
    y, h_end, c_end, cs, *kept = made
    steps = steps_of_rows((len(h), len(x)), lengths)
    given = (view(x), view(h), view(c), view(bias), steps, rounds)
    written = view(y), view(cs), tuple(map(view, kept))
    packed = _packed([weight_ih, weight_hh, *matrices])
    by_rows(_forward, (*given, *packed, *written), len(h))
    h_end.copy_(y[-1])
    c_end.copy_(cs[-1])
    return made


@torch.library.custom_op("recurra::mogrifier_sequence_backward", mutates_args=())
def _back(
    d_y: Tensor | None,
    d_h: Tensor | None,
    d_c: Tensor | None,
    c: Tensor,
    weights: list[Tensor],
    rounds: int,
    lengths: Tensor | None,
    cs: Tensor,
    kept: list[Tensor],
) -> list[Tensor]:
    """Return the gradients of x, h, c, the LSTM's weights and bias, and the matrices."""
    weight_ih, weight_hh, *matrices = weights
    of_x, of_h, _, gates = kept
    T, B, H = cs.shape
    I = weight_ih.shape[1]  # noqa: E741
    d_y = torch.zeros_like(cs) if d_y is None else d_y
    d_h, d_c = writable(d_h, c), writable(d_c, c)
    d_x = cs.new_empty(T, B, I)
    n_x, n_h = len(of_x) // 2, len(of_h) // 2
    d_gates = cs.new_empty(n_x, T, B, I), cs.new_empty(n_h, T, B, H)
    d_us, d_sums = torch.empty_like(kept[2]), torch.empty_like(gates)

    factors = len(matrices) // rounds
    turned = [weight.T for weight in (weight_ih, weight_hh)]
    for i in range(0, len(matrices), factors):
        turned += [matrix.T for matrix in reversed(matrices[i : i + factors])]
    given = (view(d_y), view(c), steps_of_rows((B, T), lengths), rounds, *_packed(turned))
    written = tuple(map(view, (d_x, d_h, d_c, *d_gates, d_us, d_sums)))
    by_rows(_backward, (*given, view(cs), tuple(map(view, kept)), written), B)

    def over(left: Tensor, right: Tensor) -> Tensor:
        return product_over_rows(left.flatten(0, 1), right.flatten(0, 1))

    d_weight_ih, d_bias = linear_gradients(d_sums.flatten(0, 1), of_x[n_x].flatten(0, 1))
    d_weights = [d_weight_ih, over(d_sums, of_h[n_h]), d_bias]
    for i in range(rounds):
        k, read = i // 2, of_x[i // 2 + 1] if i % 2 else of_h[i // 2]
        if factors == 2:
            d_weights += [over(d_gates[i % 2][k], kept[2][i]), over(d_us[i], read)]
        else:
            d_weights.append(over(d_gates[i % 2][k], read))
    return [d_x, d_h, d_c, *d_weights]


@_ahead.register_fake
def _like_outputs(x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> Eight:
    *_, matrices, rounds, _, keep = rest
    (T, B, I), H = x.shape, h.shape[1]  # noqa: E741
    stored = T if keep else 1
    n_x, n_h = (rounds + 1) // 2, rounds // 2
    rank = matrices[0].shape[1] if len(matrices) > rounds else 0
    return (
        x.new_empty(T, B, H),
        x.new_empty(B, H),
        x.new_empty(B, H),
        x.new_empty(T, B, H),
        x.new_empty(2 * n_x + 1, stored, B, I),
        x.new_empty(2 * n_h + 1, stored, B, H),
        x.new_empty(rounds, stored, B, rank),
        x.new_empty(stored, B, 4 * H),
    )


@_back.register_fake
def _like_gradients(
    d_y: Any, d_h: Any, d_c: Any, c: Tensor, weights: list[Tensor], *rest: Any
) -> list[Tensor]:
    T, B, _ = rest[2].shape
    d_x, d_bias = c.new_empty(T, B, weights[0].shape[1]), c.new_empty(weights[0].shape[0])
    likes = [weight.new_empty(weight.shape) for weight in weights]
    return [d_x, c.new_empty(c.shape), c.new_empty(c.shape), *likes[:2], d_bias, *likes[2:]]


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    _, _, c, weight_ih, weight_hh, _, matrices, rounds, lengths, _ = given
    _, cs, *kept = made
    found = _back(*d, c, [weight_ih, weight_hh, *matrices], rounds, lengths, cs, kept)
    return *found[:6], found[6:], None, None, None


def _plain(x: Tensor, h: Tensor, c: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    weight_ih, weight_hh, bias, matrices, rounds, lengths, _ = given
    none, factors = x.new_empty(0), len(matrices) // rounds

    def step(t: int, state: Any) -> Any:
        h, c = state
        pair = [x[t], h]
        for i in range(rounds):
            read = pair[1 - i % 2]
            for matrix in reversed(matrices[i * factors : (i + 1) * factors]):
                read = F.linear(read, matrix)
            pair[i % 2] = 2 * torch.sigmoid(read) * pair[i % 2]
        sums = F.linear(pair[0], weight_ih, bias) + F.linear(pair[1], weight_hh)
        return lstm_step(sums, c, none, none, math.inf)

    y, (h, c) = steps_in_torch(step, x.shape[0], (h, c), lengths)
    return y, h, c


register_gradient(_ahead, _differentiate, _plain, ends=2)


def _packed(matrices: list[Tensor]) -> tuple[Array, Array]:
    """Return packed matrices end to end, and of each where it begins, and its shape."""
    panels = [pack(matrix) for matrix in matrices]
    starts = np.cumsum([0, *(panel.size for panel in panels[:-1])])
    table = [(start, *panel.shape) for start, panel in zip(starts, panels)]
    return np.concatenate([panel.ravel() for panel in panels]), np.array(table, np.int64)


@compiled
def _times(v: Any, flat: Any, table: Any, m: int, out: Any) -> None:
    """Add the product of matrix `m` and the rows of `v`."""
    start, P, K, W = table[m]
    add_product(v, flat[start : start + P * K * W].reshape(P, K, W), out)


@compiled
def _of_round(v: Any, flat: Any, table: Any, i: int, between: Any, out: Any) -> None:
    """Add the product of the matrix of round `i`, or of its two factors, and the rows of `v`."""
    if between.shape[1]:
        between[:] = 0
        _times(v, flat, table, 3 + 2 * i, between)
        _times(between, flat, table, 2 + 2 * i, out)
    else:
        _times(v, flat, table, 2 + i, out)


@compiled
def _scale(g: Any, v: Any, to: Any) -> None:
    two = v.dtype.type(2)
    for j in range(len(v)):
        g[j] = sigmoid(g[j])
    for j in range(len(v)):
        to[j] = two * g[j] * v[j]


@compiled
def _scale_back(g: Any, scaled: Any, d: Any, d_g: Any) -> None:
    one, two = g.dtype.type(1), g.dtype.type(2)
    for j in range(len(g)):
        d_g[j] = d[j] * scaled[j] * (one - g[j])
    for j in range(len(g)):
        d[j] *= two * g[j]


@compiled
def _forward(
    x: Any, first: Any, first_c: Any, bias: Any, lengths: Any, rounds: int, flat: Any, table: Any,
    y: Any, cs: Any, kept: Any, start: int, stop: int,
) -> None:  # fmt: skip
    of_x, of_h, us, gates = kept
    none = np.empty((0, 0), y.dtype)
    numbers = np.array([math.inf, 0, 0, 0]).astype(y.dtype)
    rows = range(stop - start)
    for t in range(len(y)):
        at = t if len(gates) > 1 else 0
        own = gates[at, start:stop]
        c_before = cs[t - 1, start:stop] if t else first_c[start:stop]
        before = y[t - 1, start:stop] if t else first[start:stop]
        for r in rows:
            copy(of_x[0, at, start + r], x[t, start + r])
            copy(of_h[0, at, start + r], before[r])
            copy(own[r], bias)
        for i in range(rounds):
            k, scaled, read = i // 2, of_x, of_h
            if i % 2:
                scaled, read = of_h, of_x
            g = scaled[len(scaled) // 2 + 1 + k, at, start:stop]
            g[:] = 0
            source = read[k + i % 2, at, start:stop]
            _of_round(source, flat, table, i, us[i, at, start:stop], g)
            for r in range(start, stop):
                _scale(g[r - start], scaled[k, at, r], scaled[k + 1, at, r])
        _times(of_x[len(of_x) // 2, at, start:stop], flat, table, 0, own)
        _times(of_h[len(of_h) // 2, at, start:stop], flat, table, 1, own)
        for r in rows:
            h, c = y[t, start + r], cs[t, start + r]
            if t < lengths[start + r]:
                step(own[r], c_before[r], h, c, none, none, numbers, False)
            else:
                copy(h, before[r])
                copy(c, c_before[r])


@compiled
def _backward(
    d_y: Any, first_c: Any, lengths: Any, rounds: int, flat: Any, table: Any, cs: Any, kept: Any,
    written: Any, start: int, stop: int,
) -> None:  # fmt: skip
    of_x, of_h, _, gates = kept
    d_x, d_h, d_c, d_gates_x, d_gates_h, d_us, d_sums = written
    none = np.empty((0, 0), cs.dtype)
    numbers = np.array([math.inf, 0, 0, 0]).astype(cs.dtype)
    rows = range(stop - start)
    d_before = np.empty((stop - start, cs.shape[2]), cs.dtype)
    scratch = np.empty(cs.shape[2], cs.dtype)
    parts, totals = (none, none, numbers, False), (none, none)
    for t in range(len(cs) - 1, -1, -1):
        c_before = cs[t - 1, start:stop] if t else first_c[start:stop]
        d_own, d_input = d_sums[t, start:stop], d_x[t, start:stop]
        d_before[:] = 0
        d_input[:] = 0
        for r in rows:
            b = start + r
            if t < lengths[b]:
                add(d_h[b], d_y[t, b])
                step_backward(
                    gates[t, b], c_before[r], cs[t, b], d_h[b], d_c[b], d_own[r], parts, totals,
                    scratch,
                )  # fmt: skip
                d_h[b] = 0
            else:
                d_own[r] = 0
        _times(d_own, flat, table, 0, d_input)
        _times(d_own, flat, table, 1, d_before)
        for i in range(rounds - 1, -1, -1):
            k, scaled, d_gates, d, d_read = i // 2, of_x, d_gates_x, d_input, d_before
            if i % 2:
                scaled, d_gates, d, d_read = of_h, d_gates_h, d_before, d_input
            g, d_g = scaled[len(scaled) // 2 + 1 + k, t, start:stop], d_gates[k, t, start:stop]
            for r in rows:
                _scale_back(g[r], scaled[k + 1, t, start + r], d[r], d_g[r])
            _of_round(d_g, flat, table, i, d_us[i, t, start:stop], d_read)
        for r in rows:
            add(d_h[start + r], d_before[r])
