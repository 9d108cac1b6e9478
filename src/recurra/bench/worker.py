"""A process that trains what it is told: a job a line on stdin, its outcome a line on stdout.

It ends where stdin does, whatever it does then: a thread reads, so that none outlives who started
it, however that one died.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import sys
import threading
from typing import Any, TextIO

__all__ = ["main"]


def main() -> None:
    """Carry out jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it, who ends it
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, jobs), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a cell of the user's prints must not look like an answer
    while True:
        answers.write(json.dumps(_answer(json.loads(jobs.get()))) + "\n")


def _read(stdin: TextIO, jobs: queue.SimpleQueue[str]) -> None:
    for line in stdin:
        jobs.put(line)
    os._exit(0)


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    from recurra.bench.trial import Job, run  # takes seconds, in which stdin may end
    from recurra.errors import RecurraError, in_one_line

    try:
        outcome = run(Job(**{**given, "widths": tuple(given["widths"])}))
    except RecurraError as error:
        return {"error": str(error)}
    except Exception as error:  # a cell of the user's may raise anything
        return {"error": in_one_line(error)}
    return {"outcome": outcome and dataclasses.asdict(outcome)}


if __name__ == "__main__":
    main()
