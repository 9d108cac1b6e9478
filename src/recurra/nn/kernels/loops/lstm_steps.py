"""The loops of the LSTM's relatives over the steps of a sequence, compiled.

T steps, B rows, H units, G sums: the gates i, f, g, o side by side, or f, g, o where i = 1 - f.
A part that a member of the family lacks has no rows: `peephole` (3, H) for i, f, o; `gains`
(2, G) of the sums from the input and from h; `norm` (2, H), gain and bias of the memory as it
is read; `keep_h`, `keep_c` (B, T, H), 0 where a unit keeps what it held. Each loop over units
writes to one array only, as a compiler makes vectors of those.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.pointwise import sigmoid, tanh
from recurra.nn.kernels.products.matmul import add_product
from recurra.nn.kernels.vectors import add

__all__ = ["backward", "forward"]

CLIP, EPS, KEEP_H, KEEP_C = 0, 1, 2, 3
"""What stands where in `numbers`: the memory's bound, the variances' addend, expected masks."""


@compiled
def moments(v: Any, eps: Any) -> Any:
    """Return the mean of `v`, and one over its standard deviation."""
    one = v.dtype.type(1)
    zero = v.dtype.type(0)
    share = one / v.dtype.type(v.shape[0])
    total = zero
    for j in range(v.shape[0]):
        total += v[j]
    mean = total * share
    total = zero
    for j in range(v.shape[0]):
        total += (v[j] - mean) * (v[j] - mean)
    return mean, one / np.sqrt(total * share + eps)


@compiled
def add_normalised(s: Any, v: Any, gain: Any, eps: Any) -> None:
    """Add `gain` times `v`, normalised, to `s`."""
    mean, scale = moments(v, eps)
    for j in range(s.shape[0]):
        s[j] += gain[j] * ((v[j] - mean) * scale)


@compiled
def normalised_backward(ds: Any, v: Any, gain: Any, eps: Any, d_gain: Any, dv: Any) -> None:
    """Set `dv` to the gradient of `v`, whose normalised sums have the gradient `ds`."""
    mean, scale = moments(v, eps)
    share = v.dtype.type(1) / v.dtype.type(v.shape[0])
    first = v.dtype.type(0)
    second = v.dtype.type(0)
    for j in range(v.shape[0]):
        first += ds[j] * gain[j]
        second += ds[j] * gain[j] * (v[j] - mean)
    for j in range(v.shape[0]):
        d_gain[j] += ds[j] * ((v[j] - mean) * scale)
    first *= share
    second *= share * scale * scale
    for j in range(v.shape[0]):
        dv[j] = scale * (ds[j] * gain[j] - first - (v[j] - mean) * second)


@compiled
def of_step(keeps: Any, row: int, t: int, none: Any) -> Any:
    """Return the mask of a row's step, or `none` where there are no masks."""
    return keeps[row, t] if keeps.shape[0] else none


@compiled
def remember(s: Any, c_before: Any, c: Any, bound: Any, coupled: bool) -> None:
    """Set `c` to the memory that the gates `s` made, before any of it was zoned out."""
    H = c.shape[0]
    one = c.dtype.type(1)
    G = s.shape[0]
    i, f, g = s[:H], s[G - 3 * H : G - 2 * H], s[G - 2 * H : G - H]
    if coupled:
        for j in range(H):
            c[j] = f[j] * c_before[j] + (one - f[j]) * g[j]
    else:
        for j in range(H):
            c[j] = f[j] * c_before[j] + i[j] * g[j]
    if bound < np.inf:
        for j in range(H):
            c[j] = min(max(c[j], -bound), bound)


@compiled
def step(
    s: Any, c_before: Any, h: Any, c: Any, peephole: Any, norm: Any, numbers: Any, coupled: bool
) -> None:
    """Take a row's step: sums `s` become gates, `c` the memory, `h` what is read of it."""
    H = c.shape[0]
    first = s[: s.shape[0] - 2 * H]  # i and f, or f alone
    f = s[s.shape[0] - 3 * H : s.shape[0] - 2 * H]
    g = s[s.shape[0] - 2 * H : s.shape[0] - H]
    o = s[s.shape[0] - H :]
    if peephole.shape[0]:
        p_i, p_f = peephole[0], peephole[1]
        if not coupled:
            for j in range(H):
                first[j] += p_i[j] * c_before[j]
        for j in range(H):
            f[j] += p_f[j] * c_before[j]
    for j in range(first.shape[0]):
        first[j] = sigmoid(first[j])
    for j in range(H):
        g[j] = tanh(g[j])
    remember(s, c_before, c, numbers[CLIP], coupled)
    if peephole.shape[0]:
        p_o = peephole[2]
        for j in range(H):
            o[j] += p_o[j] * c[j]
    for j in range(H):
        o[j] = sigmoid(o[j])
    if norm.shape[0]:
        bias = norm[1]
        for j in range(H):
            h[j] = bias[j]
        add_normalised(h, c, norm[0], numbers[EPS])
        for j in range(H):
            h[j] = o[j] * tanh(h[j])
    else:
        for j in range(H):
            h[j] = o[j] * tanh(c[j])


@compiled
def mix(new: Any, old: Any, keeps: Any, share: Any) -> None:
    """Keep the old where `keeps` is 0, or `share` of it where there is no mask."""
    if keeps.shape[0]:
        for j in range(new.shape[0]):
            new[j] = old[j] if keeps[j] == 0 else new[j]
    elif share > 0:
        for j in range(new.shape[0]):
            new[j] += share * (old[j] - new[j])


@compiled
def mix_backward(d_new: Any, d_old: Any, keeps: Any, share: Any) -> None:
    """Set `d_old` to what of the gradient `d_new` goes to the old, which `d_new` then lacks."""
    zero = d_new.dtype.type(0)
    if keeps.shape[0]:
        for j in range(d_new.shape[0]):
            d_old[j] = d_new[j] if keeps[j] == 0 else zero
    else:
        for j in range(d_new.shape[0]):
            d_old[j] = share * d_new[j]
    for j in range(d_new.shape[0]):
        d_new[j] -= d_old[j]


@compiled
def forward(
    gates: Any,
    from_x: Any,
    from_h: Any,
    y: Any,
    cs: Any,
    first: Any,
    weight: Any,
    parts: Any,
    start: int,
    end: int,
) -> None:
    """Run rows `start` to `end`, each to its length; `gates (T, B, G)` are the sums from x first.

    With `gains` those are `from_x`, and `from_h (T, B, G)` becomes the sums from h.
    """
    h0, c0, lengths = first
    bias, peephole, gains, norm, keep_h, keep_c, numbers, coupled, begin = parts
    none = np.empty(0, gates.dtype)
    for t in range(y.shape[0]):
        h_before = h0[start:end] if t == 0 else y[t - 1, start:end]
        c_before = c0[start:end] if t == 0 else cs[t - 1, start:end]
        into = from_h if gains.shape[0] else gates
        add_product(h_before, weight, into[t, start:end])
        for r in range(start, end):
            h, c = y[t, r], cs[t, r]
            h_old, c_old = h_before[r - start], c_before[r - start]
            if t >= lengths[r]:
                h[:] = h_old
                c[:] = c_old
                continue
            s = gates[t, r]
            if gains.shape[0]:
                normalised(s, from_x[t, r], from_h[t, r], bias, gains, numbers[EPS])
            step(s, c_old, h, c, peephole, norm, numbers, coupled)
            mix(h, h_old, of_step(keep_h, r, begin + t, none), numbers[KEEP_H])
            mix(c, c_old, of_step(keep_c, r, begin + t, none), numbers[KEEP_C])


@compiled
def normalised(s: Any, from_x: Any, from_h: Any, bias: Any, gains: Any, eps: Any) -> None:
    """Set `s` to the sums: those from the input and those from h, each normalised."""
    for j in range(s.shape[0]):
        s[j] = bias[j]
    add_normalised(s, from_x, gains[0], eps)
    add_normalised(s, from_h, gains[1], eps)


@compiled
def read_backward(
    o: Any, c: Any, dh: Any, dc: Any, do: Any, norm: Any, d_norm: Any, eps: Any, read: Any
) -> None:
    """Take `h = o tanh(c)` back: add to `dc`, set `do` to the gradient of the gate's sum."""
    H = c.shape[0]
    one = c.dtype.type(1)
    if not norm.shape[0]:
        for j in range(H):
            read[j] = tanh(c[j])
        for j in range(H):
            do[j] = dh[j] * read[j] * o[j] * (one - o[j])
        for j in range(H):
            dc[j] += dh[j] * o[j] * (one - read[j] * read[j])
        return
    bias, d_bias = norm[1], d_norm[1]
    for j in range(H):
        read[j] = bias[j]
    add_normalised(read, c, norm[0], eps)
    for j in range(H):
        read[j] = tanh(read[j])
    for j in range(H):
        do[j] = dh[j] * read[j] * o[j] * (one - o[j])
    for j in range(H):
        read[j] = dh[j] * o[j] * (one - read[j] * read[j])
    add(d_bias, read)
    through = np.empty_like(read)
    normalised_backward(read, c, norm[0], eps, d_norm[0], through)
    add(dc, through)


@compiled
def step_backward(
    s: Any, c_before: Any, c: Any, dh: Any, dc: Any, ds: Any, parts: Any, sums: Any, read: Any
) -> None:
    """Take a row's step back: `ds` gets the gradient of the sums, `dc` that of the old memory."""
    peephole, norm, numbers, coupled = parts
    d_peephole, d_norm = sums
    H = c.shape[0]
    G = s.shape[0]
    one = c.dtype.type(1)
    zero = c.dtype.type(0)
    i, f, g, o = s[:H], s[G - 3 * H : G - 2 * H], s[G - 2 * H : G - H], s[G - H :]
    di, df, dg, do = ds[:H], ds[G - 3 * H : G - 2 * H], ds[G - 2 * H : G - H], ds[G - H :]
    read_backward(o, c, dh, dc, do, norm, d_norm, numbers[EPS], read)
    if peephole.shape[0]:
        p_o, d_o = peephole[2], d_peephole[2]
        for j in range(H):
            dc[j] += p_o[j] * do[j]
        for j in range(H):
            d_o[j] += do[j] * c[j]
    bound = numbers[CLIP]
    if bound < np.inf:
        for j in range(H):
            dc[j] = zero if abs(c[j]) >= bound else dc[j]
    if coupled:
        for j in range(H):
            dg[j] = dc[j] * (one - f[j]) * (one - g[j] * g[j])
        for j in range(H):
            df[j] = dc[j] * (c_before[j] - g[j]) * f[j] * (one - f[j])
    else:
        for j in range(H):
            dg[j] = dc[j] * i[j] * (one - g[j] * g[j])
        for j in range(H):
            df[j] = dc[j] * c_before[j] * f[j] * (one - f[j])
        for j in range(H):
            di[j] = dc[j] * g[j] * i[j] * (one - i[j])
    for j in range(H):
        dc[j] *= f[j]
    if peephole.shape[0]:
        for gate in range(1 if coupled else 0, 2):
            p, d_p, d_gate = peephole[gate], d_peephole[gate], di if gate == 0 else df
            for j in range(H):
                dc[j] += p[j] * d_gate[j]
            for j in range(H):
                d_p[j] += d_gate[j] * c_before[j]


@compiled
def backward(
    grads: Any,
    saved: Any,
    first: Any,
    weight: Any,
    parts: Any,
    accumulated: Any,
    start: int,
    end: int,
) -> None:
    """Take `forward` back: set the gradients of the sums, `dh` and `dc` to those of the start.

    Each row has places of its own in `accumulated`, for the gradients of the parts.
    """
    dy, dh, dc, d_sums, d_from_h = grads
    gates, from_x, from_h, y, cs = saved
    _, c0, lengths = first
    _, peephole, gains, norm, keep_h, keep_c, numbers, coupled, begin = parts
    d_bias, d_peephole, d_gains, d_norm = accumulated
    H = y.shape[2]
    d_normalised, narrow = np.empty(gates.shape[2], gates.dtype), np.zeros((4, H), gates.dtype)
    memory, read, d_h_old, d_c_old = narrow[0], narrow[1], narrow[2], narrow[3]
    none = np.empty(0, gates.dtype)
    zoned_h = keep_h.shape[0] > 0 or numbers[KEEP_H] > 0
    zoned_c = keep_c.shape[0] > 0 or numbers[KEEP_C] > 0
    for t in range(y.shape[0] - 1, -1, -1):
        c_before = c0[start:end] if t == 0 else cs[t - 1, start:end]
        for r in range(start, end):
            c_old = c_before[r - start]
            ds = d_sums[t, r]
            if t >= lengths[r]:
                ds[:] = 0
                if gains.shape[0]:
                    d_from_h[t, r][:] = 0
                continue
            d_h, d_c = dh[r], dc[r]
            add(d_h, dy[t, r])
            if zoned_h:
                mix_backward(d_h, d_h_old, of_step(keep_h, r, begin + t, none), numbers[KEEP_H])
            if zoned_c:
                mix_backward(d_c, d_c_old, of_step(keep_c, r, begin + t, none), numbers[KEEP_C])
            s, c = gates[t, r], cs[t, r]
            if gains.shape[0]:
                ds = d_normalised
            if zoned_c:
                remember(s, c_old, memory, numbers[CLIP], coupled)
                c = memory
            own = (peephole, norm, numbers, coupled)
            step_backward(s, c_old, c, d_h, d_c, ds, own, (d_peephole[r], d_norm[r]), read)
            add(d_bias[r], ds)
            if gains.shape[0]:
                eps = numbers[EPS]
                normalised_backward(ds, from_x[t, r], gains[0], eps, d_gains[r, 0], d_sums[t, r])
                normalised_backward(ds, from_h[t, r], gains[1], eps, d_gains[r, 1], d_from_h[t, r])
            d_h[:] = d_h_old
            add(d_c, d_c_old)
        into = d_from_h if gains.shape[0] else d_sums
        add_product(into[t, start:end], weight, dh[start:end])
