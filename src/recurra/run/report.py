"""The results of a run: as one JSON object, as a verdict in words, and as text to read."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recurra.learning.event import Finished
from recurra.learning.metric import Direction, Metrics
from recurra.run.asked import Asked
from recurra.run.figures import figure, laid_out, shown, table, times, words
from recurra.run.tasks import TASKS, metric_of

__all__ = [
    "Judged",
    "best_of",
    "compose",
    "judged_by",
    "mixture_of",
    "render",
    "split_of",
    "verdict",
]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a task is judged by.

    Args:
        metric: the metric's name, as in the report's entries.
        better: whether a lower or a higher one is better.
        unit: what throughput counts.
    """

    metric: str = "perplexity"
    better: Direction = "lower"
    unit: str = "tokens"


_WIDTH = 96  # of what is read as sentences
_SAME = 0.0005  # changes below it do not show
_MANY = 0.2  # of the tokens; a perplexity with more of them unknown says little


def compose(
    asked: Asked,
    finished: Finished,
    *,
    seconds: float,
    valid: Metrics | None,
    test: Metrics | None,
    baselines: Mapping[str, Metrics],
    judged: Judged | None = None,
    extras: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report of a finished run as a JSON value.

    Args:
        asked: what was asked for.
        finished: how training ended; it counts in `judged.unit`.
        seconds: wall clock of the command that finished it.
        valid: metrics of the validation split; None where there is none.
        test: metrics of the test split; None where there is none.
        baselines: name -> metrics of the test split, or of the validation split without one.
        judged: by which metric; perplexity by default.
        extras: more entries: JSON values.

    Example:
        >>> from recurra.run.presets import preset
        >>> report = compose(
        ...     Asked(preset("kn5"), Path("runs/kn5")), Finished(10, 1.0, seconds=5.0, items=1000),
        ...     seconds=9.0, valid=None, test={"perplexity": 80.0},
        ...     baselines={"kn5": {"perplexity": 100.0}},
        ... )
        >>> print(report["throughput"]["value"], report["verdict"], sep="; ")
        200.0; test perplexity 80.00 is 20% better than kn5's 100.0
    """
    judged = judged or Judged()
    trained = finished.seconds
    rate = round(finished.items / trained, 1) if trained > 0 else None
    report: dict[str, Any] = {
        "run": str(asked.run),
        "preset": asked.config.preset,
        "task": asked.config.task,
        "seed": asked.config.seed,
        "steps": finished.step,
        "epochs": finished.epoch,
        "seconds": round(seconds, 3),
        "train_seconds": round(trained, 3),
        "throughput": {"value": rate, "unit": f"{judged.unit}/s"},
        "valid": dict(valid) if valid is not None else None,
        "test": dict(test) if test is not None else None,
        "baselines": {name: dict(metrics) for name, metrics in baselines.items()},
        "verdict": "",  # its place; it is said of all the rest
    }
    report |= {"judged": {"metric": judged.metric, "better": judged.better}}
    report |= {"command": asked.command, **(extras or {})}
    return report | {"verdict": verdict(report)}


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
    metric, better = judged_by(report)
    ours = metrics.get(metric)
    said = f"{split} {words(metric)} {shown(metric, ours)}"
    rival = best_of(report["baselines"], metric, better)
    if rival is None and (ours is not None or metric_of(metric).overflows):
        return f"{said}; there is no baseline beside it{_mixed(report, metric, better, ours)}"
    if rival is None:
        return f"{split} {words(metric)} could not be computed"
    name, theirs = rival
    best = shown(metric, theirs)
    if ours is not None:
        rival_s = f"{name}'s {best}"
        said = f"{said} {_compared(metric, better, ours, theirs, rival_s)}"
        return said + _mixed(report, metric, better, ours)
    if metric_of(metric).overflows:
        return f"{said} is worse than {name}'s {best}"
    return f"{split} {words(metric)} could not be computed; {name}'s is {best}"


def best_of(baselines: Mapping[str, Metrics], metric: str, better: str) -> tuple[str, float] | None:
    """Return the best baseline and its figure; None where none has one.

    Args:
        baselines: name -> metrics.
        metric: by which.
        better: whether a lower or a higher one is better.

    Example:
        >>> best_of({"naive": {"mase": 1.2}, "drift": {"mase": 1.1}}, "mase", "lower")
        ('drift', 1.1)
    """
    values = {name: rival.get(metric) for name, rival in baselines.items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    choose = min if better == "lower" else max
    name = choose(known, key=lambda rival: known[rival])
    return name, known[name]


def _mixed(report: Mapping[str, Any], metric: str, better: str, ours: float | None) -> str:
    """Return what the verdict says of the mixture, where there is one."""
    found = (mixture_of(report) or {}).get(metric)
    if found is None:
        return ""
    said = f"; mixed with others it is {shown(metric, found)}"
    if ours is None:
        return said
    return f"{said}, which {_compared(metric, better, found, ours, 'alone')}"


def mixture_of(report: Mapping[str, Any]) -> Metrics | None:
    """Return the mixture's metrics on the split that the run is judged by; None without one.

    Args:
        report: as `compose` returns it.
    """
    mixture = report.get("mixture") or {}
    found: Metrics | None = mixture.get("test" if report["test"] is not None else "valid")
    return found


def _compared(metric: str, better: str, ours: float, theirs: float, rival: str) -> str:
    """Return what is said of our figure beside theirs, which is the rival's."""
    ahead = ours < theirs if better == "lower" else ours > theirs
    than = f"{'better' if ahead else 'worse'} than {rival}"
    if metric_of(metric).share:
        if abs(ours - theirs) < _SAME:
            return f"equals {rival}"
        return f"is {100 * abs(ours - theirs):.1f} points {than}"
    if ours == theirs:
        return f"equals {rival}"
    if not ours * theirs > 0:  # no share of nothing
        return f"is {than}"
    change = abs(ours / theirs - 1)
    if change < _SAME:
        return f"equals {rival}"
    if change >= 1:
        return f"is {than}, {times(ours / theirs)} as high"
    if ours / theirs < 0.1:  # nearly all of it, as percents round
        return f"is {than}, which is {times(theirs / ours)} as high"
    share = f"{change:.1%}" if change < 0.1 else f"{change:.0%}"
    return f"is {share} {than}"


def render(report: Mapping[str, Any], columns: int | None = None) -> str:
    """Return a report as lines to read.

    Args:
        report: as `compose` returns it.
        columns: of characters that there is room for; tables are as wide as it takes without.
    """
    split, metrics = split_of(report)
    systems = [(report["preset"], metrics or {}), *report["baselines"].items()]
    if mixture := mixture_of(report):
        systems.insert(1, ("mixture", mixture))
    lines = []
    if metrics is not None:
        lines = [*table(report["task"], judged_by(report)[0], split, systems, columns), ""]
    folded = partial(textwrap.wrap, width=min(_WIDTH, columns or _WIDTH), break_long_words=False)
    for said in (report["verdict"], *report.get("notes", [])):
        lines += folded(f"{said[:1].upper()}{said[1:].rstrip('.')}.")
    if changed := report.get("changed_source"):
        lines += folded(f"Gone on with under changed source: {', '.join(changed)}.")
    for name, why in (report.get("left_out") or {}).items():
        lines += folded(f"left out: {name} ({why})", subsequent_indent="  ")
    if mixture and (parts := report["mixture"].get("parts")):
        lines += ["", *_parts(parts, mixture.get("perplexity"), split, columns)]
    lines += [""]
    for said in (*_scored(metrics or {}, split), _effort(report)):
        lines += folded(said)
    if report.get("command"):
        lines.append(f"Again: {report['command']}")
    if report.get("sample"):
        lines += ["", "A sample:"]
        for line in report["sample"].splitlines():
            lines += folded(line, initial_indent="  ", subsequent_indent="    ")
    return "\n".join([*lines, "", *_places(report)])


def _parts(
    parts: Mapping[str, Mapping[str, float | None]],
    mixed: float | None,
    split: str,
    columns: int | None,
) -> list[str]:
    """Return the lines of a table: what each part of a mixture weighs, and what it gains."""
    key = "test_perplexity" if split == "test" else "valid_perplexity"
    rows = [["part", "weight", "alone", "mixture without it"]]
    for name, part in parts.items():
        weight, without = part.get("weight"), part.get("without")
        lost = "-"
        if without is not None and mixed:
            ratio = without / mixed
            gain = f"{ratio - 1:+.1%}" if ratio < 2 else times(ratio)
            lost = f"{figure(without)} ({gain})"
        rows.append([name, "-" if weight is None else f"{weight:.3f}", figure(part.get(key)), lost])
    return laid_out(rows, columns)


def _scored(metrics: Metrics, split: str) -> list[str]:
    """Return a line on what was scored of a text."""
    tokens, oov = metrics.get("tokens"), metrics.get("oov")
    if tokens is None or oov is None:
        return []
    if not oov:
        return [f"{tokens:,} {split} tokens, none outside the vocabulary."]
    said = f"{oov:,} of {tokens:,} {split} tokens became <unk> ({oov / tokens:.1%})."
    if oov > _MANY * tokens:
        said += " So many say that the perplexity means little: look at the bits per character."
    return [said]


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


def judged_by(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return the metric and which way it is better; what does not say so is of text.

    Args:
        report: with `judged`, or without.
    """
    said = report.get("judged", {"metric": "perplexity", "better": "lower"})
    return said["metric"], said["better"]


def _effort(report: Mapping[str, Any]) -> str:
    whole = f"the whole command took {report['seconds']:,.1f} s"
    if _counts(report):
        return f"Counted in {report['train_seconds']:,.1f} s; {whole}."
    rate = report["throughput"]
    pace = f" ({rate['value']:,.0f} {rate['unit']})" if rate["value"] is not None else ""
    epochs = f"{report['epochs']:.4g} epoch{'' if report['epochs'] == 1 else 's'}"
    return (
        f"Trained {report['steps']:,} steps, {epochs}, in "
        f"{report['train_seconds']:,.1f} s{pace}; {whole}."
    )


def _places(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing the run left to look at."""
    names = {"model": "model", "report": "report.json"}
    if not _counts(report):
        names |= {name.partition(".")[0]: name for name in report.get("pictures", ["curves.png"])}
    wide = max(map(len, names))
    return [f"{title:{wide}}  {Path(report['run']) / name}" for title, name in names.items()]


def _counts(report: Mapping[str, Any]) -> bool:
    """Return whether its task has no options of a training, and so no steps, epochs and curves."""
    return "train" not in TASKS[report["task"]].config.model_fields
