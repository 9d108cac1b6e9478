"""A compiled loop on all threads of an OpenMP team, with nothing of Python between its parts.

A thread that Python calls must wait for Python's lock, some tens of microseconds each time; so
the call that wakes the team is compiled too, as a compiler of C would write it.
"""

from __future__ import annotations

from functools import cache, cached_property
from importlib import import_module
from typing import Any, cast

from recurra.nn.kernels.compiler.compiled import Compiled, type_of

__all__ = ["forked"]

START, NUMBER, COUNT = range(3)
"""Which address is whose: of what wakes a team, and of a thread's number and theirs in it."""


@cache
def forked(loop: Compiled[..., None]) -> Compiled[..., int]:
    """Return what runs a loop over rows on a team: `(addresses, args, rows, parts) -> failed`.

    It calls `loop(*args, start, end)` for each part of the rows, of which there are `parts`, and
    returns in how many something was raised. `addresses` are those of `GOMP_parallel`,
    `omp_get_thread_num` and `omp_get_num_threads`.

    Args:
        loop: ends with the first of its rows, and the one behind its last.

    Source: the interface of libgomp.

    Example:
        >>> from recurra.nn.kernels.compiler.compiled import compiled
        >>> @compiled
        ... def count(v, start, end):
        ...     v[start:end] += 1
        >>> forked(count).__name__
        'on_team'
    """
    fork = _Fork(loop)

    def on_team(addresses: Any, args: Any, rows: int, parts: int) -> int:
        return fork(addresses, args, rows, parts)

    return _OnTeam(on_team, loop)


class _OnTeam(Compiled[..., int]):
    """What wakes a team for a loop. It has no copy of the loop's code, which one thread runs too.

    Args:
        function: what to compile.
        loop: which is run.
    """

    def __init__(self, function: Any, loop: Compiled[..., None]) -> None:
        super().__init__(function)
        self.loop = loop

    def prepare(self, kinds: tuple[Any, ...]) -> None:
        """Compile or load the loop itself, whose name this code is linked to."""
        self.loop.dispatcher.compile(_of_loop(kinds[1]))


def _of_loop(args: Any) -> tuple[Any, ...]:
    """Return the types of all that a loop is called with."""
    rows = import_module("numba").types.intp
    return (*args.types, rows, rows)


class _Fork(Compiled[..., int]):
    """The instructions that run a loop on a team.

    Args:
        loop: which.
    """

    def __init__(self, loop: Compiled[..., None]) -> None:
        super().__init__(cast("Any", loop.function))
        self.text = loop.text
        self.loop = loop

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of it."""
        types, loop = import_module("numba").types, self.loop

        def emitted(context: Any, addresses: Any, args: Any, rows: Any, parts: Any) -> Any:
            kinds = _of_loop(args)

            def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                loop.dispatcher.compile(kinds)
                made = loop.dispatcher.overloads[kinds]
                return _emit(context, builder, made, values)

            return types.int64(addresses, args, rows, parts), write

        emitted.__annotations__.clear()
        return import_module("numba.extending").intrinsic(emitted)

    def typed(self) -> Any:
        """Return the type that numba gives it within other functions."""
        return type_of(self.dispatcher)


def _emit(context: Any, builder: Any, loop: Any, values: Any) -> Any:
    """Write the call that wakes the team, and before it the function that each thread calls."""
    ir, cgutils = import_module("llvmlite.ir"), import_module("numba.core.cgutils")
    i32, i64, anything = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
    body_kind = ir.FunctionType(ir.VoidType(), [anything])
    shared_kind = ir.LiteralStructType([*(value.type for value in values), i64])

    body = ir.Function(builder.module, body_kind, name=f"{builder.function.name}.of_thread")
    body.linkage = "internal"
    b = ir.IRBuilder(body.append_basic_block())
    shared = b.bitcast(body.args[0], shared_kind.as_pointer())
    places = [cgutils.gep_inbounds(b, shared, 0, n) for n in range(len(values) + 1)]
    addresses, args, rows, parts = map(b.load, places[:-1])

    def asked(which: int) -> Any:
        kind = ir.FunctionType(i32, []).as_pointer()
        return b.sext(b.call(b.inttoptr(b.extract_value(addresses, which), kind), []), i64)

    # The team may be smaller than was asked for.
    with cgutils.for_range_slice(b, asked(NUMBER), parts, asked(COUNT), i64) as (part, _):
        cuts = [b.sdiv(b.mul(rows, at), parts) for at in (part, b.add(part, i64(1)))]
        given = [*cgutils.unpack_tuple(b, args), *cuts]
        status, _ = context.call_internal_no_propagate(b, loop.fndesc, loop.signature, given)
        b.atomic_rmw("add", places[-1], b.zext(status.is_error, i64), "monotonic")
    b.ret_void()

    room = cgutils.alloca_once(builder, shared_kind)
    for n, value in enumerate([*values, i64(0)]):
        builder.store(value, cgutils.gep_inbounds(builder, room, 0, n))
    start_kind = ir.FunctionType(ir.VoidType(), [body.type, anything, i32, i32]).as_pointer()
    start = builder.inttoptr(builder.extract_value(values[0], START), start_kind)
    threads = builder.trunc(values[-1], i32)
    builder.call(start, [body, builder.bitcast(room, anything), threads, i32(0)])
    return builder.load(cgutils.gep_inbounds(builder, room, 0, len(values)))
