"""`recurra forecast` and `recurra backtest`: what comes next, and how well that was said before."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Json,
    Run,
    existing,
    folded,
    open_console,
    print_json,
    print_lines,
    print_text,
    printable,
    say,
    width,
)
from recurra.cli.places import place
from recurra.learning.event import Stepped
from recurra.work import working

if TYPE_CHECKING:
    from recurra.learning.config import RunConfig
    from recurra.series.panel import Panel
    from recurra.series.use.backtest import Backtest
    from recurra.series.use.forecaster import Forecaster
    from recurra.series.use.forecasts import Forecasts

__all__ = ["backtest", "forecast"]

_HEADER = re.compile(
    rb"(unique_id,ds,yhat(,(lo|hi)-[0-9.]+)*|ds,[^\r\n]*-lo-[0-9.]+,[^\r\n]*-hi-[0-9.]+)\r?\n"
)
"""What a forecast of ours begins with."""

Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        callback=existing,
        help="Series in CSV or Parquet; what the run learned from by default.",
    ),
]


def forecast(
    run: Run,
    data: Data = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Steps ahead; the run's own by default.")
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Intervals to give, in percent, by commas.")
    ] = "80,95",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=place, help="Write the CSV there, not to stdout."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=place, help="Draw up to six series into a PNG."),
    ] = None,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Forecast what follows each series, as CSV.

    Its columns are unique_id, ds, yhat (the median), and lo-80, hi-80, ... for each interval; where
    the data came as a wide table, ds, a column a series, and its bounds as a-lo-80, a-hi-80, ...
    """
    from recurra.run.tasks import load_model
    from recurra.storage.outputs import require_file
    from recurra.storage.picture import require_picture

    percents = _percents(levels)
    if plot is not None:
        require_picture(plot)
    if out is not None:
        require_file(out, "--out", lambda head: _HEADER.match(head) is not None)
        _require_another(out, {"--data": data, "--plot": plot})
    forecaster: Forecaster = load_model(run, "forecast", allow_import=allow_import or ())
    history = forecaster.history if data is None else forecaster.read(data)
    found = forecaster.predict(horizon, history, percents)
    rows = list(found.wide() if forecaster.data.layout == "wide" else found)
    if json:
        print_json({"forecasts": list(found)})
    elif out is None:
        safe = [
            {printable(n): printable(v) if isinstance(v, str) else v for n, v in r.items()}
            for r in rows
        ]
        print_text(_as_csv(safe), end="")
    if out is not None:
        _keep(rows, out, json=json)
        say(f"{found.stamps.size:,} steps of {len(found.names):,} series are in {out}")
    if plot is not None:
        _draw(found, history, plot, title=f"{run.resolve().name}: what comes next")


def backtest(
    run: Run,
    data: Data = None,
    windows: Annotated[int, typer.Option(min=1, help="Origins to forecast from.")] = 3,
    step: Annotated[
        int | None, typer.Option(min=1, help="Steps between them; the horizon by default.")
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train anew at each origin, on what was before it.")
    ] = False,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Judge a forecaster at several origins of the past."""
    from recurra.learning.config import GIVEN
    from recurra.run.directory import RunDirectory
    from recurra.run.tasks import load_model
    from recurra.series.use.backtest import backtest as judge
    from recurra.storage.sources import Unchanged
    from recurra.table import named_by_file

    forecaster: Forecaster = load_model(run, "backtest", allow_import=allow_import or ())
    config = RunDirectory(run).config()
    if refit and config is None:
        raise typer.BadParameter(f"{run} has no config.json, which says how to train anew")
    if data is None and forecaster.data.dataset == GIVEN:
        raise typer.BadParameter(f"{run} learned from data that have no name: give --data FILE")
    options = (
        forecaster.data if data is None else forecaster.data.model_copy(update={"dataset": data})
    )
    again = _refit(config, forecaster.horizon) if refit else None
    allowed = [*(allow_import or ()), *([] if data is None else [data])]
    with named_by_file(run, allowed, Unchanged(run)):
        done = judge(forecaster, options, windows=windows, step=step, refit=again)
    metric = options.judge
    verdict = _verdict(done, metric)
    if json:
        judged = {"metric": metric, "better": "lower"}
        print_json({"run": str(run), "judged": judged, **done.as_dict(), "verdict": verdict})
        return
    print_lines(_tell(done, run.resolve().name, metric))
    print_lines(["", *folded(f"{verdict[:1].upper()}{verdict[1:]}.")])
    if not refit:
        said = (
            "The network is the run's own: an origin within what it learned from flatters it; "
            "--refit trains anew at each."
        )
        open_console().print("\n".join(folded(said)), style="dim")


def _require_another(out: Path, others: Mapping[str, str | Path | None]) -> None:
    for option, path in others.items():
        if path is not None and Path(path).resolve() == out.resolve():
            raise typer.BadParameter(f"--out and {option} are both {out}; give another")


def _percents(levels: str) -> list[float]:
    from recurra.series.use.forecasts import require_level

    try:
        percents = [float(level) for level in levels.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--levels is {levels!r}, but must be like 80,95") from None
    for percent in percents:
        require_level(percent)
    return percents


def _keep(rows: Sequence[dict[str, Any]], out: Path, *, json: bool) -> None:
    """Write the CSV; where the disk has changed its mind, print it, so that it is not lost."""
    from recurra.storage.files import write_bytes

    text = _as_csv(rows)
    try:
        write_bytes(out, text.encode())
    except OSError:
        if not json:
            print_text(text, end="")
        raise


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _draw(found: Forecasts, history: Panel, path: Path, title: str) -> None:
    import numpy as np

    from recurra.series.judging.metrics import LEVELS
    from recurra.series.pictures import save_fans
    from recurra.series.use.evidence import ShownSeries

    shown = []
    for n, name in enumerate(found.names):
        number, variable = divmod(n, len(history.targets))
        one = history.series[number]
        stamps = None if one.stamps is None else np.concatenate([one.stamps, found.stamps[n]])
        nothing = np.full(found.quantiles.shape[1], np.nan)
        values = one.values[:, variable]
        shown.append(ShownSeries(name, values, nothing, LEVELS, found.quantiles[n], stamps))
    save_fans(shown, path, title=title)


def _refit(config: RunConfig | None, horizon: int) -> Any:
    """Return a function that trains the run's own network on a panel."""
    import numpy as np

    from recurra.machine import choose_device
    from recurra.series.entry import SeriesRun
    from recurra.series.task import SeriesTask
    from recurra.series.use.history import extended
    from recurra.storage.folders import scratch_folder

    if not isinstance(config, SeriesRun):
        raise typer.BadParameter("the run is not one of series")
    same = config.data.model_copy(update={"horizon": horizon, "test": None, "valid": None})
    settings = config.model_copy(update={"data": same, "start_from": None})

    def train(panel: Panel) -> Forecaster:
        # what is kept for a test lies after the origin, where nothing is known
        unknown = np.full((len(panel) * len(panel.targets), horizon), np.nan)
        task = SeriesTask(settings, choose_device(config.device), extended(panel, unknown))
        say(f"training on {sum(map(len, panel.series)):,} observations")
        with (
            scratch_folder() as folder,
            working("training", settings.train.steps, "steps") as tell,
        ):
            for event in task.fit(folder, lambda: False):
                if isinstance(event, Stepped):
                    tell(event.step)
        return task.model

    return train


def _verdict(done: Backtest, metric: str) -> str:
    from recurra.run.report import verdict

    rivals = {name: rival.as_dict() for name, rival in done.baselines.items()}
    judged = {"metric": metric, "better": "lower"}
    said = verdict(
        {"test": done.ours.as_dict(), "valid": None, "baselines": rivals, "judged": judged}
    )
    return f"over {len(done.folds)} windows,{said.removeprefix('test')}"


def _tell(done: Backtest, name: str, metric: str) -> list[str]:
    """Return the table of all windows, and that of each by the metric that judges."""
    from recurra.run.figures import laid_out, shown, table

    systems = {name: done.ours, **done.baselines}
    rows = [(n, each.as_dict()) for n, each in systems.items()]
    lines = [*table("series", metric, "", rows, width()), ""]
    lines += folded(f"{metric} by origin, in steps from the end")
    origins = [[""], *([system] for system in systems)]
    for fold in done.folds:
        ours = [fold.ours, *(fold.baselines[system] for system in done.baselines)]
        found = [shown(metric, each.as_dict()[metric]) for each in ours]
        for row, cell in zip(origins, [f"-{fold.steps_before_end}", *found]):
            row.append(cell)
    lines += laid_out(origins, width(), [0, *(8 for _ in done.folds)])
    return [*lines, *(f"left out: {name} ({why})" for name, why in done.left_out.items())]
