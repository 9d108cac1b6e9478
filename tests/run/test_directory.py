"""A run's directory: who may write to it, what it says of itself, and its log of metrics."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recurra.errors import CheckpointError, ResourceError, RunError
from recurra.language.entry import LanguageRun
from recurra.learning.event import Saved, Stepped, Validated, Warned
from recurra.run.directory import MetricLog, RunDirectory, metric
from recurra.storage import files

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


def stepped(step: int, loss: float = 2.5) -> Stepped:
    return Stepped(
        step,
        epoch=step / 10,
        loss=loss,
        items=700,
        learning_rate=0.1 + 0.2,
        gradient_norm=1 / 3,
        seconds=0.7 * step,
    )


def validated(step: int) -> Validated:
    return Validated(step, step / 10, {"loss": 2.0, "perplexity": float("inf")}, True, 0.3)


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
    assert {path for path in tmp_path.rglob("*") if path.name != ".lock"} == before
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


@pytest.mark.parametrize("name", ["model", "checkpoints"])
def test_someone_else_s_model_is_not_touched(directory, name):
    precious = directory.path / name / "precious"
    precious.mkdir(parents=True)
    with pytest.raises(RunError, match=f"holds {name} but no config.json, so it is not a run"):
        with directory.opened():
            directory.clear()
    assert precious.exists()


def test_left_over_temporaries_are_removed_and_told(directory):
    left = directory.path / "report.json.tmp-0123abcd"
    left.parent.mkdir(parents=True)
    left.write_text("{")
    with directory.opened() as removed:
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


def test_clearing_leaves_nothing_but_the_lock(directory):
    with directory.opened():
        directory.write_config(CONFIG)
        directory.metrics.append(stepped(1))
        directory.write_report({})
        directory.curves_path.write_bytes(b"png")
        (directory.model_path / "weights").mkdir(parents=True)
        (directory.checkpoints_path / "step-1").mkdir(parents=True)
        directory.clear()
        assert [path.name for path in directory.path.iterdir()] == [".lock"]


def test_a_full_disk_is_a_resource_error(directory, monkeypatch):
    def refuse(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", refuse)
    with directory.opened(), pytest.raises(ResourceError, match=r"report\.json cannot be written"):
        directory.write_report({})


# metrics


@pytest.fixture
def log(tmp_path: Path) -> MetricLog:
    return MetricLog(tmp_path / "metrics.jsonl")


def test_a_step_and_a_validation_have_a_line_and_others_none(log):
    for event in (stepped(1), Warned("odd"), validated(1), Saved(1, Path("x"))):
        log.append(event)
    assert log.records() == [
        {
            "step": 1,
            "epoch": 0.1,
            "loss": 2.5,
            "learning_rate": 0.1 + 0.2,
            "gradient_norm": 1 / 3,
        },
        {"step": 1, "epoch": 0.1, "valid": {"loss": 2.0, "perplexity": None}, "best": True},
    ]


def test_what_is_not_finite_is_null():
    assert metric(stepped(1, loss=float("nan")))["loss"] is None


def test_no_line_holds_clock_time():
    slow = Stepped(1, 0.1, 2.5, 700, 0.1, 1.0, seconds=99.0)
    fast = Stepped(1, 0.1, 2.5, 700, 0.1, 1.0, seconds=0.1)
    assert metric(slow) == metric(fast)


def test_rewinding_drops_later_steps_and_the_rest_keeps_its_bytes(log):
    for step in range(1, 8):
        log.append(stepped(step))
    log.append(validated(7))
    whole = log.path.read_bytes()
    log.rewind(4)
    assert [record["step"] for record in log.records()] == [1, 2, 3, 4]
    assert whole.startswith(log.path.read_bytes())
    for step in range(5, 8):
        log.append(stepped(step))
    log.append(validated(7))
    assert log.path.read_bytes() == whole
    log.rewind(0)
    assert log.path.read_bytes() == b""


@pytest.mark.parametrize(
    "damage", [b'{"step": 4, "los', b"\0\0\0\0\n", b"[]\n", b"{}\n", b"\xff\n"]
)
def test_a_damaged_line_ends_the_log(log, damage):
    log.append(stepped(1))
    sound = log.path.read_bytes()
    log.path.write_bytes(sound + damage + sound)
    assert len(log.records()) == 1
    log.rewind(9)
    assert log.path.read_bytes() == sound


def test_no_file_is_no_records(log):
    assert log.records() == []
    log.rewind(3)
    assert log.records() == []


def test_lines_wait_while_the_disk_is_full(log, monkeypatch):
    opened = Path.open
    written = []

    class NearlyFull:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, data):
            if written:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(bytes(data[:10]))
            with opened(log.path, "ab") as file:
                return file.write(data[:10])

    monkeypatch.setattr(Path, "open", lambda *_, **__: NearlyFull())
    log.append(stepped(1))
    log.append(stepped(2))
    monkeypatch.undo()
    assert log.records() == []
    log.append(stepped(3))
    assert [record["step"] for record in log.records()] == [1, 2, 3]


def test_other_faults_of_the_disk_are_not_swallowed(log):
    log.path.mkdir()
    with pytest.raises(IsADirectoryError):
        log.append(stepped(1))


def test_every_line_is_json_by_itself(log):
    log.append(stepped(1))
    log.append(validated(1))
    for line in log.path.read_text().splitlines():
        assert json.loads(line)["step"] == 1
