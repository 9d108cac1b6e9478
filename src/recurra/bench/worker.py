"""A process that trains what it is told, and answers with the outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from recurra.processes.worker import Answer, work

__all__ = ["answers"]


def answers(job: dict[str, Any], should_stop: Callable[[], bool]) -> Iterator[Answer]:
    """Yield what comes of a trial: an outcome, or an error.

    Args:
        job: as `recurra.bench.trial.Job` has it.
        should_stop: asked after every step.
    """
    from recurra.bench.trial import Job, run  # takes seconds, in which stdin may end
    from recurra.errors import RecurraError, in_one_line, with_place

    try:
        outcome = run(Job(**{**job, "widths": tuple(job["widths"])}), should_stop)
    except RecurraError as error:
        yield {"error": with_place(error)}
    except Exception as error:  # a cell of the user's may raise anything
        yield {"error": in_one_line(error)}
    else:
        yield {"outcome": outcome and dataclasses.asdict(outcome)}


if __name__ == "__main__":
    work(answers)
