"""Where results may go: tried before the work, so that none is done for a place that refuses it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recurra.errors import ConfigError, ResourceError, RunError
from recurra.storage.files import beside, create, is_stream, remove_file
from recurra.storage.folders import is_full
from recurra.storage.sealed import first_foreign, kind_in

__all__ = [
    "mode",
    "require_file",
    "require_folder",
    "require_model",
    "require_usual",
    "try_folder",
    "writing",
]

KINDS = "recurra-"
"""What the kinds of all finished models begin with."""
TRIED = 4096
"""Bytes that are written where a place is tried; less than any result has."""


def require_file(
    path: Path, option: str, ours: Callable[[bytes], bool], makes_folder: bool = False
) -> None:
    """Refuse a file that could not be written, or that would take the place of someone else's.

    Args:
        path: where a result is to go.
        option: which named it, as `"--plot"`.
        ours: whether a file that begins with these bytes is a result of this kind.
        makes_folder: whether its folder is made then, where it is not there.

    Raises:
        ConfigError: it is a directory, a link, or a file that is no such result.
        RunError: it cannot be written there, or there is no such folder.
        ResourceError: the disk is full.

    Example:
        >>> require_file(Path("/dev/null"), "--out", lambda head: False)
    """
    if is_stream(path):
        return
    _require_outside(path)
    if path.is_symlink():
        raise ConfigError(f"{path} is a link, which is left as it is; give {option} a file")
    if path.is_dir():
        raise ConfigError(f"{str(path) or '.'} is a directory; give {option} a file in one")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(TRIED)
        if head and not ours(head):
            raise ConfigError(
                f"{path} is there already and is none that Recurra wrote; move it away, or give "
                f"another {option}"
            )
    if path.parent.is_dir():
        try_folder(path.parent, str(path), option)
        return
    require_folder(path.parent, option)
    if not makes_folder:
        raise RunError(f"{path.parent} is not there; make it, or give another with {option}")


def require_folder(path: Path, option: str) -> None:
    """Refuse a folder in which nothing could be written; it is not made yet where it is not there.

    Args:
        path: where results are to go.
        option: which named it, as `"--out"`.

    Raises:
        RunError: nothing can be written there.
        ResourceError: the disk is full.
    """
    place = path
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise RunError(f"{path} is a file, or lies under one; give another with {option}")
    try_folder(place, str(path), option)


def require_model(directory: Path) -> Path:
    """Return where a model may be written: a place that is free, or holds a model and nothing else.

    Args:
        directory: what is there is replaced; through a link, where that leads.

    Raises:
        ConfigError: something else is there, and what; or it is a folder that programs stand in.

    Example:
        >>> require_model(Path("nowhere/model")).name
        'model'
    """
    place = directory.resolve()
    _require_outside(directory)
    _require_no_tilde(directory)
    if not os.path.lexists(place):
        return place
    if not place.is_dir():
        raise ConfigError(f"{directory} is there already and is no folder; give another")
    require_usual(place)
    if place == (here := Path.cwd()) or place in here.parents:
        raise ConfigError(f"{place} is the folder one works in; give one in it for the model")
    kind = kind_in(place)
    known = kind is not None and kind.startswith(KINDS)
    foreign = first_foreign(place) if known else next(iter(sorted(place.iterdir())), None)
    if foreign is not None:
        raise ConfigError(
            f"{directory} holds {foreign.name}, which is no part of a model of Recurra, so it is "
            "not replaced; give another folder"
        )
    return place


def _require_outside(path: Path) -> None:
    """Refuse what would lie in a sealed directory, which holds its own files and no other."""
    for above in path.resolve().parents:
        if (kind := kind_in(above)) is not None:
            raise ConfigError(f"{path} would lie in {above}, a {kind:.40}; give another place")


def _require_no_tilde(folder: Path) -> None:
    if folder.parts[:1] == ("~",):
        raise ConfigError(f"{folder} begins with ~, which is a folder's name here; write it out")


def require_usual(folder: Path) -> None:
    """Refuse a folder that is never meant for results: the home, the root of a disk, or `~`.

    Args:
        folder: where results are to go.

    Raises:
        ConfigError: it is one of these.

    Example:
        >>> require_usual(Path("runs/mine"))
    """
    _require_no_tilde(folder)
    place = folder.resolve()
    home = None
    with suppress(RuntimeError, OSError):
        home = Path.home().resolve()
    if place == home or place == place.parent:
        raise ConfigError(f"{place} is no place for results; give a folder in it")


def try_folder(folder: Path, what: str, option: str) -> None:
    """Refuse a folder in which no file can be written, by writing one and removing it.

    Args:
        folder: where.
        what: is to be there in the end, for the message.
        option: which named it.

    Raises:
        RunError: it cannot; says why, and what its permissions are.
        ResourceError: the disk is full.
    """
    trial = beside(folder / "trial", "tmp")
    try:
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            create(trial, bytes(TRIED))
        finally:
            with suppress(OSError):
                remove_file(trial)
    except OSError as error:
        if is_full(error):
            raise ResourceError(f"no space is left for {what}") from error
        raise RunError(
            f"{what} cannot be written to ({error.strerror}; {mode(folder)}); change its "
            f"permissions, or give another with {option}"
        ) from error


def mode(path: Path) -> str:
    """Say who may do what with `path`, or with the nearest folder above it that exists.

    Args:
        path: any.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    return f"{path} is {stat.filemode(path.stat().st_mode)}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell what the disk refuses while `path` is written.

    Args:
        path: for the message.

    Raises:
        ResourceError: the disk is full.
        RunError: it refuses otherwise.
    """
    try:
        yield
    except OSError as error:
        kind = ResourceError if is_full(error) else RunError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error
