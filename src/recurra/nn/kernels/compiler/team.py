"""Torch's own threads for work that is not torch's.

After each of its parallel functions torch keeps its OpenMP threads awake for a while, spinning on
their cores. Threads of our own would have to share those cores with them; so where torch runs on
libgomp, as it does on Linux, its team does our work too. Elsewhere a pool of our own does.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from recurra.nn.kernels.compiler.compiled import Compiled
from recurra.nn.kernels.compiler.forked import forked

__all__ = ["by_rows", "on_torchs_team", "threads_for"]


def threads_for(rows: int, least: int = 1) -> int:
    """Return how many threads some rows are worth, of those that torch takes.

    Args:
        rows: how many there are.
        least: fewest rows that are worth a thread.

    Example:
        >>> threads_for(7, 4)
        1
    """
    return max(1, min(torch.get_num_threads(), rows // max(1, least)))


def on_torchs_team() -> bool:
    """Return whether torch's own threads do the work; elsewhere a pool of ours does.

    Example:
        >>> on_torchs_team() in (True, False)
        True
    """
    return _addresses() is not None


def by_rows(loop: Compiled[..., None], args: tuple[Any, ...], rows: int, least: int = 1) -> None:
    """Call `loop(*args, start, end)` for parts of the rows, on as many threads as torch takes.

    Args:
        loop: does its work on rows `start` to `end`.
        args: what it is given before them.
        rows: how many there are.
        least: fewest rows that are worth a thread.

    Raises:
        MemoryError: where the loop fails on a thread of torch's team; all that it can lack is that.

    Example:
        >>> import numpy as np
        >>> from recurra.nn.kernels.compiler.compiled import compiled
        >>> @compiled
        ... def count(v, start, end):
        ...     v[start:end] += 1
        >>> v = np.zeros(5)
        >>> by_rows(count, (v,), 5)
        >>> v
        array([1., 1., 1., 1., 1.])
    """
    parts = threads_for(rows, least)
    if parts == 1:
        loop.dispatcher(*args, 0, rows)
        return
    addresses = _addresses()
    if addresses is not None:
        if forked(loop).dispatcher(addresses, args, rows, parts):
            raise MemoryError(f"{loop.__name__} ran out of memory on a thread")
        return
    cuts = [rows * part // parts for part in range(parts + 1)]
    errors = _on_pool(lambda start, end: loop.dispatcher(*args, start, end), cuts)
    if errors:
        raise errors[0]


def _on_pool(run: Callable[[int, int], object], cuts: list[int]) -> list[BaseException]:
    others = [_pool().submit(run, start, end) for start, end in pairwise(cuts[1:])]
    errors: list[BaseException] = []
    try:
        run(0, cuts[1])
    except BaseException as error:
        errors.append(error)
    # What the others write to must outlive them, whatever happened here.
    found = [other.exception() for other in others]
    return [*errors, *(each for each in found if each is not None)]


@cache
def _addresses() -> tuple[int, ...] | None:
    """Return where the functions that `forked` asks for are in torch's libgomp; None without it."""
    if _forks:  # libgomp would wait for the threads of the parent
        return None
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        places = {line.split(maxsplit=5)[5] for line in lines if "libgomp" in line}
        if len(places) != 1:  # two of them have a team each
            return None
        lib = ctypes.CDLL(places.pop())
        functions = (lib.GOMP_parallel, lib.omp_get_thread_num, lib.omp_get_num_threads)
    except (OSError, AttributeError, IndexError):
        return None
    return tuple(ctypes.cast(each, ctypes.c_void_p).value or 0 for each in functions)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="recurra")


_forks: list[int] = []
"""The processes that this one descends from by a fork, which no thread survives."""


def _note_fork() -> None:
    _forks.append(os.getppid())
    _pool.cache_clear()
    _addresses.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
