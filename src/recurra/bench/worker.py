"""A process that trains what it is told: a job a line on stdin, its outcome a line on stdout.

It ends where stdin does, so none outlives who started it by more than one training.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from typing import Any

from recurra.bench.trial import Job, run
from recurra.errors import RecurraError

__all__ = ["main"]


def main() -> None:
    """Carry out jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it, who ends it
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a cell of the user's prints must not look like an answer
    for line in sys.stdin:
        given = json.loads(line)
        try:
            outcome = run(Job(**{**given, "widths": tuple(given["widths"])}))
            said: dict[str, Any] = {"outcome": outcome and dataclasses.asdict(outcome)}
        except RecurraError as error:
            said = {"error": str(error)}
        except Exception as error:  # a cell of the user's may raise anything
            said = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
