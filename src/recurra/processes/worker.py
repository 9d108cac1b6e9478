"""What runs in a process that carries out jobs: one a line on stdin, what comes of it on stdout.

It ends where stdin does, whatever it does then: a thread reads, so that none outlives who started
it, however that one died.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TextIO

__all__ = ["OVER", "STOP", "Answer", "work"]

STOP = "stop"
"""The line that asks for an end as soon as it can be."""
OVER = "null"
"""The line that says that nothing more comes of a job."""

Answer = dict[str, Any]


def work(answers: Callable[[dict[str, Any], Callable[[], bool]], Iterable[Answer]]) -> None:
    """Carry out jobs until stdin ends.

    Args:
        answers: of a job and of whether an end is asked for, gives what is told of it.
    """
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):  # they are for who started it, who ends it
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    stopped = threading.Event()
    threading.Thread(target=_read, args=(sys.stdin, jobs, stopped), daemon=True).start()
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a cell of the user's prints must not look like an answer
    warnings.showwarning = _warn  # type: ignore[assignment]
    while True:
        for answer in answers(json.loads(jobs.get()), stopped.is_set):
            told.write(json.dumps(answer) + "\n")
        told.write(OVER + "\n")


def _warn(message: Warning | str, *rest: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _read(stdin: TextIO, jobs: queue.SimpleQueue[str], stopped: threading.Event) -> None:
    for line in stdin:
        if line.strip() == STOP:
            stopped.set()
        else:
            jobs.put(line)
    if files := sys.modules.get("recurra.storage.files"):
        files.abandon()  # what it was writing is not left behind
    os._exit(0)
