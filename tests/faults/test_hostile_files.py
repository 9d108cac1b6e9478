"""Hostile files are refused in under a second and 50 MB, whatever they claim.

Memory is what the system counts, the library's included, so the files are opened by a process of
its own: this file run as a program.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import torch

from recurra.errors import CheckpointError
from recurra.learning.checkpoint import Checkpoint, Checkpoints
from recurra.storage.sealed import open_sealed, seal
from recurra.storage.tensors import load_tensors

MB = 2**20


def entry(shape: list[int], start: int, stop: int) -> str:
    return json.dumps({"dtype": "F32", "shape": shape, "data_offsets": [start, stop]})


def document(header: str | bytes, size: int = 0) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + bytes(size)


def many(count: int) -> str:
    return "{" + ",".join(f'"{n}":{entry([1], 4 * n, 4 * n + 4)}' for n in range(count)) + "}"


def filled(start: str, piece: str, size: int = 8 * MB - 100) -> str:
    return start + piece * ((size - len(start)) // len(piece.encode()))


def tensor_files() -> Iterator[tuple[str, bytes]]:
    """Give name and content of files that a reader must not trust; each is about 8 MB or less."""
    yield "length_100_mb", (100 * MB).to_bytes(8, "little") + b'{"a":'
    yield "length_of_all_memory", (2**64 - 1).to_bytes(8, "little") + b"{}"
    yield "100_000_tensors", document(many(100_000), 400_000)
    yield "20_001_tensors", document(many(20_001), 80_004)
    yield "overflowing_shape", document(f'{{"a":{entry([2**32, 2**32, 4], 0, 0)}}}')
    yield "overflowing_to_its_size", document(f'{{"a":{entry([2**62 + 1, 4], 0, 16)}}}', 16)
    yield "a_terabyte", document(f'{{"a":{entry([2**38], 0, 2**40)}}}', 100)
    yield "negative_offsets", document(f'{{"a":{entry([2], -8, 0)}}}', 8)
    yield "overlapping", document(f'{{"a":{entry([2], 0, 8)},"b":{entry([2], 4, 12)}}}', 12)
    yield "duplicate_keys", document(f'{{"a":{entry([2], 0, 8)},"a":{entry([2], 8, 16)}}}', 16)
    yield "nested_lists", document(filled('{"a":{"shape":', "["))
    yield "nested_objects", document(filled("", '{"a":'))
    yield "empty_lists", document(filled('{"a":{"shape":[', "[],"))
    yield "numbers", document(filled('{"a":{"shape":[', "300,"))
    yield "empty_objects", document(filled("{", '"a":{},'))
    yield "one_long_name", document(filled('{"', "x") + '":{}}')
    yield "one_wide_name", document(filled('{"', "\U0001f600") + '":{}}')
    yield "one_escaped_name", document(filled('{"', "\\\\") + '":{}}')
    yield "unclosed_name", document(filled('{"', "\\\\"))
    yield "metadata", document(filled('{"__metadata__":{"a":"', "x") + '"}}')
    yield "much_metadata", document(filled('{"__metadata__":{', '"a":"b",') + '"a":"b"}}')
    yield "spaces", document(filled("{", " "))
    yield "wide_spaces", document(filled('{"a"', "\t\n") + ":")
    yield "pickle", pickle.dumps([0.5] * 900_000)


def folders(place: Path) -> Iterator[Path]:
    """Make sealed directories whose manifests, or what stands beside them, lead elsewhere."""
    manifests: dict[str, Any] = {
        "parent": {"files": {"../secret": {"size": 6, "sha256": "0" * 64}}},
        "absolute": {"files": {"/etc/passwd": {"size": 6, "sha256": "0" * 64}}},
        "link": {"files": {"link": {"size": 6, "sha256": "0" * 64}}},
        "device": {"files": {"device": {"size": 0, "sha256": "0" * 64}}},
        "pipe": {"files": {"pipe": {"size": 0, "sha256": "0" * 64}}},
        "many": {"files": {str(n): {"size": 0, "sha256": "0" * 64} for n in range(9000)}},
    }
    (place / "secret").write_text("secret")
    for name, manifest in manifests.items():
        folder = place / name
        folder.mkdir()
        (folder / "link").symlink_to(place / "secret")
        (folder / "device").symlink_to("/dev/zero")
        os.mkfifo(folder / "pipe")
        (folder / "manifest.json").write_text(json.dumps({"kind": "x", "version": 1} | manifest))
        yield folder
    for name, text in (
        ("linked", None),
        ("nested", "[" * (MB - 1)),
        ("lists", filled('{"kind":[', "[],", MB)),
        ("objects", filled('{"kind":[', "{},", MB)),
        ("large", " " * (64 * MB)),
    ):
        (place / name).mkdir()
        if text is None:
            (place / name / "manifest.json").symlink_to("/dev/zero")
        else:
            (place / name / "manifest.json").write_text(text)
        yield place / name


def peak() -> int:
    """Return the most memory this process ever held, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def open_alone(path: Path) -> None:
    """Open one file; print its name, seconds, how far memory rose, and why it is refused."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = peak()
    begun = time.process_time()
    try:
        if path.is_dir():
            open_sealed(path, "x", 1)
        else:
            load_tensors(path)
        why = "not refused"
    except CheckpointError as error:
        why = str(error)
    seconds = time.process_time() - begun
    print(json.dumps([path.name, seconds, peak() - before, why]), flush=True)


def open_each(place: Path) -> None:
    """Open what lies in `place`, each in a process that has opened nothing before."""
    for path in sorted(place.iterdir()):
        if (child := os.fork()) == 0:
            open_alone(path)
            os._exit(0)
        os.waitpid(child, 0)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
def test_hostile_files_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    for name, content in tensor_files():
        (tmp_path / name).write_bytes(content)
    with (tmp_path / "length_100_mb_there").open("wb") as file:
        file.write((100 * MB).to_bytes(8, "little") + b"{")
        file.truncate(101 * MB)
    count = len(list(tmp_path.iterdir())) + len(list(folders(tmp_path))) + 1
    command = [sys.executable, "-W", "ignore", __file__, str(tmp_path)]
    done = run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == count > 30
    for name, seconds, used, why in lines:
        assert why.startswith(str(tmp_path / name)), (name, why)
        assert len(why) < 700
        assert seconds < 1, name
        assert used < 50 * MB, name


def test_a_checkpoint_with_a_hostile_part_is_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Checkpoint(1, {"weights": {"w": torch.ones(2)}}, {}))
    facts = b'{"step": 2, "facts": {}}'
    for name, content in tensor_files():
        files = {"facts.json": facts, "weights.safetensors": content}
        seal(tmp_path / "step-00000002", files, "checkpoint", 1)
        found, notes = checkpoints.newest()
        assert found is not None, name
        assert found.step == 1, name
        assert len(notes) == 1


if __name__ == "__main__":
    open_each(Path(sys.argv[1]))
