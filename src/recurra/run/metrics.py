"""A run's log of metrics: a line for each step and validation, none of which is lost or made up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from recurra.learning.event import Event, Stepped, Validated
from recurra.storage import files
from recurra.storage.folders import is_full
from recurra.storage.outputs import writing

__all__ = ["MetricLog", "metric"]

MOST_LINE = 2**20
"""Bytes of a line; ours have some hundred, and more are damage."""
NUMBERS = ("loss", "learning_rate", "gradient_norm")

Record = dict[str, Any]


class MetricLog:
    """A run's metrics, one JSON object a line, appended as they come.

    No line holds clock time, so an interrupted and resumed run writes the very same bytes.
    While the disk is full, lines wait in memory.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = b""

    def append(self, event: Event) -> None:
        """Add the event's line, if it has one.

        Args:
            event: a step or a validation; others have no line.
        """
        if record := metric(event):
            self._waiting += json.dumps(record, allow_nan=False).encode() + b"\n"
            self._flush_if_there_is_room()

    def sync(self) -> None:
        """Force the lines so far to the disk, as far as there is room for them."""
        if self._flush_if_there_is_room():
            files.sync_file(self.path)

    def flush(self) -> None:
        """Write the lines that wait.

        Raises:
            OSError: as the disk says.
        """
        while self._waiting:  # a write on a nearly full disk may take a part only
            self._waiting = self._waiting[files.append(self.path, self._waiting) :]

    def _flush_if_there_is_room(self) -> bool:
        try:
            self.flush()
        except OSError as error:
            if not is_full(error):
                raise
            return False
        return True

    def records(self) -> list[Record]:
        """Return all records in order, without damaged lines."""
        return [record for _, record in _sound(self._lines()).values()]

    def rewind(self, step: int, *, unjudged: bool = False) -> list[str]:
        """Drop the records of steps after `step`, which are taken again, and damaged lines.

        Returns a line that says which were damaged, if any were.

        Args:
            step: where the run resumes; 0 drops all.
            unjudged: whether the validation of that step is done again too.
        """
        lines = list(self._lines())
        sound = _sound(lines)
        kept = {
            n: line
            for n, (line, record) in sound.items()
            if record["step"] < step
            or (record["step"] == step and not (unjudged and "valid" in record))
        }
        with writing(self.path):
            files.write_bytes(self.path, b"".join(kept.values()))
        until = min(sound.keys() - kept.keys(), default=len(lines) + 1)
        whole = (n for n, (line, _) in enumerate(lines[: until - 1], 1) if line.endswith(b"\n"))
        lost = [n for n in whole if n not in kept] if step else []
        if not lost:
            return []
        which = f"line {lost[0]} is" if len(lost) == 1 else f"lines {_told(lost)} are"
        return [f"{self.path}: {which} damaged, and dropped; the log lacks what stood there"]

    def _lines(self) -> Iterator[tuple[bytes, Record | None]]:
        """Yield each line, and its record where it is as we write it; of a very long one, a part.

        What is no file of ours has none.
        """
        if not self.path.is_file() or self.path.is_symlink():
            return
        with self.path.open("rb") as log:
            while line := log.readline(MOST_LINE):
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = log.readline(MOST_LINE)
                yield (line if rest == line else line[:80] + rest[-1:]), _record(line)


def metric(event: Event) -> Record | None:
    """Return an event's line of metrics as a JSON value; None for events without one.

    Args:
        event: anything that training yields.

    Example:
        >>> metric(Validated(step=9, epoch=1.0, metrics={"perplexity": 7.5}, best=True, seconds=1))
        {'step': 9, 'epoch': 1.0, 'valid': {'perplexity': 7.5}, 'best': True}
    """
    if isinstance(event, Stepped):
        return {
            "step": event.step,
            "epoch": event.epoch,
            "loss": _finite(event.loss),
            "learning_rate": event.learning_rate,
            "gradient_norm": _finite(event.gradient_norm),
        }
    if isinstance(event, Validated):
        valid = {name: _finite(value) for name, value in event.metrics.items()}
        return {"step": event.step, "epoch": event.epoch, "valid": valid, "best": event.best}
    return None


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


def _record(line: bytes) -> Record | None:
    """Return what a line says; None where `metric` makes no such line."""
    try:
        record = json.loads(line)
        same = json.dumps(record, allow_nan=False).encode() + b"\n" == line
    except (ValueError, RecursionError):
        return None
    if not same or not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    match record:
        case {"step": int(), "epoch": epoch, "valid": dict(valid), "best": bool()}:
            sound = len(record) == 4 and all(map(_is_figure, valid.values()))
        case {"step": int(), "epoch": epoch}:
            sound = [*record][2:] == [*NUMBERS] and all(_is_figure(record[n]) for n in NUMBERS)
        case _:
            return None
    return record if sound and epoch is not None and _is_figure(epoch) else None


def _is_figure(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _sound(lines: Iterable[tuple[bytes, Record | None]]) -> dict[int, tuple[bytes, Record]]:
    """Return number from 1 -> line and record, without those whose step is out of its place.

    A bit that flips in a digit leaves JSON behind.
    """
    found = [(n, line, record) for n, (line, record) in enumerate(lines, 1) if record is not None]
    kept: dict[int, tuple[bytes, Record]] = {}
    last = 0
    for (n, line, record), after in zip(found, [*found[1:], None]):
        step = record["step"]
        if step >= last and not (after and last <= after[2]["step"] < step):
            kept[n], last = (line, record), step
    return kept


def _told(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
