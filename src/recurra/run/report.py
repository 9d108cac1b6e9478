"""The results of a run: as one JSON object, as a verdict in words, and as text to read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recurra.run.config import RunConfig

__all__ = ["compose", "figure", "render", "verdict"]

Metrics = Mapping[str, float | int | None]


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
    sample: str | None = None,
) -> dict[str, Any]:
    """Return the report of a finished run as a JSON value.

    Args:
        config: what was asked for.
        run: the run's directory.
        steps: optimizer steps taken; 1 where there is only counting.
        epochs: passes over the training data.
        seconds: wall clock of the command that finished it.
        train_seconds: of them, training alone, validation left out.
        items: tokens learned from in `train_seconds`.
        valid: metrics of the validation split; None where there is none.
        test: metrics of the test split; None where there is none.
        baselines: name -> metrics of the test split, or of the validation split without one.
        sample: text that the model wrote.

    Example:
        >>> config = RunConfig(preset="mine", task="language")
        >>> report = compose(
        ...     config, Path("runs/mine"), steps=10, epochs=1.0, seconds=9.0, train_seconds=5.0,
        ...     items=1000, valid=None, test={"perplexity": 80.0},
        ...     baselines={"kn5": {"perplexity": 100.0}},
        ... )
        >>> print(report["throughput"]["value"], report["verdict"], sep="; ")
        200.0; test perplexity 80.00 is 20% better than kn5's 100.0
    """
    report: dict[str, Any] = {
        "run": str(run),
        "preset": config.preset,
        "task": config.task,
        "seed": config.seed,
        "steps": steps,
        "epochs": epochs,
        "seconds": round(seconds, 3),
        "train_seconds": round(train_seconds, 3),
        "throughput": {
            "value": round(items / train_seconds, 1) if train_seconds > 0 else None,
            "unit": "tokens/s",
        },
        "valid": dict(valid) if valid is not None else None,
        "test": dict(test) if test is not None else None,
        "baselines": {name: dict(metrics) for name, metrics in baselines.items()},
    }
    report["verdict"] = verdict(report)
    if sample is not None:
        report["sample"] = sample
    return report


def verdict(report: Mapping[str, Any]) -> str:
    """Say in words whether the run beats its best baseline.

    Args:
        report: with `valid`, `test` and `baselines`.

    Example:
        >>> verdict({"valid": {"perplexity": 8.5}, "test": None, "baselines": {}})
        'validation perplexity 8.50; there is no baseline beside it'
    """
    split, metrics = _judged(report)
    if metrics is None:
        return "there is neither a test nor a validation split to judge by"
    ours = metrics.get("perplexity")
    said = f"{split} perplexity {figure(ours)}"
    rivals = {
        name: rival["perplexity"]
        for name, rival in report["baselines"].items()
        if rival.get("perplexity") is not None
    }
    if not rivals:
        return f"{said}; there is no baseline beside it"
    name = min(rivals, key=lambda rival: rivals[rival])
    best = f"{name}'s {figure(rivals[name])}"
    if ours is None:
        return f"{said} is worse than {best}"
    change = ours / rivals[name] - 1
    if abs(change) < 0.0005:
        return f"{said} equals {best}"
    share = f"{abs(change):.1%}" if abs(change) < 0.1 else f"{abs(change):.0%}"
    return f"{said} is {share} {'worse' if change > 0 else 'better'} than {best}"


def render(report: Mapping[str, Any]) -> str:
    """Return a report as lines to read.

    Args:
        report: as `compose` returns it.
    """
    split, metrics = _judged(report)
    systems = [(report["preset"], metrics or {}), *report["baselines"].items()]
    width = max(len(name) for name, _ in systems)
    with_bits = any(system.get("bits_per_char") is not None for _, system in systems)
    heading = f"{'':{width}}  {split + ' perplexity':>21}  nats per token"
    lines = [heading + ("  bits per char" if with_bits else "")]
    for name, system in systems:
        row = f"{name:{width}}  {figure(system.get('perplexity')):>21}"
        row += f"  {figure(system.get('nats_per_token'), 4):>14}"
        row += f"  {figure(system.get('bits_per_char'), 4):>13}" if with_bits else ""
        lines.append(row)
    said = report["verdict"]
    lines += ["", said[:1].upper() + said[1:] + ".", "", _effort(report)]
    if metrics and metrics.get("oov"):
        lines.append(f"{metrics['oov']:,} of {metrics['tokens']:,} {split} tokens became <unk>.")
    if report.get("sample"):
        lines += ["", "A sample:"]
        for line in report["sample"].splitlines():
            lines += textwrap.wrap(line, 96, initial_indent="  ", subsequent_indent="    ")
    run = Path(report["run"])
    lines += ["", f"model   {run / 'model'}", f"report  {run / 'report.json'}"]
    if report["task"] != "ngram":
        lines.append(f"curves  {run / 'curves.png'}")
    return "\n".join(lines)


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


def _judged(report: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
    if report["test"] is not None:
        return "test", report["test"]
    return "validation", report["valid"]


def _effort(report: Mapping[str, Any]) -> str:
    whole = f"the whole command took {report['seconds']:,.1f} s"
    if report["task"] == "ngram":
        return f"Counted in {report['train_seconds']:,.1f} s; {whole}."
    rate = report["throughput"]
    return (
        f"Trained {report['steps']:,} steps, {report['epochs']:.4g} epochs, in "
        f"{report['train_seconds']:,.1f} s ({rate['value']:,.0f} {rate['unit']}); {whole}."
    )
