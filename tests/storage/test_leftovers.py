"""What interrupted writes leave: ours is cleared or put back, and what only looks like it stays."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from recurra.storage import files
from recurra.storage.leftovers import Names, renew, renewed, sweep
from recurra.storage.sealed import seal

NAMES = Names("model|step-1", "weights", r"report\.json|config\.json", marker="config.json")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_ours_by_name_kind_and_content_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    theirs = [
        *("report.tmp", "report.json.tmp-12", "report.json.tmp-0123ABCD", "x.old-0123abcd", "data"),
        *(".tmp-0123abcd", "report.json.tmp-20261130", "model.tmp-0123abcd"),  # a date; a file
        *("report.json.tmp-abcdabcd", "config.json.old-0123abcd", "report.json.old-33333aaa"),
    ]
    for name in theirs:
        (tmp_path / name).write_text("theirs")
    (tmp_path / "report.json.tmp-89abcdef").mkdir()
    (tmp_path / "report.json.old-44444aaa").symlink_to("data")
    (tmp_path / "model.tmp-00000aaa").symlink_to("precious")
    for folder in ("photos.tmp-0123abcd", "model.tmp-11111aaa", "model.old-22222aaa"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sea.jpg").write_text("theirs")
    before = names(tmp_path)
    (tmp_path / "report.json.tmp-0123abcd").write_text('{\n  "half')
    (tmp_path / "model.tmp-ffffffff").mkdir()
    (tmp_path / "model.tmp-ffffffff" / "weights").write_text("half")
    assert [path.name for path in sweep(tmp_path, NAMES)] == [
        "model.tmp-ffffffff",
        "report.json.tmp-0123abcd",
    ]
    assert names(tmp_path) == before
    assert sweep(tmp_path, NAMES) == []
    assert sweep(tmp_path / "nowhere", NAMES) == []


def test_what_had_stepped_aside_is_put_back_or_goes(tmp_path: Path) -> None:
    (tmp_path / "model.old-0123abcd").mkdir()
    assert sweep(tmp_path, NAMES) == []
    assert names(tmp_path) == ["model"]
    (tmp_path / "model.old-0123abcd").mkdir()
    assert [path.name for path in sweep(tmp_path, NAMES)] == ["model.old-0123abcd"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("moment", range(12))
def test_renewing_that_is_refused_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    marker, report = tmp_path / "config.json", tmp_path / "report.json"
    marker.write_text('{\n  "old": 1')
    report.write_text('{\n  "report": 1')
    seal(tmp_path / "model", {"weights": b"old"}, "recurra-mean", 1)
    count = iter(range(100))

    def counted(name: str):
        original = getattr(os, name)

        def call(*given):
            if next(count) == moment:
                raise OSError(errno.EIO, "refused")
            return original(*given)

        return call

    with monkeypatch.context() as patch:
        for name in ("open", "write", "fsync", "rename"):
            patch.setattr(os, name, counted(name))
        with contextlib.suppress(OSError):
            renew(marker, b"new", [report, tmp_path / "model"])
    assert (renewed(marker) == set()) == (moment < 9)  # the ninth is what makes it new
    sweep(tmp_path, NAMES, renewed(marker))
    if "old" in marker.read_text():
        assert names(tmp_path) == ["config.json", "model", "report.json"]
    else:
        assert names(tmp_path) == ["config.json"]
    assert ("old" in marker.read_text()) == (moment < 9)


def test_a_token_is_never_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["20261130", "00000000", "0000000e"])
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: next(drawn))
    assert files.beside(Path("model"), "old").name == "model.old-0000000e"
