"""The product within a recurrence: few rows times weights that stay in the cache, on one thread.

Libraries are made for large products and have threads of their own; here each of our threads
multiplies its own rows at every step. The weights lie in panels, as wide as some vectors, in the
order in which they are read; a block of rows times a panel is summed in registers.

R rows, K inputs, N outputs, W numbers to a panel's row, P panels.
"""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import Compiled, compiled, type_of
from recurra.nn.kernels.compiler.team import by_rows

__all__ = ["add_product", "pack"]

PANEL_BYTES = 128
LEAST = 8
"""Fewest panels that are worth a thread."""
ROWS = 12 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 3
"""Most rows of a block: their sums, a panel wide each, fill the registers."""


def pack(weight: Tensor) -> np.ndarray[Any, Any]:
    """Return a matrix `(N, K)` as panels `(P, K, W)` of its outputs, zeros behind the last.

    Args:
        weight: as `F.linear` takes it; the transpose, for the product of a backward pass.

    Example:
        >>> pack(torch.ones(40, 3)).shape
        (2, 3, 32)
    """
    N, K = weight.shape
    width = PANEL_BYTES // weight.element_size()
    numbers = weight.detach().numpy()
    if not numbers.flags.forc:
        numbers = np.ascontiguousarray(numbers)
    panels = np.empty((-(-N // width), K, width), numbers.dtype)
    by_rows(_fill, (numbers, panels), len(panels), LEAST)
    return panels


@compiled
def _fill(weight: Any, panels: Any, start: int, end: int) -> None:
    N, K = weight.shape
    W = panels.shape[2]
    for p in range(start, end):
        part = weight[p * W : min(p * W + W, N)]
        for k in range(K):
            to = panels[p, k]
            for n in range(len(part)):
                to[n] = part[n, k]
            for n in range(len(part), W):
                to[n] = 0


def _add_block(x: Any, panel: Any, out: Any) -> None:
    out += x @ panel


class _Block(Compiled[[Any, Any, Any], None]):
    """A product that numba is given as vector instructions, as it finds none in loops."""

    def __call__(self, x: Any, panel: Any, out: Any) -> None:
        """Run it outside of compiled code."""
        self.function(x, panel, out)

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of it."""
        types = import_module("numba").types

        def emitted(context: Any, x: Any, panel: Any, out: Any) -> Any:
            def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                arrays = [
                    context.make_array(kind)(context, builder, value)
                    for kind, value in zip(signature.args, values)
                ]
                _emit(builder, context.get_value_type(signature.args[0].dtype), *arrays)
                return context.get_dummy_value()

            return types.void(x, panel, out), write

        emitted.__annotations__.clear()
        return import_module("numba.extending").intrinsic(emitted)

    def typed(self) -> Any:
        """Return the type that numba gives it within other functions."""
        return type_of(self.dispatcher)


def _emit(b: Any, number: Any, x: Any, panel: Any, out: Any) -> None:
    """Write `out (R, W) += x (R, K) panel (K, W)` for each R from 1 to ROWS."""
    ir = import_module("llvmlite.ir")
    rows, steps = b.extract_value(x.shape, 0), b.extract_value(x.shape, 1)
    done = b.append_basic_block("done")
    choice = b.switch(rows, done)
    for count in range(1, ROWS + 1):
        case = b.append_basic_block(f"rows{count}")
        choice.add_case(ir.Constant(rows.type, count), case)
        b.position_at_end(case)
        _emit_rows(b, count, number, steps, [(a.data, a.strides) for a in (x, panel, out)])
        b.branch(done)
    b.position_at_end(done)


def _emit_rows(b: Any, count: int, number: Any, steps: Any, arrays: list[tuple[Any, Any]]) -> None:
    ir, cgutils = import_module("llvmlite.ir"), import_module("numba.core.cgutils")
    i32, i64 = ir.IntType(32), ir.IntType(64)
    size = 4 if number == ir.FloatType() else 8
    width = PANEL_BYTES // size
    kind = ir.VectorType(number, width)
    undefined = ir.Constant(kind, ir.Undefined)
    everywhere = ir.Constant(ir.VectorType(i32, width), [ir.Constant(i32, 0)] * width)
    (x, x_strides), (panel, _), (out, out_strides) = arrays

    def row_of(data: Any, strides: Any, row: int) -> Any:
        stride = b.sdiv(b.extract_value(strides, 0), i64(size))
        return b.gep(data, [b.mul(stride, i64(row))])

    inputs = [row_of(x, x_strides, row) for row in range(count)]
    outputs = [b.bitcast(row_of(out, out_strides, row), kind.as_pointer()) for row in range(count)]
    sums = [cgutils.alloca_once(b, kind) for _ in range(count)]
    for place, total in zip(outputs, sums):
        b.store(b.load(place, align=size), total)
    with cgutils.for_range(b, steps) as loop:
        at = b.gep(panel, [b.mul(loop.index, i64(width))])
        weights = b.load(b.bitcast(at, kind.as_pointer()), align=size)
        for row, total in zip(inputs, sums):
            one = b.load(b.gep(row, [loop.index]))
            spread = b.insert_element(undefined, one, i32(0))
            spread = b.shuffle_vector(spread, undefined, everywhere)
            product = b.fmul(weights, spread, flags=("contract",))
            b.store(b.fadd(b.load(total), product, flags=("contract",)), total)
    for place, total in zip(outputs, sums):
        b.store(b.load(total), place, align=size)


_block = _Block(_add_block)


@compiled
def add_product(x: Any, packed: Any, out: Any) -> None:
    """Add `x weight^T` to `out`, for use in other compiled functions as well.

    The sums of a row are the same whatever rows are beside it.

    Args:
        x: `(R, K)`, each row in one piece.
        packed: `(P, K, W)`, the weight `(N, K)` by `pack`.
        out: `(R, N)`, each row in one piece.
    """
    R, N = out.shape
    P, _, W = packed.shape
    blocks = (R + ROWS - 1) // ROWS
    ends = np.empty((ROWS, W), out.dtype)
    for p in range(P):
        left, width = p * W, min(W, N - p * W)
        for block in range(blocks):
            start, end = block * R // blocks, (block + 1) * R // blocks
            part = out[start:end, left : left + width]
            if width < W:
                for r in range(end - start):
                    for n in range(width):
                        ends[r, n] = part[r, n]
            _block(x[start:end], packed[p], ends[: end - start] if width < W else part)
            if width < W:
                for r in range(end - start):
                    for n in range(width):
                        part[r, n] = ends[r, n]
