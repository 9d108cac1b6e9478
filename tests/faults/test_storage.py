"""Saving under fire: killed, refused or cut short at every operation, a checkpoint survives.

Every operation that changes the disk goes through `os`; here its functions are replaced by ones
that count, and at the n-th kill the process, tear a write or raise. The file runs as a program
too: it forks a saver for every n, so that each dies in a process of its own.
"""

from __future__ import annotations

import errno
import io
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.errors import CheckpointError
from recurra.learning.checkpoint import Checkpoint, Checkpoints
from recurra.storage.leftovers import LEFT_OVER
from recurra.storage.sealed import open_sealed, seal

OPERATIONS = ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir")
Act = Callable[[int, str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
def watched(act: Act) -> Iterator[None]:
    """Let `act` stand before every operation: it is given its number from 0, name and call."""
    originals = {name: getattr(os, name) for name in OPERATIONS}
    count = iter(range(1_000_000))

    def watch(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **more: act(next(count), name, original, args, more)

    for name, original in originals.items():
        setattr(os, name, watch(name, original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def make(step: int, variant: int = 0) -> Checkpoint:
    stream = torch.Generator().manual_seed(100 * step + variant)
    parts = {
        "weights": {"weight": torch.randn(20, 30, generator=stream)},
        "optimizer": {"0.exp_avg": torch.randn(20, 30, generator=stream)},
        "carry": {"0.h": torch.randn(2, 3, generator=stream)},
    }
    return Checkpoint(step, parts, {"seed": 1, "variant": variant})


def is_one_of(found: Checkpoint | None, *allowed: Checkpoint | None) -> bool:
    return any(same(found, other) for other in allowed)


def same(one: Checkpoint | None, other: Checkpoint | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.step, one.facts) == (other.step, other.facts) and all(
        torch.equal(tensor, other.tensors[part][name])
        for part, tensors in one.tensors.items()
        for name, tensor in tensors.items()
    )


def left_overs(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if LEFT_OVER.fullmatch(path.name)]


# What stands before, what is saved, and what may be found after an accident.
SCENARIOS: dict[str, tuple[list[Checkpoint], Checkpoint, list[Checkpoint | None]]] = {
    "first": ([], make(1), [None, make(1)]),
    "next": ([make(1), make(2)], make(3), [make(2), make(3)]),
    "again": ([make(1), make(2)], make(2, variant=1), [make(2), make(2, variant=1)]),
    "back": ([make(1), make(2), make(4)], make(3), [make(2), make(3)]),  # 4 is damaged
}


def prepare(folder: Path, scenario: str) -> Checkpoints:
    checkpoints = Checkpoints(folder / "run" / "checkpoints")
    for checkpoint in SCENARIOS[scenario][0]:
        path = checkpoints.save(checkpoint)
        if checkpoint.step == 4:
            (path / "facts.json").write_bytes(b"{}")
    return checkpoints


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flush is good for shows in a power loss; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def die_at(moment: int, torn: bool) -> Act:
    """Kill the process before operation `moment`, or in the middle of it if it is a write."""

    def act(number: int, name: str, call: Callable[..., Any], args: Any, more: Any) -> Any:
        if number == moment:
            if torn and name == "write":
                call(args[0], args[1][: len(args[1]) // 2])
            elif torn:
                os._exit(1)
            print(name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)

    return act


def die_everywhere(folder: Path, scenario: str) -> None:
    """For every operation of a save, fork a process that dies there; print where."""
    os.fsync = lambda fd: None
    for torn in (False, True):
        status, moment = -1, 0
        while status != 0:
            checkpoints = prepare(folder / f"{scenario}-{moment}-{torn}", scenario)
            if (child := os.fork()) == 0:
                with watched(die_at(moment, torn)):
                    checkpoints.save(SCENARIOS[scenario][1])
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            moment += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_operation_the_old_or_the_new_is_found(tmp_path: Path, scenario: str) -> None:
    command = [sys.executable, "-W", "ignore", __file__, str(tmp_path), scenario]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    killed_in = done.stdout.split()
    assert {"open", "write", "fsync", "close", "mkdir", "rename"} <= set(killed_in)
    assert scenario == "first" or {"unlink", "rmdir"} <= set(killed_in)
    folders = list(tmp_path.iterdir())
    assert len(folders) > len(killed_in) > 30
    _, saved, allowed = SCENARIOS[scenario]
    swept = 0
    for folder in folders:
        checkpoints = Checkpoints(folder / "run" / "checkpoints")
        found, notes = checkpoints.newest()
        assert is_one_of(found, *allowed), folder
        assert all(re.match(r"removed |passed over step-00000004", note) for note in notes)
        swept += sum(note.startswith("removed ") for note in notes)
        (folder / "run").mkdir(parents=True, exist_ok=True)
        checkpoints.save(saved)
        assert is_one_of(checkpoints.newest()[0], saved)
        assert left_overs(checkpoints.directory) == []
    assert swept > 15


def fail_at(moment: int, code: int) -> Act:
    """Let operation `moment` fail; a write that finds the disk full has written half."""

    def act(number: int, name: str, call: Callable[..., Any], args: Any, more: Any) -> Any:
        if number != moment:
            return call(*args, **more)
        if name == "close":
            call(*args)
        if name == "write":
            call(args[0], args[1][: len(args[1]) // 2])
        raise OSError(code, os.strerror(code))

    return act


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_refused_at_any_operation_nothing_is_lost(tmp_path: Path, scenario: str, code: int) -> None:
    before, saved, allowed = SCENARIOS[scenario]
    refused = 0
    for moment in range(200):
        checkpoints = prepare(tmp_path / str(moment), scenario)
        (tmp_path / str(moment) / "run").mkdir(parents=True, exist_ok=True)
        operations: list[str] = []
        act = fail_at(moment, code)

        def note(number: int, name: str, *rest: Any) -> Any:
            operations.append(name)  # noqa: B023 - used in this turn alone
            return act(number, name, *rest)  # noqa: B023

        open_before = descriptors()
        try:
            with watched(note):
                checkpoints.save(saved)
        except OSError as error:
            assert error.errno == code
            refused += 1
            assert is_one_of(checkpoints.newest()[0], *allowed)
        else:  # what failed was dropping an older one; that is no failed save
            assert same(checkpoints.newest()[0], saved)
        assert descriptors() == open_before
        if checkpoints.directory.is_dir():
            assert left_overs(checkpoints.directory) == []
        for older in before:
            if older.step == 2 != saved.step:
                open_sealed(checkpoints.directory / f"step-{older.step:08d}", "checkpoint", 1)
        checkpoints.save(saved)
        assert same(checkpoints.newest()[0], saved)
        if moment >= len(operations):
            break
    assert moment == len(operations)
    assert refused > 25


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_refused_save_clears_its_temporary_at_once(tmp_path: Path, code: int) -> None:
    checkpoints = prepare(tmp_path, "next")
    writes = 0

    def act(number: int, name: str, call: Callable[..., Any], args: Any, more: Any) -> Any:
        nonlocal writes
        writes += name == "write"
        if name == "write" and writes > 4:
            raise OSError(code, os.strerror(code))
        return call(*args, **more)

    with pytest.raises(OSError, match=re.escape(os.strerror(code))), watched(act):
        checkpoints.save(make(3))
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == [
        "step-00000001",
        "step-00000002",
    ]


def test_a_disk_that_cannot_be_read_costs_one_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = prepare(tmp_path, "next")
    opened: list[int] = []
    failing: list[int] = []
    original = io.open

    def fail(*args: Any, **more: Any) -> Any:
        opened.append(1)
        if len(opened) == failing[-1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(*args, **more)

    monkeypatch.setattr(io, "open", fail)
    for moment in range(1, 9):
        opened.clear()
        failing.append(moment)
        found, notes = checkpoints.newest()
        assert same(found, make(1))
        assert len(notes) == 1
        assert "cannot be read: Input/output error" in notes[0]


def damaged(checkpoints: Checkpoints, path: Path, content: bytes) -> str:
    """Put `content` in place of a file's; return the note with which it is passed over."""
    whole = path.rename(path.with_name("whole"))
    path.write_bytes(content)
    found, notes = checkpoints.newest()
    assert same(found, make(1)), f"{path.name}: the damage was not seen"
    assert len(notes) == 1
    whole.replace(path)
    return notes[0]


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_each_of_500_flipped_bits_is_found_and_the_older_one_offered(tmp_path: Path) -> None:
    checkpoints = prepare(tmp_path, "next")
    files = sorted((checkpoints.directory / "step-00000002").iterdir())
    bits = [(path, bit) for path in files for bit in range(path.stat().st_size * 8)]
    for path, bit in random.Random(2).sample(bits, 500):
        note = damaged(checkpoints, path, flipped(path.read_bytes(), bit))
        assert note.startswith("passed over step-00000002: ")
        if path.name != "manifest.json":
            assert f"{path}: expected SHA-256 " in note
            assert ", found " in note
    assert same(checkpoints.newest()[0], make(2))


def test_every_flipped_bit_of_a_manifest_is_found(tmp_path: Path) -> None:
    seal(tmp_path / "model", {"weights": b"1"}, "words", 1)
    path = tmp_path / "model" / "manifest.json"
    content = path.read_bytes()
    for bit in range(len(content) * 8):
        path.unlink()
        path.write_bytes(flipped(content, bit))
        with pytest.raises(CheckpointError, match=r"expected .*found| is missing") as caught:
            open_sealed(path.parent, "words", 1)
        assert str(caught.value).startswith(str(path.parent))


def test_truncation_at_any_length_is_found(tmp_path: Path) -> None:
    checkpoints = prepare(tmp_path, "next")
    for path in sorted((checkpoints.directory / "step-00000002").iterdir()):
        content = path.read_bytes()
        lengths = {0, 1, 7, 8, 9, len(content) - 8, len(content) - 2}
        lengths |= set(range(0, len(content) - 1, len(content) // 25))
        for length in sorted(lengths):
            note = damaged(checkpoints, path, content[:length])
            assert str(path) in note
            if path.name != "manifest.json":
                assert f"expected {len(content)} bytes, found {length}" in note
        damaged(checkpoints, path, content + b" x")
        path.unlink()
        found, notes = checkpoints.newest()
        assert same(found, make(1))
        assert notes == [f"passed over step-00000002: {path} is missing"]
        path.write_bytes(content)


def test_when_all_are_damaged_it_says_so(tmp_path: Path) -> None:
    checkpoints = prepare(tmp_path, "next")
    for step in (1, 2):
        path = checkpoints.directory / f"step-{step:08d}" / "weights.safetensors"
        path.write_bytes(flipped(path.read_bytes(), 5000))
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact: .*expected SHA-256"):
        checkpoints.newest()


if __name__ == "__main__":
    die_everywhere(Path(sys.argv[1]), sys.argv[2])
