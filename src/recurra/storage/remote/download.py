"""Downloads that resume, are verified, and take from an archive only what was expected."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from recurra.errors import DataError, ResourceError
from recurra.storage.files import append, make_directory, remove_file
from recurra.storage.folders import is_full
from recurra.storage.locks import is_lock, lock
from recurra.work import working

__all__ = ["download", "gathering", "unpack"]

BLOCK = 1 << 16  # bytes
Content = TypeVar("Content")


@contextmanager
def gathering(part: Path, held: Path) -> Iterator[None]:
    """Hold a lock while `part` is downloaded into; one of someone else's is never gone on from.

    Args:
        part: where the bytes gather; ours if it is a file beside a lock of ours.
        held: the lock, made with its folder and kept.

    Raises:
        DataError: there is such a file already, and it is not ours.
        RunError: another process holds the lock.
        OSError: when the disk refuses.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with gathering(folder / "data.part", folder / "data.lock"):
        ...     (folder / "data.lock").exists()
        True
    """
    if os.path.lexists(part) and (part.is_symlink() or not part.is_file() or not is_lock(held)):
        raise DataError(f"{part} is there already and is no download of Recurra; move it away")
    make_directory(held.parent)
    with lock(held):
        yield


def download(
    url: str,
    part: Path,
    limit: int,
    accept: Callable[[Path], Content],
    tries: int = 3,
    timeout: float = 30.0,
) -> Content:
    """Fetch `url` into the file `part`, and return what `accept` makes of it.

    What a broken connection left in `part` is gone on from, in this call and in later ones. Once
    complete, the file is removed, whether it was accepted or not.

    Args:
        url: http or https.
        part: where the bytes gather; best a name that ends in `.part`.
        limit: most bytes the file may have.
        accept: verifies the complete file; raises DataError where it is not what was meant.
        tries: how often to begin, or to begin again.
        timeout: of a silent connection, in seconds.

    Raises:
        DataError: every try failed; says how each did.
        ResourceError: the disk is full.
    """
    failures = []
    for _ in range(tries):
        try:
            _fetch(url, part, limit, timeout)
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and is_full(error):
                raise ResourceError(f"no space is left for {part}") from error
            failures.append(_one_line(f"{type(error).__name__}: {error}"))
            continue
        try:
            return accept(part)
        except DataError as error:
            failures.append(str(error))
        finally:
            remove_file(part)
    told = "; ".join(f"({count}) {failure}" for count, failure in enumerate(failures, 1))
    raise DataError(f"{url} could not be downloaded in {tries} tries: {told}")


def _one_line(message: str) -> str:
    """Return a message in which a server had its say, without what it may have put in."""
    return " ".join("".join(char if char.isprintable() else " " for char in message).split())[:200]


def _fetch(url: str, part: Path, limit: int, timeout: float) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "recurra"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:
        with error:
            if error.code == 416 and error.headers["Content-Range"] == f"bytes */{have}":
                return  # the part is the whole
            if error.code == 416:
                remove_file(part)
            raise
    with response:
        goes_on = response.headers["Content-Range"] or ""
        if response.status != 206 or not goes_on.startswith(f"bytes {have}-"):
            have = 0
        total = None if response.length is None else have + response.length
        if total is not None and total > limit:
            raise OSError(f"{total:,} bytes are announced, at most {limit:,} were expected")
        if not have:
            remove_file(part)
        with working(f"fetching {url}", total, "bytes") as tell:
            while block := response.read(BLOCK):
                have += len(block)
                if have > limit:
                    break
                while block:
                    block = block[append(part, block) :]
                tell(have)
    if have > limit:
        remove_file(part)
        raise OSError(f"more than the {limit:,} bytes expected were sent")
    if total is not None and have < total:
        raise OSError(f"cut off after {have:,} of {total:,} bytes")


def unpack(archive: Path, expected: Mapping[str, int], limit: int) -> dict[str, bytes]:
    """Return the contents of the expected members of a `.tar.gz`, and touch no others.

    Nothing is written to disk. Links, devices and members of other names are passed over.

    Args:
        archive: the file.
        expected: member name -> its size in bytes.
        limit: most bytes that are unpacked in all, those passed over included.

    Raises:
        DataError: the archive is damaged, too large, or lacks an expected member.
    """
    # The standard library's tarfile reads extended headers of any size into memory.
    found: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as stream:
            while limit >= 0 and len(found) < len(expected):
                header = stream.read(512)
                if len(header) < 512 or not any(header):
                    break
                name, size, regular = _read_header(header)
                padded = -(-size // 512) * 512
                limit -= 512 + padded
                if regular and name in expected and size == expected[name] and limit >= 0:
                    found[name] = stream.read(padded)[:size]
                else:
                    _skip(stream, min(padded, max(0, limit)))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"the archive {archive.name} is damaged: {error}") from error
    if limit < 0:
        raise DataError(f"the archive {archive.name} unpacks to more than was expected")
    for name, size in expected.items():
        if len(found.get(name, b"")) != size:
            raise DataError(f"the archive {archive.name} has no file {name} of {size:,} bytes")
    return found


def _read_header(header: bytes) -> tuple[str, int, bool]:
    """Return the name, the size, and whether it is a regular file. Source: POSIX.1-1988 ustar."""
    folder = header[345:500] if header[257:263] == b"ustar\0" else b""
    parts = [part.split(b"\0")[0].decode("utf-8", "replace") for part in (folder, header[:100])]
    name = "/".join(filter(None, parts)).removeprefix("./")
    size = header[124:136].strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,11}", size):
        raise ValueError(f"{name!r} has no valid size")
    return name, int(size, 8), header[156:157] in (b"0", b"\0")


def _skip(stream: gzip.GzipFile, size: int) -> None:
    while size > 0 and (block := stream.read(min(BLOCK, size))):
        size -= len(block)
