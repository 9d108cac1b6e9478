"""A run's directory: what lies in it, whose it is, and who may write to it.

.recurra        the mark: this is a run        .lock           who writes to it
config.json     the resolved settings        metrics.jsonl   a line for each step and validation
checkpoints/    where training resumes       model/          the finished model, loadable alone
report.json     the results                  *.png           the pictures that belong to it
mixture/        the model mixed with others, loadable alone
sources/        copies of the code of one's own that it was trained with

Whatever else lies there is its owner's, and is left as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError, ConfigError, RunError
from recurra.learning.config import RunConfig
from recurra.run.metrics import MetricLog
from recurra.run.records import require_report
from recurra.run.tasks import TASKS, parse_config
from recurra.storage import files
from recurra.storage.leftovers import Names, renew, renewed, sweep
from recurra.storage.locks import is_lock, lock
from recurra.storage.outputs import mode, require_usual, writing
from recurra.storage.reading import read_json, regular_size
from recurra.storage.sealed import first_foreign
from recurra.storage.sources import FOLDER as SOURCES

__all__ = ["COMPANIONS", "RunDirectory"]


COMPANIONS = ("mixture",)
"""The models that may lie beside the one that the run is of."""

KEPT = ("model", *COMPANIONS, "checkpoints", SOURCES)
"""The folders in a run."""

LOCK = ".lock"
"""The file that who writes to the directory holds."""

MARK = ".recurra"
"""The file that says whose the directory is, and is written first."""
MARKED = b"a run of recurra; what else lies here is left as it is\n"


BEGINS = {
    "config.json": rb'\{\s*("preset": |$)',
    "report.json": rb'\{\s*("run": |$)',
    "metrics.jsonl": rb'(.*\n)?(\{"step": |\{["step: ]{0,9}$)',  # its first line may be damaged
    ".png": rb"\x89PNG.*Recurra",
}
"""What the files of a run begin with: another one of such a name is someone else's."""


def _pictures() -> set[str]:
    """Return the names of the pictures that tasks draw."""
    return {name for task in TASKS for name in TASKS[task].pictures}


def _names() -> Names:
    """Return what is written into a run, but for its checkpoints."""
    ours = ["config.json", "metrics.jsonl", "report.json", "curves.png", *sorted(_pictures())]
    within = ["model.json", "weights.safetensors", "sources.json"]
    within += [name for task in TASKS for name in TASKS[task].format.files]
    folders, inner, plain = (
        "|".join(map(re.escape, each)) for each in (["model", *COMPANIONS, SOURCES], within, ours)
    )
    return Names(folders, rf"{inner}|\w[\w.-]*\.py", plain, "config.json", BEGINS)


def _checkpoints() -> Names:
    """Return what is written among its checkpoints."""
    from recurra.learning.checkpoint import NAMES  # torch: reports are compared without it

    return NAMES


class RunDirectory:
    """The files of one run.

    Args:
        path: the directory; it need not exist yet.

    Example:
        >>> RunDirectory("runs/mine").report_path.name
        'report.json'
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.checkpoints_path = self.path / "checkpoints"
        self.model_path = self.path / "model"
        self.report_path = self.path / "report.json"
        self.curves_path = self.path / "curves.png"
        self.metrics = MetricLog(self.path / "metrics.jsonl")
        self._still_there: Callable[[], bool] = lambda: True

    @contextlib.contextmanager
    def opened(self) -> Iterator[list[Path]]:
        """Make the directory, prove that it is ours or free, and keep other trainers out.

        Yields the left-over temporary files that it removed. A directory in which nothing was
        written, as for a run that was refused, is left as it was found.

        Raises:
            RunError: it is a file, it may not be written to, it holds something else than a run,
                or another run holds it.
            ConfigError: it is the home, the root of a disk, or `~`.
        """
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        with contextlib.ExitStack() as held:
            try:
                require_usual(self.path)
                self._require_outside()
                files.make_directory(self.path)
                if not os.access(self.path, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                self._require_ours()
                self._still_there = held.enter_context(lock(self.path / LOCK))
                held.callback(self._remove_empty, made)
                self._require_ours()
                removed = self._sweep()
            except (FileExistsError, NotADirectoryError) as error:
                raise RunError(
                    f"the run directory {self.path} is a file, or lies under one; "
                    "give another with --out"
                ) from error
            except OSError as error:
                raise RunError(
                    f"the run directory {self.path} cannot be written to ({error.strerror}; "
                    f"{mode(self.path)}); change its permissions, or give another with --out"
                ) from error
            yield removed

    def _remove_empty(self, made: list[Path]) -> None:
        """Remove the lock and the mark where there is nothing else, and directories made for it."""
        with contextlib.suppress(OSError):
            if self._still_there() and {path.name for path in self.path.iterdir()} <= {LOCK, MARK}:
                files.remove_file(self.path / MARK)
                files.remove_file(self.path / LOCK)
                files.remove_directories(made)

    def is_ours(self) -> bool:
        """Return whether this is a run: marked as one, or with a config that is one's."""
        mark = self.path / MARK
        with contextlib.suppress(OSError, CheckpointError, RunError):
            if os.path.lexists(mark) and regular_size(mark) <= len(MARKED):
                # a crash may have left the beginning alone
                return MARKED.startswith(mark.read_bytes()) or self.config() is not None
            return self.config() is not None
        return False

    def _require_outside(self) -> None:
        """Refuse what lies where another run keeps, or will keep, its model or checkpoints."""
        place = self.path.resolve()
        for path in (place, *place.parents):
            if path.name in KEPT and RunDirectory(path.parent).is_ours():
                raise RunError(
                    f"{self.path} would lie in the {path.name} of the run {path.parent}; "
                    "give another directory with --out"
                )

    def _require_ours(self) -> None:
        """Refuse a directory that is neither empty nor a run, by the first thing in it."""
        if self.is_ours():
            return
        for path in sorted(self.path.iterdir()):
            if not (path.name == LOCK and is_lock(path)):
                raise RunError(
                    f"{self.path} holds {path.name} and is not a run, so nothing is written "
                    "there; give another directory with --out"
                )

    def _sweep(self) -> list[Path]:
        gone = renewed(self.config_path)
        begun_anew = gone or not os.path.lexists(self.config_path)  # and cut short
        old = sweep(self.checkpoints_path, _checkpoints(), gone) if begun_anew else []
        return old + sweep(self.path, _names(), gone)

    def require_replaceable(self, *, whole: bool, task: str | None = None) -> None:
        """Refuse to work where what would be replaced in the end holds something that is not ours.

        Args:
            whole: whether all of the run is, checkpoints too, as it is started over.
            task: whose pictures will be drawn, beside the curves; those of others are left.

        Raises:
            RunError: something foreign lies in a model, or in place of a file; names it.
        """
        names = _names()
        for path in (self.path / name for name in KEPT):
            above = path.resolve().parent
            if path.is_symlink() and above != self.path.resolve() and RunDirectory(above).is_ours():
                raise RunError(
                    f"{path} leads to the {path.resolve().name} of another run, {above}, which is "
                    "left as it is; remove the link, and give the same command again"
                )
        drawn = [self.curves_path.name, *(TASKS[task].pictures if task else ())]
        for path in sorted(self.path.iterdir()):
            if path.suffix == ".png" and path.name not in drawn:
                continue
            if re.fullmatch(f"{names.folders}|{names.files}", path.name) and not names.has(path):
                if whole or not path.is_symlink() or not path.is_dir():
                    raise _foreign(path, names)  # else it is a folder that lies elsewhere
                if (foreign := first_foreign(path.resolve(), names.knows)) is not None:
                    raise _foreign(foreign, names)
        if os.path.lexists(self.checkpoints_path) and not self.checkpoints_path.is_dir():
            raise _foreign(self.checkpoints_path, names)
        for path in self._steps() if whole else ():
            if not _checkpoints().has(path):
                raise _foreign(path, _checkpoints())

    def _steps(self) -> list[Path]:
        place = self.checkpoints_path
        paths = sorted(place.iterdir()) if place.is_dir() else []
        return [path for path in paths if re.fullmatch(_checkpoints().folders, path.name)]

    def require_there(self) -> None:
        """Refuse to go on where the directory was renamed or removed since it was opened.

        Raises:
            RunError: its path leads elsewhere by now, or nowhere.
        """
        if not self._still_there():
            raise RunError(
                f"{self.path} is no longer the directory that this run was begun in: it was moved "
                "or removed, so nothing more is written; move it back to go on"
            )

    def write_config(self, config: RunConfig, *, restart: bool = False) -> None:
        """Write the mark and the resolved settings; from here on the directory is a run.

        Args:
            config: what to write.
            restart: let all that an earlier run left go, once the new settings stand; until
                then, and where that fails, the earlier one is whole.

        Raises:
            ResourceError: the disk is full.
            RunError: it refuses otherwise.
        """
        content = files.json_bytes(config.model_dump(mode="json"))
        with writing(self.config_path):
            self.mark()
            if not restart:
                files.write_bytes(self.config_path, content)
                return
            renew(self.config_path, content, self._belongings())
        with contextlib.suppress(OSError):  # the new one stands, and the next opening sweeps
            self._sweep()

    def mark(self) -> None:
        """Say whose the directory is, where it does not say so or a crash has left the beginning.

        From here on it is a run's.
        """
        path = self.path / MARK
        if not os.path.lexists(path):
            files.create(path, MARKED)
            files.sync_directory(self.path)
            return
        with contextlib.suppress(CheckpointError):
            if regular_size(path) < len(MARKED) and MARKED.startswith(path.read_bytes()):
                files.write_bytes(path, MARKED)

    def _belongings(self) -> list[Path]:
        """Return what an earlier run has left, but for its config; the pictures of its own task."""
        keeps: set[str] = set()
        with contextlib.suppress(CheckpointError):
            if (config := self.config()) is not None:
                keeps = _pictures().difference(TASKS[config.task].pictures)
        names = _names()
        found = [
            path
            for path in sorted(self.path.iterdir())
            if path != self.config_path and path.name not in keeps and names.has(path)
        ]
        return [*found, *self._steps()]

    def config(self) -> RunConfig | None:
        """Return the config of the run that is here; None where there is none.

        Raises:
            CheckpointError: `config.json` is there but cannot be understood.
        """
        values = self._read(self.config_path)
        if values is None:
            return None
        try:
            return parse_config(values)
        except ConfigError as error:
            raise CheckpointError(f"{self.config_path}: {error}") from error

    def report(self) -> dict[str, Any] | None:
        """Return the results of the finished run; None where it is not finished.

        Raises:
            CheckpointError: `report.json` is there but cannot be understood.
        """
        values = self._read(self.report_path)
        return None if values is None else require_report(values, self.report_path)

    def write_report(self, report: dict[str, Any]) -> None:
        """Write the results, which marks the run as finished.

        Args:
            report: as `recurra.run.report.compose` returns it.

        Raises:
            ResourceError: the disk is full.
            RunError: it refuses otherwise.
        """
        with writing(self.report_path):
            self.metrics.flush()
            files.write_json(self.report_path, report)

    def _read(self, path: Path) -> dict[str, Any] | None:
        if self.path.is_file():
            raise RunError(f"{self.path} is a file, not a run directory")
        if not path.exists():
            return None
        values = read_json(path)
        if not isinstance(values, dict):
            raise CheckpointError(f"{path} holds a {type(values).__name__}, not an object")
        return values


def _foreign(path: Path, names: Names) -> RunError:
    """Return what to say of a thing that stands in the way and is not ours."""
    if not path.is_symlink() and path.is_dir():
        path = first_foreign(path, names.knows) or path
    kind = stat.filemode(path.lstat().st_mode)
    return RunError(
        f"{path} ({kind}) was not written by this run, so what it lies in is not replaced; move "
        "it elsewhere, and give the same command again"
    )
