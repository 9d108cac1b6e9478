"""A log on a full disk ends nothing; a result that cannot be printed is no success."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from recurra.cli import main
from recurra.cli.streams import lenient, log_to_stdout

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


class Full(io.StringIO):
    """A stream without room, for as long as `full` says."""

    full = True
    error = errno.ENOSPC

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(self.error, os.strerror(self.error))
        return super().write(text)


@pytest.mark.parametrize("manager, name", [(lenient, "stderr"), (log_to_stdout, "stdout")])
def test_what_there_is_no_room_for_is_left_out_and_the_rest_written(monkeypatch, manager, name):
    stream = Full()
    monkeypatch.setattr(sys, name, stream)
    with manager():
        print("lost", file=getattr(sys, name), flush=True)
        stream.full = False
        print("kept", file=getattr(sys, name), flush=True)
    assert getattr(sys, name) is stream
    assert stream.getvalue() == "kept\n"


def test_a_reader_that_has_gone_is_heard_of(monkeypatch):
    stream = Full()
    stream.error = errno.EPIPE
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(BrokenPipeError), lenient():
        print("unread", file=sys.stderr)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_is_closed_stays_closed(monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    with lenient(), log_to_stdout():
        print("nowhere", file=getattr(sys, name))
    assert getattr(sys, name) is None


@pytest.fixture
def full() -> Iterator[TextIO]:
    stream = FULL.open("w")
    yield stream
    with contextlib.suppress(OSError):
        stream.close()


@needs_full
@pytest.mark.usefixtures("knows_grammar")
def test_the_log_on_the_same_full_disk_as_the_run_ends_no_training(
    tmp_path, monkeypatch, recurra, full
):
    """With both streams full the run is finished, and the code says that the report is not said."""
    words = ["train", "kn2", "--data=grammar", "--out=run"]
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(sys, "stdout", full)
        patch.setattr(sys, "stderr", full)
        assert main(words) == 5
    assert (tmp_path / "run" / "report.json").exists()
    assert "This run is finished" in recurra(*words).out


@needs_full
def test_a_full_stderr_alone_changes_no_exit_code(monkeypatch, capsys, full):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        assert main(["presets", "--json"]) == 0
        assert main(["presets", "nonsense"]) == 2


@needs_full
def test_a_result_without_room_is_no_success(monkeypatch, capsys, full):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert main(["presets"]) == 5
    assert capsys.readouterr().err == "recurra: [Errno 28] No space left on device\n"
