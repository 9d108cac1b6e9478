"""Signals: the first is noted, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from recurra.cli.interrupt import Interrupt


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_noted(number, code, capfd):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt()
        os.kill(os.getpid(), number)
        assert interrupt()
        assert interrupt.exit_code == code
    assert signal.getsignal(number) == before
    assert "once more stops at once" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("SIGINT", "SIGINT", 130), ("SIGTERM", "SIGINT", 130), ("SIGINT", "SIGTERM", 143)],
)
def test_the_second_signal_stops_at_once(first, second, code):
    program = (
        "import os, signal, time\n"
        "from recurra.cli.interrupt import Interrupt\n"
        "with Interrupt():\n"
        f"    os.kill(os.getpid(), signal.{first}); print('on', flush=True)\n"
        f"    os.kill(os.getpid(), signal.{second}); time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (code, "on\n")
