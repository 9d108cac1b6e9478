"""`recurra compare`: several runs and their baselines in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cli.console import Json, existing_all, open_console, print_json, say

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", callback=existing_all, help="Directories of runs."),
    ],
    json: Json = False,
) -> None:
    """Print several runs and their baselines, the best first."""
    from recurra.run.report import table

    runs = list(dict.fromkeys(runs))
    reports = [_report(run) for run in runs]
    metric, better = _judged(runs, reports)
    systems = _systems(runs, reports)
    systems.sort(key=lambda row: _rank(row["metrics"].get(metric), better))
    if json:
        print_json({"judged": {"metric": metric, "better": better}, "systems": systems})
        return
    splits = {row["split"] for row in systems}
    split = splits.pop() if len(splits) == 1 else ""
    names = [row["name"] + ("" if split else f" ({row['split']})") for row in systems]
    rows = [(name, row["metrics"]) for name, row in zip(names, systems)]
    for line in table(reports[0]["task"], metric, split, rows):
        open_console().print(line, markup=False)
    sources = list(dict.fromkeys(_source(run) for run in runs))
    if len(sources) > 1:
        say(f"these runs learned from different data: {', '.join(sources)}")


def _report(run: Path) -> dict[str, Any]:
    from recurra.errors import RunError
    from recurra.run.directory import RunDirectory

    report = RunDirectory(run).report()
    if report is None:
        raise RunError(f"{run} has no report.json: it is not a run, or not finished")
    return report


def _judged(runs: list[Path], reports: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the metric by which all of them are judged, and which way it is better."""
    from recurra.errors import ConfigError

    of_text = {"metric": "perplexity", "better": "lower"}
    judged = [report.get("judged", of_text) for report in reports]
    if len({each["metric"] for each in judged}) > 1:
        said = ", ".join(f"{run} by {each['metric']}" for run, each in zip(runs, judged))
        raise ConfigError(f"these runs are judged by different metrics: {said}")
    return judged[0]["metric"], judged[0]["better"]


def _systems(runs: list[Path], reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every run, and every baseline once; where they differ, with the run they are of."""
    from recurra.run.report import split_of

    found: list[dict[str, Any]] = []
    rivals: dict[str, list[tuple[Path, str, Any]]] = {}
    for run, report in zip(runs, reports):
        split, metrics = split_of(report)
        row = {"name": str(run), "run": str(run), "split": split, "metrics": metrics or {}}
        found.append(row)
        for name, rival in report["baselines"].items():
            known = rivals.setdefault(name, [])
            if not any((split, rival) == (other, same) for _, other, same in known):
                known.append((run, split, rival))
    for name, variants in rivals.items():
        for run, split, rival in variants:
            title = name if len(variants) == 1 else f"{name} of {run}"
            found.append({"name": title, "run": None, "split": split, "metrics": rival})
    return found


def _rank(value: float | None, better: str) -> tuple[bool, float]:
    if value is None:
        return True, 0.0
    return False, value if better == "lower" else -value


def _source(run: Path) -> str:
    from recurra.run.config import source
    from recurra.run.directory import RunDirectory

    config = RunDirectory(run).config()
    return "unknown data" if config is None else source(config)
