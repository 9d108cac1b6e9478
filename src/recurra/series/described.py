"""The series that have a name, as commands list, show and fetch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recurra.learning.task import NamedData, row, spread
from recurra.series.data.dataset import SeriesDataset
from recurra.series.datasets import DATASETS, open_source
from recurra.series.datasets.base import SeriesSource
from recurra.series.options import SeriesOptions

__all__ = ["DATA"]

FIRST_VALUES = 12
"""That many are shown."""


def _open(name: str) -> SeriesSource:
    return open_source(SeriesOptions(dataset=name))


def _describe(name: str) -> dict[str, Any]:
    dataset = SeriesDataset.open(SeriesOptions(dataset=name))
    panel, lengths = dataset.panel, dataset.lengths
    kept = {"valid": dataset.valid, "test": dataset.test}
    first = panel.series[0]
    stamps = None if first.stamps is None else [str(s) for s in first.stamps[:FIRST_VALUES]]
    return {
        "name": name,
        "task": "series",
        "series": len(panel),
        "variables": list(panel.targets),
        "frequency": panel.frequency.name,
        "season": dataset.season,
        "horizon": dataset.horizon,
        "splits": {"train": int(dataset.end("train").clip(0).sum())}
        | {split: int(lengths.clip(0, steps).sum()) for split, steps in kept.items()},
        "lengths": [int(lengths.min()), int(lengths.max())],
        "covariates": {kind: list(getattr(panel, kind)) for kind in ("past", "future", "static")},
        "notes": list(panel.notes),
        "first_series": first.unique_id,
        "first_stamps": stamps,
        "first": [float(value) for value in first.values[:FIRST_VALUES, 0]],
    }


def _tell(shown: Mapping[str, Any]) -> Iterator[str]:
    yield row("series", f"{shown['series']:,}, {spread(shown['lengths'])} steps each")
    yield row("variables", ", ".join(shown["variables"]))
    season = "none" if shown["season"] == 1 else f"{shown['season']} steps"
    yield row("frequency", f"{shown['frequency']}, season {season}")
    for split, count in shown["splits"].items():
        yield row(split, f"{count:,} observations")
    yield row("horizon", f"{shown['horizon']} steps")
    for kind, names in shown["covariates"].items():
        if names:
            yield row(kind, ", ".join(names))
    for note in shown["notes"]:
        yield row("note", note)
    values = ", ".join(f"{value:g}" for value in shown["first"])
    yield f"\n{shown['first_series']} begins {values}"


def _fetch(name: str) -> str:
    return _open(name).open().fingerprint


DATA = NamedData(
    kind="series",
    table=DATASETS,
    suffixes=(".csv", ".tsv", ".parquet"),
    open=_open,
    describe=_describe,
    tell=_tell,
    fetch=_fetch,
)
