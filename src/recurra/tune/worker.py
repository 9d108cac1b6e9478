"""A process that carries out runs, and tells how far each is. Asked to stop, it saves the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from recurra.processes.worker import Answer, work

__all__ = ["answers"]

HELD_SECONDS = 20.0
"""How long a run is waited for that a worker of a sweep which was killed may still hold."""
TELL_SECONDS = 1.0
"""From one word on how far it is to the next."""


def answers(job: dict[str, Any], should_stop: Callable[[], bool]) -> Iterator[Answer]:
    """Yield how far a run is now and then, at last its end: a report, a stop, or an error.

    Args:
        job: as `recurra.tune.workers.Job` has it.
        should_stop: asked after every step.
    """
    from recurra.errors import RecurraError, in_one_line, with_place
    from recurra.machine import is_out_of_memory

    try:
        yield from _carried_out(job, should_stop)
    except RecurraError as error:
        yield {"error": with_place(error)}
    except Exception as error:  # a cell of the user's may raise anything
        if is_out_of_memory(error):
            yield {"error": "out of memory; a smaller batch helps: --set train.batch_size=N"}
        else:
            yield {"error": f"unexpected {in_one_line(error)}"}


def _carried_out(job: dict[str, Any], should_stop: Callable[[], bool]) -> Iterator[Answer]:
    from recurra.run.session import train  # takes seconds, in which stdin may end
    from recurra.run.tasks import parse_config
    from recurra.storage.sources import changed_source_allowed

    config = parse_config(job["config"])
    _wait_for(Path(job["out"]))
    how = {name: job[name] for name in ("out", "restart", "allow_import")}
    with changed_source_allowed(job["allow_changed_source"]):
        events = train(config, **how, should_stop=should_stop)
        yield from _told(events)


def _told(events: Iterable[Any]) -> Iterator[Answer]:
    from recurra.learning.event import Started, Stepped, Stopped, Warned
    from recurra.run.session import Opened, Reported

    steps, due = 0, 0.0
    for event in events:
        match event:
            case Opened():
                yield {"begun": True}
            case Started():
                steps = event.steps
            case Stepped() if time.monotonic() >= due:
                due = time.monotonic() + TELL_SECONDS
                yield {"step": event.step, "steps": steps}
            case Warned():
                yield {"warned": event.message}
            case Stopped():
                yield {"stopped": event.step}
            case Reported():
                yield {"finished": True}


def _wait_for(run: Path) -> None:
    """Wait until nobody holds a run: a worker whose sweep was killed takes a moment to end."""
    from recurra.errors import RunError
    from recurra.storage.locks import is_lock, lock

    until = time.monotonic() + HELD_SECONDS
    while is_lock(run / ".lock") and time.monotonic() < until:
        with suppress(RunError):
            with lock(run / ".lock"):
                return
        time.sleep(0.05)


if __name__ == "__main__":
    work(answers)
