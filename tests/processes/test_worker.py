"""A process that carries out jobs ends with who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_ends_with_who_started_it_whatever_it_does_and_on_no_signal_for_that():
    process = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "toy_worker.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    print('{"name": "a", "do": "sleep"}', file=process.stdin, flush=True)
    assert process.stdout.readline() == '{"begun": "a"}\n'
    process.send_signal(signal.SIGINT)  # Ctrl-C is for who started it
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)  # as what ends a whole group sends
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.stdin.close()  # as the system does when a process is killed
    assert process.wait(timeout=30) == 0
    assert process.stderr is not None and process.stderr.read() == "a job may print\n"
    process.stdout.close()
    process.stderr.close()
