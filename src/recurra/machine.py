"""What this machine has: memory, and a device to compute on."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from recurra.errors import RunError

__all__ = [
    "available_memory",
    "choose_device",
    "is_out_of_memory",
    "keep_freed_memory",
    "native_bfloat16",
]

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
