"""What this machine has: memory, cores, and a device to compute on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from recurra.errors import RunError

__all__ = [
    "available_memory",
    "choose_device",
    "is_out_of_memory",
    "keep_freed_memory",
    "native_bfloat16",
    "on_threads",
    "usable_cores",
    "worth_threads",
]

CGROUPS = Path("/sys/fs/cgroup")
WORTH = 2**28
"""Fewest products of a training step's forward pass that are worth more than one thread: a step of
some 20 ms. Below it the threads' meeting costs what they gain, and on busy cores much more."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def available_memory() -> int | None:
    """Return the memory that is free for use, in bytes; None where the system does not say.

    Example:
        >>> memory = available_memory()
        >>> memory is None or memory > 0
        True
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
    return int(kilobytes["MemAvailable"]) * 1024 if "MemAvailable" in kilobytes else None


def usable_cores() -> int:
    """Return the cores this process may use, at least 1: those it may run on, within its quota.

    Example:
        >>> usable_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas())]))


def _quotas() -> Iterator[float]:
    """Yield how many cores' time each control group leaves this process."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, place = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS
        inner = root / place.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root) and (quota := _quota(folder)):
                yield quota


def _quota(folder: Path) -> float | None:
    """Return the cores' time of one control group, of either version; None where it has no end."""
    try:
        if (file := folder / "cpu.max").exists():
            time, period = file.read_text().split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            time, period = ((folder / name).read_text().strip() for name in names)
        return float(time) / float(period) if time != "max" and float(time) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def worth_threads(work: int) -> int:
    """Return how many threads a training is worth, by its size and the cores alone.

    What else runs on the machine has no part in it, as the number has one in the last bits.

    Args:
        work: products of the forward pass of a step: weights times positions.

    Example:
        >>> worth_threads(15)
        1
    """
    return usable_cores() if work >= WORTH else 1


@contextmanager
def on_threads(threads: int | None) -> Iterator[None]:
    """Let torch use some threads within the block, and as many as before after it.

    Args:
        threads: how many; None leaves the number as it is.

    Example:
        >>> with on_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """Return the device that a name stands for.

    Args:
        name: `"cpu"`, `"cuda"`, or `"auto"` for cuda where there is one.

    Raises:
        RunError: cuda is asked for where there is none.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise RunError(
            "--device cuda: torch finds no GPU here; take --device cpu, or install a CUDA build "
            "of torch"
        )
    return torch.device(name)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the processor or the GPU.

    Args:
        error: anything that was raised.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError())
        (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in str(error) or "out of memory" in str(error)
    )


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next step instead of giving it back to the system.

    A training step frees and asks for the same tens of megabytes; where they come back as fresh
    pages, the system clears each anew, which takes a quarter of the step. Elsewhere than on
    glibc, nothing happens.

    Example:
        >>> keep_freed_memory()
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 2**25)
    mallopt(M_TRIM_THRESHOLD, 2**29)


def native_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones.

    Args:
        device: where the matrices are.

    Example:
        >>> native_bfloat16(torch.device("meta"))
        False
    """
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
