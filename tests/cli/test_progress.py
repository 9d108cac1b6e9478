"""A training as one watches it: the numbers that are shown, in a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from recurra.cli import progress
from recurra.cli.progress import Pace, Progress, duration
from recurra.language.entry import LanguageRun
from recurra.learning.event import Finished, Saved, Started, Stepped, Validated, Warned
from recurra.learning.options import TrainOptions
from recurra.run.session import Opened, Reported

STARTED = Started(step=0, steps=20, steps_per_epoch=10, parameters=4_650_000, device="cpu")


def stepped(step: int, loss: float = 5.0, seconds: float | None = None) -> Stepped:
    return Stepped(step, step / 10, loss, 700, 1.0, 0.3, seconds or step * 0.5)


def events(steps: int = 20):
    yield Opened(
        LanguageRun(preset="mine"), Path("runs/mine"), {"corpus": "[ptb]"}, "perplexity", "tokens"
    )
    yield STARTED
    for step in range(1, steps + 1):
        yield stepped(step, loss=math.log(200.0) if step <= 10 else math.log(100.0))
        if step % 10 == 0:
            yield Validated(step, step / 10, {"perplexity": 150.0 + step}, step == 10, 1.0)
            yield Saved(step, Path("x"))
    yield Finished(steps, steps / 10, 10.0, 14_000)
    yield Reported({})


def watched(*, terminal: bool, happening, width: int = 100) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, highlight=False)
    with Progress(console) as shown:
        for event in happening:
            shown.show(event)
    return text.getvalue()


def test_a_pipe_gets_the_header_and_a_line_an_epoch():
    assert watched(terminal=False, happening=events()).splitlines() == [
        "mine in runs/mine",
        "corpus      [ptb]",
        "parameters  4,650,000 on cpu",
        "training    20 steps, 10 an epoch",
        "epoch 1       training perplexity     200.0   validation perplexity     160.0"
        "   best so far",
        "epoch 2       training perplexity     100.0   validation perplexity     170.0",
    ]


def judged(values, best, metric="mase"):
    """What is printed of validations whose losses, by `best`, fell or not."""
    yield Opened(LanguageRun(preset="mine"), Path("runs/mine"), {}, metric, "windows")
    yield STARTED
    for step, (value, lower) in enumerate(zip(values, best), 1):
        yield stepped(step, loss=0.25)
        yield Validated(step, step / 10, {"loss": 0.3, metric: value}, lower, 1.0)


@pytest.mark.parametrize(
    ("metric", "values", "marked"),
    [
        ("mase", [0.9, 0.8, 0.85, 0.79], [True, True, False, True]),
        ("mase", [0.9, None, 0.9, 0.8999], [True, False, False, True]),
        ("accuracy", [0.5, 0.6, 0.55, 0.7], [True, True, False, True]),
    ],
)
def test_best_so_far_is_said_of_what_is_printed_and_not_of_the_loss(metric, values, marked):
    losses = [True, False, True, False]
    text = watched(terminal=False, happening=judged(values, losses, metric))
    assert ["best so far" in line for line in text.splitlines()[3:]] == marked


def test_a_resumed_run_knows_the_best_that_was_printed_before(tmp_path):
    rows = [
        {"step": n, "epoch": n / 10, "valid": {"mase": m}, "best": True}
        for n, m in ((5, 0.8), (6, 0.1))
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    started = Started(step=5, steps=20, steps_per_epoch=10, parameters=9, device="cpu")
    opened = Opened(LanguageRun(preset="mine"), tmp_path, {}, "mase", "windows")
    happening = [opened, started, stepped(6), stepped(7)]
    for value, marked in ((0.85, False), (0.75, True)):
        validated = Validated(7, 0.7, {"mase": value}, True, 1.0)
        text = watched(terminal=False, happening=[*happening, validated])
        assert ("best so far" in text) is marked


def test_a_narrow_terminal_is_told_the_validation_alone():
    text = watched(terminal=False, happening=events(), width=60)
    assert text.splitlines()[4] == "epoch 1       validation perplexity     160.0   best so far"


def test_a_terminal_gets_a_bar_with_perplexity_pace_and_time_left():
    text = watched(terminal=True, happening=events())
    assert "━" in text
    assert "1,400 tokens/s" in text
    assert "0:00 left" in text
    assert "validation perplexity" in text
    assert text.rstrip().endswith("\x1b[2K")  # the bar is taken away at the end


def test_a_pipe_gets_a_line_now_and_then(monkeypatch):
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    lines = watched(terminal=False, happening=[STARTED, *map(stepped, range(1, 6))]).splitlines()
    assert lines[2:] == [
        "epoch 0.20/2   perplexity 148.4   1,400 tokens/s   0:09 left",
        "epoch 0.40/2   perplexity 148.4   1,400 tokens/s   0:08 left",
    ]


def test_resuming_says_so():
    started = Started(step=5, steps=20, steps_per_epoch=10, parameters=9, device="cpu")
    text = watched(terminal=False, happening=[started])
    assert "training    20 steps, 10 an epoch; going on after step 5" in text


def test_a_warning_is_shown_as_it_is():
    assert watched(terminal=False, happening=[Warned("loss [nan]")]) == "warning: loss [nan]\n"


def test_counting_has_neither_bar_nor_training_perplexity():
    counted = [
        Started(step=0, steps=1, steps_per_epoch=1, parameters=0, device="cpu"),
        Validated(1, 1.0, {"perplexity": 148.0}, True, 0.5),
        Finished(1, 1.0, 2.0, 929_589),
    ]
    text = watched(terminal=False, happening=counted)
    assert text == "epoch 1       validation perplexity     148.0\n"


def test_a_loss_of_ones_own_is_no_perplexity_and_never_overflows():
    config = LanguageRun(preset="mine", train=TrainOptions(loss="mine:focal"))
    said = watched(
        terminal=False,
        happening=[
            Opened(config, Path("runs/mine"), {}, "perplexity", "tokens"),
            STARTED,
            stepped(1, loss=701.5),
            Validated(1, 0.1, {"perplexity": 7.5}, True, 1.0),
        ],
    )
    assert "training loss (mine:focal)     701.5   validation perplexity      7.50" in said
    assert "overflow" not in said


def test_overflow_and_nan_are_words():
    happening = [STARTED, stepped(1, loss=math.nan), stepped(2, loss=2000.0)]
    happening.append(Validated(2, 0.2, {"perplexity": None}, False, 1.0))
    text = watched(terminal=False, happening=happening)
    assert "training perplexity  overflow   validation perplexity  overflow" in text
    assert "perplexity ?" in watched(terminal=True, happening=happening[:2])


def test_the_pace_of_a_resumed_run_counts_its_own_steps():
    pace = Pace(Started(step=100, steps=200, steps_per_epoch=50, parameters=1, device="cpu"))
    for step in range(101, 151):
        pace.add(Stepped(step, step / 50, 2.0, 700, 1.0, 1.0, seconds=1000.0 + (step - 100) * 0.25))
    assert pace.step == 150 and pace.epoch == 3.0
    assert pace.items_per_second == pytest.approx(700 / 0.25)
    assert pace.seconds_left == pytest.approx(50 * 0.25)


def test_recent_perplexity_forgets():
    pace = Pace(Started(step=0, steps=999, steps_per_epoch=99, parameters=1, device="cpu"))
    for step in range(1, 400):
        pace.add(stepped(step, loss=9.0 if step < 10 else 3.0))
    assert pace.recent_loss == pytest.approx(3.0, abs=0.01)
    assert pace.take_mean_loss() == pytest.approx((9 * 9 + 390 * 3) / 399)
    assert math.isnan(pace.take_mean_loss())


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")]
)
def test_durations_read_as_one_says_them(seconds, said):
    assert duration(seconds) == said


def test_other_tasks_show_their_loss_and_the_metric_they_are_judged_by():
    happening = [
        Opened(LanguageRun(preset="mine"), Path("runs/mine"), {}, "mase", "windows"),
        STARTED,
        *(stepped(step, loss=0.25) for step in range(1, 11)),
        Validated(10, 1.0, {"loss": 0.3, "mase": 0.84213}, True, 1.0),
        Validated(10, 1.0, {"loss": 0.3, "mase": None}, False, 1.0),
    ]
    assert watched(terminal=False, happening=happening).splitlines()[3:] == [
        "epoch 1       training loss      0.25   validation mase     0.842   best so far",
        "epoch 1       validation mase         -",
    ]
    assert "loss 0.25   1,400 windows/s" in watched(terminal=True, happening=happening[:-1])
