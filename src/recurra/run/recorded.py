"""A training of one's own, kept as a run's is: its log, its picture and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.learning.event import Event, Finished, Saving, Started, Warned
from recurra.run.directory import RunDirectory
from recurra.run.plot import curves

__all__ = ["recorded"]


def recorded(
    events: Iterable[Event], directory: Path | str, *, metric: str = "loss"
) -> Iterator[Event]:
    """Yield the events of `learn` once they are written down in a folder that is the run's.

    `metrics.jsonl` has a line for each step and validation, to the byte the same whether the
    training was cut and went on or not; at the end come `curves.png` and `report.json`. The
    checkpoints may lie there too, in `checkpoints`.

    Args:
        events: of a training that has not begun yet.
        directory: made if missing; kept from others while the events are read.
        metric: of those that validation gives, what the picture shows beside the loss.

    Raises:
        RunError: the folder holds something that is no run's, or is in use.
        ResourceError: the disk is full.

    Example:
        >>> import tempfile
        >>> from recurra.learning.event import Stepped
        >>> events = [Started(0, 1, 1, 2, "cpu"), Stepped(1, 1.0, 0.5, 3, 0.1, 2.0, 0.01),
        ...           Finished(1, 1.0, 0.01, 3)]
        >>> out = Path(tempfile.mkdtemp()) / "mine"
        >>> [type(event).__name__ for event in recorded(events, out)]
        ['Started', 'Stepped', 'Finished']
        >>> (out / "metrics.jsonl").read_text()
        '{"step": 1, "epoch": 1.0, "loss": 0.5, "learning_rate": 0.1, "gradient_norm": 2.0}\\n'
    """
    run = RunDirectory(directory)
    parameters = 0
    with run.opened() as removed:
        for path in removed:
            yield Warned(f"{path}, left over by an interrupted run, is removed")
        run.require_replaceable(whole=False)
        run.mark()
        for event in events:
            run.require_there()
            if isinstance(event, Started):
                parameters = event.parameters
                notes = run.metrics.rewind(event.step, unjudged=event.unjudged)
                yield from map(Warned, notes)
            run.metrics.append(event)
            if isinstance(event, Saving):
                run.metrics.sync()
            if isinstance(event, Finished):
                records = run.metrics.records()
                curves(records, run.curves_path, title=run.path.name, metric=metric)
                run.write_report(_report(run, event, parameters, records))
            yield event


def _report(
    run: RunDirectory, finished: Finished, parameters: int, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    judged = [record for record in records if "valid" in record]
    best = [record for record in judged if record["best"]]
    rate = round(finished.items / finished.seconds, 1) if finished.seconds > 0 else None
    return {
        "run": str(run.path),
        "steps": finished.step,
        "epochs": finished.epoch,
        "parameters": parameters,
        "train_seconds": round(finished.seconds, 3),
        "throughput": {"value": rate, "unit": "targets/s"},
        "valid": judged[-1]["valid"] if judged else None,
        "best": best[-1]["valid"] | {"step": best[-1]["step"]} if best else None,
    }
