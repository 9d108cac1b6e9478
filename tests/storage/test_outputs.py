"""Where results may go is known before there are any."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from recurra.errors import ConfigError, ResourceError, RunError
from recurra.storage import outputs
from recurra.storage.outputs import require_file, require_folder, require_model, require_usual
from recurra.storage.sealed import seal


def ours(head: bytes) -> bool:
    return head.startswith(b"ours")


def test_a_free_name_one_of_ours_and_an_empty_file_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"ours, and more")
    (tmp_path / "empty").touch()
    before = sorted(tmp_path.iterdir())
    for name in ("mine", "empty", "new"):
        require_file(tmp_path / name, "--out", ours)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_someone_s_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to("photo.png")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for name, why in {
        "photo.png": r"photo\.png is there already and is none that Recurra wrote; move it away",
        "link": "link is a link, which is left as it is; give --plot a file",
        "dangling": "dangling is a link, which is left as it is; give --plot a file",
        "folder": "folder is a directory; give --plot a file in one",
    }.items():
        with pytest.raises(ConfigError, match=why):
            require_file(tmp_path / name, "--plot", ours)
    assert (tmp_path / "photo.png").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no/where", "no is not there; make it, or give another with --out"),
        ("file/below", "is a file, or lies under one; give another with --out"),
    ],
)
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=why):
        require_file(tmp_path / name, "--out", ours)
    if name == "no/where":
        require_file(tmp_path / name, "--out", ours, makes_folder=True)
        assert not (tmp_path / "no").exists()
    else:
        with pytest.raises(RunError, match=why):
            require_folder(tmp_path / name, "--out")


@pytest.mark.parametrize(
    ("code", "kind", "why"),
    [
        (errno.EROFS, RunError, r"x cannot be written to \(Read-only file system; .* is drwx"),
        (errno.EACCES, RunError, r"x cannot be written to \(Permission denied; .* is drwx"),
        (errno.ENOSPC, ResourceError, "no space is left for .*x"),
        (errno.EDQUOT, ResourceError, "no space is left for .*x"),
    ],
)
def test_a_disk_that_refuses_is_found_out_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type, why: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(kind, match=why):
        require_file(tmp_path / "x", "--out", ours)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_to_is_named_with_its_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(RunError, match=r"Permission denied; .* is drwx.*change its permissions"):
        require_folder(tmp_path / "new" / "bench", "--out")


def test_a_model_is_replaced_and_an_empty_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind in {"model": "recurra-mean", "step": "checkpoint", "words": "text"}.items():
        seal(tmp_path / name, {"a": b"1"}, kind, 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("model")
    for name in ("model", "empty", "link", "new"):
        assert require_model(tmp_path / name) == (tmp_path / name).resolve()
    for name in ("step", "words"):
        with pytest.raises(ConfigError, match=f"{name} holds a, which is no part of a model"):
            require_model(tmp_path / name)
    (tmp_path / "model" / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"model holds notes\.txt, which is no part"):
        require_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "empty")
    for place in (Path(), Path(), Path("..")):
        with pytest.raises(ConfigError, match="is the folder one works in"):
            require_model(place)


def test_someone_s_manifest_is_no_seal(tmp_path: Path) -> None:
    for text in ("{", "[]", "{}", '{"kind": "recurra-x", "version": 1, "files": {"../x": {}}}',
                 '{"name": "an extension", "version": "1.0", "manifest_version": 3}',
                 '{"kind": ["recurra-"], "version": 1, "files": {}}'):  # fmt: skip
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ConfigError, match=r"holds manifest\.json"):
            require_model(tmp_path)
        assert (tmp_path / "manifest.json").read_text() == text


def test_home_and_root_are_no_places_for_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (tmp_path, Path("/"), tmp_path / "link"):
        with pytest.raises(ConfigError, match="is no place for results"):
            require_usual(place)
        with pytest.raises(ConfigError, match="is no place for results"):
            require_model(place)


def test_writing_tells_which_file_the_disk_refused() -> None:
    for code, kind in ((errno.ENOSPC, ResourceError), (errno.EIO, RunError)):
        with pytest.raises(kind, match="report cannot be written: "):
            with outputs.writing(Path("report")):
                raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("name", ["model/new", "model/notes.csv", "link/deep/new"])
def test_nothing_is_put_into_a_sealed_directory(tmp_path: Path, name: str) -> None:
    seal(tmp_path / "model", {"words.txt": b"a"}, "recurra-words", 1)
    (tmp_path / "link").symlink_to("model")
    for refuse in (require_model, lambda path: require_file(path, "--out", lambda head: True)):
        with pytest.raises(
            ConfigError, match=r"would lie in .*model, a recurra-words; give another"
        ):
            refuse(tmp_path / name)


def test_a_home_that_no_shell_has_written_out_is_refused() -> None:
    for refuse in (require_model, require_usual):
        with pytest.raises(ConfigError, match="begins with ~"):
            refuse(Path("~/models"))
