"""Steps of packed recurrences and the softmax after them, for few rows.

B rows, T steps, W inputs of the widest layer, H units, S numbers of a state, V words, N vectors
before the softmax.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recurra.nn.kernels.compiled import FASTMATH, Compiled, compiled
from recurra.nn.kernels.packed_product import BLOCK, packed_product
from recurra.nn.kernels.pointwise import sigmoid, tanh

__all__ = [
    "ADD",
    "GRU",
    "GRU_BEFORE",
    "KEEP",
    "LSTM",
    "log_probs",
    "log_probs_of",
    "read",
    "top",
]

GROUP = 16
"""Vectors whose logits are held at once."""

LSTM, GRU, GRU_BEFORE, KEEP, ADD = range(5)
"""What a line of a program does: a cell, keep its input, or add what was kept."""

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)


@compiled
def _lstm(x: Any, sums: Any, more: Any, H: int, units: Any, at: int) -> None:
    """Turn the sums of the gates i, f, g, o into the next state and output."""
    for b in range(len(x)):
        gates, own, other = sums[b], units[b, at : at + 2 * H], more[b]
        for u in range(2 * H):
            gates[u] = sigmoid(gates[u] + other[u])
        for u in range(2 * H, 3 * H):
            gates[u] = tanh(gates[u] + other[u])
        for u in range(3 * H, 4 * H):
            gates[u] = sigmoid(gates[u] + other[u])
        for u in range(H):
            own[H + u] = gates[H + u] * own[H + u] + gates[u] * gates[2 * H + u]
        for u in range(H):
            own[u] = gates[3 * H + u] * tanh(own[H + u])
        for u in range(H):
            x[b, u] = own[u]


@compiled
def _reset_and_update(sums: Any, more: Any, H: int) -> None:
    """Turn the sums of the gates r, z into the gates."""
    for b in range(len(sums)):
        gates, other = sums[b], more[b]
        for u in range(2 * H):
            gates[u] = sigmoid(gates[u] + other[u])


@compiled
def _reset(x: Any, sums: Any, H: int, units: Any, at: int) -> None:
    """Let the gate r act on the state, which goes to `x`; it acts no more then."""
    for b in range(len(x)):
        for u in range(H):
            x[b, u] = sums[b, u] * units[b, at + u]
            sums[b, u] = np.float32(1)


@compiled
def _gru(x: Any, sums: Any, more: Any, place: int, H: int, units: Any, at: int) -> None:
    """Turn the gates r, z and the two parts of n into the next state and output."""
    for b in range(len(x)):
        gates, own, other = sums[b], units[b, at : at + H], more[b, place : place + H]
        for u in range(H):
            gates[2 * H + u] = tanh(gates[2 * H + u] + gates[u] * other[u])
        for u in range(H):
            own[u] = gates[2 * H + u] + gates[H + u] * (own[u] - gates[2 * H + u])
        for u in range(H):
            x[b, u] = own[u]


@compiled
def _advance(
    program: Any,
    matrices: Any,
    weights: Any,
    scales: Any,
    biases: Any,
    x: Any,
    units: Any,
    room: Any,
) -> None:
    """Take one step: the inputs `x (B, W)` become the outputs, and the state that after it."""
    sums, more, kept = room
    depth = 0
    for line in range(len(program)):
        kind, H, m, at = program[line, 0], program[line, 1], program[line, 2], program[line, 3]
        if kind == KEEP:
            for b in range(len(x)):
                for u in range(H):
                    kept[depth, b, u] = x[b, u]
            depth += 1
        elif kind == ADD:
            depth -= 1
            for b in range(len(x)):
                for u in range(H):
                    x[b, u] += kept[depth, b, u]
        else:
            # One place of the product keeps the time to compile it down.
            for n in range(3 if kind == GRU_BEFORE else 2):
                if n == 2:
                    _reset_and_update(sums, more, H)
                    _reset(x, sums, H, units, at)
                y = sums if n == 0 else more
                inputs, start = (units, at) if n == 1 else (x, np.int64(0))
                packed_product(matrices[m + n], weights, scales, biases, inputs, start, y)
            if kind == LSTM:
                _lstm(x, sums, more, H, units, at)
                continue
            if kind == GRU:
                _reset_and_update(sums, more, H)
            _gru(x, sums, more, 0 if kind == GRU_BEFORE else 2 * H, H, units, at)


@compiled
def read(
    program: Any,
    matrices: Any,
    weights: Any,
    scales: Any,
    biases: Any,
    embedding: Any,
    ids: Any,
    units: Any,
    hidden: Any,
) -> None:
    """Take a step for each word: writes `hidden (B, T, H)`, and `units (B, S)` in place.

    Args:
        program: `(P, 4)` int64: what to do, H, the first of its matrices, its place in the state.
        matrices: `(M, 4)` int64: where the weights begin, and the biases; K; blocks.
        weights: of all the matrices, float32 or int8.
        scales: of every output where weights are int8; none.
        biases: of every output.
        embedding: `(V, E)` float32.
        ids: `(B, T)` int64, each in 0 ... V - 1.
        units: the state, which becomes that after the last word.
        hidden: the outputs.
    """
    B, T = ids.shape
    E, H = embedding.shape[1], hidden.shape[2]
    widest, most, depth = max(E, H), 0, 0
    for m in range(len(matrices)):
        widest, most = max(widest, matrices[m, 2]), max(most, matrices[m, 3] * BLOCK)
    for line in range(len(program)):
        depth += program[line, 0] == KEEP
    x = np.zeros((B, widest), np.float32)
    kept = np.empty((depth, B, widest), np.float32)
    room = (np.empty((B, most), np.float32), np.empty((B, most), np.float32), kept)
    for t in range(T):
        for b in range(B):
            word = ids[b, t]
            for e in range(E):
                x[b, e] = embedding[word, e]
        _advance(program, matrices, weights, scales, biases, x, units, room)
        for b in range(B):
            for u in range(H):
                hidden[b, t, u] = x[b, u]


@compiled
def _exp(y: Any) -> Any:
    """Return e^y for float32 y <= 0."""
    y = np.float32(-87.0) if y < np.float32(-87.0) else y
    n = np.floor(y * np.float32(LOG2_E) + np.float32(0.5))
    r = (y - n * LN2_HIGH) - n * LN2_LOW
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = np.float32(1.0) + (r + r * r * p)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


def _greatest(numbers: Any) -> Any:
    most = numbers[0]
    for number in numbers:
        most = number if number > most else most
    return most


# What the compiler may reorder it must know to be no NaN; one is found in the sums.
_most = Compiled(_greatest, fastmath=FASTMATH | {"nnan"})


@compiled
def _normaliser(logits: Any, maxima: Any) -> Any:
    """Return the logarithm of the sum of the exponentials; writes the greatest of each block."""
    for n in range(len(maxima)):
        maxima[n] = _most(logits[n * BLOCK : (n + 1) * BLOCK])
    most = _most(maxima)
    total: Any = 0.0
    for n in range(len(maxima)):
        block, part = logits[n * BLOCK : (n + 1) * BLOCK], np.float32(0)
        for r in range(BLOCK):
            part += _exp(block[r] - most)
        total += part
    return most + math.log(total)


@compiled
def log_probs(matrix: Any, weights: Any, scales: Any, biases: Any, hidden: Any, found: Any) -> None:
    """Write the log-probabilities of all words.

    Args:
        matrix: `(4,)`, a line of `matrices`.
        weights: as for `read`, like the next two.
        scales: see there.
        biases: see there.
        hidden: `(N, H)`.
        found: `(N, V)` float32, written.
    """
    N, V = found.shape
    maxima = np.empty(matrix[3], np.float32)
    logits = np.empty((min(N, GROUP), matrix[3] * BLOCK), np.float32)
    for start in range(0, N, GROUP):
        part = hidden[start : start + GROUP]
        packed_product(matrix, weights, scales, biases, part, np.int64(0), logits[: len(part)])
        for n in range(len(part)):
            total = np.float32(_normaliser(logits[n], maxima))
            for v in range(V):
                found[start + n, v] = logits[n, v] - total


@compiled
def log_probs_of(
    matrix: Any, weights: Any, scales: Any, biases: Any, hidden: Any, words: Any, found: Any
) -> None:
    """Write the log-probability of one word for each vector.

    Args:
        matrix: `(4,)`, a line of `matrices`.
        weights: as for `read`, like the next two.
        scales: see there.
        biases: see there.
        hidden: `(N, H)`.
        words: `(N,)` int64.
        found: `(N,)` float64, written.
    """
    N = len(hidden)
    maxima = np.empty(matrix[3], np.float32)
    logits = np.empty((min(N, GROUP), matrix[3] * BLOCK), np.float32)
    for start in range(0, N, GROUP):
        part = hidden[start : start + GROUP]
        packed_product(matrix, weights, scales, biases, part, np.int64(0), logits[: len(part)])
        for n in range(len(part)):
            total = _normaliser(logits[n], maxima)
            found[start + n] = logits[n, words[start + n]] - total


@compiled
def top(
    matrix: Any, weights: Any, scales: Any, biases: Any, hidden: Any, ids: Any, found: Any
) -> None:
    """Write the likeliest words, best first, and their log-probabilities; no others are made.

    The greatest of each block is known, so that the best of all is looked for among as many
    numbers as there are blocks, and then in one block. Of equals the first comes first.

    Args:
        matrix: `(4,)`, a line of `matrices`.
        weights: as for `read`, like the next two.
        scales: see there.
        biases: see there.
        hidden: `(N, H)`.
        ids: `(N, k)` int64, written.
        found: `(N, k)` float32, written.
    """
    N, k = ids.shape
    maxima = np.empty(matrix[3], np.float32)
    logits = np.empty((min(N, GROUP), matrix[3] * BLOCK), np.float32)
    for start in range(0, N, GROUP):
        part = hidden[start : start + GROUP]
        packed_product(matrix, weights, scales, biases, part, np.int64(0), logits[: len(part)])
        for n in range(len(part)):
            total = np.float32(_normaliser(logits[n], maxima))
            for place in range(k):
                v = _taken(logits[n], maxima)
                ids[start + n, place] = v
                found[start + n, place] = maxima[v // BLOCK] - total
                logits[n, v] = -math.inf
                maxima[v // BLOCK] = _most(logits[n, v // BLOCK * BLOCK :][:BLOCK])


@compiled
def _taken(logits: Any, maxima: Any) -> int:
    """Return where the first of the greatest is."""
    best = 0
    for n in range(len(maxima)):
        if maxima[n] > maxima[best]:
            best = n
    at = best * BLOCK
    for r in range(BLOCK):
        if logits[at + r] == maxima[best]:
            return at + r
    return at  # NaN, as the probability says too
