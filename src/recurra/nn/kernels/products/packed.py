"""Products of few rows with packed weights: what takes the time is to read the weights, so they
lie as they are read, and each is read once.

A matrix of R outputs and K inputs lies in blocks of 64 outputs, zeros after the last: `(R / 64, K,
64)` in float32, or `(R / 64, K / 2, 64, 2)` in int8, whose products with pairs of int16 inputs go
to int32 sums. Each output has a scale for its int8 weights, each row of inputs one of its own.
B rows, I numbers in each.
"""

from __future__ import annotations

import math
from functools import cached_property
from importlib import import_module
from types import FunctionType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recurra.nn.kernels.compiler.compiled import Compiled, compiled, type_of

__all__ = ["BLOCK", "Precision", "Tile", "packed", "packed_product"]

Precision = Literal["float32", "int8"]

BLOCK = 64
"""Outputs of a block."""
LANES = 16
"""Numbers of a vector; the compiler cuts it into what the processor has."""
ROWS = 4
"""Rows that a block is multiplied by together."""
LARGEST = 32_767
"""Of an input in int16."""


class Tile(Compiled[..., Any]):
    """A function that numba is given as vector instructions, which it finds in no loop.

    Args:
        function: the same in Python, for use outside of compiled code.
        rows: how many rows of inputs it multiplies a block by.
    """

    def __init__(self, function: FunctionType, rows: int) -> None:
        super().__init__(function)
        self.rows = rows

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it outside of compiled code."""
        return self.function(*args, **kwargs)

    @cached_property
    def registered(self) -> Any:
        """The function under which numba knows it."""
        from numba import types
        from numba.extending import intrinsic

        rows = self.rows

        def emitted(context: Any, w: Any, w_at: Any, x: Any, x_at: Any, n: Any, y: Any, y_at: Any):  # type: ignore[no-untyped-def]
            def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                kinds = signature.args
                data = [
                    context.make_array(kinds[n])(context, builder, values[n]) for n in (0, 2, 5)
                ]
                places = [values[1], values[3], values[6]]
                pointers = [builder.gep(a.data, [at]) for a, at in zip(data, places)]
                strides = [builder.extract_value(a.shape, 1) for a in data[1:]]
                narrow = kinds[0].dtype == types.int8
                _emit(builder, _Block(builder, pointers, strides, narrow), values[4], rows)
                return context.get_dummy_value()

            return types.void(w, w_at, x, x_at, n, y, y_at), write

        emitted.__name__ = self.__name__
        return intrinsic(emitted)

    def typed(self) -> Any:
        """Return the type that numba gives it within other functions."""
        return type_of(self.registered)


class _Block:
    """Writes the loads of one block's weights, inputs and sums, and their product.

    Args:
        builder: of the function.
        pointers: where weights, inputs and sums begin.
        strides: numbers in a row of the inputs, and of the sums.
        narrow: whether weights are int8.
    """

    places = range(BLOCK // LANES)

    def __init__(self, builder: Any, pointers: Any, strides: Any, narrow: bool) -> None:
        self.b, self.narrow = builder, narrow
        self.ir: Any = import_module("llvmlite.ir")
        ir = self.ir
        self.i32, self.i64 = ir.IntType(32), ir.IntType(64)
        self.kind = ir.VectorType(self.i32 if narrow else ir.FloatType(), LANES)
        self.pairs = ir.VectorType(self.i32, 2 * LANES)
        self.w, self.x, self.y = pointers
        self.x_stride, self.y_stride = strides
        if narrow:  # two inputs of int16 are read as one
            self.x = builder.bitcast(self.x, self.i32.as_pointer())
            self.x_stride = builder.udiv(self.x_stride, self.i64(2))

    def _picked(self, vector: Any, first: int, step: int) -> Any:
        order = self.ir.Constant(
            self.ir.VectorType(self.i32, LANES), [self.i32(first + step * n) for n in range(LANES)]
        )
        return self.b.shuffle_vector(vector, self.ir.Constant(vector.type, None), order)

    def _at(self, pointer: Any, offset: Any, kind: Any) -> Any:
        return self.b.bitcast(self.b.gep(pointer, [offset]), kind.as_pointer())

    def sums(self, row: int, place: int) -> Any:
        """Return where a vector of sums is."""
        start = self.b.mul(self.y_stride, self.i64(row))
        return self._at(self.y, self.b.add(start, self.i64(LANES * place)), self.kind)

    def weights(self, step: Any, place: int) -> Any:
        """Return a vector of weights, or one of pairs."""
        size = LANES * 2 if self.narrow else LANES
        start = self.b.mul(step, self.i64(len(self.places) * size))
        offset = self.b.add(start, self.i64(place * size))
        if not self.narrow:
            return self.b.load(self._at(self.w, offset, self.kind), align=4)
        small = self.ir.VectorType(self.ir.IntType(8), size)
        return self.b.sext(self.b.load(self._at(self.w, offset, small), align=1), self.pairs)

    def inputs(self, step: Any, row: int) -> Any:
        """Return an input in every place of a vector, or a pair of them."""
        offset = self.b.add(self.b.mul(self.x_stride, self.i64(row)), step)
        one = self.b.load(self.b.gep(self.x, [offset]), align=2 if self.narrow else 4)
        empty = self.ir.Constant(self.kind, None)
        spread = self._picked(self.b.insert_element(empty, one, self.i32(0)), 0, 0)
        if not self.narrow:
            return spread
        short = self.ir.VectorType(self.ir.IntType(16), 2 * LANES)
        return self.b.sext(self.b.bitcast(spread, short), self.pairs)

    def added(self, total: Any, weights: Any, inputs: Any) -> Any:
        """Return a vector of sums and the products; the compiler knows those of pairs."""
        if not self.narrow:
            fused = ("contract",)
            return self.b.fadd(total, self.b.fmul(weights, inputs, fused), fused)
        both = self.b.mul(weights, inputs)
        return self.b.add(total, self.b.add(self._picked(both, 0, 2), self._picked(both, 1, 2)))


def _emit(b: Any, block: _Block, steps: Any, rows: int) -> None:
    """Write `y (rows, 64) += x w` for one block, its sums held in registers."""
    cgutils: Any = import_module("numba.core.cgutils")

    sums = [[cgutils.alloca_once(b, block.kind) for _ in block.places] for _ in range(rows)]
    for row, own in enumerate(sums):
        for place, total in enumerate(own):
            b.store(b.load(block.sums(row, place), align=4), total)
    with cgutils.for_range(b, steps) as loop:
        weights = [block.weights(loop.index, place) for place in block.places]
        for row, own in enumerate(sums):
            spread = block.inputs(loop.index, row)
            for part, total in zip(weights, own):
                b.store(block.added(b.load(total), part, spread), total)
    for row, own in enumerate(sums):
        for place, total in enumerate(own):
            b.store(b.load(total), block.sums(row, place), align=4)


def _tile(rows: int) -> Tile:
    def tile(w: Any, w_at: int, x: Any, x_at: int, n: int, y: Any, y_at: int) -> None:
        pairs = 2 if w.dtype == np.int8 else 1
        block = w[w_at:][: n * BLOCK * pairs].reshape(n, BLOCK, pairs).astype(y.dtype)
        for row in range(rows):
            inputs = x.reshape(-1)[x_at + row * x.shape[1] :][: n * pairs].reshape(n, 1, pairs)
            sums = (block * inputs).sum((0, 2), dtype=y.dtype)
            y.reshape(-1)[y_at + row * y.shape[1] :][:BLOCK] += sums

    return Tile(tile, rows)  # type: ignore[arg-type]


tile_of_one, tile_of_rows = _tile(1), _tile(ROWS)


@compiled
def _quantised(x: Any, at: int, count: int, limit: int) -> Any:
    """Return `count` numbers of each row as int16, padded to an even number, and their scales."""
    B = x.shape[0]
    whole = np.zeros((B, count + count % 2), np.int16)
    scales = np.empty(B, np.float32)
    for b in range(B):
        most, total = np.float32(0), np.float32(0)
        for k in range(at, at + count):
            most = max(most, abs(x[b, k]))
            total += abs(x[b, k])
        inverse = np.float32(limit) / most if most > 0 else np.float32(0)
        for k in range(count):
            whole[b, k] = np.int16(np.rint(x[b, at + k] * inverse))
        # What is not finite no int16 can say.
        scales[b] = most / np.float32(limit) if total < math.inf else math.nan
    return whole, scales


def _rescaled(total: Any, scale: Any, own: Any, bias: Any) -> Any:
    return np.float32(total) * (scale * own) + bias


# In any other order a row would differ by a bit beside others.
rescaled = Compiled(_rescaled, fastmath=False)


@compiled
def _of_int8(
    matrix: Any, weights: Any, scales: Any, biases: Any, x: Any, at: Any, y: Any, blocks: Any
) -> None:
    place, row, count = matrix[0], matrix[1], matrix[2]
    start, end = blocks
    B = len(x)
    limit = min(LARGEST, (2**31 - 1) // (127 * max(1, count)))
    whole, own = _quantised(x, at, count, limit)
    pairs = whole.shape[1] // 2
    sums = np.empty((ROWS, BLOCK), np.int32)
    for n in range(start, end):
        w_at = place + n * BLOCK * pairs * 2
        b = 0
        while b < B:
            rows = ROWS if b + ROWS <= B else 1
            for m in range(rows):
                for r in range(BLOCK):
                    sums[m, r] = 0
            if rows == ROWS:
                tile_of_rows(weights, w_at, whole, b * pairs * 2, pairs, sums, 0)
            else:
                tile_of_one(weights, w_at, whole, b * pairs * 2, pairs, sums, 0)
            for m in range(rows):
                for r in range(BLOCK):
                    c = n * BLOCK + r
                    y[b + m, c] = rescaled(sums[m, r], scales[row + c], own[b + m], biases[row + c])
            b += rows


@compiled
def packed_product(
    matrix: Any,
    weights: Any,
    scales: Any,
    biases: Any,
    x: Any,
    at: Any,
    y: Any,
    start: int,
    end: int,
) -> None:
    """Write `biases + x W^T` to `y (B, R)` at least, R the outputs in whole blocks.

    Inputs of one row never change another's sums, nor does how many rows there are.

    Args:
        matrix: `(4,)` int64: where its weights begin, and its biases; K; how many blocks.
        weights: of many matrices, float32 or int8.
        scales: of every output where weights are int8; none.
        biases: of every output.
        x: `(B, I)` float32.
        at: the first of the K inputs in each row.
        y: `(B, >= R)` float32, written.
        start: the first block of outputs that is.
        end: the one behind the last.
    """
    place, row, count = matrix[0], matrix[1], matrix[2]
    B = len(x)
    if scales is None:
        for b in range(B):
            for r in range(start * BLOCK, end * BLOCK):
                y[b, r] = biases[row + r]
        for n in range(start, end):
            w_at = place + n * BLOCK * count
            b = 0
            while b + ROWS <= B:
                tile_of_rows(
                    weights, w_at, x, b * x.shape[1] + at, count, y, b * y.shape[1] + n * BLOCK
                )
                b += ROWS
            while b < B:
                tile_of_one(
                    weights, w_at, x, b * x.shape[1] + at, count, y, b * y.shape[1] + n * BLOCK
                )
                b += 1
    else:
        _of_int8(matrix, weights, scales, biases, x, at, y, (start, end))


def packed(
    weight: NDArray[np.float32], bias: NDArray[np.float32], precision: Precision
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
    """Return a matrix's weights as `packed_product` reads them, their scales and the biases.

    Outputs that fill the last block have the bias -inf, so that no softmax sees them.

    Shapes: `weight (R, K)`, `bias (R,)`; returns flat arrays.

    Args:
        weight: finite.
        bias: of the outputs.
        precision: of the packed weights.

    Example:
        >>> weights, scales, biases = packed(np.ones((3, 2), np.float32), np.zeros(3), "int8")
        >>> len(weights), weights[:4], round(float(scales[0]) * 127, 4)
        (128, array([127, 127, 127, 127], dtype=int8), 1.0)
    """
    R, K = weight.shape
    full = -R % BLOCK
    biases = np.pad(bias, (0, full), constant_values=-math.inf).astype(np.float32)
    scales = np.pad(np.abs(weight).max(1) / 127, (0, full)).astype(np.float32)
    if precision == "float32":
        padded = np.pad(weight, ((0, full), (0, 0)))
        return padded.reshape(-1, BLOCK, K).swapaxes(1, 2).reshape(-1), scales, biases
    whole = np.rint(weight / np.maximum(scales[:R, None], np.finfo(np.float32).tiny))
    narrow = np.pad(whole.clip(-127, 127), ((0, full), (0, K % 2))).astype(np.int8)
    pairs = narrow.reshape(-1, BLOCK, narrow.shape[1] // 2, 2)
    return pairs.swapaxes(1, 2).reshape(-1), scales, biases
