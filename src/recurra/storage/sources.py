"""The source of what is of someone's own in a run: kept beside it, and looked at before it runs.

A place is `module:Name`. What is kept of one is the file of its module, and, unless that is
installed, those of the same folder that this one imports or has taken something from.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from recurra.errors import CheckpointError
from recurra.storage.files import json_bytes, make_directory, sha256
from recurra.storage.reading import read_json
from recurra.storage.sealed import kind_in, seal, sealed_files

__all__ = [
    "ALLOW",
    "FOLDER",
    "Unchanged",
    "changed_before",
    "changed_source_allowed",
    "changes_allowed",
    "keep_sources",
    "what_changed",
]

FOLDER = "sources"
"""Of a run: copies of the files, and which place they are of."""
KIND, VERSION = "sources", 1
FACTS = "sources.json"
_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
PLACE = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)(\(.*\))?", re.DOTALL)

ALLOW = "--allow-changed-source (in Python, within recurra.changed_source_allowed())"
"""What lets changes pass, for messages."""

_allowed: ContextVar[set[str] | None] = ContextVar("changed source allowed", default=None)
"""What was warned of where changes are allowed; None where they are not."""


@contextmanager
def changed_source_allowed(allowed: bool = True) -> Iterator[None]:
    """Let runs and models go on within with source of one's own that has changed since.

    A warning says once what has.

    Args:
        allowed: whether it is.

    Example:
        >>> import recurra as rc
        >>> with changed_source_allowed():
        ...     rc.evaluate("runs/mine", allow_import=["mine:Cell"])  # doctest: +SKIP
    """
    token = _allowed.set(set() if allowed else None)
    try:
        yield
    finally:
        _allowed.reset(token)


def changes_allowed() -> bool:
    """Return whether source that has changed is used, with a warning."""
    return _allowed.get() is not None


def keep_sources(run: Path, settings: Iterable[object]) -> None:
    """Write copies of what some settings name of one's own into a run, unless they are there.

    What is no longer as it was is kept anew, beside what was there before.

    Args:
        run: its directory.
        settings: of which those are meant that are written as a place, and are imported.

    Raises:
        OSError: when the system refuses.
    """
    facts: dict[str, Any] = {}
    files: dict[str, Path | bytes] = {}
    there = _facts(run / FOLDER) if kind_in(run / FOLDER) == KIND else {}
    for place in _places(settings):
        if (found := _files_of(place)) is not None:
            root, names = found
            facts[place] = {"folder": str(root), "files": names}
            files |= {name: root / relative for name, relative in names.items()}
            if (before := there.get(place)) is not None:
                facts[place], kept = _with_before(run / FOLDER, place, before, facts[place])
                files |= kept
    if not facts:
        return
    content = {
        FACTS: json_bytes(facts),
        **{n: it if isinstance(it, bytes) else it.read_bytes() for n, it in files.items()},
    }
    make_directory(run)
    seal(run / FOLDER, content, KIND, VERSION, lambda name: name.endswith(".py"))


def what_changed(run: Path, settings: Iterable[object]) -> str | None:
    """Return what is no longer the source that a run was trained with; None where all is.

    Args:
        run: its directory, or that of a model in it.
        settings: of which those are meant that are written as a place.

    Raises:
        CheckpointError: what was kept is damaged, or there is no such module here.
    """
    if (kept := _kept(run)) is None:
        return None
    for place in _places(settings):
        if said := _changed(kept, place):
            return said
    return None


def changed_before(run: Path) -> list[str]:
    """Return the places with whose source a run was begun, but not gone on with to the end.

    Args:
        run: its directory.

    Raises:
        CheckpointError: what was kept is damaged.
    """
    kept = run / FOLDER
    if kind_in(kept) != KIND:
        return []
    return [place for place, said in _facts(kept).items() if "before" in said]


class Unchanged:
    """Refuses a place whose source is no longer what a run was trained with.

    It raises CheckpointError for such a place, or warns where changes are allowed; `changed` has
    those that it let pass.

    Args:
        run: a run directory, or that of a model or a file in one.

    Example:
        >>> unchanged = Unchanged("nowhere")
        >>> unchanged("mine:Cell")
        >>> unchanged.changed
        []
    """

    def __init__(self, run: Path | str) -> None:
        self.run = Path(run)
        self.changed: list[str] = []

    def __call__(self, place: str) -> None:
        """Look at a place.

        Args:
            place: as `module:Name`, options behind it left out.
        """
        if (said := what_changed(self.run, [place])) is None:
            return
        if (warned := _allowed.get()) is None:
            raise CheckpointError(f"{said}, or give {ALLOW}")
        named = place.partition("(")[0]
        if named not in self.changed:
            self.changed.append(named)
        if (told := said.partition(";")[0]) not in warned:
            warned.add(told)
            warnings.warn(told, stacklevel=_steps_to_the_caller())


def _steps_to_the_caller() -> int:
    """Return how many frames up who called this package stands, as `warnings.warn` counts them."""
    frame, steps = sys._getframe(1), 1
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame, steps = frame.f_back, steps + 1
    return steps


def _is_ours(file: str) -> bool:
    return file.startswith((_PACKAGE, contextlib.__file__))


def _places(settings: Iterable[object]) -> list[str]:
    """Return the settings that are places, without options, each once."""
    found = (PLACE.fullmatch(each) for each in settings if isinstance(each, str))
    return list(dict.fromkeys(f"{one[1]}:{one[2]}" for one in found if one))


def _files_of(place: str) -> tuple[Path, dict[str, str]] | None:
    """Return the folder of a place's source, and its files: name of the copy -> relative path."""
    module = sys.modules.get(place.partition(":")[0])
    if module is None or (root := _root(module.__name__)) is None:
        return None
    installed = not {"site-packages", "dist-packages"}.isdisjoint(root.parts)
    if installed and module.__name__.partition(".")[0] == "torch":
        return None  # a version of it says as much
    waiting = [(module.__name__, getattr(module, "__file__", None))]
    names: dict[str, str] = {}
    while waiting:
        name, file = waiting.pop()
        path = Path(file).resolve() if file else None
        if path is None or path.suffix != ".py" or not path.is_relative_to(root):
            continue
        relative = path.relative_to(root).as_posix()
        copy = re.sub(r"[^A-Za-z0-9._-]", "_", relative.replace("/", "."))
        if copy in names:
            continue
        names[copy] = relative
        if not installed:
            waiting += _imported(name, path, root)
            one = sys.modules.get(name)
            others = () if one is None else _taken_from(one)
            waiting += [(other.__name__, getattr(other, "__file__", None)) for other in others]
    return (root, dict(sorted(names.items()))) if names else None


def _imported(name: str, path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Yield the modules below a folder that a file imports anywhere, and their files.

    What is imported within a function need not be loaded yet, and a number that was imported does
    not say where it is from.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = [package]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else ()), *filter(None, [node.module])])
            found += [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
    for each in found:
        parts = each.split(".")
        for end in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:end])
            for file in (place / "__init__.py", place.with_suffix(".py")):
                if parts[0] and file.is_file():
                    yield ".".join(parts[:end]), str(file)


def _taken_from(module: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules that something in a module is of."""
    for value in list(vars(module).values()):
        if issubclass(type(value), ModuleType):  # isinstance may run what a value has for a class
            yield value
        elif isinstance(owner := _owner(value), str) and owner in sys.modules:
            yield sys.modules[owner]


def _owner(value: Any) -> Any:
    with warnings.catch_warnings(), suppress(Exception):  # anyone's own, which may do anything
        warnings.simplefilter("ignore")
        return value.__module__
    return None


def _root(name: str) -> Path | None:
    """Return the folder in which the top of a module's name lies; nothing is imported for it."""
    top = name.partition(".")[0]
    loaded = sys.modules.get(top)
    spec = loaded.__spec__ if loaded is not None else None
    spec = spec or PathFinder.find_spec(top, [*sys.path, str(Path.cwd())])
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    file = Path(spec.origin).resolve()
    return file.parent.parent if spec.submodule_search_locations else file.parent


def _kept(run: Path) -> Path | None:
    """Return the folder of what a run has kept; of the run that a model or a file lies in."""
    place = run.resolve()
    for folder in (place, *place.parents[:2]):
        if kind_in(folder / FOLDER) == KIND:
            return folder / FOLDER
    return None


def _changed(kept: Path, place: str) -> str | None:
    """Return what is no longer as it was kept of a place."""
    files = sealed_files(kept, KIND, VERSION)
    if (said := _facts(kept).get(place)) is None:
        return None
    folder, names = said["folder"], said["files"]
    if (root := _root(place.partition(":")[0])) is None:
        raise CheckpointError(
            f"the module of {place} is not found; the run was trained from {folder:.200}, and has "
            f"a copy in {kept}: give the command there, or set PYTHONPATH to one of them"
        )
    changed = [
        str(relative)
        for name, relative in names.items()
        if name in files and not _is_same(root, str(relative), files[name].sha256)
    ]
    if not changed:
        return None
    what = ", ".join(changed)
    if str(root) != folder:
        copies = all(name == relative for name, relative in names.items())
        with_copy = f"with PYTHONPATH={kept}"
        there = f"there{f', or {with_copy}' * copies}" if Path(folder).is_dir() else with_copy
        return (
            f"{place}: {what:.200} in {root} is another file than the one that {kept.parent} was "
            f"trained with, in {folder:.200}; give the command {there}"
        )
    have = "has" if len(changed) == 1 else "have"
    return (
        f"{place}: {what:.200} in {root} {have} changed since {kept.parent} was trained; put back "
        f"what is kept in {kept}"
    )


def _facts(kept: Path) -> dict[str, Any]:
    """Return what is kept of each place: its folder, its files, and what they were before."""
    facts = read_json(kept / FACTS)
    for place, said in facts.items() if isinstance(facts, dict) else ():
        try:
            folder, files = said["folder"], said["files"]
            sound = isinstance(folder, str) and all(isinstance(f, str) for f in files.values())
            sound = sound and all(isinstance(each, dict) for each in said.get("before", []))
        except (LookupError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise CheckpointError(f"{kept / FACTS} is damaged: {said!r:.80} of {place}")
    return facts if isinstance(facts, dict) else {}


def _with_before(
    kept: Path, place: str, before: dict[str, Any], now: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what is kept of a place that was kept before, and the copies that stay of that."""
    files = sealed_files(kept, KIND, VERSION)
    old = [name for versions in before.get("before", []) for name in versions]
    stay = {name: files[name].verified().read_bytes() for name in old if name in files}
    if _changed(kept, place) is None:
        told = {name: before[name] for name in ("folder", "before") if name in before}
        return now | told, stay
    was = {}
    for name, relative in before["files"].items():
        if name in files:
            copy = f"{name.removesuffix('.py')}.{files[name].sha256[:8]}.py"
            was[copy] = relative
            stay[copy] = files[name].verified().read_bytes()
    return now | {"before": [*before.get("before", []), was]}, stay


def _is_same(root: Path, relative: str, digest: str) -> bool:
    path = (root / relative).resolve()
    try:
        return path.is_relative_to(root) and sha256(path) == digest
    except OSError:
        return False
