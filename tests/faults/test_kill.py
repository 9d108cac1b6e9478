"""Killed, stopped, crowded out or refused the disk, a training ends as if nothing had happened.

All trainers are the command line's own, in processes of their own. As importing torch takes
seconds, this file runs as a program too, which imports once and forks a trainer when asked: see
`serve`. Nothing in the package knows that it is being killed; the moments are chosen by watching
the run's directory.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

LAST = 40
SETTINGS = {
    "threads": 1,
    "data.chunk_length": 10,
    "data.vocabulary_size": "none",
    "network.hidden_size": 16,
    "network.num_layers": 2,
    "network.dropout": 0.3,
    "network.tied": "true",
    "train.batch_size": 200,  # 29 steps an epoch
    "train.steps": LAST,
    "train.optimizer": "adamw",
    "train.learning_rate": 0.01,
    "train.schedule": "cosine",
    "train.clip_norm": 0.5,
    "train.keep": "best",
    "train.validate_epochs": 0.2,
    "train.save_seconds": 0,  # every step is saved
}

SLOW = """
import time
from recurra.nn.cells.rnn import RNNCell

class SlowCell(RNNCell):
    def forward(self, x, state):
        time.sleep(0.02)
        return super().forward(x, state)
"""


def words(**changes: Any) -> list[str]:
    """Return the command that trains the small model; its run is `run` in its folder."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    command = ["train", "docstrings", "--data", "grammar", "--out", "run"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


# The program that forks trainers


def serve() -> None:
    """Answer requests, one a line: start a trainer (its pid), or wait for one (its exit code)."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    import recurra.language.task
    import recurra.run.session  # noqa: F401
    from recurra.cli import main

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif (answer := os.fork()) == 0:
            become_trainer(main, **request)
        print(answer, flush=True)


def become_trainer(
    main: Callable[[list[str]], int],
    command: list[str],
    folder: str,
    flushed: bool,
    deaf: bool,
    most: int,
) -> None:
    """Carry out a command in `folder`, its output in a log there; never returns.

    `flushed`: whether disks are waited for, which matters to no kill but takes most of the time.
    `deaf`: whether its output has lost its reader. `most`: bytes a file may have; 0 is any.
    """
    import resource

    if not flushed:
        os.fsync = lambda _: None
    os.chdir(folder)
    sys.argv = ["recurra", *command]
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    os.dup2(log, 1)
    if deaf:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
    if most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    code = 70
    try:
        code = main(command)
    finally:
        os._exit(code)


class Trainer:
    """A trainer that was started, and its run as it lies on the disk."""

    def __init__(self, ask: Callable[[dict[str, Any]], int], folder: Path, pid: int) -> None:
        self.ask = ask
        self.folder = folder
        self.pid = pid

    def wait(self) -> int:
        return self.ask({"wait": self.pid})

    def kill(self, number: int = signal.SIGKILL) -> int:
        os.kill(self.pid, number)
        return self.wait()

    def until(self, holds: Callable[[], bool]) -> None:
        limit = time.monotonic() + 300
        while not holds():
            assert time.monotonic() < limit, self.log()
            time.sleep(0.0005)

    def log(self) -> str:
        return (self.folder / "log").read_text()


def launch(
    ask: Callable[[dict[str, Any]], int], folder: Path, command: list[str], **how: Any
) -> Trainer:
    request = {"flushed": False, "deaf": False, "most": 0, **how}
    return Trainer(ask, folder, ask({"command": command, "folder": str(folder), **request}))


def saved(folder: Path) -> list[str]:
    """Return the names in the checkpoints' directory, sorted, the newest whole one last."""
    place = folder / "run" / "checkpoints"
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    return sorted(names, key=lambda name: (".tmp-" not in name and ".old-" not in name, name))


def newest(folder: Path) -> int:
    whole = [name for name in saved(folder) if name.removeprefix("step-").isdecimal()]
    return int(whole[-1].removeprefix("step-")) if whole else 0


def lines(folder: Path) -> int:
    log = folder / "run" / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def left_overs(folder: Path) -> list[str]:
    return [name for name in saved(folder) if ".tmp-" in name or ".old-" in name]


Start = Callable[..., Trainer]


@pytest.fixture(scope="module")
def server(encoded: Path) -> Iterator[Callable[[dict[str, Any]], int]]:
    program = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RECURRA_CACHE": str(encoded)},
    )
    assert program.stdin is not None
    assert program.stdout is not None

    def ask(request: dict[str, Any]) -> int:
        assert program.stdin is not None
        assert program.stdout is not None
        print(json.dumps(request), file=program.stdin, flush=True)
        return int(program.stdout.readline())

    yield ask
    program.stdin.close()
    assert program.wait() == 0
    program.stdout.close()


@pytest.fixture
def start(server: Callable[[dict[str, Any]], int], tmp_path: Path) -> Start:
    """A function that starts a trainer in a folder of `tmp_path`."""

    def begin(folder: str, command: list[str] | None = None, **how: Any) -> Trainer:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "slow.py").write_text(SLOW)
        return launch(server, place, words() if command is None else command, **how)

    return begin


def outcome(run: Path) -> dict[str, bytes]:
    """Return every byte that training determines, by the file's place in the run."""
    last = run / "checkpoints" / f"step-{LAST:08d}"
    files = [*last.glob("*.safetensors"), *(run / "model").iterdir(), run / "metrics.jsonl"]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def assert_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    different = [name for name in expected if found[name] != expected[name]]
    assert different == []


@pytest.fixture(scope="module")
def expected(
    server: Callable[[dict[str, Any]], int], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The outcome of a run that no one disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    trainer = launch(server, folder, words())
    assert trainer.wait() == 0, trainer.log()
    found = outcome(folder / "run")
    assert {Path(name).name for name in found} == {
        "best.safetensors",
        "carry.safetensors",
        "manifest.json",
        "metrics.jsonl",
        "model.json",
        "optimizer.safetensors",
        "vocabulary.json",
        "weights.safetensors",
    }
    return found


# Killed


def test_killed_at_ten_moments_it_ends_with_the_bits_of_an_undisturbed_run(
    start: Start, expected: dict[str, bytes], tmp_path: Path
) -> None:
    draws = random.Random(1)
    moments = [0, *sorted(draws.sample(range(1, LAST), 8)), LAST]
    cut_short: set[str] = set()  # names that kills inside a save have left behind
    between = 0
    for number, moment in enumerate(moments):
        there = newest(tmp_path / "killed")
        trainer = start("killed", flushed=True)
        awaited = min(LAST, max(moment, there + 1)) if moment else 0
        trainer.until(lambda: newest(trainer.folder) >= awaited)  # noqa: B023
        if moment == 0 or number % 3 == 2:
            time.sleep(draws.uniform(0, 0.03 if moment else 0.2))
        elif moment < LAST:
            trainer.until(lambda: bool(left_overs(trainer.folder)))  # noqa: B023
        assert trainer.kill() == -signal.SIGKILL
        left = set(left_overs(trainer.folder)) - cut_short
        between += not left
        cut_short |= left
    final = start("killed", flushed=True)
    assert final.wait() == 0, final.log()
    assert len(moments) - between >= 3, "too few kills landed inside a save to prove anything"
    assert between >= 1
    assert final.log().count("left by an interrupted save") == len(cut_short)
    assert left_overs(final.folder) == []
    assert_same(outcome(final.folder / "run"), expected)


def test_the_installed_command_resumes_too(expected: dict[str, bytes], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recurra", *words()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    ) as first:
        while newest(tmp_path) < 20:
            assert first.poll() is None
            time.sleep(0.001)
        first.kill()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not re.search("Traceback|recurra:|warning", done.stderr)  # slow work may have its lines
    assert "going on after step" in done.stdout
    assert_same(outcome(tmp_path / "run"), expected)


# Asked to stop


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_step_saves_and_says_how_to_go_on(
    start: Start, expected: dict[str, bytes], number: signal.Signals, code: int
) -> None:
    rarely = words(train__save_seconds=3600)  # so that only the stop can have saved
    trainer = start("stopped", rarely)
    trainer.until(lambda: lines(trainer.folder) >= 7)
    assert newest(trainer.folder) == 0
    assert trainer.kill(number) == code
    step = newest(trainer.folder)
    assert 6 <= step < LAST
    log = trainer.log()
    assert "stopping after this step; once more stops at once" in log
    assert f"Stopped at step {step}; all of it is saved. To go on:\n  recurra train doc" in log
    assert "Traceback" not in log
    last = json.loads((trainer.folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == step
    again = start("stopped", rarely)
    assert again.wait() == 0, again.log()
    assert f"going on after step {step}" in again.log()
    assert_same(outcome(again.folder / "run"), expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(start: Start, number: signal.Signals) -> None:
    trainer = start("slow", words(network__cell="slow:SlowCell", data__chunk_length=100))
    log = trainer.folder / "log"
    trainer.until(lambda: log.exists() and f"{LAST} steps" in trainer.log())
    os.kill(trainer.pid, number)  # a step takes four seconds
    trainer.until(lambda: "once more stops at once" in trainer.log())
    assert trainer.kill(number) == 128 + number
    assert "To go on" not in trainer.log()  # the step was not finished, nor saved
    assert newest(trainer.folder) == lines(trainer.folder) == 0


def test_signals_at_drawn_moments_cost_nothing(start: Start, expected: dict[str, bytes]) -> None:
    """Opening, in the loop, in a validation, after it; the campaign of signals does more."""
    draws = random.Random(3)
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
    for number, code in codes.items():
        trainer = start("drawn")
        time.sleep(draws.uniform(0.1, 0.8))
        begun = time.monotonic()
        assert trainer.kill(number) in (0, code, -number)  # -number: not heard of signals yet
        assert time.monotonic() - begun < 60  # a second, where no one else is at work
    final = start("drawn")
    assert final.wait() == 0, final.log()
    assert "Traceback" not in final.log()
    assert not [path for path in final.folder.rglob("*") if ".tmp-" in path.name]
    assert_same(outcome(final.folder / "run"), expected)


def test_a_reader_that_goes_away_costs_nothing_but_the_run_so_far(
    start: Start, expected: dict[str, bytes]
) -> None:
    trainer = start("unread", deaf=True)
    assert trainer.wait() == 141
    assert trainer.log() == ""
    assert start("unread").wait() == 0
    assert_same(outcome(trainer.folder / "run"), expected)


# Two at once


def test_a_second_trainer_on_the_directory_is_sent_away(
    start: Start, expected: dict[str, bytes]
) -> None:
    first = start("shared")
    first.until(lambda: newest(first.folder) >= 3)
    second = start("shared")
    assert second.wait() == 1
    assert f"in use by process {first.pid}" in first.log()
    assert first.wait() == 0, first.log()
    assert_same(outcome(first.folder / "run"), expected)


# No room


def test_where_the_system_refuses_large_files_training_goes_on_and_the_end_is_told(
    start: Start, expected: dict[str, bytes]
) -> None:
    trainer = start("limited", most=20_000)  # less than the weights
    assert trainer.wait() == 5
    log = " ".join(trainer.log().split())
    for step in (1, LAST - 1):
        assert f"checkpoint of step {step} not written: [Errno 27] File too large" in log
    assert f"the checkpoint of step {LAST} cannot be written: [Errno 27] File too large" in log
    assert "Traceback" not in log
    assert saved(trainer.folder) == []
    assert lines(trainer.folder) > LAST
    again = start("limited")
    assert again.wait() == 0, again.log()
    assert_same(outcome(again.folder / "run"), expected)


FILLED = """
mount -t tmpfs -o size=400k tmpfs disk && cd disk || exit 99
"$@"
code=$?
cp -r run ..
exit $code
"""


def private_mounts() -> bool:
    try:
        tried = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not private_mounts(), reason="needs unshare and a private mount")
def test_on_a_full_disk_the_older_checkpoint_stays_and_the_run_resumes_when_there_is_room(
    start: Start, expected: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "full"
    (folder / "disk").mkdir(parents=True)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FILLED, "sh", sys.executable, "-m", "recurra", *words()],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 5, told
    assert "not written: [Errno 28] No space left on device; will try again" in told
    assert f"the checkpoint of step {LAST} cannot be written: [Errno 28] No space left" in told
    assert 0 < (held := newest(folder)) < LAST
    again = start("full")
    assert again.wait() == 0, again.log()
    assert f"going on after step {held}" in again.log()
    assert_same(outcome(folder / "run"), expected)


if __name__ == "__main__":
    serve()
