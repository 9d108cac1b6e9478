"""Every command that writes, with the n-th open, write, flush or rename failing, or dying there.

For every n: nothing is lost, no traceback, the right exit code; and the same command once more,
on a disk that works, ends with the bits of one that nothing disturbed. Operations are those below
the folder of the command alone, in a process of its own that is forked for each.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folders

OPERATIONS = ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
FAULTS = ("ENOSPC", "EIO", "EACCES", "die")
DEAD = 77
CODES = {"ENOSPC": {0, 1, 3, 5}, "EIO": {0, 1, 3, 4, 5}, "EACCES": {0, 1, 3, 4, 5}, "die": {DEAD}}
LEFT_OVER = re.compile(r"\.(tmp|old)-[0-9a-f]{8}")
CLOCK = ("seconds", "train_seconds", "throughput", "run", "command")


KINDS = ("network", "counts", "series")


def run(
    seed: int, names: tuple[str, ...] = (), stride: int = 1, kinds: tuple[str, ...] = KINDS
) -> dict[str, Any]:
    """Sweep all commands, or those of these names; every n, or each `stride`-th from a drawn one.

    Each n meets every fault.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, folders._quiet(Path(folder)):
        commands = Commands(Path(folder), kinds)
        counts: dict[str, dict[str, int]] = {}
        faults: list[str] = []
        for name in names or commands.table:
            met, found = commands.sweep(name, draw, stride)
            counts[name] = dict(sorted(met.items()))
            faults += found
    return {"commands": counts, "stride": stride, "faults": faults[:50], "failed": len(faults)}


class Disk:
    """Counts what happens to the disk below a folder, and lets one operation fail.

    Args:
        folder: where.
        moment: which operation fails, from 0.
        fault: how: the name of an error, or `"die"`.
    """

    def __init__(self, folder: Path, moment: int, fault: str) -> None:
        self.folder, self.moment, self.fault = folder.resolve(), moment, fault
        self.count = 0
        self.ours: set[int] = set()

    def __enter__(self) -> Disk:
        for name in OPERATIONS:
            setattr(os, name, self._watch(name, getattr(os, name)))
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is put back: the process ends."""

    def _watch(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            if not self._below(name, given):
                if name == "open":
                    self.ours.discard(descriptor := original(*given, **more))
                    return descriptor
                return original(*given, **more)
            self.count += 1
            if self.count - 1 == self.moment:
                self._fail(name, original, given)
            result = original(*given, **more)
            if name == "open":
                self.ours.add(result)
            return result

        return call

    def _below(self, name: str, given: tuple[Any, ...]) -> bool:
        first = given[0]
        if isinstance(first, int):
            return first in self.ours
        below = Path(first).absolute().is_relative_to(self.folder)
        # to look into a file or a folder changes nothing, but to flush one needs it open
        return below and (name != "open" or bool(given[1] & (os.O_WRONLY | os.O_RDWR)))

    def _fail(self, name: str, original: Callable[..., Any], given: tuple[Any, ...]) -> None:
        if name == "write":
            original(given[0], given[1][: len(given[1]) // 2])
        if self.fault == "die":
            os._exit(DEAD)
        code = getattr(errno, self.fault)
        raise OSError(code, os.strerror(code))


class Commands:
    """The commands, each in a fresh folder, and what they leave when nothing disturbs them."""

    def __init__(self, folder: Path, kinds: tuple[str, ...]) -> None:
        made = folders.Made(folder, kinds)
        self.folder, self.models = folder, made.models
        steps = ["--set", "train.save_seconds=0", "--set", "train.keep=best"]
        train = ["train", *folders.NETWORK, *steps, "--out=work/run", "--json"]
        self.table: dict[str, Callable[[], int]] = {
            "train": lambda: _main(train),
            "train --restart": lambda: _main(["train", *folders.COUNTS, "--out=work/run", "--json",
                                              "--restart"]),
            "mix": lambda: _main(["mix", "made/counts", "--unigram-cache", "--out=work/mixed"]),
            "save_pretrained": self._save,
            "bench": lambda: made._bench(Path("work/bench"), random.Random(1)),
            "compare": lambda: _main(
                ["compare", "made/counts", "made/counts", "--plot=work/out.png"]
            ),
            "forecast": lambda: _main(
                ["forecast", "made/series", "--out=work/out.csv", "--plot=work/out.png"]
            ),
            "fetch": lambda: made._fetch(Path("work"), random.Random(1)),
        }  # fmt: skip

    def _save(self) -> int:
        def save() -> None:
            for kind, model in self.models.items():
                model.save_pretrained(Path("work") / kind)

        return folders._python(save)

    def sweep(self, name: str, draw: random.Random, stride: int) -> tuple[Counter[str], list[str]]:
        """Let each operation of a command fail in every way; return codes met, and faults."""
        self._fresh(name)
        before = _outcome(Path("work"))
        code, said, count = self._forked(name, -1, "")
        assert code == 0 and count, said
        expected = _outcome(Path("work"))
        met: Counter[str] = Counter()
        faults: list[str] = []
        moment = draw.randrange(stride)
        while moment < count:
            for fault in FAULTS:
                self._fresh(name)
                code, said, _ = self._forked(name, moment, fault)
                met[f"{fault}: {code}"] += 1
                place = f"{name}, {fault} at {moment}"
                if code not in CODES[fault] or "Traceback" in said or "unexpected" in said:
                    faults.append(f"{place}: exit {code}: {said[-300:]}")
                faults += [f"{place}: {lost}" for lost in _lost(before, expected, name)]
                again, said, _ = self._forked(name, -1, "")
                if again or (found := _outcome(Path("work"))) != expected:
                    other = [n for n in expected if again or found.get(n) != expected[n]]
                    faults.append(f"{place}: then exit {again}, other {other}: {said[-300:]}")
            moment += stride
        return met + Counter(operations=count), faults

    def _fresh(self, name: str) -> None:
        shutil.rmtree("work", ignore_errors=True)
        Path("work").mkdir()
        if name == "train --restart":
            shutil.copytree("made/counts", "work/run")
        if name == "mix":
            shutil.copytree("made/mixed", "work/mixed")
        if name == "save_pretrained":
            for kind in self.models:
                shutil.copytree(f"made/{kind}/model", f"work/{kind}")

    def _forked(self, name: str, moment: int, fault: str) -> tuple[int, str, int]:
        """Carry out a command in a process of its own; return code, what it said, operations."""
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            said, code, disk = io.StringIO(), 70, Disk(self.folder / "work", moment, fault)
            with contextlib.suppress(BaseException), disk:
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                    code = self.table[name]()
            told = json.dumps([said.getvalue()[-2000:], disk.count]).encode()
            os.write(writer, told)
            os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            told = file.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said, count = json.loads(told) if told else ("", moment + 2)
        return code, said, count


def _main(words: list[str]) -> int:
    return folders._carry_out(words)[0]


def _outcome(place: Path) -> dict[str, str]:
    """Return the hash of every file that a command makes, reports without their times.

    What an interrupted write left beside someone's files is no outcome: nobody may clear it.
    """
    found = {}
    newest = max(place.rglob("step-*"), default=None)  # a save that failed is made up for later
    for path in sorted(place.rglob("*")):
        if path.parent.match("step-*") and path.parent != newest:
            continue
        inside = path.relative_to(place)
        left = LEFT_OVER.search(str(inside)) is not None
        if path.is_file() and not left and path.suffix not in (".lock", ".png"):
            content = path.read_bytes()
            if path.name == "report.json":
                report = {k: v for k, v in json.loads(content).items() if k not in CLOCK}
                content = json.dumps(report).encode()
            if path.name not in (".lock", "facts.json", "manifest.json") or "model" in str(inside):
                found[str(inside)] = hashlib.sha256(content).hexdigest()
    return found


def _lost(before: dict[str, str], after: dict[str, str], name: str) -> list[str]:
    """Return what is neither as before nor as after, of what stood there before."""
    if name == "train --restart":
        return []  # may be set aside by a process that died; the next one says
    now = _outcome(Path("work"))
    gone = [path for path in before if now.get(path) not in (before[path], after.get(path))]
    aside = any(".old-" in str(path) for path in Path("work").rglob("*"))
    return [] if aside else gone
