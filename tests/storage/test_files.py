"""Durable files, their left-overs, and the lock."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.storage import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_bytes_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data"
    files.write_bytes(path, b"one")
    files.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["data"]


def test_write_bytes_takes_pieces_of_any_buffer(tmp_path: Path) -> None:
    ids = np.arange(6, dtype=np.int32).reshape(2, 3)

    def write(sink: files.Sink) -> None:
        assert sink.write(b"head") == 4
        assert sink.write(ids.data) == 24
        assert sink.write(np.empty((0, 3)).data) == 0
        assert sink.write(b"") == 0

    files.write_bytes(tmp_path / "data", write)
    assert (tmp_path / "data").read_bytes() == b"head" + ids.tobytes()


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "data"
    files.write_bytes(path, b"old")

    def write(sink: files.Sink) -> None:
        sink.write(b"half of the new")
        raise failure

    with pytest.raises(type(failure)):
        files.write_bytes(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["data"]


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "data", b"")
    finally:
        os.umask(before)
    if os.name == "posix":
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o640


def test_create_returns_size_and_hash_and_never_overwrites(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    assert files.create(tmp_path / "new", data) == (len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "new", b"")
    assert files.sha256(tmp_path / "new") == hashlib.sha256(data).hexdigest()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:1000]))
    data = np.random.default_rng(1).bytes(54_321)
    size, digest = files.create(tmp_path / "new", data)
    assert (tmp_path / "new").read_bytes() == data
    assert (size, digest) == (len(data), hashlib.sha256(data).hexdigest())


def test_directories_that_cannot_be_flushed_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([errno.EINVAL, errno.ENOTSUP, errno.EIO])

    def fsync(_: int) -> None:
        raise OSError(code := next(answers), os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    files.sync_directory(tmp_path)
    files.sync_directory(tmp_path)
    with pytest.raises(OSError, match="Input/output"):
        files.sync_directory(tmp_path)


def test_json_is_stable_text_with_null_for_what_is_not_finite() -> None:
    value = {"b": [1.5, math.nan, (math.inf, 2)], "a": {"x": -math.inf}, "f": np.float64("nan")}
    text = files.json_bytes(value).decode()
    assert json.loads(text) == {"b": [1.5, None, [None, 2]], "a": {"x": None}, "f": None}
    assert list(json.loads(text)) == ["b", "a", "f"]
    assert text == json.dumps(json.loads(text), indent=2) + "\n"


@given(st.dictionaries(st.text(st.characters(exclude_categories=())), st.floats(allow_nan=False)))
def test_json_survives_any_text_lone_surrogates_too(value: dict[str, float]) -> None:
    expected = {key: number if math.isfinite(number) else None for key, number in value.items()}
    assert json.loads(files.json_bytes(value).decode("utf-8")) == expected


def test_json_is_readable_utf8() -> None:
    assert "naïve 日本" in files.json_bytes({"text": "naïve 日本"}).decode("utf-8")


def test_write_json(tmp_path: Path) -> None:
    files.write_json(tmp_path / "report.json", {"perplexity": math.inf})
    assert (tmp_path / "report.json").read_bytes() == b'{\n  "perplexity": null\n}\n'


def test_make_directory_makes_those_above_and_accepts_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    files.make_directory(path)
    files.make_directory(path)
    assert path.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        files.make_directory(tmp_path / "file")
    with pytest.raises(OSError):
        files.make_directory(tmp_path / "file" / "below")


def test_a_link_to_a_file_is_written_through_and_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data").write_bytes(b"old")
    (tmp_path / "link").symlink_to("elsewhere/data")
    files.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "data").read_bytes() == b"new"
    assert names(tmp_path / "elsewhere") == ["data"]


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_bytes(tmp_path / "pipe", b"hello")
    assert os.read(reader, 10) == b"hello"
    os.close(reader)
    assert files.is_stream(tmp_path / "pipe") and names(tmp_path) == ["pipe"]
    files.write_bytes(Path("/dev/null"), b"gone")
    assert files.is_stream(Path("/dev/null"))


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("mine")
    files.remove_file(tmp_path / "link")
    assert names(tmp_path) == ["mine"]
    with pytest.raises(OSError):
        files.remove_file(tmp_path)


def test_appending_follows_no_link(tmp_path: Path) -> None:
    assert files.append(tmp_path / "log", b"one\n") == 4
    assert files.append(tmp_path / "log", b"two\n") == 4
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    (tmp_path / "link").symlink_to("log")
    with pytest.raises(OSError):
        files.append(tmp_path / "link", b"three\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_of_a_line_that_is_refused_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def refused(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.append(tmp_path / "log", b"one\n")
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "write", refused)
        files.append(tmp_path / "log", b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\n"


WINDOWS = """
import pathlib, shutil, sys, types
folder = pathlib.Path(sys.argv[1])
sys.modules["fcntl"] = None
calls = []
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *a: calls.append(a[1:]))
sys.platform = "win32"
from recurra.storage import files, locks
files.os.fsync = lambda descriptor, fsync=files.os.fsync: calls.append("fsync")
with locks.lock(folder / "lock"):
    files.write_bytes(folder / "data", b"1")
print(calls)
"""


def test_on_windows_it_imports_locks_and_flushes_files_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WINDOWS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[(2, 1), 'fsync']\n", "")
    assert (tmp_path / "data").read_bytes() == b"1"
