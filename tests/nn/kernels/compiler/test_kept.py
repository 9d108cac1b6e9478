"""What is kept of compiled code is read only where no one else could have written it."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recurra.nn.kernels.compiler import kept
from recurra.nn.kernels.compiler.kept import _seal, distrusted

SOURCE = """
from recurra.nn.kernels.compiler.compiled import compiled

@compiled
def twice(x):
    return 2 * x
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners")


@pytest.fixture
def found(begun: Callable[[str], ModuleType]) -> Callable[[], bool]:
    """A function that runs `twice` as a process does that begins, and says if it was found."""

    def run() -> bool:
        module = begun(SOURCE)
        assert module.twice(4) == 8
        return bool(module.twice.dispatcher.stats.cache_hits)

    kept._say.cache_clear()
    assert [run(), run()] == [False, True]
    return run


@pytest.fixture
def folder(cache: Path) -> Path:
    return cache / "kernels"


def only(folder: Path) -> Path:
    (path,) = (path for path in folder.iterdir() if path.is_file())
    return path


def owned_by_another(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have the system say that a file or folder is another user's."""
    same, fstat = os.path.samestat, os.fstat
    real = path.stat()

    def other(result: os.stat_result) -> os.stat_result:
        if not same(result, real):
            return result
        return os.stat_result([*result[:4], 4321, *result[5:]])

    for name in ("stat", "lstat"):
        plain = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda p, *a, plain=plain, **k: other(plain(p, *a, **k)))
    monkeypatch.setattr(os, "fstat", lambda descriptor: other(fstat(descriptor)))


def test_only_this_user_can_write_what_it_keeps(found: Callable[[], bool], folder: Path) -> None:
    before = os.umask(0)
    try:
        only(folder).unlink()
        assert not found()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(only(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_compiled_anew(
    found: Callable[[], bool], folder: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    only(folder).chmod(mode)
    assert not found()
    assert f"others may write to {only(folder)} (mode {mode:o}): chmod go-w it" in caplog.text
    assert found()  # it was replaced


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_in_a_folder_that_others_may_write_nothing_is_read_or_kept(
    found: Callable[[], bool], folder: Path, mode: int
) -> None:
    before = only(folder).read_bytes()
    folder.chmod(mode)
    assert [found(), found()] == [False, False]
    assert only(folder).read_bytes() == before
    only(folder).unlink()
    assert not found()
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)
    assert [found(), found()] == [False, True]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_another_user_s_is_not_run(
    found: Callable[[], bool], folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned_by_another(monkeypatch, only(folder) if what == "file" else folder)
    assert not found()


def test_what_root_owns_is_run(
    found: Callable[[], bool], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder.stat().st_uid:
        pytest.skip("needs files of root's")
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert found()


def test_links_are_not_followed(found: Callable[[], bool], folder: Path, tmp_path: Path) -> None:
    path, elsewhere = only(folder), tmp_path / path_name(folder)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    elsewhere.write_bytes(b"mine")
    assert not found()
    assert elsewhere.read_bytes() == b"mine"
    elsewhere.write_bytes(before)
    assert not found()
    path.unlink()
    os.mkfifo(path)
    assert not found()  # and nothing waits for a writer


def path_name(folder: Path) -> str:
    return f"elsewhere-{only(folder).name}"


class Planted:
    """What a file of pickled objects would call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


def test_a_pickle_with_a_right_seal_calls_nothing(
    found: Callable[[], bool], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = only(folder)
    content = pickle.dumps(Planted())
    path.write_bytes(_seal(path, content) + content)
    assert not found()
    assert not Path("planted").exists()
    assert found()


@pytest.mark.parametrize("odd", [b"", b"{}", b"[]\n", b'{"returns": "os"}\n', b"\xff\n", b"1\n"])
def test_an_odd_first_line_with_a_right_seal_is_a_miss(
    found: Callable[[], bool], folder: Path, odd: bytes
) -> None:
    path = only(folder)
    path.write_bytes(_seal(path, odd) + odd)
    assert not found()
    assert found()


def test_a_folder_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    assert distrusted(tmp_path / "no") is None
    assert distrusted(tmp_path) is None
