"""Where downloads and caches live: the only two places outside a run that are written to."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from recurra.errors import CheckpointError, ConfigError, ResourceError, RunError
from recurra.storage.files import Content, make_directory
from recurra.storage.leftovers import Names, sweep
from recurra.storage.locks import lock
from recurra.storage.sealed import open_sealed, seal

__all__ = ["cache_folder", "cached", "data_folder", "is_full", "scratch_file", "scratch_folder"]

NAMES = Names("content", r"[a-z]+\.(json|ids)")
"""What is kept of a thing that was built once."""


def data_folder() -> Path:
    """Return the folder of downloaded data: `$RECURRA_DATA`, else the user's cache folder.

    It is not created here, and may be read-only once the data in it is complete.

    Raises:
        ConfigError: the variable is unset and this user has no home folder.

    Example:
        >>> data_folder().is_absolute()
        True
    """
    return _folder("RECURRA_DATA")


def cache_folder() -> Path:
    """Return the folder of what can be computed again: `$RECURRA_CACHE`, else the user's cache.

    It is not created here, and may be deleted at any time.

    Raises:
        ConfigError: the variable is unset and this user has no home folder.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    return _folder("RECURRA_CACHE")


def _folder(variable: str) -> Path:
    given = os.environ.get(variable)
    try:
        return Path(given).expanduser().absolute() if given else _user_cache() / "recurra"
    except RuntimeError as error:
        raise ConfigError(f"there is no home folder ({error}): set {variable}") from error


def _user_cache() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that a relative path there is to be ignored.
    return xdg if xdg.is_absolute() else Path.home() / ".cache"


def cached(
    name: str, kind: str, version: int, build: Callable[[], Mapping[str, Content]]
) -> dict[str, Path]:
    """Return the files that were built under a name before, or build them now.

    What is found is verified first; what is damaged is built again. Where the cache cannot be
    written, or another process is building the same, the files go to a private folder that ends
    with this process.

    Args:
        name: holds everything the files depend on, as a digest.
        kind: what they are, as `"text"`.
        version: of their format.
        build: gives file name -> its bytes, or a function that writes them.

    Raises:
        ResourceError: the disk is full, or no folder can be written.
    """
    problem: Exception | None = None
    for folder in (cache_folder, _private_folder):
        place = folder() / kind / name
        with suppress(CheckpointError):
            return open_sealed(place / "content", kind, version)
        try:
            make_directory(place)
            with lock(place / "lock"):
                sweep(place, NAMES)
                seal(place / "content", build(), kind, version, NAMES.knows)
                return open_sealed(place / "content", kind, version)
        except RunError as error:
            problem = error
        except OSError as error:
            if is_full(error):
                raise ResourceError(
                    f"no space is left for {place}: make room, or set RECURRA_CACHE elsewhere"
                ) from error
            problem = error
    raise ResourceError(f"no folder can be written for the cache: {problem}") from problem


def is_full(error: OSError) -> bool:
    """Return whether an error says that the disk, or the user's share of it, is full.

    Args:
        error: what the system answered.

    Example:
        >>> is_full(OSError(errno.ENOSPC, "No space left on device"))
        True
    """
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@cache
def _private_folder() -> Path:
    path, owner = tempfile.mkdtemp(prefix="recurra-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked child leaves it to its parent
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return Path(path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder of this process alone, which goes with all that is in it.

    Example:
        >>> with scratch_folder() as folder:
        ...     list(folder.iterdir())
        []
    """
    with tempfile.TemporaryDirectory(prefix="recurra-") as folder:
        yield Path(folder)


@contextmanager
def scratch_file() -> Iterator[IO[bytes]]:
    """Give a file without a name, which goes when nobody reads it any more.

    Raises:
        ResourceError: the disk is full.

    Example:
        >>> with scratch_file() as file:
        ...     file.write(b"ids")
        3
    """
    with tempfile.TemporaryFile() as file:
        try:
            yield file
        except OSError as error:
            if is_full(error):
                raise ResourceError("no space is left for temporary files") from error
            raise
