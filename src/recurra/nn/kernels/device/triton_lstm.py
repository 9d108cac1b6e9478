"""The steps of the LSTM's relatives as Triton kernels, where triton is installed.

B rows, T steps, H units, N gates: i, f, g, o, or f, g, o where i = 1 - f. A program takes R rows,
as a block of W >= H columns, through the steps from `start` to `end`. Where the loop is WHOLE it
takes the products with the weights too; else it is one step, whose product is made outside and
stands in `from_h`. All arrays are contiguous: those of steps `(B, T, ...)`, those between steps
`(B, H)`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

triton: Any = import_module("triton") if find_spec("triton") else None
tl: Any = triton and import_module("triton.language")

__all__ = ["backward", "forward"]

if TYPE_CHECKING or not triton:
    constexpr = Any
    block = Any
else:  # Triton reads the annotations: a constexpr is a number that a kernel is compiled for
    constexpr, block = tl.constexpr, tl.tensor


def _jit(function: Any, **options: Any) -> Any:
    """Return the kernel, or the part of one, that a function is the text of."""
    return triton.jit(function, **options) if triton else None


def _sigmoid(x: block) -> block:
    return 1 / (1 + tl.exp(-x))


def _tanh(x: block) -> block:
    return 2 / (1 + tl.exp(-2 * x)) - 1


def _get(pointer: block, mask: block) -> block:
    return tl.load(pointer, mask=mask, other=0.0)


sigmoid, tanh, get = _jit(_sigmoid), _jit(_tanh), _jit(_get)


def _four(pointer: block, mask: block, H: constexpr, N: constexpr) -> block:
    """Return what stands for i, f, g, o; f in the place of an i that is not there."""
    f = get(pointer + (N - 3) * H, mask)
    i = get(pointer, mask) if N == 4 else f
    return i, f, get(pointer + (N - 2) * H, mask), get(pointer + (N - 1) * H, mask)


def _put(
    pointer: block,
    i: block,
    f: block,
    g: block,
    o: block,
    mask: block,
    H: constexpr,
    N: constexpr,
) -> None:
    if N == 4:
        tl.store(pointer, i, mask=mask)
    tl.store(pointer + (N - 3) * H, f, mask=mask)
    tl.store(pointer + (N - 2) * H, g, mask=mask)
    tl.store(pointer + (N - 1) * H, o, mask=mask)


def _into(h: block, weight: block, cols: block, gate: block, H: constexpr) -> block:
    """Return what `h (R, W)` gives a gate."""
    of, to = cols[:, None], cols[None, :]
    w = get(weight + (gate * H + to) * H + of, (to < H) & (of < H))
    return tl.dot(h, w, input_precision="ieee")


def _outof(d: block, weight: block, cols: block, gate: block, H: constexpr) -> block:
    """Return what the gradient of a gate, `d (R, W)`, gives `h`."""
    of, to = cols[:, None], cols[None, :]
    w = get(weight + (gate * H + of) * H + to, (to < H) & (of < H))
    return tl.dot(d, w, input_precision="ieee")


def _apart(v: block, j: block, eps: block, H: constexpr) -> block:
    """Return `v (R, W)` less its mean, and one over its standard deviation."""
    mean = (tl.sum(tl.where(j < H, v, 0.0), 1) / H)[:, None]
    v = tl.where(j < H, v - mean, 0.0)
    return v, (1 / tl.sqrt(tl.sum(v * v, 1) / H + eps))[:, None]


def _all_apart(i: block, f: block, g: block, o: block, j: block, eps: block, H: constexpr) -> block:
    """Return four blocks less their common mean, and one over their standard deviation."""
    mean = (tl.sum(tl.where(j < H, i + f + g + o, 0.0), 1) / (4 * H))[:, None]
    i, f = tl.where(j < H, i - mean, 0.0), tl.where(j < H, f - mean, 0.0)
    g, o = tl.where(j < H, g - mean, 0.0), tl.where(j < H, o - mean, 0.0)
    squares = tl.sum(i * i + f * f + g * g + o * o, 1)
    return i, f, g, o, (1 / tl.sqrt(squares / (4 * H) + eps))[:, None]


four, put, into, outof = _jit(_four), _jit(_put), _jit(_into), _jit(_outof)
apart, all_apart = _jit(_apart), _jit(_all_apart)


def _forward(
    sums: block, from_h: block, weight: block, peephole: block, gains: block, norm: block,
    h0: block, c0: block, lengths: block, y: block, cs: block,
    B: block, T: block, start: block, end: block, clip: block, eps: block,
    H: constexpr, W: constexpr, R: constexpr, N: constexpr,
    PEEPHOLE: constexpr, NORM: constexpr, CLIP: constexpr, WHOLE: constexpr,
) -> None:  # fmt: skip
    """Set `y` and `cs`; `sums` become the gates, and `from_h`, where NORM, what came from h."""
    rows = (tl.program_id(0) * R + tl.arange(0, R)[:, None]).to(tl.int64)
    cols = tl.arange(0, W)
    j = cols[None, :]
    unit = j < H
    mask = (rows < B) & unit
    length = tl.load(lengths + rows, mask=rows < B, other=0)
    later = (rows * 0 + start) > 0
    at = (rows * T + start - 1) * H + j
    h = get(h0 + rows * H + j, mask & (later == 0)) + get(y + at, mask & later)
    c = get(c0 + rows * H + j, mask & (later == 0)) + get(cs + at, mask & later)
    for t in range(start, end):
        base = (rows * T + t) * (N * H) + j
        if WHOLE:
            f_h = into(h, weight, cols, N - 3, H)
            g_h, o_h = into(h, weight, cols, N - 2, H), into(h, weight, cols, N - 1, H)
            i_h = into(h, weight, cols, 0, H) if N == 4 else f_h
            if NORM:
                put(from_h + base, i_h, f_h, g_h, o_h, mask, H, N)
        else:
            i_h, f_h, g_h, o_h = four(from_h + base, mask, H, N)
        if NORM:
            i_h, f_h, g_h, o_h, scale = all_apart(i_h, f_h, g_h, o_h, j, eps, H)
            a_i, a_f, a_g, a_o = four(gains + j, unit, H, N)
            i_h, f_h, g_h, o_h = i_h * a_i, f_h * a_f, g_h * a_g, o_h * a_o
            i_h, f_h, g_h, o_h = i_h * scale, f_h * scale, g_h * scale, o_h * scale
        i, f, g, o = four(sums + base, mask, H, N)
        i, f, g, o = i + i_h, f + f_h, g + g_h, o + o_h
        if PEEPHOLE:
            i += get(peephole + j, unit) * c
            f += get(peephole + H + j, unit) * c
        f, g = sigmoid(f), tanh(g)
        i = sigmoid(i) if N == 4 else 1 - f
        new = f * c + i * g
        if CLIP:
            # Not by minimum and maximum, which make a number of what is none.
            new = tl.where(new > clip, clip, tl.where(new < -clip, -clip, new))
        if PEEPHOLE:
            o += get(peephole + 2 * H + j, unit) * new
        o = sigmoid(o)
        read = new
        if NORM:
            read, scale = apart(new, j, eps, H)
            read = get(norm + j, unit) * read * scale + get(norm + H + j, unit)
        alive = (t < length) & mask
        c = tl.where(alive, new, c)
        h = tl.where(alive, o * tanh(read), h)
        put(sums + base, i, f, g, o, mask, H, N)
        tl.store(y + (rows * T + t) * H + j, h, mask=mask)
        tl.store(cs + (rows * T + t) * H + j, c, mask=mask)


def _behind_read(
    dh: block, o: block, c: block, norm: block, d_read: block, alive: block, mask: block,
    j: block, eps: block, H: constexpr, NORM: constexpr,
) -> block:  # fmt: skip
    """Return the gradients of the sums of o, and of the memory as the output reads it."""
    read, off, scale = c, c, c
    if NORM:
        off, scale = apart(c, j, eps, H)
        read = get(norm + j, j < H) * off * scale + get(norm + H + j, j < H)
    out = tanh(read)
    do = tl.where(alive, dh * out * o * (1 - o), 0.0)
    dr = tl.where(alive, dh * o * (1 - out * out), 0.0)
    if NORM:
        tl.store(d_read, dr, mask=mask)
        dr *= get(norm + j, j < H)
        mean = (tl.sum(dr, 1) / H)[:, None]
        along = (tl.sum(dr * off, 1) / H)[:, None] * scale * scale
        dr = scale * (dr - mean - off * along)
    return do, dr


def _through_norm(
    di: block, df: block, dg: block, do: block, from_h: block, gains: block, mask: block, j: block,
    eps: block, H: constexpr,
) -> block:  # fmt: skip
    """Return the gradients of what came from h, of those of its normalised sums."""
    i, f, g, o = four(from_h, mask, H, 4)
    i, f, g, o, scale = all_apart(i, f, g, o, j, eps, H)
    a_i, a_f, a_g, a_o = four(gains + j, j < H, H, 4)
    di, df, dg, do = di * a_i, df * a_f, dg * a_g, do * a_o
    mean = (tl.sum(di + df + dg + do, 1) / (4 * H))[:, None]
    along = (tl.sum(di * i + df * f + dg * g + do * o, 1) / (4 * H))[:, None] * scale * scale
    di, df = scale * (di - mean - i * along), scale * (df - mean - f * along)
    dg, do = scale * (dg - mean - g * along), scale * (do - mean - o * along)
    return di, df, dg, do


behind_read, through_norm = _jit(_behind_read), _jit(_through_norm)


def _backward(
    d_y: block, d_h: block, d_c: block, gates: block, from_h: block, weight: block, peephole: block,
    gains: block, norm: block, c0: block, lengths: block, cs: block,
    d_sums: block, d_from_h: block, d_read: block,
    B: block, T: block, start: block, end: block, clip: block, eps: block,
    H: constexpr, W: constexpr, R: constexpr, N: constexpr,
    PEEPHOLE: constexpr, NORM: constexpr, CLIP: constexpr, WHOLE: constexpr,
) -> None:  # fmt: skip
    """Set the gradients of the sums; where NORM of what came from h, and of what was read.

    `d_h` and `d_c` are those after the steps and become those before them, where the loop is
    not WHOLE without what goes through the product.
    """
    rows = (tl.program_id(0) * R + tl.arange(0, R)[:, None]).to(tl.int64)
    cols = tl.arange(0, W)
    j = cols[None, :]
    unit = j < H
    mask = (rows < B) & unit
    length = tl.load(lengths + rows, mask=rows < B, other=0)
    dh = get(d_h + rows * H + j, mask)
    dc = get(d_c + rows * H + j, mask)
    for back in range(start, end):
        t = start + end - 1 - back
        base = (rows * T + t) * (N * H) + j
        at = (rows * T + t) * H + j
        alive = (t < length) & mask
        i, f, g, o = four(gates + base, mask, H, N)
        i = i if N == 4 else 1 - f
        c = get(cs + at, mask)
        later = (rows * 0 + t) > 0
        before = get(c0 + rows * H + j, mask & (later == 0)) + get(cs + at - H, mask & later)
        dh += get(d_y + at, mask)
        do, dr = behind_read(dh, o, c, norm, d_read + at, alive, mask, j, eps, H, NORM)
        dm = dc + dr
        if PEEPHOLE:
            dm += do * get(peephole + 2 * H + j, unit)
        if CLIP:
            raw = f * before + i * g
            dm = tl.where((raw >= -clip) & (raw <= clip), dm, 0.0)
        dm = tl.where(alive, dm, 0.0)
        df = dm * (before if N == 4 else before - g) * f * (1 - f)
        di, dg = dm * g * i * (1 - i), dm * i * (1 - g * g)
        dc = tl.where(alive, dm * f, dc)
        if PEEPHOLE:
            dc += di * get(peephole + j, unit) + df * get(peephole + H + j, unit)
        put(d_sums + base, di, df, dg, do, mask, H, N)
        if NORM:
            di, df, dg, do = through_norm(di, df, dg, do, from_h + base, gains, mask, j, eps, H)
            di, df = tl.where(alive, di, 0.0), tl.where(alive, df, 0.0)
            dg, do = tl.where(alive, dg, 0.0), tl.where(alive, do, 0.0)
            put(d_from_h + base, di, df, dg, do, mask, H, N)
        dh = tl.where(alive, 0.0, dh)
        if WHOLE:
            dh += outof(df, weight, cols, N - 3, H) + outof(dg, weight, cols, N - 2, H)
            dh += outof(do, weight, cols, N - 1, H)
            if N == 4:
                dh += outof(di, weight, cols, 0, H)
    tl.store(d_h + rows * H + j, dh, mask=mask)
    tl.store(d_c + rows * H + j, dc, mask=mask)


# Else every other number of steps, or the first of them, would be compiled anew.
ANY = ["B", "T", "start", "end"]
forward = _jit(_forward, do_not_specialize=ANY)
backward = _jit(_backward, do_not_specialize=ANY)
