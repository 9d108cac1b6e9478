"""What was cut short or stepped aside: known by its name, cleared or put back, and nothing else.

All of this happens in folders that are proven to be ours, by who holds their lock.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from recurra.storage.files import Content, create, remove_file, sync_directory, token
from recurra.storage.sealed import discard, first_foreign

__all__ = ["Names", "renew", "renewed", "sweep"]

LEFT_OVER = re.compile(r"(.+)\.(tmp|old)-(?=\d*[a-f])([0-9a-f]{8})")
"""What `files.beside` calls things; `model.old-20261130` is someone's own."""


BEGINNINGS = (b'{\n  "', b'{"step": ', b"\x89PNG")
"""What the files begin with that we write whole: JSON, a log of metrics, a picture."""
HEAD = 4096
"""Bytes of a file that are looked at to see whose it is."""


@dataclass(frozen=True, slots=True)
class Names:
    """What we write into a folder, so that it can be told from what others put there.

    Args:
        folders: the names of sealed directories.
        within: the names of the files in these.
        files: the names of files.
        marker: the file by whose being there the rest is valid; it goes last.
        begins: the name of a file, or the ending of several -> what it begins with, a pattern.

    Example:
        >>> Names("model", "weights").has(Path("nowhere"), "model")
        False
    """

    folders: str
    within: str
    files: str = "(?!)"
    marker: str = ""
    begins: Mapping[str, bytes] = field(default_factory=dict)

    def knows(self, name: str) -> bool:
        """Return whether files of this name are in our sealed directories.

        Args:
            name: of a file.
        """
        return name == "manifest.json" or re.fullmatch(self.within, name) is not None

    def has(self, path: Path, name: str | None = None) -> bool:
        """Return whether what lies at `path` is what we write: no link, nothing foreign in it.

        Args:
            path: where it lies.
            name: under which it would be written; its own by default.
        """
        if re.fullmatch(self.folders, name or path.name):
            return first_foreign(path, self.knows) is None
        ours = re.fullmatch(self.files, name or path.name) is not None
        regular = ours and os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)
        return regular and (name is not None or self._begins(path))

    def _begins(self, path: Path) -> bool:
        """Return whether a file begins as we begin those of its name; a crash may leave zeros."""
        pattern = self.begins.get(path.name) or self.begins.get(path.suffix) or b""
        try:
            with path.open("rb") as file:
                head = file.read(HEAD)
        except OSError:
            return False
        return not head.strip(b"\0") or re.match(pattern, head, re.DOTALL) is not None

    def left(self, path: Path) -> bool:
        """Return whether an interrupted write of ours left what lies at `path`.

        Args:
            path: where it lies.
        """
        match = LEFT_OVER.fullmatch(path.name)
        if match is None or not self.has(path, match[1]):
            return False
        if path.is_dir():
            return True
        with path.open("rb") as file:
            head = file.read(8)
        marker = path.with_name(f"{self.marker}.old-{match[3]}")
        if match[2] == "old" and not os.path.lexists(marker):
            return False  # a file steps aside with the marker alone
        return head.startswith(BEGINNINGS) or any(each.startswith(head) for each in BEGINNINGS)


def sweep(parent: Path, names: Names, gone: Collection[str] = ()) -> list[Path]:
    """Clear what interrupted writes left in `parent`; return the paths that were removed.

    A directory that had stepped aside for a new one that never came is put back. What looks like
    a left-over and is not ours, by name, kind or content, is left alone.

    Args:
        parent: a directory, or nothing at all.
        names: what we write there.
        gone: as `renewed` returns it: what stepped aside then does not come back.

    Raises:
        OSError: when something cannot be removed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "model.tmp-0123abcd").mkdir()
        >>> (folder / "photos.tmp-0123abcd").mkdir()
        >>> [path.name for path in sweep(folder, Names("model", "weights"))]
        ['model.tmp-0123abcd']
    """
    removed = []
    paths = sorted(parent.iterdir()) if parent.is_dir() else []
    for path in sorted(paths, key=lambda path: path.name.startswith(f"{names.marker}.old-")):
        match = LEFT_OVER.fullmatch(path.name)
        if not match or not names.left(path):
            continue
        place = path.with_name(match[1])
        if match[2] == "old" and match[3] not in gone and not os.path.lexists(place):
            path.rename(place)
            continue
        if path.is_dir():
            discard(path, names.knows)
        else:
            remove_file(path)
        removed.append(path)
    return removed


def renewed(marker: Path) -> set[str]:
    """Return the tokens of what stepped aside for the `marker` that is there now.

    Args:
        marker: a file that `renew` wrote.

    Example:
        >>> renewed(Path("nowhere"))
        set()
    """
    if not os.path.lexists(marker):
        return set()
    matches = (LEFT_OVER.fullmatch(path.name) for path in marker.parent.iterdir())
    return {m[3] for m in matches if m and (m[1], m[2]) == (marker.name, "old")}


def renew(marker: Path, content: Content, others: Iterable[Path]) -> None:
    """Write `marker` anew, and let all that belongs to the old one step aside for `sweep`.

    Whatever happens on the way, `sweep` finds all of the old, or the new and nothing of the old:
    what stepped aside comes back unless `renewed` names it.

    Args:
        marker: the file by whose being there the others are valid.
        content: its new bytes.
        others: what goes with it, beside it or elsewhere on a disk.

    Raises:
        OSError: when the disk refuses; all is as it was.

    Example:
        >>> import tempfile
        >>> config = Path(tempfile.mkdtemp()) / "config.json"
        >>> renew(config, b"{}", [])
        >>> config.read_bytes()
        b'{}'
    """
    mark = token()
    new = marker.with_name(f"{marker.name}.tmp-{mark}")
    moved: list[tuple[Path, Path]] = []
    try:
        create(new, content)
        if not os.path.lexists(marker):
            create(marker, b"")  # so that there is what says that the rest is gone
        for place in (marker, *others):
            moved.append((place, place.with_name(f"{place.name}.old-{mark}")))
            place.rename(moved[-1][1])
        for folder in {place.parent for place, _ in moved}:
            sync_directory(folder)
        new.rename(marker)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell; sweep comes later
            for place, aside in reversed(moved):
                if os.path.lexists(aside):
                    aside.rename(place)
            remove_file(new)
        raise
    sync_directory(marker.parent)
