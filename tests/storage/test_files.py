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

from recurra.errors import RunError
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


def test_sweep_removes_left_overs_and_nothing_else(tmp_path: Path) -> None:
    mine = ["report.tmp", "x.tmp-12", "x.tmp-0123ABCD", "x.old-0123abcde", "data", ".tmp-0123abcd"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / "report.json.tmp-0123abcd").write_text("half")
    (tmp_path / "model.tmp-ffffffff").mkdir()
    (tmp_path / "model.tmp-ffffffff" / "weights").write_text("half")
    (tmp_path / "link.tmp-00000000").symlink_to(tmp_path / "data")
    assert [path.name for path in files.sweep(tmp_path)] == [
        "link.tmp-00000000",
        "model.tmp-ffffffff",
        "report.json.tmp-0123abcd",
    ]
    assert names(tmp_path) == sorted(mine)
    assert files.sweep(tmp_path) == []
    assert files.sweep(tmp_path / "nowhere") == []


def test_sweep_puts_back_what_had_stepped_aside(tmp_path: Path) -> None:
    (tmp_path / "model.old-0123abcd").mkdir()
    assert files.sweep(tmp_path) == []
    assert names(tmp_path) == ["model"]
    (tmp_path / "model.old-0123abcd").mkdir()
    assert [path.name for path in files.sweep(tmp_path)] == ["model.old-0123abcd"]
    assert names(tmp_path) == ["model"]


HOLDER = """
import sys, time
from pathlib import Path
from recurra.storage.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_held_by_a_process_is_refused_by_name_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(RunError, match=f"in use by process {holder.pid}"):
                with files.lock(path):
                    pass
        finally:
            holder.kill()
    with files.lock(path):
        assert int(path.read_text()) == os.getpid()


def test_a_lock_is_exclusive_within_a_process_and_free_after_the_block(tmp_path: Path) -> None:
    with files.lock(tmp_path / "lock"):
        with pytest.raises(RunError, match="in use"), files.lock(tmp_path / "lock"):
            pass
    with pytest.raises(ZeroDivisionError), files.lock(tmp_path / "lock"):
        _ = 1 / 0
    with files.lock(tmp_path / "lock"):
        pass


WINDOWS = """
import pathlib, shutil, sys, types
folder = pathlib.Path(sys.argv[1])
sys.modules["fcntl"] = None
calls = []
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *a: calls.append(a[1:]))
sys.platform = "win32"
from recurra.storage import files
files.os.fsync = lambda descriptor, fsync=files.os.fsync: calls.append("fsync")
with files.lock(folder / "lock"):
    files.write_bytes(folder / "data", b"1")
print(calls)
"""


def test_on_windows_it_imports_locks_and_flushes_files_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WINDOWS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[(2, 1), 'fsync']\n", "")
    assert (tmp_path / "data").read_bytes() == b"1"
