"""What a sweep comes to: a row a setting, its seeds joined, the best by validation."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recurra.run.figures import laid_out, shown, spread, words
from recurra.run.names import label, short, worded
from recurra.run.report import judged_by, verdict
from recurra.run.tasks import metric_of
from recurra.tune.grid import Grid, Setting

__all__ = ["as_csv", "compose", "tell"]

Report = Mapping[str, Any]
Row = dict[str, Any]

SPLITS = ("valid", "test")
RATE, CELL = "train.learning_rate", "network.cell"
FAR = 1e12
"""From here on a figure has run away, and how far seeds are apart says nothing."""
_TEXTS = ("data.corpus", "data.rule", "data.split", "data.vocabulary_size", "data.min_count")
"""What changes the tokens of a text, so that perplexities do not compare."""


def compose(
    grid: Grid,
    out: str,
    reports: Mapping[str, Report],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a sweep comes to as one JSON value; of unfinished ones, so far.

    Args:
        grid: the sweep.
        out: its folder.
        reports: of the runs that are finished, by name.
        failed: why others ended, by name.
    """
    metric, better = _judged(grid, list(reports.values()))
    rows = [_row(each, out, reports, failed, metric) for each in grid.settings]
    _choose(rows, better)
    left = len(grid.configs) - len(reports) - len(failed)
    baselines = _baselines(list(reports.values()), metric)
    identity = grid.identity()
    found = {
        "sweep": out,
        **{name: identity[name] for name in ("preset", "task", "settings", "seeds", "parameters")},
        "finished": not left,
        "judged": None if metric is None else {"metric": metric, "better": better},
        "rows": rows,
        "baselines": baselines,
    }
    return found | {"verdict": _verdict(found), "notes": _at_the_edge(grid, rows, better)}


def _at_the_edge(grid: Grid, rows: Sequence[Row], better: str) -> list[str]:
    """Say for each cell whether its best learning rate is the least or the highest of all."""
    tried = sorted(set(grid.axes.get(RATE, ())))
    if len(tried) < 2:
        return []
    by_cell: dict[Any, list[Row]] = {}
    for row in rows:
        by_cell.setdefault(row["settings"].get(CELL), []).append(row)
    notes = []
    choose = min if better == "lower" else max
    for cell, several in by_cell.items():
        states = {run["state"] for row in several for run in row["runs"]}
        known = [row for row in several if _is_whole(row)]
        if not known or "unfinished" in states:
            continue
        best = choose(known, key=lambda row: row["valid"]["mean"])["settings"][RATE]
        if best in (tried[0], tried[-1]):
            end = "highest" if best == tried[-1] else "lowest"
            of = "" if cell is None else f" of {worded(cell)}"
            notes.append(f"the best rate{of} is the {end} that was tried, {worded(best)}")
    return notes


def _is_whole(row: Row) -> bool:
    """Return whether all the seeds of a row are finished, and validated."""
    return row["valid"] is not None and all(run["state"] == "finished" for run in row["runs"])


def _judged(grid: Grid, reports: Sequence[Report]) -> tuple[str | None, str]:
    """Return by which metric settings are compared; of several vocabularies, by letters."""
    if not reports:
        return None, "lower"
    metric, better = judged_by(reports[0])
    several = {judged_by(report)[0] for report in reports} != {metric}
    texts = metric == "perplexity" and any(name in grid.axes for name in _TEXTS)
    if several or not texts:
        return metric, better
    return "bits_per_char", "lower"


def _row(
    setting: Setting,
    out: str,
    reports: Mapping[str, Report],
    failed: Mapping[str, str],
    metric: str | None,
) -> Row:
    runs = []
    for name, config in setting.configs.items():
        report, run = reports.get(name), {"run": f"{out}/{name}", "seed": config.seed}
        if report is not None:
            figures = {s: (report[s] or {}).get(metric) for s in SPLITS}
            costs = {"steps": report["steps"], "seconds": report["train_seconds"]}
            runs.append({**run, "state": "finished", **figures, **costs})
        elif name in failed:
            runs.append({**run, "state": "failed", "reason": failed[name]})
        else:
            runs.append({**run, "state": "unfinished"})
    done = [run for run in runs if run["state"] == "finished"]
    counted = setting.counted
    return {
        "settings": setting.values,
        **{split: _joined([run[split] for run in done]) for split in SPLITS},
        "parameters": counted and counted.parameters,
        "state": counted and counted.state,
        # the first run of a kernel may have compiled it, and a median does not count that
        **{name: _median([run[name] for run in done]) for name in ("steps", "seconds")},
        "best": False,
        "runs": runs,
    }


def _joined(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Return the mean and the deviation of seeds; None where a figure is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "deviation": deviation}


def _median(values: Sequence[float]) -> float | None:
    middle = statistics.median(values) if values else None
    return int(middle) if middle is not None and values[0] == middle == int(middle) else middle


def _choose(rows: list[Row], better: str) -> None:
    """Mark the row that is best by validation, of those all of whose seeds are finished."""
    known = [row for row in rows if _is_whole(row)]
    if known:
        choose = min if better == "lower" else max
        choose(known, key=lambda row: row["valid"]["mean"])["best"] = True


def _baselines(reports: Sequence[Report], metric: str | None) -> dict[str, Any]:
    """Return the baselines that are the same in every run, and their figures on each split."""
    found: dict[str, Any] = {}
    if not reports or metric is None:
        return found
    for name in reports[0]["baselines"]:
        told = [_figures(report, name, metric) for report in reports]
        if all(each == told[0] for each in told):
            found[name] = told[0]
    return found


def _figures(report: Report, name: str, metric: str) -> dict[str, float | None]:
    judged = "test" if report["test"] is not None else "valid"
    figures: dict[str, float | None] = dict.fromkeys(SPLITS)
    figures["valid"] = report.get("valid_baselines", {}).get(name, {}).get(metric)
    figures[judged] = report["baselines"].get(name, {}).get(metric)
    return figures


def _verdict(result: Mapping[str, Any]) -> str:
    """Say which setting is best by validation, and whether it beats the best baseline."""
    best = next((row for row in result["rows"] if row["best"]), None)
    if best is None:
        if any(row["test"] and not row["valid"] for row in result["rows"]):
            return "there is no validation split, so no setting is chosen: the test is no choice"
        return "no setting is finished with all its seeds, so none is chosen"
    metric = result["judged"]["metric"]
    means = {s: None if best[s] is None else {metric: best[s]["mean"]} for s in SPLITS}
    split = "valid" if means["test"] is None else "test"
    rivals = {name: {metric: told[split]} for name, told in result["baselines"].items()}
    said = verdict({**means, "baselines": rivals, "judged": result["judged"]})
    if len(result["rows"]) == 1:
        return said
    return f"best by validation: {label(best['settings'])}; {said}"


def tell(result: Mapping[str, Any], columns: int | None = None) -> Iterator[str]:
    """Yield the lines of a table, a setting a row.

    Args:
        result: as `compose` returns it.
        columns: of characters that there is room for.
    """
    if result["judged"] is None:
        return
    metric = result["judged"]["metric"]
    called = short([*result["settings"]])
    heads = [words(name) for name in called.values()] or [""]
    costs = ["parameters", "state"] if result["rows"][0]["parameters"] is not None else []
    rows = [[*heads, "validation", "test", *costs, "seconds", "steps"]]
    for row in result["rows"]:
        cells = [worded(row["settings"][name]) for name in called] or [result["preset"]]
        for split in SPLITS:
            mark = (" *" if row["best"] else "  ") if split == "valid" else ""
            cells.append(f"{_cell(metric, row, split)}{mark}")
        cells += [f"{row[name]:,}" for name in costs]
        cells += [_cost(row["seconds"], 1), _cost(row["steps"], 0)]
        rows.append(cells)
    for name, told in result["baselines"].items():
        figures = [shown(metric, told["valid"]) + "  ", shown(metric, told["test"])]
        figures = ["  " if told["valid"] is None else figures[0], figures[1]]
        rows.append([name, *[""] * (len(heads) - 1), *figures, *[""] * (len(costs) + 2)])
    yield from laid_out(rows, columns)


def _cell(metric: str, row: Mapping[str, Any], split: str) -> str:
    done = [run for run in row["runs"] if run["state"] == "finished"]
    joined = row[split]
    if joined is None:
        lost = [run[split] for run in done if run[split] is None]
        if done and len(lost) == len(done):
            return shown(metric, None)
        return "overflow" if lost and metric_of(metric).overflows else "-"
    said = shown(metric, joined["mean"])
    if joined["deviation"] is not None and abs(joined["mean"]) < FAR:
        said += f" \u00b1 {spread(joined['deviation'])}"
    return said if len(done) == len(row["runs"]) else f"{said} ({len(done)})"


def _cost(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:,.{places}f}"


def as_csv(result: Mapping[str, Any]) -> str:
    """Return the table as CSV, a setting a row.

    Args:
        result: as `compose` returns it.
    """
    names = [*result["settings"]]
    figures = [f"{split}_{each}" for split in SPLITS for each in ("mean", "deviation")]
    costs = ["parameters", "state", "steps", "seconds"]
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["best", *names, "metric", *figures, *costs, "seeds", "failed"])
    metric = (result["judged"] or {}).get("metric", "")
    for row in result["rows"]:
        states = [run["state"] for run in row["runs"]]
        table.writerow(
            [
                int(row["best"]),
                *(worded(row["settings"][name]) for name in names),
                metric,
                *((row[s] or {}).get(each) for s in SPLITS for each in ("mean", "deviation")),
                *(row[name] for name in costs),
                states.count("finished"),
                states.count("failed"),
            ]
        )
    return written.getvalue()
