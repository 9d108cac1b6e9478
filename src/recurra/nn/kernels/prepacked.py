"""Steps of packed recurrences and the softmax after them, for few rows.

B rows, T steps, W inputs of the widest layer, H units, S numbers of a state, V words, N vectors
before the softmax.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recurra.nn.kernels.compiler.compiled import FASTMATH, Compiled, compiled
from recurra.nn.kernels.pointwise import exp, sigmoid, tanh
from recurra.nn.kernels.products.packed import BLOCK, packed_product

__all__ = [
    "ADD",
    "GRU",
    "GRU_BEFORE",
    "KEEP",
    "LSTM",
    "log_probs",
    "log_probs_of",
    "logits",
    "read",
    "top",
]

LSTM, GRU, GRU_BEFORE, KEEP, ADD = range(5)
"""What a line of a program does: a cell, keep its input, or add what was kept."""


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
def _advance(program: Any, packed: Any, x: Any, units: Any, room: Any) -> None:
    """Take one step: the inputs `x (B, W)` become the outputs, and the state that after it."""
    matrices, weights, scales, biases = packed
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
                matrix = matrices[m + n]
                packed_product(matrix, weights, scales, biases, inputs, start, y, 0, matrix[3])
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
    start: int,
    end: int,
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
        start: the first of the rows.
        end: the one behind the last.
    """
    ids, units, hidden = ids[start:end], units[start:end], hidden[start:end]
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
        _advance(program, (matrices, weights, scales, biases), x, units, room)
        for b in range(B):
            for u in range(H):
                hidden[b, t, u] = x[b, u]


def _greatest(numbers: Any) -> Any:
    most = numbers[0]
    for number in numbers:
        most = number if number > most else most
    return most


# What the compiler may reorder it must know to be no NaN; one is found in the sums.
_most = Compiled(_greatest, fastmath=FASTMATH | {"nnan"})


@compiled
def logits(
    matrix: Any,
    weights: Any,
    scales: Any,
    biases: Any,
    hidden: Any,
    made: Any,
    maxima: Any,
    sums: Any,
    start: int,
    end: int,
) -> None:
    """Write the logits of some blocks of words, and what a softmax over all asks of each block.

    Args:
        matrix: `(4,)`, a line of `matrices`.
        weights: as for `read`, like the next two.
        scales: see there.
        biases: see there.
        hidden: `(N, H)`.
        made: `(N, R)` float32, the logits.
        maxima: `(N, R / 64)` float32, the greatest of each block.
        sums: `(N, R / 64)` float32, of the exponentials of what each is below that.
        start: the first block.
        end: the one behind the last.
    """
    packed_product(matrix, weights, scales, biases, hidden, np.int64(0), made, start, end)
    for n in range(len(hidden)):
        for block in range(start, end):
            part, total = made[n, block * BLOCK : (block + 1) * BLOCK], np.float32(0)
            most = _most(part)
            for r in range(BLOCK):
                total += exp(part[r] - most)
            maxima[n, block], sums[n, block] = most, total


@compiled
def _normaliser(maxima: Any, sums: Any) -> Any:
    """Return the logarithm of the sum of the exponentials of a vector's logits."""
    most = _most(maxima)
    total: Any = 0.0
    for block in range(len(sums)):
        total += sums[block] * exp(maxima[block] - most)
    return most + math.log(total)


@compiled
def log_probs(made: Any, maxima: Any, sums: Any, found: Any, start: int, end: int) -> None:
    """Write the log-probabilities of all words.

    Args:
        made: by `logits`, as the next two.
        maxima: see there.
        sums: see there.
        found: `(N, V)` float32, written.
        start: the first of the vectors.
        end: the one behind the last.
    """
    for n in range(start, end):
        total = np.float32(_normaliser(maxima[n], sums[n]))
        row, to = made[n], found[n]
        for v in range(len(to)):
            to[v] = row[v] - total


@compiled
def log_probs_of(
    made: Any, maxima: Any, sums: Any, words: Any, found: Any, start: int, end: int
) -> None:
    """Write the log-probability of one word for each vector.

    Args:
        made: by `logits`, as the next two.
        maxima: see there.
        sums: see there.
        words: `(N,)` int64.
        found: `(N,)` float64, written.
        start: the first of the vectors.
        end: the one behind the last.
    """
    for n in range(start, end):
        found[n] = made[n, words[n]] - _normaliser(maxima[n], sums[n])


@compiled
def top(made: Any, maxima: Any, sums: Any, ids: Any, found: Any, start: int, end: int) -> None:
    """Write the likeliest words, best first, and their log-probabilities; no others are made.

    The greatest of each block is known, so that the best of all is looked for among as many
    numbers as there are blocks, and then in one block. Of equals the first comes first.

    Args:
        made: by `logits`, as the next two; both change.
        maxima: see there.
        sums: see there.
        ids: `(N, k)` int64, written.
        found: `(N, k)` float32, written.
        start: the first of the vectors.
        end: the one behind the last.
    """
    for n in range(start, end):
        total = np.float32(_normaliser(maxima[n], sums[n]))
        for place in range(ids.shape[1]):
            v = _taken(made[n], maxima[n])
            block = v // BLOCK
            ids[n, place] = v
            found[n, place] = maxima[n, block] - total
            made[n, v] = -math.inf
            maxima[n, block] = _most(made[n, block * BLOCK : (block + 1) * BLOCK])


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
