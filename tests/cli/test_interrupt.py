"""Signals: what runs is ended at once, a loop after its step, and whatever is deaf all the same."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recurra.cli.interrupt import Interrupt, Interrupted, current

NUMBERS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
HEARD = "while not heard():\n    time.sleep(0.001)\n"


def program(
    body: str, *, before: str = "", patience: float = 0.0, stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start a program that says `on` within an Interrupt called `heard`, and then does `body`."""
    first = [f"heard.patience = float('{patience}')", "print('on', flush=True)"]
    lines = "".join(f"    {line}\n" for line in [*first, *body.splitlines()])
    text = (
        "import hashlib, os, signal, time\n"
        "from recurra.cli.interrupt import Interrupt\n"
        f"{before}\nwith Interrupt() as heard:\n{lines}"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    assert started.stdout is not None and started.stdout.readline() == "on\n"
    return started


def ended(started: subprocess.Popen[str], number: int) -> tuple[int, str, float]:
    begun = time.monotonic()
    started.send_signal(number)
    _, err = started.communicate(timeout=60)
    return started.returncode, err, time.monotonic() - begun


@pytest.mark.parametrize(("number", "code"), NUMBERS)
def test_what_runs_is_interrupted_at_once(number, code, capfd):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted), Interrupt() as interrupt:
        assert current() is interrupt and not interrupt()
        interrupt.hint = "to go on: again"
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert interrupt() and interrupt.exit_code == code
    assert signal.getsignal(number) == before and signal.set_wakeup_fd(-1) == -1
    assert capfd.readouterr().err == "stopped; to go on: again\n"


@pytest.mark.parametrize(("number", "code"), NUMBERS)
def test_a_loop_is_asked_to_stop(number, code, capfd):
    with Interrupt() as interrupt:
        interrupt.patience = math.inf
        os.kill(os.getpid(), number)
        assert interrupt() and interrupt.exit_code == code
        time.sleep(0.3)  # another thread says it
        with pytest.raises(Interrupted):
            interrupt.at_once()
    assert capfd.readouterr().err == "stopping after this step; once more stops at once\n"


def test_in_a_loop_what_takes_long_is_given_up():
    busy = False
    with Interrupt(lambda: busy) as interrupt:
        interrupt.patience = math.inf
        os.kill(os.getpid(), signal.SIGINT)
        interrupt.check()
        busy = True
        with pytest.raises(Interrupted):
            interrupt.check()
        interrupt.check()  # once: what tidies up is left alone


DEAF = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)\n"  # minutes in which Python is not asked


def test_deaf_machine_code_is_ended_in_two_seconds_and_leaves_nothing_half_written(tmp_path):
    writing = (
        "def content(sink):\n    sink.write(b'half')\n    os.write(1, b'there\\n')\n"
        f"    {DEAF}files.write_bytes(Path({str(tmp_path / 'note')!r}), content)\n"
    )
    started = program(writing, before="from pathlib import Path; from recurra.storage import files")
    assert started.stdout is not None and started.stdout.readline() == "there\n"
    time.sleep(0.2)
    assert list(tmp_path.iterdir()) != []
    code, err, seconds = ended(started, signal.SIGTERM)
    assert (code, err) == (143, "stopped\n")
    assert seconds < two_seconds()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("first", "second", "code"), [(2, 2, 130), (15, 2, 130), (1, 15, 143)])
def test_a_second_signal_stops_at_once(first, second, code):
    started = program("while True: time.sleep(1)", patience=math.inf)
    started.send_signal(first)
    assert started.stderr is not None and "once more stops at once" in started.stderr.readline()
    assert ended(started, second)[0] == code


def test_a_signal_that_is_sent_twice_at_a_time_is_one():
    """`timeout` sends it to the process and to its group; a closing terminal has two who do."""
    started = program(f"{HEARD}time.sleep(0.2); os._exit(7)", patience=math.inf)
    started.send_signal(signal.SIGHUP)
    time.sleep(0.01)
    assert ended(started, signal.SIGHUP)[0] == 7


POOL = """import multiprocessing, threading
def work():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(abs, [-1, -2]), flush=True)
"""


@pytest.mark.parametrize(
    "forked", ["work()", "thread = threading.Thread(target=work); thread.start(); thread.join()"]
)
def test_a_signal_to_a_forked_child_is_not_the_commands(forked):
    body = f"{forked}\ntime.sleep(1.5)  # the watch would have ended it\nprint('whole')"
    started = program(body, before=POOL)
    assert started.communicate(timeout=60) == ("[1, 2]\nwhole\n", "")
    assert started.returncode == 0


def test_nor_is_one_that_comes_before_the_child_knows_that_it_is_one():
    early = (
        "import os, signal\n"
        "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "import time\n"
        "from recurra.cli.interrupt import Interrupt\n"
        "with Interrupt():\n"
        "    child = os.fork() or os._exit(3)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
        "    time.sleep(1.5)\n"
        "    print('whole')\n"
    )
    done = subprocess.run([sys.executable, "-c", early], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{-signal.SIGTERM}\nwhole\n", "")


def test_what_is_ignored_stays_so():
    before = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    started = program("time.sleep(0.2); os._exit(7)", before=before)
    assert ended(started, signal.SIGHUP)[:2] == (7, "")


def test_neither_a_held_terminal_nor_a_swallowed_exception_is_in_the_way():
    """Who writes to a pager that is not read on waits for ever."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(1 << 16))
    except BlockingIOError:
        os.set_blocking(writer, True)
    body = "while True:\n    try: time.sleep(1)\n    except BaseException: pass\n"
    started = program(body, stderr=writer)
    time.sleep(0.2)
    code, _, seconds = ended(started, signal.SIGTERM)
    assert code == 143 and seconds < two_seconds()
    os.close(reader)
    os.close(writer)


def test_an_interruption_within_a_finalizer_prints_no_traceback():
    before = "class Closed:\n    def __del__(self): time.sleep(60)"
    started = program("Closed()\ntime.sleep(60)", before=before)
    time.sleep(0.2)
    code, err, seconds = ended(started, signal.SIGTERM)
    assert (code, err) == (143, "stopped\n") and seconds < two_seconds()


def two_seconds() -> float:
    """Return two seconds, and more where this machine is busy: by how long a process takes."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return 2 + 20 * max(0.0, time.monotonic() - begun - 0.04)


def test_the_command_hears_a_signal_from_its_first_moment(tmp_path: Path):
    """Also before anything is imported that could say what to do about one."""
    codes = []
    for delay in (0.0, 0.05, 0.3):
        command = [sys.executable, "-m", "recurra", "demo", "gates"]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as started:
            time.sleep(0.05 + delay)
            started.terminate()
            _, err = started.communicate()
        assert "Traceback" not in err
        codes.append(started.returncode)
    assert set(codes) <= {143, -signal.SIGTERM}  # as Python itself starts, the system ends it
