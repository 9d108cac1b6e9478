"""A training as one watches it: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from recurra.cli.working import Teller
from recurra.learning.event import Averaged, Event, Saved, Started, Stepped, Validated, Warned
from recurra.run.directory import RunDirectory
from recurra.run.figures import figure, shown, validated
from recurra.run.own import loss_of
from recurra.run.session import Opened, Reported
from recurra.run.tasks import metric_of
from recurra.work import Working

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Pace", "Progress", "duration"]

_LINE_SECONDS = 15.0
_WIDE = 84
"""Columns from which on a validation is told beside the training."""


class Pace:
    """How a training gets on: the loss of late, items a second, and the time left.

    Args:
        started: where it begins.

    Example:
        >>> pace = Pace(Started(step=0, steps=10, steps_per_epoch=5, parameters=1, device="cpu"))
        >>> pace.add(Stepped(1, 0.2, loss=2.0, items=50, learning_rate=1.0, gradient_norm=1.0,
        ...     seconds=0.5))
        >>> pace.items_per_second, pace.seconds_left
        (100.0, 4.5)
    """

    def __init__(self, started: Started) -> None:
        self.started = started
        self.step = started.step
        self.epoch = started.step / started.steps_per_epoch
        self.recent_loss = math.nan
        self.items_per_second = 0.0
        self.seconds_left = math.inf
        self._timed_items = 0
        self._timed_steps = 0
        self._seconds_before = None if started.step else 0.0  # of earlier sessions: not known yet
        self._losses = 0.0
        self._steps = 0

    def add(self, stepped: Stepped) -> None:
        """Take one step into account.

        Args:
            stepped: the next one.
        """
        self.step, self.epoch = stepped.step, stepped.epoch
        if self._seconds_before is None:
            self._seconds_before = stepped.seconds
        else:
            self._timed_items += stepped.items
            self._timed_steps += 1
            seconds = stepped.seconds - self._seconds_before
            self.items_per_second = self._timed_items / seconds if seconds else 0.0
            self.seconds_left = seconds / self._timed_steps * (self.started.steps - self.step)
        if math.isfinite(stepped.loss):
            memory = 0.98 if math.isfinite(self.recent_loss) else 0.0
            earlier = self.recent_loss if memory else 0.0
            self.recent_loss = memory * earlier + (1 - memory) * stepped.loss
            self._losses += stepped.loss
            self._steps += 1

    def take_mean_loss(self) -> float:
        """Return the mean loss since this was last asked."""
        mean = self._losses / self._steps if self._steps else math.nan
        self._losses, self._steps = 0.0, 0
        return mean


class Progress:
    """Shows the events of a training.

    Args:
        console: where to.
        teller: says what else is under way, but while there is a bar to say it in.
    """

    def __init__(self, console: Console, teller: Teller | None = None) -> None:
        self.console = console
        self.teller = teller or Teller()
        self._pace: Pace | None = None
        self._metric, self._unit = "perplexity", "tokens"
        self._own_loss: str | None = None
        self._run: Path | None = None
        self._best: float | None = None
        self._line_due = time.monotonic() + _LINE_SECONDS
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[pace]}"),
            console=console,
            refresh_per_second=4,
            transient=True,
            expand=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_bar()

    def show(self, event: Event | Opened | Reported) -> None:
        """Show one event.

        Args:
            event: the next that a run yields.
        """
        match event:
            case Opened():
                self._metric, self._unit, self._run = event.metric, event.unit, event.directory
                self._own_loss = loss_of(event.config)
                place = escape(str(event.directory))
                self.console.print(f"[bold]{event.config.preset}[/bold] in {place}")
                for name, fact in event.facts.items():
                    self._fact(name, fact)
            case Started():
                self._start(event)
            case Stepped() if self._pace:
                self._pace.add(event)
                self._advance(self._pace)
            case Validated() if self._pace:
                self._validate(event, self._pace)
            case Warned():
                self.console.print(f"[yellow]warning:[/yellow] {escape(event.message)}")
            case Averaged():
                said = "validation improves no longer: weights are averaged from here"
                self.console.print(f"[bold]epoch {event.epoch:<7.4g}[/bold] {said}")
            case Saved():
                pass  # the promise is that it happens; saying so each time is noise
            case _:
                self._stop_bar()

    def _fact(self, name: str, fact: str) -> None:
        self.console.print(f"[dim]{name:12}[/dim]{escape(fact)}")

    def _stop_bar(self) -> None:
        self.teller.elsewhere = None
        if self._bar.live.is_started:  # it prints an empty line even where it never was
            self._bar.stop()

    def _work(self, now: tuple[Working, ...]) -> None:
        """Say in the bar what is under way within a step or between two."""
        if now:
            self._bar.update(self._bar.tasks[0].id, pace="; ".join(map(str, now)))

    def _start(self, event: Started) -> None:
        steps = f"{event.steps:,} steps, {event.steps_per_epoch:,} an epoch"
        if event.step:
            steps += f"; going on after step {event.step:,}"
        if event.parameters:
            self._fact("parameters", f"{event.parameters:,} on {event.device}")
            self._fact("training", steps)
        self._pace = Pace(event)
        self._best = self._best_before(event.step)
        if self.console.is_terminal:
            self._bar.add_task("", total=event.steps, completed=event.step, epoch="", pace="")
            self._bar.start()
            self.teller.elsewhere = self._work
            self._advance(self._pace)

    def _advance(self, pace: Pace) -> None:
        epochs = pace.started.steps / pace.started.steps_per_epoch
        epoch = f"{pace.epoch:.2f}/{epochs:.4g}"
        said = (
            f"{self._loss(pace.recent_loss)}   {pace.items_per_second:,.0f} {self._unit}/s   "
            f"{duration(pace.seconds_left)} left"
        )
        if self._bar.tasks:
            task = self._bar.tasks[0].id
            self._bar.update(task, completed=pace.step, epoch=epoch, pace=said)
        elif time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + _LINE_SECONDS
            self.console.print(f"epoch {epoch}   {said}")

    def _validate(self, event: Validated, pace: Pace) -> None:
        name = self._metric.replace("_", " ")
        value = event.metrics.get(self._metric)
        said = f"validation {name} {shown(self._metric, value):>9}"
        best, loss = self._is_best(value), pace.take_mean_loss()
        if math.isfinite(loss):
            if self.console.width >= _WIDE:
                said = f"training {self._loss(loss, width=9)}   {said}"
            said += "   [green]best so far[/green]" * best
        self.console.print(f"[bold]epoch {event.epoch:<7.4g}[/bold] {said}")

    def _is_best(self, value: float | None) -> bool:
        """Return whether a figure that is printed is the best that was, and remember it."""
        if value is None or (self._best is not None and not self._is_better(value, self._best)):
            return False
        self._best = value
        return True

    def _is_better(self, one: float, other: float) -> bool:
        return one < other if metric_of(self._metric).better == "lower" else one > other

    def _best_before(self, step: int) -> float | None:
        """Return the best figure that was printed before a training that goes on after `step`."""
        if not step or self._run is None:
            return None
        records = [r for r in RunDirectory(self._run).metrics.records() if r["step"] <= step]
        values = [value for _, value in validated(records, self._metric)]
        choose = min if metric_of(self._metric).better == "lower" else max
        return choose(values, default=None)

    def _loss(self, loss: float, width: int = 0) -> str:
        """Return a training loss in the words of the task: where it is nats, as perplexity."""
        in_perplexity = self._metric == "perplexity" and self._own_loss is None
        if math.isnan(loss):
            value = "?"
        elif in_perplexity:
            value = figure(math.exp(loss) if loss < 700 else None)
        else:
            value = f"{loss:.4g}"
        own = f" ({self._own_loss})" if self._own_loss else ""
        return f"{'perplexity' if in_perplexity else f'loss{own}'} {value:>{width}}"


def duration(seconds: float) -> str:
    """Return a time as one says it, as `1:05` or `2:00:00`.

    Args:
        seconds: how long.

    Example:
        >>> duration(65), duration(7200), duration(float("inf"))
        ('1:05', '2:00:00', '?')
    """
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
