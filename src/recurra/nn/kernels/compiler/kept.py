"""What was compiled, as it is kept on disk: read only where no one else could have written it.

Machine code does whatever it says; so does a file that names what to call, which these do not.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from recurra.nn.kernels.compiler.library import packed, unpacked
from recurra.storage.files import write_bytes

__all__ = ["Kept", "distrusted"]

LOG = logging.getLogger(__name__)
"""Told of each function that is not on disk and so takes a second or more."""


class Kept:
    """The compiled forms of a function in a folder; numba asks it for them. A fault is a miss.

    A file holds one kind of arguments. Its name is a hash of all that its code depends on; it
    begins with a hash of that name and of its bytes, as machine code that lost a bit would end
    the process.

    Args:
        function: the one in Python.
        folder: of all that is compiled.
        mark: tells the function and the texts that it depends on from all others.
        prepare: called with the types of the arguments before code for them is loaded.
    """

    def __init__(
        self, function: Any, folder: Path, mark: str, prepare: Callable[[tuple[Any, ...]], None]
    ) -> None:
        self.function = function
        self.folder = folder
        self.mark = mark
        self.prepare = prepare

    @property
    def cache_path(self) -> str:
        """The folder, for numba's statistics."""
        return str(self.folder)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return what numba compiled for such arguments, or None.

        Args:
            signature: the types of the arguments.
            context: numba's.
        """
        context.refresh()
        kinds = tuple(getattr(signature, "args", signature))
        self.prepare(kinds)
        with suppress(Exception):  # on a system that has changed anything may be raised
            path = self._place(kinds, context.codegen())
            whole = _read(path)
            if whole[:32] == _seal(path, whole[32:]):
                return unpacked(whole[32:], self.function, kinds, context)
        LOG.info("compiling %s", self.function.__qualname__)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what numba compiled, where the disk takes it.

        Args:
            signature: the types of the arguments.
            result: what numba made for them.
        """
        path = self._place(tuple(result.signature.args), result.codegen)
        content = packed(result)
        taken = path.is_symlink() or (path.exists() and not path.is_file())
        if content is None or taken or distrusted(self.folder):
            return
        with suppress(OSError):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_bytes(path, _seal(path, content) + content)
            path.chmod(0o600)

    def _place(self, kinds: tuple[Any, ...], codegen: Any) -> Path:
        versions = [sys.version, *(import_module(n).__version__ for n in ("numba", "llvmlite"))]
        facts = repr((versions, self.mark, kinds, codegen.magic_tuple()))
        digest = hashlib.sha256(facts.encode()).hexdigest()
        return self.folder / f"{self.function.__name__}.{digest[:32]}"


def _seal(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + content).digest()


def _read(path: Path) -> bytes:
    """Return a file's bytes, if it and the folder it lies in are this user's alone.

    Raises:
        OSError: it is not there, a link, or someone else may have written it.
    """
    _require(distrusted(path.parent))
    _require(_fault(path.lstat(), path))
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _require(_fault(os.fstat(file.fileno()), path))
        return file.read()


def _require(why: str | None) -> None:
    if why:
        _say(why)
        raise PermissionError(why)


@cache
def _say(why: str) -> None:
    LOG.warning("compiled code is not read, and compiled anew: %s", why)


def distrusted(folder: Path) -> str | None:
    """Return why compiled code in a folder is not run; None where it is.

    Args:
        folder: may be missing.

    Example:
        >>> distrusted(Path("nowhere")) is None
        True
    """
    try:
        return _fault(folder.stat(), folder)
    except OSError:
        return None


def _fault(found: os.stat_result, path: Path) -> str | None:
    """Return why what lies there may be another's; None where it is this user's alone."""
    if not hasattr(os, "geteuid"):
        return None
    if found.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to user {found.st_uid}, not to this one ({os.geteuid()})"
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return f"{path} is neither a file nor a folder"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {path} (mode {found.st_mode & 0o777:o}): chmod go-w it"
    return None
