"""The results of a run: as one JSON object, as a verdict in words, and as text to read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recurra.run.config import RunConfig

__all__ = ["Judged", "compose", "figure", "render", "shown", "split_of", "table", "verdict"]

Metrics = Mapping[str, float | int | None]
Columns = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a task is judged by.

    Args:
        metric: the metric's name, as in the report's entries.
        better: whether a lower or a higher one is better.
        unit: what throughput counts.
    """

    metric: str = "perplexity"
    better: Literal["lower", "higher"] = "lower"
    unit: str = "tokens"


# A task's columns with their least widths, beside the metric that is judged.
_COLUMNS: dict[str, Columns] = {
    "language": (("perplexity", 21), ("nats_per_token", 14), ("bits_per_char", 13)),
    "ngram": (("perplexity", 21), ("nats_per_token", 14), ("bits_per_char", 13)),
    "series": (("mase", 6), ("smape", 7), ("rmse", 8), ("crps", 7), ("coverage_95", 12)),
    "labels": (("accuracy", 8), ("log_loss", 8), ("examples", 8)),
}
_BESIDE = {"mse": ("mae", 7)}
_NAMES = {
    "mase": "MASE",
    "smape": "sMAPE",
    "rmse": "RMSE",
    "mae": "MAE",
    "mse": "MSE",
    "crps": "CRPS",
    "msis": "MSIS",
    "coverage_80": "80% coverage",
    "coverage_95": "95% coverage",
}
_FOUR_PLACES = ("nats_per_token", "bits_per_char", "loss", "log_loss")
_TEXT = ("perplexity", "nats_per_token", "bits_per_char")  # of these, None is an overflow
_SHARES = ("accuracy", "coverage_80", "coverage_95")
_SAME = 0.0005  # changes below it do not show


def compose(
    config: RunConfig,
    run: Path,
    *,
    steps: int,
    epochs: float,
    seconds: float,
    train_seconds: float,
    items: int,
    valid: Metrics | None,
    test: Metrics | None,
    baselines: Mapping[str, Metrics],
    judged: Judged | None = None,
    extras: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report of a finished run as a JSON value.

    Args:
        config: what was asked for.
        run: the run's directory.
        steps: optimizer steps taken; 1 where there is only counting.
        epochs: passes over the training data.
        seconds: wall clock of the command that finished it.
        train_seconds: of them, training alone, validation left out.
        items: what was learned from in `train_seconds`, in `judged.unit`.
        valid: metrics of the validation split; None where there is none.
        test: metrics of the test split; None where there is none.
        baselines: name -> metrics of the test split, or of the validation split without one.
        judged: by which metric; perplexity by default.
        extras: more entries: JSON values.

    Example:
        >>> report = compose(
        ...     RunConfig(preset="mine", task="language"), Path("runs/mine"), steps=10,
        ...     epochs=1.0, seconds=9.0, train_seconds=5.0, items=1000, valid=None,
        ...     test={"perplexity": 80.0}, baselines={"kn5": {"perplexity": 100.0}},
        ... )
        >>> print(report["throughput"]["value"], report["verdict"], sep="; ")
        200.0; test perplexity 80.00 is 20% better than kn5's 100.0
    """
    judged = judged or Judged()
    rate = round(items / train_seconds, 1) if train_seconds > 0 else None
    report: dict[str, Any] = {
        "run": str(run),
        "preset": config.preset,
        "task": config.task,
        "seed": config.seed,
        "steps": steps,
        "epochs": epochs,
        "seconds": round(seconds, 3),
        "train_seconds": round(train_seconds, 3),
        "throughput": {"value": rate, "unit": f"{judged.unit}/s"},
        "valid": dict(valid) if valid is not None else None,
        "test": dict(test) if test is not None else None,
        "baselines": {name: dict(metrics) for name, metrics in baselines.items()},
    }
    said = {"metric": judged.metric, "better": judged.better}
    report |= {"verdict": verdict({**report, "judged": said}), "judged": said}
    return report | dict(extras or {})


def verdict(report: Mapping[str, Any]) -> str:
    """Say in words whether the run beats its best baseline.

    Args:
        report: with `valid`, `test`, `baselines`, and `judged` where that is not perplexity.

    Example:
        >>> verdict({"valid": {"perplexity": 8.5}, "test": None, "baselines": {}})
        'validation perplexity 8.50; there is no baseline beside it'
        >>> verdict({
        ...     "valid": None, "test": {"accuracy": 0.987},
        ...     "baselines": {"majority": {"accuracy": 0.3}, "linear": {"accuracy": 0.951}},
        ...     "judged": {"metric": "accuracy", "better": "higher"},
        ... })
        "test accuracy 0.987 is 3.6 points better than linear's 0.951"
    """
    split, metrics = split_of(report)
    if metrics is None:
        return "there is neither a test nor a validation split to judge by"
    metric, better = _judged(report)
    ours = metrics.get(metric)
    said = f"{split} {_words(metric)} {shown(metric, ours)}"
    rivals = {
        name: rival[metric]
        for name, rival in report["baselines"].items()
        if rival.get(metric) is not None
    }
    if not rivals and (ours is not None or metric in _TEXT):
        return f"{said}; there is no baseline beside it"
    if not rivals:
        return f"{split} {_words(metric)} could not be computed"
    choose = min if better == "lower" else max
    name = choose(rivals, key=lambda rival: rivals[rival])
    best = shown(metric, rivals[name])
    if ours is not None:
        return f"{said} {_compared(metric, better, ours, rivals[name])} {name}'s {best}"
    if metric in _TEXT:
        return f"{said} is worse than {name}'s {best}"
    return f"{split} {_words(metric)} could not be computed; {name}'s is {best}"


def _compared(metric: str, better: str, ours: float, theirs: float) -> str:
    """Return the words between our figure and theirs."""
    ahead = ours < theirs if better == "lower" else ours > theirs
    word = "better" if ahead else "worse"
    if metric in _SHARES:
        if abs(ours - theirs) < _SAME:
            return "equals"
        return f"is {100 * abs(ours - theirs):.1f} points {word} than"
    if ours == theirs:
        return "equals"
    if not ours * theirs > 0:  # no share of nothing
        return f"is {word} than"
    change = abs(ours / theirs - 1)
    if change < _SAME:
        return "equals"
    if change >= 10:
        return f"is {ours / theirs:,.3g} times {word} than"
    share = f"{change:.1%}" if change < 0.1 else f"{change:.0%}"
    return f"is {share} {word} than"


def render(report: Mapping[str, Any]) -> str:
    """Return a report as lines to read.

    Args:
        report: as `compose` returns it.
    """
    split, metrics = split_of(report)
    systems = [(report["preset"], metrics or {}), *report["baselines"].items()]
    lines = table(report["task"], _judged(report)[0], split, systems)
    said = report["verdict"]
    lines += ["", said[:1].upper() + said[1:] + "."]
    for note in report.get("notes", []):
        lines += textwrap.wrap(f"{note[:1].upper()}{note[1:].rstrip('.')}.", 96)
    lines += ["", _effort(report)]
    if metrics and metrics.get("oov"):
        lines.append(f"{metrics['oov']:,} of {metrics['tokens']:,} {split} tokens became <unk>.")
    if report.get("sample"):
        lines += ["", "A sample:"]
        for line in report["sample"].splitlines():
            lines += textwrap.wrap(line, 96, initial_indent="  ", subsequent_indent="    ")
    return "\n".join([*lines, "", *_places(report)])


def table(task: str, metric: str, split: str, systems: Sequence[tuple[str, Metrics]]) -> list[str]:
    """Return the lines of a table: a system a row, the metric that is judged first.

    Args:
        task: which chooses the other metrics.
        metric: the one that is judged.
        split: what was measured, for the heading; may be empty.
        systems: a name and its metrics each.

    Example:
        >>> rows = [("mine", {"accuracy": 0.98, "log_loss": 0.07}), ("linear", {"accuracy": 0.95})]
        >>> print("\\n".join(table("labels", "accuracy", "test", rows)))
                test accuracy  log loss
        mine            0.980    0.0700
        linear          0.950         -
    """
    least = {**dict([_BESIDE[metric]] if metric in _BESIDE else []), **dict(_COLUMNS.get(task, ()))}
    names = [name for name in least if any(row.get(name) is not None for _, row in systems)]
    wide = max(len(name) for name, _ in systems)
    heading, rows = " " * wide, [f"{name:{wide}}" for name, _ in systems]
    for name in dict.fromkeys([metric, *names]):
        title = f"{split} {_title(name)}".strip() if name == metric else _title(name)
        width = max(len(title), least.get(name, 0))
        heading += f"  {title:>{width}}"
        cells = [f"  {shown(name, metrics.get(name)):>{width}}" for _, metrics in systems]
        rows = [row + cell for row, cell in zip(rows, cells)]
    return [heading, *rows]


def shown(metric: str, value: float | int | None) -> str:
    """Return a metric's value with the places one reads.

    Args:
        metric: its name, as in the report's entries.
        value: its value; None where it could not be computed.

    Example:
        >>> [shown("mase", value) for value in (1.1934, 0.00142, 1234.5, None)]
        ['1.193', '0.00142', '1,234.5', '-']
        >>> shown("perplexity", 141.23), shown("examples", 1500), shown("log_loss", 0.5)
        ('141.2', '1,500', '0.5000')
    """
    if metric == "perplexity":
        return figure(value)
    if value is None:
        return "overflow" if metric in _TEXT else "-"
    if isinstance(value, int):
        return f"{value:,}"
    if metric in _FOUR_PLACES:
        return figure(value, 4)
    if metric in _SHARES or 0.1 <= abs(value) < 100 or value == 0:
        return f"{value:.3f}"
    return f"{value:,.1f}" if 100 <= abs(value) < 1e9 else f"{value:#.3g}"


def figure(value: float | int | None, places: int | None = None) -> str:
    """Return a number with as many places as one reads: two below 100, one above.

    Args:
        value: the number; None is one too large for a float.
        places: digits after the point, in place of that rule.

    Example:
        >>> figure(7.123), figure(141.23), figure(None)
        ('7.12', '141.2', 'overflow')
    """
    if value is None or not math.isfinite(value):
        return "overflow"
    return f"{value:,.{places or (2 if value < 100 else 1)}f}"


def split_of(report: Mapping[str, Any]) -> tuple[str, Metrics | None]:
    """Return which split a run is judged by, in words, and its metrics there.

    Args:
        report: with `valid` and `test`.

    Example:
        >>> split_of({"valid": {"mase": 0.9}, "test": None})
        ('validation', {'mase': 0.9})
    """
    if report["test"] is not None:
        return "test", report["test"]
    return "validation", report["valid"]


def _judged(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return the metric and which way it is better; what does not say so is of text."""
    said = report.get("judged", {"metric": "perplexity", "better": "lower"})
    return said["metric"], said["better"]


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _title(metric: str) -> str:
    return _NAMES.get(metric, _words(metric))


def _effort(report: Mapping[str, Any]) -> str:
    whole = f"the whole command took {report['seconds']:,.1f} s"
    if report["task"] == "ngram":
        return f"Counted in {report['train_seconds']:,.1f} s; {whole}."
    rate = report["throughput"]
    pace = f" ({rate['value']:,.0f} {rate['unit']})" if rate["value"] is not None else ""
    return (
        f"Trained {report['steps']:,} steps, {report['epochs']:.4g} epochs, in "
        f"{report['train_seconds']:,.1f} s{pace}; {whole}."
    )


def _places(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing the run left to look at."""
    names = {"model": "model", "report": "report.json"}
    if report["task"] != "ngram":
        names |= {name.partition(".")[0]: name for name in report.get("pictures", ["curves.png"])}
    wide = max(map(len, names))
    return [f"{title:{wide}}  {Path(report['run']) / name}" for title, name in names.items()]
