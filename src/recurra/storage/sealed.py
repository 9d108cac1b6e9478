"""Sealed directories: found whole and unaltered, or not found.

A sealed directory ends with `manifest.json`: its kind and format version, and the size and
SHA-256 of every other file in it. One in which anything else lies is neither replaced nor removed.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from recurra.errors import CheckpointError
from recurra.storage.files import (
    Content,
    beside,
    create,
    json_bytes,
    remove_file,
    sha256,
    sync_directory,
)

__all__ = [
    "SealedFile",
    "discard",
    "first_foreign",
    "kind_in",
    "open_sealed",
    "parsed",
    "read_json",
    "regular_size",
    "remove",
    "seal",
    "sealed_files",
    "without_repeats",
]

MANIFEST = "manifest.json"
MOST_JSON = 2**20  # bytes; bounds the memory that reading a hostile file can cost
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

Known = Callable[[str], object]
"""Whether files of this name are written into a directory."""


def _nothing(name: str) -> bool:
    return False


def regular_size(path: Path) -> int:
    """Return a regular file's size in bytes; a link may lead anywhere and a pipe may block.

    Args:
        path: the file.

    Raises:
        CheckpointError: when it is missing, or anything but a regular file.

    Example:
        >>> regular_size(Path("nowhere"))
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere is missing
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        found = stat.filemode(status.st_mode)
        raise CheckpointError(f"{path}: expected a regular file, found {found}")
    return status.st_size


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return JSON's pairs as a dict; for `object_pairs_hook`.

    Args:
        pairs: keys and values in the order of the text.

    Raises:
        ValueError: for a key that is there twice, as readers differ in which one they take.

    Example:
        >>> json.loads('{"a": 1}', object_pairs_hook=without_repeats)
        {'a': 1}
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key that is there twice")
    return found


def parsed(text: bytes, *, finite: bool = True) -> Any:
    """Return what JSON says, read as strictly as a hostile file asks for.

    Args:
        text: in UTF-8.
        finite: whether every number must be finite: `NaN`, `Infinity` and `1e999` are refused.

    Raises:
        ValueError: it is no JSON, nests too deep, has a key twice or such a number, or a whole
            number of more than 64 bits.

    Example:
        >>> parsed(b'{"count": 1e999}')
        Traceback (most recent call last):
        ValueError: the number 1e999, which is not finite
    """
    number = _finite if finite else float
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=without_repeats,
            parse_int=_whole,
            parse_float=number,
            parse_constant=number,
        )
    except RecursionError:
        raise ValueError("lists in lists without end") from None


def _whole(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**64:
        raise ValueError(f"the number {text:.40}, which has more than 64 bits")
    return number


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text:.40}, which is not finite")
    return number


def read_json(path: Path, *, finite: bool = True) -> Any:
    """Return what a JSON file of a model or checkpoint holds.

    Args:
        path: a regular file of at most 1 MiB.
        finite: whether every number must be finite.

    Raises:
        CheckpointError: when it is missing, a link, larger, not JSON, or has a key twice.

    Example:
        >>> read_json(Path("nowhere.json"))
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere.json is missing
    """
    if (size := regular_size(path)) > MOST_JSON:
        raise CheckpointError(f"{path}: expected at most {MOST_JSON} bytes, found {size}")
    try:
        return parsed(path.read_bytes(), finite=finite)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: expected JSON, found {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _is_plain(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name != MANIFEST


def _manifest_of(directory: Path) -> dict[str, Any]:
    """Return the manifest of a sealed directory, its files not looked at; `{}` where it is none."""
    try:
        manifest = read_json(directory / MANIFEST)
        _entries(directory / MANIFEST, manifest["kind"], manifest["version"])
    except (CheckpointError, LookupError, TypeError):
        return {}
    return dict(manifest) if isinstance(manifest["kind"], str) else {}


def kind_in(directory: Path) -> str | None:
    """Return what a directory says it is, as `"checkpoint"`; None where it is not sealed.

    Args:
        directory: anything.

    Example:
        >>> kind_in(Path("nowhere")) is None
        True
    """
    return _manifest_of(directory).get("kind")


def first_foreign(directory: Path, known: Known = _nothing) -> Path | None:
    """Return what lies in a directory and is not ours, the first by name; None where all is.

    Ours are `manifest.json`, if it is one, and the regular files that it lists.

    Args:
        directory: one that is there; anything else is itself foreign.
        known: what else we write there, where the directory is proven to be ours.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> (place / "notes.txt").touch()
        >>> first_foreign(place).name
        'notes.txt'
    """
    if directory.is_symlink() or not directory.is_dir():
        return directory
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    manifest = _manifest_of(directory) if found else {}
    ours = {MANIFEST, *manifest["files"]} if manifest else set()
    for entry in found:
        if not (entry.name in ours or known(entry.name)) or not entry.is_file(
            follow_symlinks=False
        ):
            return directory / entry.name
    return None


def _require_ours(directory: Path, known: Known) -> None:
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    if (foreign := first_foreign(directory, known)) is not None:
        raise FileExistsError(errno.EEXIST, "is not Recurra's, so nothing is changed", str(foreign))


def discard(directory: Path, known: Known = _nothing) -> None:
    """Remove a directory, sealed or never finished, unless something foreign lies in it.

    Args:
        directory: what goes; a link is left.
        known: as `first_foreign` takes it.

    Raises:
        FileExistsError: something in it is not ours; nothing is removed.
        OSError: when the system refuses.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> place.mkdir()
        >>> discard(place)
        >>> place.exists()
        False
    """
    _require_ours(directory, known)
    paths = sorted(directory.iterdir(), key=lambda path: path.name == MANIFEST)
    for path in paths:  # what lists the others goes last
        remove_file(path)
    directory.rmdir()


def _swap(new: Path, place: Path, known: Known) -> None:
    """Rename `new` to `place`; what was there steps aside, and comes back if that fails."""
    if not os.path.lexists(place):
        new.rename(place)
        sync_directory(place.parent)
        return
    _require_ours(place, known)
    old = place.rename(beside(place, "old"))
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise
    sync_directory(place.parent)
    with suppress(OSError):  # the new one is safe, and sweep comes later
        discard(old, known)


def seal(
    directory: Path,
    files: Mapping[str, Content],
    kind: str,
    version: int,
    known: Known = _nothing,
) -> None:
    """Write a directory of files so that its name leads to all of them or is not there.

    Every file is flushed to the disk, `manifest.json` last; then the directory; then it is
    renamed to its place, and the place flushed. An existing directory steps aside for the new
    one; a crash between the two renames leaves it where `recurra.storage.leftovers.sweep` finds it.

    Args:
        directory: its place, or a link to it; the folder above must be there.
        files: name -> the bytes, or a function that writes them; plain names, no folders.
        kind: what the directory is, as `"checkpoint"`.
        version: of the format of that kind, from 1.
        known: as `first_foreign` takes it, beside `files`.

    Raises:
        ValueError: for a name that is not a plain one.
        FileExistsError: something in the directory that is there is not ours.
        OSError: when the disk refuses; the old directory, if any, or the new one is intact.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> seal(place, {"words.txt": b"a b c"}, "words", 1)
        >>> open_sealed(place, "words", 1)["words.txt"].read_bytes()
        b'a b c'
    """
    for name in files:
        if not _is_plain(name):
            raise ValueError(f"{name!r} cannot name a file of a sealed directory")
    place = directory.resolve() if directory.is_symlink() else directory

    def ours(name: str) -> bool:
        return name == MANIFEST or name in files or bool(known(name))

    if os.path.lexists(place):
        _require_ours(place, ours)  # now, not when all is written
    unfinished = beside(place, "tmp")
    try:
        _fill(unfinished, files, kind, version)
        _swap(unfinished, place, ours)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell; sweep comes later
            discard(unfinished, ours)
        raise


def _fill(directory: Path, files: Mapping[str, Content], kind: str, version: int) -> None:
    """Make a directory of these files, the manifest last."""
    directory.mkdir()
    entries = {}
    for name, content in files.items():
        size, digest = create(directory / name, content)
        entries[name] = {"size": size, "sha256": digest}
    manifest = {"kind": kind, "version": version, "files": entries}
    create(directory / MANIFEST, json_bytes(manifest))
    sync_directory(directory)


def _is_entry(name: str, entry: Any) -> bool:
    return (
        _is_plain(name)
        and isinstance(entry, dict)
        and entry.keys() == {"size", "sha256"}
        and type(entry["size"]) is int
        and isinstance(entry["sha256"], str)
    )


def _entries(path: Path, kind: str, version: int) -> dict[str, dict[str, Any]]:
    """Read and check a manifest; return the entries of its files."""
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.keys() != {"kind", "version", "files"}:
        raise CheckpointError(
            f"{path} is damaged: expected kind, version and files, found {manifest!r:.160}"
        )
    if manifest["kind"] != kind:
        raise CheckpointError(f"{path}: expected a {kind}, found {manifest['kind']!r:.80}")
    found = manifest["version"]
    if type(found) is not int or found != version:
        newer = type(found) is int and found > version
        advice = "; a newer Recurra wrote it: install that one" if newer else ""
        raise CheckpointError(f"{path}: expected format {version}, found {found!r:.80}{advice}")
    entries = manifest["files"]
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path} is damaged: expected names of files, found {entries!r:.80}")
    for name, entry in entries.items():
        if not _is_entry(name, entry):
            raise CheckpointError(
                f"{path} is damaged: expected plain names with size and sha256, "
                f"found {name!r:.80}: {entry!r:.160}"
            )
    return entries


class SealedFile(NamedTuple):
    """A file of a sealed directory, of the right size, whose bytes are not looked at yet.

    Args:
        path: where it lies.
        size: in bytes.
        sha256: what the manifest says of its content.
    """

    path: Path
    size: int
    sha256: str

    def verified(self) -> Path:
        """Return the path, once every byte is seen to be what was sealed.

        Raises:
            CheckpointError: it differs, or cannot be read.
        """
        try:
            digest = sha256(self.path)
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read: {error.strerror}") from error
        if digest != self.sha256:
            raise CheckpointError(
                f"{self.path}: expected SHA-256 {self.sha256:.80}, found {digest}"
            )
        return self.path


def sealed_files(directory: Path, kind: str, version: int) -> dict[str, SealedFile]:
    """Return the files of a sealed directory, name -> file, their sizes checked alone.

    Args:
        directory: what `seal` wrote.
        kind: what it must be.
        version: of the format; no other is read.

    Raises:
        CheckpointError: when a file is missing, is a link, or differs in size, or the kind or
            version is another.

    Example:
        >>> sealed_files(Path("nowhere"), "checkpoint", 1)
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere/manifest.json is missing
    """
    found = {}
    for name, entry in _entries(directory / MANIFEST, kind, version).items():
        path = directory / name
        if (size := regular_size(path)) != (expected := entry["size"]):
            raise CheckpointError(f"{path}: expected {expected} bytes, found {size}")
        found[name] = SealedFile(path, size, entry["sha256"])
    return found


def open_sealed(directory: Path, kind: str, version: int) -> dict[str, Path]:
    """Check a sealed directory against its manifest and return its files, name -> path.

    Args:
        directory: what `seal` wrote.
        kind: what it must be.
        version: of the format; no other is read.

    Raises:
        CheckpointError: when a file is missing, is a link, or differs in size or SHA-256 (the
            expected and the found value are given), or the kind or version is another.

    Example:
        >>> open_sealed(Path("nowhere"), "checkpoint", 1)
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere/manifest.json is missing
    """
    found = sealed_files(directory, kind, version)  # all sizes first: they cost nothing
    return {name: each.verified() for name, each in found.items()}


def remove(directory: Path, known: Known = _nothing) -> None:
    """Remove a sealed directory; a crash on the way leaves no half of it under its name.

    Args:
        directory: what goes.
        known: as `first_foreign` takes it.

    Raises:
        FileExistsError: something in it is not ours; nothing is removed.
        OSError: when the system refuses.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "model"
        >>> seal(place, {}, "empty", 1)
        >>> remove(place)
        >>> place.exists()
        False
    """
    _require_ours(directory, known)
    discard(directory.rename(beside(directory, "tmp")), known)
