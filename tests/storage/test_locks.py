"""The lock: one holder at a time, whoever dies, and never a file of someone else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recurra.errors import RunError
from recurra.storage.locks import is_lock, lock

HOLDER = """
import sys, time
from pathlib import Path
from recurra.storage.locks import lock
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
                with lock(path):
                    pass
        finally:
            holder.kill()
    with lock(path):
        assert int(path.read_text()) == os.getpid()


def test_a_lock_is_exclusive_within_a_process_and_free_after_the_block(tmp_path: Path) -> None:
    with lock(tmp_path / "lock"):
        with pytest.raises(RunError, match="in use"), lock(tmp_path / "lock"):
            pass
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "lock"):
        _ = 1 / 0
    with lock(tmp_path / "lock"):
        pass


def test_it_knows_whether_it_still_lies_where_it_was_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with lock(tmp_path / "run" / "lock") as still_there:
        assert still_there()
        (tmp_path / "run").rename(tmp_path / "moved")
        assert not still_there()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "lock").write_text("1\n")
        assert not still_there()


def test_one_that_was_removed_while_another_waited_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, path = os.open, tmp_path / "lock"
    path.touch()

    def late(*given: object) -> int:
        descriptor = opened(*given)  # type: ignore[arg-type]
        if given[1] & os.O_CREAT and path.exists() and not removed:  # type: ignore[operator]
            path.unlink()
            removed.append(1)
        return descriptor

    removed: list[int] = []
    monkeypatch.setattr(os, "open", late)
    with lock(path) as still_there:
        assert removed and still_there()


@pytest.mark.parametrize("content", ["my notes", "12 monkeys", "1\n2\n", "9" * 30])
def test_a_file_that_is_no_lock_of_ours_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".lock"
    path.write_text(content)
    with pytest.raises(RunError, match=r"\.lock is there already and is no lock of Recurra"):
        with lock(path):
            pass
    assert path.read_text() == content and not is_lock(path)


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("12\n")
    (tmp_path / "lock").symlink_to("mine")
    with pytest.raises(RunError, match="is no lock of Recurra"), lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "mine").read_text() == "12\n"
