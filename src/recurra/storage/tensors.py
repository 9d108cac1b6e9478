"""Tensors in a file: safetensors alone, checked before anything is allocated for it.

The format: 8 bytes, little-endian, the length of a header; the header, flat JSON that gives each
tensor's dtype, shape and place; the tensors' bytes, row-major, without gaps.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from recurra.errors import CheckpointError
from recurra.storage.files import Sink
from recurra.storage.sealed import regular_size, without_repeats

__all__ = ["load_tensors", "tensor_layout", "write_tensors"]

# In the order in which the safetensors library lays tensors out, so that all are aligned.
DTYPES = {
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
ORDER = list(CODES)

MOST_HEADER = 8 * 2**20  # bytes
MOST_TENSORS = 20_000
MOST_NAME = 1024  # bytes
MOST_ENTRY = 64 * 2**10  # bytes of one header entry; the metadata is one
MOST_BYTES = 2**63 - 1

# One entry of the header and the mark after it. Possessive quantifiers keep no way back, so a
# hostile header costs neither time nor memory; an object in an object does not match.
STRING = rb'"(?:[^"\\]++|\\.)*+"'
ENTRY = re.compile(
    rb"\s*+(?P<name>%s)\s*+:\s*+(?P<object>\{(?:[^{}\"]++|%s)*+\})\s*+(?P<mark>[,}])"
    % (STRING, STRING),
    re.DOTALL,
)
_Header = tuple[dict[str, Any], dict[str, str]]
"""Name -> entry of each tensor, and of names that stand for another's bytes, that other's."""
PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".tar"}


def _untie(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the distinct tensors, and for each name left out the one that holds its bytes."""
    kept: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in CODES:
            raise TypeError(f"{name}: {tensor.dtype} has no place in the format")
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device)
        if tensor.numel() and (other := first.setdefault(place, name)) != name:
            tied[name] = other
        else:
            kept[name] = tensor
    return kept, tied


def _header(tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> tuple[bytes, int]:
    """Return the header of `tensors` in their order, and the bytes that follow it."""
    ends = list(accumulate((t.nbytes for t in tensors.values()), initial=0))
    entries: dict[str, Any] = {"__metadata__": dict(tied)} if tied else {}
    for (name, tensor), place in zip(tensors.items(), pairwise(ends)):
        code, shape = CODES[tensor.dtype], list(tensor.shape)
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": list(place)}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), ends[-1]


def write_tensors(tensors: Mapping[str, Tensor], sink: Sink) -> None:
    """Write tensors as safetensors; those on the CPU and contiguous are not copied.

    Tensors that are the same memory under several names are written once.

    Args:
        tensors: name -> dense tensor, on any device.
        sink: takes the bytes.

    Raises:
        CheckpointError: for what `load_tensors` would refuse, before a byte is written.
        TypeError: for a dtype outside the format.

    Example:
        >>> import io
        >>> out = io.BytesIO()
        >>> write_tensors({"bias": torch.zeros(2)}, out)
        >>> out.getvalue()[8:73]
        b'{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}       \\x00'
    """
    kept, tied = _untie(tensors)
    ordered = dict(sorted(kept.items(), key=lambda item: (ORDER.index(item[1].dtype), item[0])))
    header, size = _header(ordered, tied)
    try:
        _check_header(header, size)
    except ValueError as error:
        raise CheckpointError(f"the tensors cannot be saved: {error}") from error
    sink.write(len(header).to_bytes(8, "little"))
    sink.write(header)
    for tensor in ordered.values():
        whole = tensor.detach().cpu().contiguous()
        flat = whole.as_strided((whole.numel(),), (1,))  # sizes 0 and 1 may have any stride
        sink.write(flat.view(torch.uint8).numpy().data)


def tensor_layout(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file as its header tells them: without their numbers.

    They are on the meta device, so that dtypes and shapes can be looked at for next to nothing.

    Args:
        path: a regular file, not a link.

    Raises:
        CheckpointError: when it is missing, truncated, malformed or not safetensors.

    Example:
        >>> tensor_layout(Path("nowhere.safetensors"))
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere.safetensors is missing
    """
    with _refusing(path):
        entries, tied = _read_header(path)
    layout = {
        name: torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]], device="meta")
        for name, entry in entries.items()
    }
    return layout | {name: layout[other] for name, other in tied.items()}


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU, each in memory of its own.

    Names that were one tensor when written are one tensor again.

    Args:
        path: a regular file, not a link.

    Raises:
        CheckpointError: when it is missing, truncated, malformed or not safetensors. The header
            is checked first, so that a hostile file costs no memory. A pickle is never opened.

    Example:
        >>> load_tensors(Path("nowhere.safetensors"))
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere.safetensors is missing
    """
    with _refusing(path):
        _, tied = _read_header(path)
        tensors = load_file(path, backend="pread")  # a mapped file could change under the model
        return tensors | {name: tensors[other] for name, other in tied.items()}


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say in words what is wrong with a file."""
    try:
        yield
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(_refusal(path, error)) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _read_header(path: Path) -> _Header:
    """Check the header of a file and return what it says."""
    size = regular_size(path)
    with path.open("rb") as file:
        return _check(file, size)


def _check(file: BinaryIO, size: int) -> _Header:
    """Check the header of a file of `size` bytes and return what it says."""
    length = int.from_bytes(file.read(8), "little")
    if size < 10:
        raise ValueError(f"expected at least 10 bytes, found {size}")
    if length > min(size - 8, MOST_HEADER):
        most = min(size - 8, MOST_HEADER)
        raise ValueError(f"expected a header of at most {most} bytes, found {length}")
    return _check_header(file.read(length), size - 8 - length)


def _check_header(header: bytes, size: int) -> _Header:
    """Check that a header places its tensors in `size` bytes; return them and its tied names."""
    if len(header) > MOST_HEADER:
        raise ValueError(f"expected a header of at most {MOST_HEADER} bytes, found {len(header)}")
    tensors: dict[str, Any] = {}
    places: dict[str, tuple[int, int]] = {}
    metadata: dict[str, Any] = {}
    for name, entry in _entries(header):
        if name == "__metadata__":
            metadata = entry
            if not all(isinstance(value, str) for value in metadata.values()):
                raise ValueError("expected metadata of strings alone")
        elif name in places:
            raise ValueError(f"the tensor {name!r:.80} is there twice")
        elif len(places) == MOST_TENSORS:
            raise ValueError(f"expected at most {MOST_TENSORS} tensors, found more")
        else:
            places[name], tensors[name] = _place(name, entry), entry
    end = 0
    for name, (start, stop) in sorted(places.items(), key=lambda item: item[1]):
        if start != end:
            raise ValueError(f"{name!r:.80}: expected to start at byte {end}, found {start}")
        end = stop
    if end != size:
        raise ValueError(f"expected {end} bytes of tensors, found {size}")
    tied = {name: o for name, o in metadata.items() if name not in places and o in places}
    return tensors, tied


def _entries(header: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a header entry by entry, so that never more than one is parsed."""
    if re.fullmatch(rb"\{\s*+\}\s*+", header):
        return
    if not header.startswith(b"{"):
        raise ValueError("expected a header of JSON")
    position, mark = 1, b","
    while mark == b",":
        match = ENTRY.match(header, position)
        if match is None:
            raise ValueError(f"expected flat JSON, found none at byte {position} of the header")
        if (length := match.end("name") - match.start("name")) > MOST_NAME:
            raise ValueError(f"expected names of at most {MOST_NAME} bytes, found {length}")
        if (length := match.end("object") - match.start("object")) > MOST_ENTRY:
            raise ValueError(f"expected entries of at most {MOST_ENTRY} bytes, found {length}")
        yield _json(match["name"]), _json(match["object"])
        position, mark = match.end(), match["mark"]
    if header[position:].strip():
        raise ValueError(f"expected the header to end at byte {position}, found more")


def _json(text: bytes) -> Any:
    try:
        return json.loads(text.decode(), object_pairs_hook=without_repeats)
    except RecursionError:
        raise ValueError("expected flat JSON, found deep nesting") from None


def _place(name: str, entry: dict[str, Any]) -> tuple[int, int]:
    """Return where a tensor starts and stops, if its entry holds together."""
    if entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r:.80}: expected dtype, shape, data_offsets, found {entry!r:.80}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r:.80}: expected one of {', '.join(DTYPES)}, found {dtype!r:.40}")
    if not (_are_counts(shape) and _are_counts(offsets) and len(offsets) == 2):
        raise ValueError(f"{name!r:.80}: expected whole numbers, found {entry!r:.160}")
    itemsize = DTYPES[dtype].itemsize
    if math.prod(max(extent, 1) for extent in shape) * itemsize > MOST_BYTES:
        raise ValueError(f"{name!r:.80}: the shape {shape!r:.80} is larger than any memory")
    start, stop = offsets
    if (bytes_needed := math.prod(shape) * itemsize) != stop - start:
        raise ValueError(f"{name!r:.80}: expected {bytes_needed} bytes, found {stop - start}")
    return start, stop


def _are_counts(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 64
        and all(type(value) is int and 0 <= value <= MOST_BYTES for value in values)
    )


def _refusal(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    marked = start.startswith(b"PK\x03\x04") or (
        start.startswith(b"\x80") and int.from_bytes(start, "little") > MOST_HEADER
    )
    if marked or path.suffix.lower() in PICKLES:
        return (
            f"{path} is not safetensors but looks like a pickle, which can run any program when "
            "read, so it is not. If you trust it, convert it: safetensors.torch.save_file("
            f"torch.load({path.name!r}, weights_only=True), {path.stem + '.safetensors'!r})"
        )
    return f"{path} is not valid safetensors: {error}"
