"""`recurra compare`: several runs, their mixtures and their baselines in one table and picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import Json, existing, print_json, print_lines, say, width
from recurra.cli.places import place

if TYPE_CHECKING:
    from recurra.learning.config import RunConfig

__all__ = ["compare"]

Report = dict[str, Any]
Row = dict[str, Any]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", callback=existing, help="Directories of runs, or of sweeps."
        ),
    ],
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=place,
            help="Draw validation by minutes of training into a .png.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print several runs and their baselines, the best first.

    Runs are named by the settings in which they differ; those that differ only in their seed are
    also averaged. Where vocabularies differ, the order is that of bits per character.
    """
    from recurra.run.directory import RunDirectory
    from recurra.run.names import differing
    from recurra.storage.picture import require_picture

    if plot is not None:
        require_picture(plot)
    runs = _runs(list(dict.fromkeys(runs)))
    reports = [_report(run) for run in runs]
    configs = [RunDirectory(run).config() for run in runs]
    metric, better = _judged(runs, reports)
    groups = _groups(configs)
    systems = _systems(runs, reports, differing(configs))
    shared = differing(configs, seeds=False)
    if metric == "perplexity" and len({_vocabulary(*each) for each in zip(runs, configs)}) > 1:
        metric = _bits(systems)
    systems += _averaged(systems, runs, [*zip(reports, shared)], groups, metric)
    systems.sort(key=lambda row: _rank(row["metrics"].get(metric), better))
    if json:
        print_json({"judged": {"metric": metric, "better": better}, "systems": systems})
    else:
        _tell(systems, reports, configs, metric)
    if plot is not None:
        titles = _titles(runs, reports, groups, shared)
        _draw(plot, runs, reports, titles, metric, better)


def _runs(given: list[Path]) -> list[Path]:
    """Return the runs that are meant: of a sweep, or of all that lies in one, those that are done.

    What `DIR/*` names beside them, its table and its picture, is no run.
    """
    from recurra.errors import RunError
    from recurra.run.directory import RunDirectory
    from recurra.tune.folder import runs_in

    found: list[Path] = []
    unfinished: list[str] = []
    for path in given:
        inside, around = runs_in(path), runs_in(path.parent)
        meant = [path] if inside is None else inside
        for run in meant:
            if (inside is None and around is None) or RunDirectory(run).report_path.is_file():
                found.append(run)
            elif inside is not None or run in (around or []):
                unfinished.append(run.name)
    if unfinished:
        say(f"left out, as they are not finished: {', '.join(unfinished)}")
    if not found:
        raise RunError(f"{', '.join(map(str, given))}: no run there is finished")
    return list(dict.fromkeys(found))


def _tell(
    systems: list[Row], reports: list[Report], configs: list[RunConfig | None], metric: str
) -> None:
    from recurra.run.figures import table

    splits = {row["split"] for row in systems}
    split = splits.pop() if len(splits) == 1 else ""
    names = [_called(row) + ("" if split else f" ({row['split']})") for row in systems]
    rows = [(name, row["metrics"]) for name, row in zip(names, systems)]
    print_lines(table(reports[0]["task"], metric, split, rows, width()))
    sources = list(
        dict.fromkeys("unknown data" if config is None else config.source for config in configs)
    )
    if len(sources) > 1:
        say(f"these runs learned from different data: {', '.join(sources)}")
    if metric == "bits_per_char":
        say("their vocabularies differ: they are ordered by bits per character, not perplexity")


def _called(row: Row) -> str:
    """Return a row's name, and the settings that tell it from others unless the name says them."""
    from recurra.run.names import label

    name = str(row["name"])
    said = [label({key: value}) for key, value in row.get("settings", {}).items()]
    if row["run"] is None or all(each in name for each in said):
        return name
    return f"{name} ({', '.join(said)})"


def _report(run: Path) -> Report:
    from recurra.errors import RunError
    from recurra.run.directory import RunDirectory

    report = RunDirectory(run).report()
    if report is None:
        raise RunError(f"{run} has no report.json: it is not a run, or not finished")
    return report


def _judged(runs: list[Path], reports: list[Report]) -> tuple[str, str]:
    """Return the metric by which all of them are judged, and which way it is better."""
    from recurra.errors import ConfigError
    from recurra.run.report import judged_by

    judged = [judged_by(report) for report in reports]
    if len({metric for metric, _ in judged}) > 1:
        said = ", ".join(f"{run} by {metric}" for run, (metric, _) in zip(runs, judged))
        raise ConfigError(f"these runs are judged by different metrics: {said}")
    return judged[0]


def _systems(runs: list[Path], reports: list[Report], settings: list[dict[str, Any]]) -> list[Row]:
    """Return every run, every mixture, and every baseline once; with its run where they differ."""
    from recurra.run.report import mixture_of, split_of

    found: list[Row] = []
    rivals: dict[str, list[tuple[Path, str, Any]]] = {}
    for run, report, values in zip(runs, reports, settings):
        split, metrics = split_of(report)
        row = {"name": str(run), "run": str(run), "split": split, "metrics": metrics or {}}
        row["settings"] = values
        found.append(row)
        if mixed := mixture_of(report):
            found.append({**row, "name": f"{run}/mixture", "metrics": mixed})
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


def _vocabulary(run: Path, config: RunConfig | None) -> str:
    """Return what is the same for two runs only if their perplexities compare."""
    from recurra.learning.config import settings
    from recurra.storage.files import sha256

    known = {} if config is None else settings(config)
    names = ["corpus", "split"]
    saved = run / "model" / "vocabulary.json"
    if not saved.exists():  # else that is what counts: auto, or another run's, may be asked for
        names += ["rule", "vocabulary_size", "min_count", "errors"]
    facts = [known.get(f"data.{name}") for name in names]
    return repr([*facts, sha256(saved) if saved.exists() else None])


def _bits(systems: list[Row]) -> str:
    """Return the metric by which runs of different vocabularies compare; refuse without it."""
    from recurra.errors import ConfigError

    lacking = [
        row["name"] for row in systems if row["run"] and row["metrics"].get("bits_per_char") is None
    ]
    if lacking:
        raise ConfigError(
            "the vocabularies of these runs differ, so their perplexities do not compare, and "
            f"{', '.join(lacking)} says no bits_per_char; train again with this version"
        )
    return "bits_per_char"


def _groups(configs: list[RunConfig | None]) -> list[int]:
    """Return for each run the first that differs from it in the seed, and in nothing else."""
    plain = [config and config.model_copy(update={"seed": 0}) for config in configs]
    first = [plain.index(config) if config else n for n, config in enumerate(plain)]
    seeds = [(group, config and config.seed) for group, config in zip(first, configs)]
    # Of two runs with the same seed nobody knows what made them differ.
    unclear = {each[0] for each in seeds if seeds.count(each) > 1}
    return [n if group in unclear else group for n, group in enumerate(first)]


def _members(groups: list[int]) -> dict[int, list[int]]:
    """Return the groups of more than one run: the first -> the places of all."""
    places = {first: [n for n, other in enumerate(groups) if other == first] for first in groups}
    return {first: all_ for first, all_ in places.items() if len(all_) > 1}


def _averaged(
    systems: list[Row],
    runs: list[Path],
    told: list[tuple[Report, dict[str, Any]]],
    groups: list[int],
    metric: str,
) -> list[Row]:
    """Return a row of means for each group of seeds, and one for their mixtures.

    Each run is told by its report, and by the settings in which it differs from other groups.
    """
    from statistics import mean, stdev

    from recurra.run.figures import spread
    from recurra.run.names import label

    found = []
    for first, places in _members(groups).items():
        for kind in ("", "/mixture"):
            names = [f"{runs[n]}{kind}" for n in places]
            rows = [row for row in systems if row["name"] in names]
            values = [row["metrics"].get(metric) for row in rows]
            if len(rows) < len(places) or None in values:
                continue
            keys = set.intersection(*({*row["metrics"]} for row in rows))
            columns = {
                key: [row["metrics"][key] for row in rows]
                for key in rows[0]["metrics"]
                if key in keys and not key.startswith("perplexity_")
            }
            known = {key: column for key, column in columns.items() if None not in column}
            deviation = stdev(values)
            report, apart = told[first]
            title = f"{label(apart) or report['preset']}{kind}, {len(rows)} seeds"
            found.append(
                {
                    "name": f"{title} (\u00b1 {spread(deviation)})",
                    "run": None,
                    "runs": [str(runs[n]) for n in places],
                    "settings": apart,
                    "split": rows[0]["split"],
                    "metrics": {key: mean(column) for key, column in known.items()},
                    "deviation": {key: stdev(column) for key, column in known.items()},
                }
            )
    return found


def _titles(
    runs: list[Path], reports: list[Report], groups: list[int], shared: list[dict[str, Any]]
) -> list[str]:
    """Return what each run is called in the picture: by its settings, or else by its folder."""
    from recurra.run.names import label

    short = [run.resolve().name for run in runs]
    found = []
    for n, (run, group) in enumerate(zip(runs, groups)):
        said = label(shared[n])
        same = {groups[m] for m, values in enumerate(shared) if label(values) == said}
        if group in _members(groups) and not said:
            said = reports[group]["preset"]
        elif not said or len(same) > 1:
            said = short[n] if short.count(short[n]) == 1 else str(run)
        found.append(said)
    return found


def _draw(
    path: Path,
    runs: list[Path],
    reports: list[Report],
    names: list[str],
    metric: str,
    better: str,
) -> None:
    from recurra.run.directory import RunDirectory
    from recurra.run.plot import comparison
    from recurra.storage.picture import canvas

    curves = [
        comparison.curve(name, RunDirectory(run).metrics.records(), report, metric)
        for name, run, report in zip(names, runs, reports)
    ]
    baselines = list(dict.fromkeys(each for report in reports for each in _rivals(report, metric)))
    with canvas(path, 10, 5.4) as figure:
        comparison.draw(figure, curves, baselines, metric=metric, better=better)


def _rivals(report: Report, metric: str) -> list[tuple[str, float]]:
    """Return the baselines on validation, or with their split where only the test's are known."""
    known = report.get("valid_baselines") or report["baselines"]
    aside = "" if "valid_baselines" in report or report["test"] is None else " on test"
    return [
        (f"{name}{aside}", row[metric])
        for name, row in known.items()
        if row.get(metric) is not None
    ]
