"""Sealed directories: their exact bytes, and every way in which they can be wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recurra.errors import CheckpointError
from recurra.storage import sealed
from recurra.storage.reading import MOST_JSON, read_json
from recurra.storage.sealed import open_sealed, remove, seal


@pytest.fixture
def place(tmp_path: Path) -> Path:
    seal(tmp_path / "model", {"a.txt": b"hello", "b": lambda sink: sink.write(b"")}, "words", 3)
    return tmp_path / "model"


def test_the_manifest_is_to_the_byte_what_its_specification_says(place: Path) -> None:
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b", "manifest.json"]
    assert (
        (place / "manifest.json").read_text()
        == """{
  "kind": "words",
  "version": 3,
  "files": {
    "a.txt": {
      "size": 5,
      "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    },
    "b": {
      "size": 0,
      "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    }
  }
}
"""
    )


def test_what_is_sealed_is_found(place: Path) -> None:
    paths = open_sealed(place, "words", 3)
    assert paths == {"a.txt": place / "a.txt", "b": place / "b"}
    assert paths["a.txt"].read_bytes() == b"hello"


def test_a_file_that_the_manifest_does_not_list_is_not_read(place: Path) -> None:
    (place / "README.md").write_text("mine")
    assert "README.md" not in open_sealed(place, "words", 3)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "manifest.json", ".a", "é"])
def test_only_plain_names_are_sealed(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        seal(tmp_path / "model", {name: b""}, "words", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_replaced_whole(place: Path) -> None:
    seal(place, {"c": b"new"}, "words", 3)
    assert sorted(path.name for path in place.iterdir()) == ["c", "manifest.json"]
    assert [path.name for path in place.parent.iterdir()] == ["model"]


def test_a_file_in_its_place_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(NotADirectoryError):
        seal(tmp_path / "model", {}, "words", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_text() == "mine"


def test_the_old_directory_comes_back_where_the_new_one_cannot_be_named(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if ".tmp-" in source.name:
            raise OSError(errno.EIO, "refused")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="refused"):
        seal(place, {"c": b"new"}, "words", 3)
    assert [path.name for path in place.parent.iterdir()] == ["model"]
    assert "a.txt" in open_sealed(place, "words", 3)


def test_remove_leaves_nothing(place: Path) -> None:
    remove(place)
    assert list(place.parent.iterdir()) == []


def test_kind_and_version_are_held_against_what_is_asked(place: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a checkpoint, found 'words'"):
        open_sealed(place, "checkpoint", 3)
    with pytest.raises(CheckpointError, match=r"expected format 2, found 3; a newer Recurra"):
        open_sealed(place, "words", 2)
    with pytest.raises(CheckpointError, match=r"expected format 4, found 3$"):
        open_sealed(place, "words", 4)


def change_size(place: Path) -> str:
    (place / "a.txt").write_bytes(b"hell")
    return r"a\.txt: expected 5 bytes, found 4"


def change_bytes(place: Path) -> str:
    (place / "a.txt").write_bytes(b"hallo")
    found = hashlib.sha256(b"hallo").hexdigest()
    return rf"a\.txt: expected SHA-256 2cf24dba5f[0-9a-f]+, found {found}"


def take_away(place: Path) -> str:
    (place / "b").unlink()
    return "b is missing"


def take_manifest(place: Path) -> str:
    (place / "manifest.json").unlink()
    return r"manifest\.json is missing"


def link(place: Path) -> str:
    (place / "a.txt").rename(place / "other")
    (place / "a.txt").symlink_to(place / "other")
    return r"a\.txt: expected a regular file, found l"


def pipe(place: Path) -> str:
    (place / "a.txt").unlink()
    os.mkfifo(place / "a.txt")
    return r"a\.txt: expected a regular file, found p"


def folder(place: Path) -> str:
    (place / "a.txt").unlink()
    (place / "a.txt").mkdir()
    return r"a\.txt: expected a regular file, found d"


@pytest.mark.parametrize(
    "damage", [change_size, change_bytes, take_away, take_manifest, link, pipe, folder]
)
def test_damage_is_named(place: Path, damage: Callable[[Path], str]) -> None:
    message = damage(place)
    with pytest.raises(CheckpointError, match=message):
        open_sealed(place, "words", 3)


def manifest(**changes: Any) -> dict[str, Any]:
    entry = {"size": 0, "sha256": "0" * 64}
    return {"kind": "words", "version": 3, "files": {"b": entry}} | changes


HOSTILE = [
    [],
    {"kind": "words"},
    manifest(extra=1),
    manifest(kind=["words"]),
    manifest(version="3"),
    manifest(version=True),
    manifest(version=3.0),
    manifest(files=["b"]),
    *(
        manifest(files={name: {"size": 0, "sha256": "0" * 64}})
        for name in ("../secret", "/etc/passwd", "..", "a/b", "manifest.json", "nul\0", "C:x", "")
    ),
    manifest(files={"b": 5}),
    manifest(files={"b": {"size": 0}}),
    manifest(files={"b": {"size": "0", "sha256": "0" * 64}}),
    manifest(files={"b": {"size": True, "sha256": "0" * 64}}),
    manifest(files={"b": {"size": 0, "sha256": 0}}),
    manifest(files={"b": {"size": 0, "sha256": "0" * 64, "mode": 0}}),
    manifest(files={"b": {"size": -1, "sha256": "0" * 64}}),
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_manifests_are_refused(place: Path, hostile: Any) -> None:
    (place.parent / "secret").write_bytes(b"")
    (place / "manifest.json").write_text(json.dumps(hostile))
    with pytest.raises(CheckpointError, match=r"expected .* found"):
        open_sealed(place, "words", 3)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'{"a":1,"a":1}', b"1" * 9999],
)
def test_what_is_no_sound_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "facts.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"facts\.json is damaged: expected JSON, found"):
        read_json(tmp_path / "facts.json")


def test_json_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(b"[]".ljust(MOST_JSON))
    assert read_json(path) == []
    path.write_bytes(b"[]".ljust(MOST_JSON + 1))
    with pytest.raises(CheckpointError, match="expected at most 1048576 bytes, found 1048577"):
        read_json(path)


def test_a_file_that_the_disk_cannot_read_is_a_checkpoint_error(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(sealed, "sha256", fail)
    with pytest.raises(CheckpointError, match=r"a\.txt cannot be read: Input/output error"):
        open_sealed(place, "words", 3)


@pytest.mark.parametrize("act", [lambda place: seal(place, {}, "words", 1), sealed.discard])
def test_what_holds_a_foreign_file_is_neither_replaced_nor_removed(tmp_path, act) -> None:
    place = tmp_path / "model"
    seal(place, {"words.txt": b"a b c"}, "words", 1)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        act(place)
    assert (place / "notes.txt").read_text() == "mine"
    assert open_sealed(place, "words", 1)["words.txt"].read_bytes() == b"a b c"
