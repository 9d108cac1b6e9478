"""Draw the README's picture: a forecast, the surprise of each word, a network beside its rivals.

Trains `airline` and `docstrings` as the command does, in about a minute; runs that are finished
there already are read.

    python benchmarks/first.py [--runs runs] [--out docs/first.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import recurra as rc
from recurra.series.datasets.airline import PASSENGERS
from recurra.storage.picture import canvas

SENTENCE = "the name of the module must be a red string"
AHEAD = 12
BANDS = ((95, "#dbe6f1"), (80, "#b3cce3"))
ROWS = {
    "network": "network",
    "ar": "auto-\nregression",
    "growth": "last year,\ngrown",
    "seasonal_naive": "last year",
}
SIZES = {"font.size": 13, "axes.titlesize": 14.5}
"""In points: a telephone shows the picture at a third of its size."""


def trained(name: str, runs: Path) -> dict[str, Any]:
    """Train a preset, or find that it was, and return its report."""
    *_, last = rc.train(rc.preset(name), out=runs / name)
    return last.report


def draw_forecast(axes: Any, runs: Path) -> None:
    """Draw the last year of the airline's passengers as it was forecast, and as it came."""
    values = np.array(PASSENGERS.split(), float)
    months = np.arange("1949-01", "1961-01", dtype="datetime64[M]").astype("datetime64[ns]")
    known = pd.DataFrame({"unique_id": "airline", "ds": months, "y": values})[:-AHEAD]
    found = rc.Forecaster.from_pretrained(runs / "airline").predict(AHEAD, history=known)
    past, year, last = slice(-4 * AHEAD, -AHEAD), months[-AHEAD - 1 :], values[-AHEAD - 1]
    for level, color in BANDS:
        low, high = (np.append(last, bound[0]) for bound in found.interval(level))
        axes.fill_between(year, low, high, color=color, lw=0, label=f"{level}% interval")
    axes.plot(months[past], values[past], color="C7", lw=2)
    axes.plot(year, np.append(last, found.median[0]), color="C0", lw=3, label="forecast")
    axes.plot(months[-AHEAD:], values[-AHEAD:], "o", color="C1", ms=5, label="as it came")
    axes.set_title("A forecast with its interval")
    axes.set_xticks(np.arange("1957", "1962", dtype="datetime64[Y]"), range(1957, 1962))
    axes.legend(loc="upper left", ncols=2, columnspacing=1, handlelength=1.5)


def draw_surprise(axes: Any, runs: Path) -> None:
    """Draw how little each word of a sentence was expected."""
    words = SENTENCE.split()
    seen = rc.explain(rc.LanguageModel.from_pretrained(runs / "docstrings"), SENTENCE)
    nats = -seen.log_probs[: len(words)]
    draw_bars(axes, words, nats, ["C1" if each == max(nats) else "C0" for each in nats], "%.1f")
    axes.set_title("Surprise by word, in nats")


def draw_rivals(axes: Any, report: dict[str, Any]) -> None:
    """Draw the forecast's error beside those of its baselines."""
    rows = {"network": report["test"], **report["baselines"]}
    values = [rows[name]["mase"] for name in ROWS]
    draw_bars(axes, list(ROWS.values()), values, ["C0", "C2", "C2", "C2"], "%.2f")
    axes.set_title("Forecast's MASE")


def draw_bars(axes: Any, names: list[str], values: Any, colors: list[str], form: str) -> None:
    """Draw a bar for each name from the top down, its number behind it."""
    places = range(len(names))  # a word may come twice
    axes.bar_label(axes.barh(places, values, color=colors), fmt=form, padding=4)
    axes.set_yticks(places, names)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", length=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--out", type=Path, default=Path("docs/first.png"))
    arguments = parser.parse_args()
    report = trained("airline", arguments.runs)
    trained("docstrings", arguments.runs)
    with canvas(arguments.out, 6, 4.9) as figure:
        import matplotlib

        matplotlib.rcParams.update(SIZES)
        top, left, right = figure.subplot_mosaic("AA;BC", height_ratios=(5, 6)).values()
        draw_forecast(top, arguments.runs)
        draw_surprise(left, arguments.runs)
        draw_rivals(right, report)


if __name__ == "__main__":
    main()
