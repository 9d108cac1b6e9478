from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from recurra.errors import ConfigError, ResourceError
from recurra.storage import folders
from recurra.storage.folders import cache_folder, cached, data_folder, is_full
from recurra.storage.locks import lock


@pytest.fixture
def private(tmp_path, monkeypatch):
    folder = tmp_path / "private"
    monkeypatch.setattr(folders, "_private_folder", lambda: folder)
    return folder


class Builder:
    def __init__(self, content=b"built"):
        self.content = content
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"words.txt": self.content}


@pytest.mark.parametrize(
    ("variable", "look"), [("RECURRA_DATA", data_folder), ("RECURRA_CACHE", cache_folder)]
)
class TestLookUp:
    def test_variable_is_obeyed(self, variable, look, monkeypatch, tmp_path):
        monkeypatch.setenv(variable, str(tmp_path / "mine"))
        assert look() == tmp_path / "mine"
        assert not (tmp_path / "mine").exists()

    def test_relative_path_becomes_absolute(self, variable, look, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(variable, "here")
        assert look() == tmp_path / "here"

    def test_tilde_is_the_home_folder(self, variable, look, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        monkeypatch.setenv(variable, "~/data")
        assert look() == tmp_path / "data"

    @pytest.mark.parametrize("value", [None, ""])
    def test_default_is_the_user_cache(self, variable, look, value, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
        assert look() == tmp_path / "recurra"

    def test_relative_xdg_folder_is_ignored(self, variable, look, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert look() == tmp_path / ".cache" / "recurra"

    @pytest.mark.parametrize(
        ("platform", "expected"),
        [("darwin", "Library/Caches/recurra"), ("win32", "Local/recurra")],
    )
    def test_other_systems(self, variable, look, platform, expected, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
        assert look() == tmp_path / expected

    def test_no_home(self, variable, look, monkeypatch):
        def homeless():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", homeless)
        with pytest.raises(ConfigError, match=f"set {variable}"):
            look()


class TestCached:
    def test_builds_once(self, cache):
        build = Builder()
        first = cached("key", "text", 1, build)
        second = cached("key", "text", 1, build)
        assert first == second
        assert first["words.txt"].read_bytes() == b"built"
        assert first["words.txt"].is_relative_to(cache)
        assert build.calls == 1

    def test_name_kind_and_version_matter(self):
        build = Builder()
        for arguments in [("a", "text", 1), ("b", "text", 1), ("a", "words", 1), ("a", "text", 2)]:
            cached(*arguments, build)
        assert build.calls == 4

    @pytest.mark.parametrize("damaged", [b"", b"buil", b"bvilt"])
    def test_damage_is_built_again(self, damaged):
        build = Builder()
        path = cached("key", "text", 1, build)["words.txt"]
        path.write_bytes(damaged)
        assert cached("key", "text", 1, build)["words.txt"].read_bytes() == b"built"
        assert build.calls == 2

    def test_left_overs_are_swept(self, cache):
        build = Builder()
        left = cache / "text" / "key" / "content.tmp-0123abcd"
        left.mkdir(parents=True)
        cached("key", "text", 1, build)
        assert not left.exists()

    def test_failed_build_leaves_nothing(self, cache):
        def build():
            def write(sink):
                sink.write(b"half")
                raise ValueError("the source broke")

            return {"words.txt": write}

        with pytest.raises(ValueError, match="the source broke"):
            cached("key", "text", 1, build)
        assert [path.name for path in (cache / "text" / "key").iterdir()] == ["lock"]

    def test_unwritable_cache_is_private(self, cache, private):
        cache.write_bytes(b"a file where the folder should be")
        build = Builder()
        for _ in range(2):
            path = cached("key", "text", 1, build)["words.txt"]
            assert path.is_relative_to(private)
            assert path.read_bytes() == b"built"
        assert build.calls == 1

    def test_another_builder_is_not_waited_for(self, cache, private):
        (cache / "text" / "key").mkdir(parents=True)
        with lock(cache / "text" / "key" / "lock"):
            path = cached("key", "text", 1, Builder())["words.txt"]
        assert path.is_relative_to(private)

    def test_nowhere_to_write(self, cache, private):
        cache.touch()
        private.touch()
        with pytest.raises(ResourceError, match="no folder can be written"):
            cached("key", "text", 1, Builder())

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    def test_full_disk(self, code):
        def build():
            raise OSError(code, "full")

        with pytest.raises(ResourceError, match=r"no space is left for .*RECURRA_CACHE"):
            cached("key", "text", 1, build)


def test_private_folder_is_there_and_the_same():
    assert folders._private_folder().is_dir()
    assert folders._private_folder() == folders._private_folder()


def test_is_full():
    assert is_full(OSError(errno.ENOSPC, "full"))
    assert not is_full(OSError(errno.EACCES, "forbidden"))
