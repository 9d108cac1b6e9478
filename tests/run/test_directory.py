"""A run's directory: who may write to it, what it says of itself, and its log of metrics."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recurra.errors import CheckpointError, ConfigError, ResourceError, RunError
from recurra.language.entry import LanguageRun
from recurra.run.directory import LOCK, MARK, MARKED, RunDirectory
from recurra.storage import files
from recurra.storage.sealed import seal

CONFIG = LanguageRun(preset="mine", seed=4)
REPORT = {
    "run": "runs/mine",
    "preset": "mine",
    "task": "language",
    "seed": 4,
    "steps": 3,
    "epochs": 0.5,
    "seconds": 2.0,
    "train_seconds": 1.5,
    "throughput": {"value": 700.0, "unit": "tokens/s"},
    "valid": None,
    "test": {"perplexity": 9.5},
    "baselines": {},
    "verdict": "there is no baseline beside it",
}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "mine")


def test_it_is_made_with_those_above_it(directory):
    with directory.opened() as removed:
        assert directory.path.is_dir()
        assert removed == []


def test_a_second_trainer_is_kept_out(directory):
    with directory.opened():
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            with RunDirectory(directory.path).opened():
                pass
    with directory.opened():  # and let in afterwards
        pass


def test_a_dead_trainer_keeps_no_one_out(directory):
    code = (
        "import os, sys; from recurra.run.directory import RunDirectory\n"
        "held = RunDirectory(sys.argv[1]).opened(); held.__enter__(); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(directory.path)], check=False)
    assert done.returncode == 9
    with directory.opened():
        pass


@pytest.mark.parametrize("name", ["mine", "mine/deeper"])
def test_a_file_is_no_directory(tmp_path, name):
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(RunError, match=r"mine.* is a file, or lies under one; give .* --out"):
        with RunDirectory(tmp_path / name).opened():
            pass
    assert (tmp_path / "mine").read_text() == "a file"


def test_one_that_may_not_be_written_to_is_named_with_its_permission(directory, monkeypatch):
    directory.path.mkdir(parents=True)
    directory.path.chmod(0o555)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(RunError) as caught:
        with directory.opened():
            pass
    directory.path.chmod(0o755)
    said = str(caught.value)
    assert str(directory.path) in said and "Permission denied" in said and "dr-xr-xr-x" in said


def test_a_read_only_disk_is_named(directory, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files, "make_directory", refuse)
    with pytest.raises(RunError, match=r"Read-only file system; .* is drwx"):
        with directory.opened():
            pass


@pytest.mark.parametrize("there", [".", "runs", "runs/mine"])
def test_a_run_that_wrote_nothing_leaves_nothing_that_was_not_there(tmp_path, directory, there):
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ZeroDivisionError), directory.opened():
        assert directory.path.is_dir()
        raise ZeroDivisionError
    assert set(tmp_path.rglob("*")) == before
    with directory.opened():  # a second time as the first
        pass


def test_what_a_failed_run_wrote_stays_and_so_do_its_neighbours(tmp_path, directory):
    with pytest.raises(ZeroDivisionError), directory.opened():
        directory.write_config(CONFIG)
        raise ZeroDivisionError
    assert directory.config() == CONFIG
    other = RunDirectory(tmp_path / "runs" / "other")
    with other.opened():
        pass
    assert not other.path.exists() and directory.config_path.exists()


@pytest.mark.parametrize("name", ["model", "checkpoints", "notes.txt", "report.json", ".lock"])
def test_a_folder_that_is_no_run_is_refused_by_the_first_thing_in_it(directory, name):
    precious = directory.path / name / "precious"
    precious.mkdir(parents=True)
    (directory.path / "zebra").touch()
    with pytest.raises(RunError, match=f"holds {name} and is not a run, so nothing is written"):
        with directory.opened():
            pass
    assert held(directory.path) == {name: None, f"{name}/precious": None, "zebra": b""} or (
        name == LOCK and precious.exists()
    )


def test_left_over_temporaries_are_removed_and_told(finished):
    left = finished.path / "report.json.tmp-89abcdef"
    left.write_text("{")
    with finished.opened() as removed:
        assert removed == [left] and not left.exists()


def test_the_config_is_read_back(directory):
    with directory.opened():
        assert directory.config() is None
        directory.write_config(CONFIG)
    assert directory.config() == CONFIG


def test_the_report_is_read_back_with_null_for_what_is_not_finite(directory):
    with directory.opened():
        assert directory.report() is None
        directory.write_report({**REPORT, "test": {"perplexity": float("inf"), "oov": 3}})
    assert directory.report() == {**REPORT, "test": {"perplexity": None, "oov": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged: expected JSON"),
        ("[]", "holds a list, not an object"),
        ('{"task": "language"}', "preset is missing"),
        ("\xff", "is damaged: expected JSON"),
        ("[" * 100_000, "is damaged: expected JSON"),
    ],
)
def test_a_damaged_config_is_named(directory, text, message):
    directory.path.mkdir(parents=True)
    directory.config_path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=message) as caught:
        directory.config()
    assert str(directory.config_path) in str(caught.value)


def test_a_file_in_place_of_a_run_is_said(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="is a file, not a run directory"):
        RunDirectory(tmp_path / "run").config()


MODEL = {"model.json": b"{}", "weights.safetensors": b"w", "vocabulary.json": b"[]"}
OTHER = LanguageRun(preset="mine", seed=5)


@pytest.fixture
def finished(directory: RunDirectory) -> RunDirectory:
    """A run with everything that one may have, and what its owner put beside it."""
    with directory.opened():
        directory.write_config(CONFIG)
        directory.checkpoints_path.mkdir()
        seal(directory.checkpoints_path / "step-00000007", {"facts.json": b"7"}, "checkpoint", 1)
        directory.metrics.path.write_bytes(b'{"step": 1}\n')
        for place in (directory.model_path, directory.path / "mixture"):
            seal(place, MODEL, "recurra-language-model", 1)
        directory.curves_path.write_bytes(b"\x89PNG Recurra")
        directory.write_report({"run": "mine"})
    for name in THEIRS:
        path = directory.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine: {name}")
    (directory.path / "link").symlink_to(directory.path.parent)
    return directory


THEIRS = (
    "notes.txt",
    "report.json~",
    "forecast.png",  # a picture that no language run draws
    "checkpoints/notes.txt",
    "checkpoints/photos.tmp-0123abcd/sea.jpg",
    "checkpoints/step-00000009.tmp-0123abcd/sea.jpg",
    "photos.tmp-0123abcd/sea.jpg",
    "x.old-0123abcd",
    "model.tmp-0123abcd/sea.jpg",
    "model.old-0123abce",
    "report.json.old-20261130",  # a date
    "report.json.tmp-0123abcd/sea.jpg",
)


def held(folder: Path) -> dict[str, bytes | None]:
    """Return every path below a folder, with the bytes of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != LOCK
    }


def test_starting_over_takes_what_is_the_run_s_and_leaves_what_is_not(finished):
    with finished.opened() as removed:
        assert removed == []
        finished.require_replaceable(whole=True)
        finished.write_config(OTHER, restart=True)
    assert finished.config() == OTHER
    left = {name for name, content in held(finished.path).items() if content is not None}
    assert left == {MARK, "config.json", *THEIRS}
    for name in THEIRS:
        assert (finished.path / name).read_text() == f"mine: {name}"
    assert (finished.path / "link").is_symlink()


@pytest.mark.parametrize("place", ["model", "mixture", "checkpoints/step-00000007"])
def test_a_file_of_the_owner_s_in_what_would_go_is_named_and_all_stays(finished, place):
    (finished.path / place / "notes.txt").write_text("mine")
    before = held(finished.path)
    with finished.opened():
        with pytest.raises(RunError, match=r"notes\.txt \(-rw.*\) was not written by this run"):
            finished.require_replaceable(whole=True)
        if place.startswith("checkpoints"):  # one too many does no harm to a run that goes on
            finished.require_replaceable(whole=False)
        else:
            with pytest.raises(RunError, match="not written by this run"):
                finished.require_replaceable(whole=False)
    assert held(finished.path) == before


@pytest.mark.parametrize("name", ["report.json", "curves.png", "metrics.jsonl", "checkpoints"])
def test_a_link_in_place_of_a_file_is_refused(finished, tmp_path, name):
    place = finished.path / name
    shutil.move(place, tmp_path / "precious")
    place.symlink_to(tmp_path / "precious")
    with finished.opened():
        if name == "checkpoints":  # a folder may lie on another disk
            finished.require_replaceable(whole=True)
            finished.write_config(OTHER, restart=True)
            assert place.is_symlink() and (tmp_path / "precious" / "notes.txt").exists()
            assert not (tmp_path / "precious" / "step-00000007").exists()
        else:
            with pytest.raises(RunError, match=f"{name} .l.* was not written by this run"):
                finished.require_replaceable(whole=False)


@pytest.mark.parametrize("dies", [False, True], ids=["refused", "killed"])
def test_wherever_starting_over_is_cut_short_the_old_run_is_whole_or_the_new_one_stands(
    finished, tmp_path, monkeypatch, dies
):
    old = held(finished.path)
    shutil.copytree(finished.path, tmp_path / "kept", symlinks=True)
    outcomes = []
    for moment in range(200):
        shutil.rmtree(finished.path)
        shutil.copytree(tmp_path / "kept", finished.path, symlinks=True)
        count = iter(range(1000))
        dead = []

        def watched(original):
            def call(*given, **more):
                if next(count) == moment or dead:  # noqa: B023
                    if dies:
                        dead.append(1)  # noqa: B023 - nothing reaches the disk any more
                    raise OSError(errno.EIO, "cut")
                return original(*given, **more)

            return call

        with finished.opened(), monkeypatch.context() as patch, contextlib.suppress(RunError):
            for name in ("open", "write", "fsync", "rename", "replace", "unlink", "rmdir"):
                patch.setattr(os, name, watched(getattr(os, name)))
            finished.write_config(OTHER, restart=True)
        with finished.opened():
            pass
        if finished.config() == CONFIG:
            assert held(finished.path) == {**old}
            outcomes.append("old")
        else:
            left = {name for name, content in held(finished.path).items() if content is not None}
            assert left == {MARK, "config.json", *THEIRS}
            outcomes.append("new")
        if next(count) < moment:
            break
    assert outcomes.count("old") > 10 and outcomes.count("new") > 10
    assert outcomes == sorted(outcomes, key="old new".index)


def test_a_foreign_config_is_no_run_and_is_never_removed(directory):
    directory.path.mkdir(parents=True)
    directory.config_path.write_text('{"task": "language", "tasks": []}')
    with pytest.raises(RunError, match=r"holds config\.json and is not a run"):
        with directory.opened():
            pass
    assert [path.name for path in directory.path.iterdir()] == ["config.json"]


def test_a_marked_run_with_a_damaged_config_may_be_started_over(finished):
    finished.config_path.write_text("{")
    with finished.opened():
        with pytest.raises(CheckpointError, match="is damaged"):
            finished.config()
        finished.write_config(OTHER, restart=True)
    assert finished.config() == OTHER and finished.report() is None


FOREIGN = {
    "config.json": b'{\n  "name": "thesis"\n}\n',
    "report.json": b"my report",
    "metrics.jsonl": b'{"loss": 3.0}\n',
    "curves.png": b"\x89PNG of the sea",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("whole", [False, True])
def test_a_copied_mark_makes_no_file_ours(directory, name, whole):
    """What has a name that we write, and does not begin as ours does, is someone else's."""
    directory.path.mkdir(parents=True)
    (directory.path / MARK).write_bytes(MARKED)
    (directory.path / name).write_bytes(FOREIGN[name])
    before = held(directory.path)
    with directory.opened(), pytest.raises(RunError, match=f"{name} .* was not written by this"):
        directory.require_replaceable(whole=whole)
    assert {**held(directory.path), **before} == held(directory.path)


@pytest.mark.parametrize(
    "log", [b"", b"\0" * 99, b'{"st', b'{"step": 1}\n', b'{"stfp": 1}\n{"step": 2}\n']
)
def test_a_log_that_was_cut_or_damaged_is_still_ours(directory, log):
    with directory.opened():
        directory.write_config(CONFIG)
        directory.metrics.path.write_bytes(log)
        directory.require_replaceable(whole=True)


@pytest.mark.parametrize("name", ["model", "mixture", "checkpoints"])
def test_a_link_into_another_run_is_refused(finished, tmp_path, name):
    other = RunDirectory(tmp_path / "other")
    with other.opened():
        other.write_config(CONFIG)
        (other.path / name).symlink_to(finished.path / name)
        for whole in (False, True):
            with pytest.raises(RunError, match=f"leads to the {name} of another run"):
                other.require_replaceable(whole=whole)


@pytest.mark.parametrize("name", ["model", "model/new", "mixture/x/y", "checkpoints", "model/"])
def test_no_run_begins_where_another_keeps_its_own(directory, name):
    with directory.opened():
        directory.write_config(CONFIG)  # as while it trains: they are not there yet
    with (
        pytest.raises(RunError, match="would lie in the "),
        RunDirectory(f"{directory.path}/{name}").opened(),
    ):
        pass
    assert not (directory.path / name).exists()
    with RunDirectory(directory.path / "tuned").opened():  # a name that is its owner's
        pass


def test_a_run_of_an_older_version_needs_no_mark(finished):
    (finished.path / MARK).unlink()
    with finished.opened():
        assert finished.is_ours()
    finished.config_path.write_text("{")
    with pytest.raises(RunError, match="is not a run"), finished.opened():
        pass


@pytest.mark.parametrize("mark", [b"", MARKED[:7]])
def test_a_mark_that_a_crash_has_cut_short_is_one(directory, mark):
    directory.path.mkdir(parents=True)
    (directory.path / MARK).write_bytes(mark)
    with directory.opened():
        assert directory.is_ours()
        directory.write_config(CONFIG)
    assert (directory.path / MARK).read_bytes() == MARKED
    (directory.path / "config.json").unlink()
    (directory.path / MARK).write_bytes(b"my own file of that name")
    with pytest.raises(RunError, match=r"holds \.recurra and is not a run"), directory.opened():
        pass


def test_neither_the_home_folder_nor_the_root_becomes_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path, Path("/")):
        with pytest.raises(ConfigError, match="is no place for results"):
            with RunDirectory(path).opened():
                pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_one_that_goes_away_while_it_is_open_is_noticed(directory, tmp_path, how):
    with directory.opened():
        directory.write_config(CONFIG)
        directory.require_there()
        if how == "removed":
            shutil.rmtree(directory.path)
        else:
            directory.path.rename(tmp_path / "moved")
        if how == "replaced":
            with RunDirectory(directory.path).opened():
                RunDirectory(directory.path).write_config(OTHER)
        with pytest.raises(RunError, match="it was moved or removed, so nothing more is written"):
            directory.require_there()
    assert directory.path.exists() == (how == "replaced")


def test_a_full_disk_is_a_resource_error(directory, monkeypatch):
    def refuse(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", refuse)
    with directory.opened(), pytest.raises(ResourceError, match=r"report\.json cannot be written"):
        directory.write_report({})
