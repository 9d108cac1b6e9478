"""Power loss: what a save has not flushed may be gone, torn or out of order, and no harm is done.

A save is recorded, operation by operation. The recording is replayed on a model of a disk that
keeps nothing but what was flushed, and of the rest any part. Then the same is asked of programs
from which one safeguard was cut out: each of them must fail.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from recurra.errors import CheckpointError

Operation = tuple[Any, ...]  # name, path, and what goes with it


@contextmanager
def recorded(root: Path) -> Iterator[list[Operation]]:
    """Record what happens to the disk below `root`, in order."""
    trace: list[Operation] = []
    originals = {name: getattr(os, name) for name in RECORDERS}
    open_files: dict[int, Path] = {}

    def record(name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            result = originals[name](*args, **more)
            folder = open_files.get(more.get("dir_fd") or -1, Path())
            RECORDERS[name](trace, open_files, folder, result, *args)
            return result

        return call

    for name in originals:
        setattr(os, name, record(name))
    try:
        yield trace
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def record_open(
    trace: list[Operation],
    open_files: dict[int, Path],
    folder: Path,
    result: int,
    path: Any,
    flags: int,
    *_: Any,
) -> None:
    open_files[result] = folder / path
    if flags & os.O_CREAT:
        trace.append(("create", folder / path))


RECORDERS: dict[str, Callable[..., None]] = {
    "open": record_open,
    "write": lambda trace, files, _, n, descriptor, data: trace.append(
        ("write", files[descriptor], bytes(data[:n]))
    ),
    "fsync": lambda trace, files, _, __, descriptor: trace.append(("fsync", files[descriptor])),
    "mkdir": lambda trace, _, __, ___, path, *mode: trace.append(("mkdir", Path(path))),
    "rename": lambda trace, _, __, ___, a, b: trace.append(("rename", Path(a), Path(b))),
    "replace": lambda trace, _, __, ___, a, b: trace.append(("rename", Path(a), Path(b))),
    "unlink": lambda trace, _, folder, __, path: trace.append(("unlink", folder / path)),
    "rmdir": lambda trace, _, folder, __, path: trace.append(("unlink", folder / path)),
}


@dataclass(eq=False)
class Node:
    """A file or folder: what programs see, and what is flushed."""

    is_folder: bool
    seen: Any
    flushed: Any
    pending: list[dict[str, Node | None]] = field(default_factory=list)  # renames are one change

    def change(self, entries: dict[str, Node | None]) -> None:
        self.pending.append(entries)
        self.seen = changed(self.seen, entries)

    def flush(self) -> None:
        self.flushed, self.pending = self.seen, []


def changed(names: dict[str, Node], entries: dict[str, Node | None]) -> dict[str, Node]:
    return {name: node for name, node in {**names, **entries}.items() if node is not None}


class Disk:
    """A disk without a journal, on which `root` is flushed and the rest still to come."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.node = self._read(root)

    def _read(self, path: Path) -> Node:
        if path.is_dir():
            names = {child.name: self._read(child) for child in path.iterdir()}
            return Node(True, names, names)
        return Node(False, path.read_bytes(), path.read_bytes())

    def _find(self, path: Path) -> Node:
        node = self.node
        for name in path.relative_to(self.root).parts:
            node = node.seen[name]
        return node

    def do(self, name: str, path: Path, *more: Any) -> None:
        folder = self._find(path.parent) if path != self.root else self.node
        if name in ("create", "mkdir"):
            empty: Any = {} if name == "mkdir" else b""
            folder.change({path.name: Node(name == "mkdir", empty, empty)})
        elif name == "write":
            self._find(path).seen += more[0]
        elif name == "fsync":
            self._find(path).flush()
        elif name == "rename":
            folder.change({path.name: None, more[0].name: self._find(path)})
        else:
            folder.change({path.name: None})

    def crash(self, place: Path, luck: float, chance: random.Random) -> None:
        """Write to `place` what may be left: each unflushed thing survives with odds `luck`."""
        self._leave(self.node, place, luck, chance)

    def _leave(self, node: Node, place: Path, luck: float, chance: random.Random) -> None:
        if node.is_folder:
            place.mkdir()
            names = node.flushed
            for entries in node.pending:
                if chance.random() < luck:
                    names = changed(names, entries)
            for name, child in names.items():
                self._leave(child, place / name, luck, chance)
        elif node.seen == node.flushed or chance.random() < luck:
            place.write_bytes(node.seen)
        else:
            torn = node.seen[: chance.randrange(len(node.seen))]
            place.write_bytes(chance.choice([node.flushed, torn, bytes(len(node.seen))]))


MODULES = (
    "storage.files",
    "storage.sealed",
    "storage.leftovers",
    "storage.tensors",
    "learning.checkpoint",
)


@contextmanager
def program(module: str = "", old: str = "", new: str = "") -> Iterator[ModuleType]:
    """Give the checkpoint module of a program in which `old` became `new`."""
    originals = {name: importlib.import_module(f"recurra.{name}") for name in MODULES}
    try:
        for name, original in originals.items():
            spec = importlib.util.find_spec(f"recurra.{name}")
            assert spec is not None
            copy = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = copy
            source = Path(str(original.__file__)).read_text()
            if name == module:
                assert source.count(old) == 1, f"no longer cut out of {name}: {old!r}"
                source = source.replace(old, new)
            exec(compile(source, f"{name} without {old!r}", "exec"), copy.__dict__)
        yield copy
    finally:
        sys.modules.update({f"recurra.{name}": module for name, module in originals.items()})


def make(checkpoint: ModuleType, step: int, variant: int = 0) -> Any:
    value = torch.full((50,), float(10 * step + variant))
    return checkpoint.Checkpoint(step, {"weights": {"w": value}}, {"variant": variant})


def found(checkpoint: ModuleType, folder: Path) -> tuple[int, int] | None:
    """Return step and variant of what `newest` gives; its weights must be those saved."""
    newest, _ = checkpoint.Checkpoints(folder / "run" / "checkpoints").newest()
    if newest is None:
        return None
    step, variant = newest.step, newest.facts["variant"]
    assert torch.equal(newest.tensors["weights"]["w"], torch.full((50,), 10.0 * step + variant))
    return step, variant


# What stands before, what is saved: steps and variants.
SCENARIOS = {
    "first": ([], (1, 0)),
    "next": ([(1, 0), (2, 0)], (3, 0)),
    "again": ([(1, 0), (2, 0)], (2, 1)),
}


def record(checkpoint: ModuleType, root: Path, scenario: str) -> tuple[Disk, list[Operation]]:
    before, saved = SCENARIOS[scenario]
    root.mkdir(parents=True)
    checkpoints = checkpoint.Checkpoints(root / "run" / "checkpoints")
    for step, variant in before:
        checkpoints.save(make(checkpoint, step, variant))
    disk = Disk(root)
    with recorded(root) as trace:
        checkpoints.save(make(checkpoint, *saved))
    return disk, trace


def lose_power(checkpoint: ModuleType, folder: Path) -> None:
    """Cut the power after every operation; the old or the new is found, after the save the new."""
    for scenario, (before, saved) in SCENARIOS.items():
        disk, trace = record(checkpoint, folder / scenario, scenario)
        old = before[-1] if before else None
        for moment, operation in enumerate(trace):
            disk.do(*operation)
            allowed = [saved] if moment == len(trace) - 1 else [old, saved]
            for attempt in range(6):
                place = folder / f"{scenario}-{moment}-{attempt}"
                chance = random.Random(f"{scenario} {moment} {attempt}")
                disk.crash(place, attempt / 5, chance)
                assert found(checkpoint, place) in allowed, (scenario, moment, attempt)


def keep_order(checkpoint: ModuleType, folder: Path) -> None:
    """Hold the operations of a save, names made plain, against those that are specified."""
    _, trace = record(checkpoint, folder / "next", "next")
    root = f"{folder}/next/run/"
    lines = [" ".join(str(word) for word in step if isinstance(word, str | Path)) for step in trace]
    plain = [re.sub(r"(tmp|old)-[0-9a-f]{8}", r"\1-X", line.replace(root, "")) for line in lines]
    steps = [line for line, before in zip(plain, ["", *plain]) if line != before]  # pieces as one
    new, old = "checkpoints/step-00000003", "checkpoints/step-00000001"
    files = ("facts.json", "weights.safetensors", "manifest.json")
    expected = [f"mkdir {new}.tmp-X"]
    for name in files:
        expected += [f"{verb} {new}.tmp-X/{name}" for verb in ("create", "write", "fsync")]
    expected += [f"fsync {new}.tmp-X", f"rename {new}.tmp-X {new}", "fsync checkpoints"]
    assert steps[: len(expected)] == expected
    rest = [f"rename {old} {old}.tmp-X", *(f"unlink {old}.tmp-X/{name}" for name in files)]
    assert sorted(steps[len(expected) :]) == sorted([*rest, f"unlink {old}.tmp-X"])
    assert steps[len(expected)] == rest[0]


def see_damage(checkpoint: ModuleType, folder: Path) -> None:
    """Change one byte of the weights, and then the length of the facts."""
    for name, change in (
        ("weights.safetensors", lambda data: data[:-1] + b"\1"),
        ("facts.json", lambda data: data + b" "),
    ):
        checkpoints = checkpoint.Checkpoints(folder / name / "run" / "checkpoints")
        checkpoints.save(make(checkpoint, 1))
        path = checkpoints.save(make(checkpoint, 2)) / name
        path.write_bytes(change(path.read_bytes()))
        assert found(checkpoint, folder / name) == (1, 0)


CHECKS = {"order": keep_order, "power": lose_power, "damage": see_damage}


@pytest.mark.parametrize("word", CHECKS)
def test_the_program_as_it_is_holds(tmp_path: Path, word: str) -> None:
    with program() as checkpoint:
        CHECKS[word](checkpoint, tmp_path / "whole")


FLUSH_FILE = "            os.fsync(descriptor)\n    finally:"
FLUSH_FOLDER = "        os.fsync(descriptor)\n    except"
FLUSH_ABOVE = "        path.mkdir(exist_ok=True)\n        sync_directory(path.parent)\n"
FLUSH_PLACE = "        new.rename(place)\n        sync_directory(place.parent)\n        return\n"
ASIDE = 'place.rename(beside(place, "old"))'
HASH = "if digest != self.sha256:"
HIDE = 'discard(directory.rename(beside(directory, "tmp")), known)'
SEAL = "        seal(path, files, KIND, VERSION, NAMES.knows)\n"

# What is cut out: the module, its text and what stands there instead; and the checks it turns red.
MUTATIONS = {
    "flush of a file": (
        "storage.files",
        FLUSH_FILE,
        "            pass\n    finally:",
        "order power",
    ),
    "flush of any folder": (
        "storage.files",
        FLUSH_FOLDER,
        "        pass\n    except",
        "order power",
    ),
    "flush of the new folder": (
        "storage.sealed",
        "    sync_directory(directory)\n",
        "",
        "order power",
    ),
    "flush of the place": (
        "storage.sealed",
        FLUSH_PLACE,
        FLUSH_PLACE.replace("        sync_directory(place.parent)\n", ""),
        "order power",
    ),
    "flush of a place taken": (
        "storage.sealed",
        "    sync_directory(place.parent)\n    with",
        "    with",
        "power",
    ),
    "flush above a made folder": (
        "storage.files",
        FLUSH_ABOVE,
        "        path.mkdir(exist_ok=True)\n",
        "power",
    ),
    "stepping aside": ("storage.sealed", ASIDE, "place; discard(place, known)", "power"),
    "coming back": (
        "storage.leftovers",
        'match[2] == "old" and match[3] not in gone and not os.path.lexists(place)',
        "False",
        "power",
    ),
    "hiding before removal": ("storage.sealed", HIDE, "discard(directory, known)", "order"),
    "hashes": ("storage.sealed", HASH, "if False:", "damage"),
    "manifest": ("learning.checkpoint", "file.verified()", "file.path", "damage"),
    "passing over": (
        "learning.checkpoint",
        "except CheckpointError as error:\n                damage",
        "except ZeroDivisionError as error:\n                damage",
        "damage",
    ),
    "keeping one before": ("learning.checkpoint", "[-self.keep :]", "[-1:]", "order damage"),
    "removing after": (
        "learning.checkpoint",
        SEAL,
        f"        self.clear()\n{SEAL}",
        "order power damage",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_any_one_safeguard_a_check_goes_red(tmp_path: Path, name: str) -> None:
    module, old, new, red = MUTATIONS[name]
    with program(module, old, new) as checkpoint:
        turned = [
            word for word, check in CHECKS.items() if fails(check, checkpoint, tmp_path / word)
        ]
    assert turned == red.split()


def fails(check: Callable[..., None], checkpoint: ModuleType, folder: Path) -> bool:
    try:
        check(checkpoint, folder)
    except (AssertionError, CheckpointError, OSError):
        return True
    return False
