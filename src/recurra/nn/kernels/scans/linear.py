"""The linear recurrence h_t = a_t * h_{t-1} + b_t, real or complex, in work that grows as T.

B rows, T steps, C channels. Of complex numbers the loops know pairs: all the real parts of a step,
then all the imaginary ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.kernels.compiler.compiled import Compiled, compiled, served
from recurra.nn.kernels.operator import Shapes
from recurra.nn.kernels.scans.channels import ChannelLoop, clear, unit_of

__all__ = ["scan", "scan_pairs", "scan_plain"]

VARYING = Shapes(b="B T C", a="B T C", state="B C")
CONSTANT = Shapes(b="B T C", a="C", state="B C")


def scan_plain(
    a: Tensor, b: Tensor, state: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `scan` does by a loop of torch calls: the reference.

    Shapes: `a (B, T, C)` or `(C,)`, `b (B, T, C)`, `state (B, C)`, `lengths (B,)`; returns
    `(B, T, C)`, `(B, C)`.

    Args:
        a: the factors, of each step or of all.
        b: the summands.
        state: h before the first step.
        lengths: steps of each row; all of them.

    Source: Blelloch 1990, "Prefix sums and their applications", section 1.4.

    Example:
        >>> a, b = torch.full((1,), 0.5), torch.ones(1, 3, 1)
        >>> scan_plain(a, b, torch.zeros(1, 1))[0].flatten()
        tensor([1.0000, 1.5000, 1.7500])
    """
    _check(a, b, state)
    a = a.expand_as(b)
    h, outputs = state, [b[:, :0]]
    for t in range(b.shape[1]):
        after = a[:, t] * h + b[:, t]
        if lengths is None:
            h = after
            outputs.append(h.unsqueeze(1))
            continue
        alive = (lengths > t).unsqueeze(1)
        h = torch.where(alive, after, h)
        outputs.append(torch.where(alive, after, 0).unsqueeze(1))
    return torch.cat(outputs, dim=1), h


def scan(
    a: Tensor, b: Tensor, state: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return every `h_t = a_t * h_{t-1} + b_t`, and the last of each row.

    Past a row's length stand zeros. One pass over time, compiled, each thread with sequences of
    its own; the gradient is another pass backwards, which keeps `a` and `h`. Where compiled
    kernels do not serve, `scan_plain` runs.

    Shapes: `a (B, T, C)` or `(C,)`, `b (B, T, C)`, `state (B, C)`, `lengths (B,)`; returns
    `(B, T, C)`, `(B, C)`.

    Args:
        a: the factors, of each step or of all, real or complex as `b` and `state` are.
        b: the summands.
        state: h before the first step.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other.

    Source: Martin & Cundy 2018, "Parallelizing linear recurrent neural nets over sequence
        length", section 2: the serial scan and its gradient, which is the same scan backwards.

    Example:
        >>> a, b = torch.full((1,), 0.5), torch.ones(1, 3, 1)
        >>> scan(a, b, torch.zeros(1, 1))[0].flatten()
        tensor([1.0000, 1.5000, 1.7500])
    """
    _check(a, b, state)
    if not b.is_complex():
        if served(b):
            return scan_plain(a, b, state, lengths)
        if a.dim() == 1:
            return _constant([b], a, state, lengths)
        return _varying([a, b], a.new_empty(0), state, lengths)
    if served(b.real):
        return scan_plain(a, b, state, lengths)
    y, end = scan_pairs(_as_pairs(a), _as_pairs(b), _as_pairs(state), lengths)
    return _as_complex(y), _as_complex(end)


def scan_pairs(
    a: Tensor, b: Tensor, state: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `scan` does with complex numbers given as pairs: C real parts, C imaginary ones.

    Shapes: `a (B, T, 2C)` or `(2C,)`, `b (B, T, 2C)`, `state (B, 2C)`, `lengths (B,)`; returns
    `(B, T, 2C)`, `(B, 2C)`.

    Args:
        a: the factors, of each step or of all.
        b: the summands.
        state: h before the first step.
        lengths: steps of each row; all of them.

    Raises:
        ShapeError: for shapes or dtypes that do not fit each other, or an odd number of parts.

    Source: as `scan`; Orvieto et al. 2023, "Resurrecting recurrent neural networks for long
        sequences", appendix A, for the use of it.

    Example:
        >>> i, one = torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 0.0]])
        >>> scan_pairs(i, torch.zeros(1, 4, 2), one)[0][0].tolist()
        [[0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0]]
    """
    _check(a, b, state)
    if b.shape[2] % 2:
        raise ShapeError(f"scan_pairs takes as many imaginary parts as real ones, got {b.shape[2]}")
    if served(b):
        y, end = scan_plain(_as_complex(a), _as_complex(b), _as_complex(state), lengths)
        return _as_pairs(y), _as_pairs(end)
    if a.dim() == 1:
        return _constant_pairs([b], a, state, lengths)
    return _varying_pairs([a, b], a.new_empty(0), state, lengths)


def _check(a: Tensor, b: Tensor, state: Tensor) -> None:
    (CONSTANT if a.dim() == 1 else VARYING).check(b, a, state)


def _as_pairs(z: Tensor) -> Tensor:
    return torch.cat([z.real, z.imag], dim=-1)


def _as_complex(pairs: Tensor) -> Tensor:
    return torch.complex(*pairs.chunk(2, dim=-1))


@compiled
def _varying_forward(
    a: Any, b: Any, _: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first = places[0]
        h = end[row, first]
        for t in range(lengths[row]):
            a_t, b_t, y_t = a[row, t, first], b[row, t, first], y[row, t, first]
            for c in range(len(h)):
                h[c] = a_t[c] * h[c] + b_t[c]
                y_t[c] = h[c]
        clear(y, row, lengths[row], places)


@compiled
def _varying_backward(
    a: Any, b: Any, _: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_a: Any, d_b: Any, d_weights: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first = places[0]
        d_h = d_state[row, first]
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row, first] if t == 0 else y[row, t - 1, first]
            a_t, d_t = a[row, t, first], d_y[row, t, first]
            d_a_t, d_b_t = d_a[row, t, first], d_b[row, t, first]
            for c in range(len(d_h)):
                d = d_h[c] + d_t[c]
                d_b_t[c] = d
                d_a_t[c] = d * before[c]
                d_h[c] = d * a_t[c]
        clear(d_a, row, lengths[row], places)
        clear(d_b, row, lengths[row], places)


@compiled
def _constant_forward(
    b: Any, a: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1])
        first = places[0]
        h, factor = end[row, first], a[first]
        for t in range(lengths[row]):
            b_t, y_t = b[row, t, first], y[row, t, first]
            for c in range(len(h)):
                h[c] = factor[c] * h[c] + b_t[c]
                y_t[c] = h[c]
        clear(y, row, lengths[row], places)


@compiled
def _constant_backward(
    b: Any, a: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_b: Any, d_a: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1])
        first = places[0]
        d_h, factor, d_factor = d_state[row, first], a[first], d_a[row, first]
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row, first] if t == 0 else y[row, t - 1, first]
            d_t, d_b_t = d_y[row, t, first], d_b[row, t, first]
            for c in range(len(d_h)):
                d = d_h[c] + d_t[c]
                d_b_t[c] = d
                d_factor[c] += d * before[c]
                d_h[c] = d * factor[c]
        clear(d_b, row, lengths[row], places)


def _step_of_pairs(a: Any, b: Any, h: Any, y: Any, places: Any) -> None:
    first, second, _, _ = places
    a_real, a_imag, b_real, b_imag = a[first], a[second], b[first], b[second]
    h_real, h_imag, y_real, y_imag = h[first], h[second], y[first], y[second]
    for c in range(len(h_real)):
        real = a_real[c] * h_real[c] - a_imag[c] * h_imag[c] + b_real[c]
        imag = a_real[c] * h_imag[c] + a_imag[c] * h_real[c] + b_imag[c]
        h_real[c], h_imag[c] = real, imag
        y_real[c], y_imag[c] = real, imag


def _step_of_pairs_back(
    a: Any, before: Any, d_y: Any, d_h: Any, d_a: Any, d_b: Any, places: Any
) -> None:
    first, second, _, _ = places
    # In loops of few arrays each: of many, the compiler cannot tell that none overlap.
    real, imag = d_b[first], d_b[second]
    d_real, d_imag, y_real, y_imag = d_h[first], d_h[second], d_y[first], d_y[second]
    for c in range(len(real)):
        real[c], imag[c] = d_real[c] + y_real[c], d_imag[c] + y_imag[c]
    # The gradient of a product takes the conjugate of the other factor.
    h_real, h_imag, a_real, a_imag = before[first], before[second], d_a[first], d_a[second]
    for c in range(len(real)):
        a_real[c] += real[c] * h_real[c] + imag[c] * h_imag[c]
        a_imag[c] += imag[c] * h_real[c] - real[c] * h_imag[c]
    a_real, a_imag = a[first], a[second]
    for c in range(len(real)):
        d_real[c] = real[c] * a_real[c] + imag[c] * a_imag[c]
        d_imag[c] = imag[c] * a_real[c] - real[c] * a_imag[c]


_pairs_step = Compiled(_step_of_pairs, forceinline=True)
_pairs_step_back = Compiled(_step_of_pairs_back, forceinline=True)


@compiled
def _varying_pairs_forward(
    a: Any, b: Any, _: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1] // 2)
        for t in range(lengths[row]):
            _pairs_step(a[row, t], b[row, t], end[row], y[row, t], places)
        clear(y, row, lengths[row], places)


@compiled
def _varying_pairs_backward(
    a: Any, b: Any, _: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_a: Any, d_b: Any, d_weights: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1] // 2)
        first, second, _, _ = places
        d_a[row, :, first] = 0
        d_a[row, :, second] = 0
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row] if t == 0 else y[row, t - 1]
            _pairs_step_back(
                a[row, t], before, d_y[row, t], d_state[row], d_a[row, t], d_b[row, t], places
            )
        clear(d_b, row, lengths[row], places)


@compiled
def _constant_pairs_forward(
    b: Any, a: Any, state: Any, lengths: Any, option: float, y: Any, end: Any,
    blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, end.shape[1] // 2)
        for t in range(lengths[row]):
            _pairs_step(a, b[row, t], end[row], y[row, t], places)
        clear(y, row, lengths[row], places)


@compiled
def _constant_pairs_backward(
    b: Any, a: Any, state: Any, lengths: Any, option: float, y: Any, d_y: Any, d_state: Any,
    d_b: Any, d_a: Any, blocks: int, start: int, stop: int,
) -> None:  # fmt: skip
    for unit in range(start, stop):
        row, places = unit_of(unit, blocks, state.shape[1] // 2)
        for t in range(lengths[row] - 1, -1, -1):
            before = state[row] if t == 0 else y[row, t - 1]
            _pairs_step_back(a, before, d_y[row, t], d_state[row], d_a[row], d_b[row, t], places)
        clear(d_b, row, lengths[row], places)


def _step(parts: list[Tensor], weights: Tensor, h: Tensor, option: float) -> Any:
    *varying, b = parts
    h = (varying[0] if varying else weights) * h + b
    return h, h


def _step_pairs(parts: list[Tensor], weights: Tensor, h: Tensor, option: float) -> Any:
    *varying, b = parts
    real, imag = (varying[0] if varying else weights).chunk(2, dim=-1)
    h_real, h_imag = h.chunk(2, dim=1)
    h = torch.cat([real * h_real - imag * h_imag, real * h_imag + imag * h_real], dim=1) + b
    return h, h


_varying = ChannelLoop("scan", _varying_forward, _varying_backward, _step)
_constant = ChannelLoop("scan_constant", _constant_forward, _constant_backward, _step)
_varying_pairs = ChannelLoop(
    "scan_pairs", _varying_pairs_forward, _varying_pairs_backward, _step_pairs
)
_constant_pairs = ChannelLoop(
    "scan_constant_pairs", _constant_pairs_forward, _constant_pairs_backward, _step_pairs
)
