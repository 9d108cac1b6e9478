"""A sweep's folder: what says which sweep it is, who writes to it, and what it came to.

sweep.json     which sweep this is, and which of its runs are still to be begun anew
NAME=VALUE,... a run each, a directory like any other run's
results.json   what `--json` prints; results.csv, results.png the same as a table and a picture
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError, ConfigError, RunError
from recurra.run.directory import RunDirectory
from recurra.run.names import worded
from recurra.storage.files import make_directory, remove_directories, remove_file, write_json
from recurra.storage.leftovers import Names
from recurra.storage.leftovers import sweep as clear
from recurra.storage.locks import is_lock, lock
from recurra.storage.outputs import mode, require_usual, writing
from recurra.storage.reading import read_json

__all__ = ["SweepFolder", "runs_in"]

LOCK = ".lock"
RESULTS = ("results.json", "results.csv", "results.png")
NAMES = Names(
    "(?!)",
    "(?!)",
    "|".join(map(re.escape, ("sweep.json", *RESULTS))),
    "sweep.json",
    {".json": rb'\{\s*("sweep": |$)', ".csv": b"best,", ".png": rb"\x89PNG.*Recurra"},
)
"""What is written beside the runs."""

Json = dict[str, Any]


class SweepFolder:
    """The files of one sweep.

    Args:
        path: the folder; it need not exist yet.

    Example:
        >>> SweepFolder(Path("runs/rates")).results_path.name
        'results.json'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark_path = path / "sweep.json"
        self.results_path, self.table_path, self.picture_path = (path / n for n in RESULTS)
        self._known: Json = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, prove that it is ours or free, and keep other sweeps out.

        Raises:
            RunError: it is a file, may not be written to, is a run or holds something else, or
                another sweep holds it.
            ConfigError: it is the home, the root of a disk, or `~`.
        """
        require_usual(self.path)
        for above in (self.path, *self.path.resolve().parents):
            if RunDirectory(above).is_ours():
                lies = "is" if above == self.path else f"lies in {above},"
                raise RunError(f"{self.path} {lies} a run; give the sweep another --out")
        new = not self.path.exists()
        try:
            make_directory(self.path)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._require_ours()
        except OSError as error:
            raise RunError(
                f"{self.path} cannot hold a sweep ({error.strerror}; {mode(self.path)}); give "
                "another directory with --out"
            ) from error
        with lock(self.path / LOCK):
            clear(self.path, NAMES)
            try:
                yield
            finally:
                if new and {each.name for each in self.path.iterdir()} <= {LOCK}:
                    with contextlib.suppress(OSError):  # nothing was written, as for one refused
                        remove_file(self.path / LOCK)
                        remove_directories([self.path])

    def _require_ours(self) -> None:
        if self.mark() is None:
            for path in sorted(self.path.iterdir()):
                if not (path.name == LOCK and is_lock(path)) and not NAMES.left(path):
                    raise RunError(
                        f"{self.path} holds {path.name} and is no sweep, so nothing is written "
                        "there; give another directory with --out"
                    )
        for path in (self.results_path, self.table_path, self.picture_path):
            if os.path.lexists(path) and not NAMES.has(path):
                raise RunError(
                    f"{path} was not written by this sweep, so it is not replaced; move it "
                    "elsewhere, and give the same command again"
                )

    def mark(self) -> Json | None:
        """Return what sweep.json says; None where it is not there, or no sweep's.

        Raises:
            CheckpointError: it is a sweep's and damaged.
        """
        if not os.path.lexists(self.mark_path):
            return None
        values = read_json(self.mark_path)
        if not isinstance(values, dict) or not isinstance(values.get("sweep"), dict):
            raise CheckpointError(f"{self.mark_path} does not say which sweep this is")
        return values

    def begin(self, identity: Json, runs: list[str], *, restart: bool) -> list[str]:
        """Say which sweep this is; return the runs of an earlier one, which are left as they are.

        Args:
            identity: what makes it this sweep and no other.
            runs: their names.
            restart: whether all that is there is discarded, run by run as each is begun.

        Raises:
            ConfigError: another sweep is here; lists in what it differs.
        """
        there = self.mark()
        if there is not None and not restart:
            if lines := _differences(there["sweep"], identity):
                raise ConfigError(
                    f"{self.path} holds another sweep ({'; '.join(lines)}). Give another --out, "
                    "the same settings to go on, or --restart to start over"
                )
            self._known = there
            return []
        anew = runs if there is not None else []
        self._known = {"sweep": identity, "runs": runs, "restarting": anew}
        self._write()
        return [name for name in (there or {}).get("runs", []) if name not in runs]

    @property
    def restarting(self) -> list[str]:
        """The runs whose directories are still as an earlier sweep left them."""
        return [*self._known["restarting"]]

    def begun(self, name: str) -> None:
        """Note that a run was begun anew.

        Args:
            name: of the run.
        """
        if name in self._known["restarting"]:
            self._known["restarting"].remove(name)
            self._write()

    def _write(self) -> None:
        with writing(self.mark_path):
            write_json(self.mark_path, self._known)


def runs_in(path: Path) -> list[Path] | None:
    """Return the directories of a sweep's runs; None where no sweep is.

    Args:
        path: of a folder, or of anything else.

    Example:
        >>> runs_in(Path("nowhere")) is None
        True
    """
    try:
        mark = SweepFolder(path).mark() if path.is_dir() else None
    except CheckpointError:
        return None
    return None if mark is None else [path / str(name) for name in mark.get("runs", [])]


def _differences(there: Json, asked: Json) -> list[str]:
    old, new = _worded(there), _worded(asked)
    # what an earlier version did not know is in the configs of its runs
    names = [name for name in dict.fromkeys([*old, *new]) if name in old or name not in _of(asked)]
    return [
        f"{name}: {old.get(name, 'nothing')} there, {new.get(name, 'nothing')} asked"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _of(identity: Json) -> set[str]:
    return {*identity["common"]} - {*identity["settings"]}


def _worded(identity: Mapping[str, Any]) -> dict[str, str]:
    """Return all that a sweep says of itself, by name, in words."""
    found = {name: worded(value) for name, value in identity.get("common", {}).items()}
    for name, values in identity.get("settings", {}).items():
        found[name] = ", ".join(map(worded, values))
    found["preset"] = worded(identity.get("preset"))
    found["seeds"] = ", ".join(map(worded, identity.get("seeds", [])))
    found["parameters"] = worded(identity.get("parameters"))
    for name, width in (identity.get("widths") or {}).items():
        found[f"width of {name}" if name else "width"] = worded(width)
    return found
