"""The labelled sequences that have a name, as commands list, show and fetch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recurra.labels.datasets import DATASETS, open_labels, open_source
from recurra.labels.datasets.base import LabelSource
from recurra.labels.options import LabelOptions
from recurra.learning.task import NamedData, row, spread

__all__ = ["DATA"]


def _open(name: str) -> LabelSource:
    return open_source(LabelOptions(dataset=name))


def _describe(name: str) -> dict[str, Any]:
    data = open_labels(LabelOptions(dataset=name))
    return {
        "name": name,
        "task": "labels",
        "classes": list(data.classes),
        "examples": {split: len(part) for split, part in data.splits.items()},
        "published": data.published,
        "counts": {split: part.counts() for split, part in data.splits.items()},
        "features": data.split("train").num_features,
        "lengths": list(data.lengths),
    }


def _tell(shown: Mapping[str, Any]) -> Iterator[str]:
    for split, count in shown["examples"].items():
        held = "" if shown["published"] or split == "train" else ", held out by us"
        counts = ", ".join(f"{name} {n:,}" for name, n in shown["counts"][split].items())
        yield row(split, f"{count:,} examples ({counts}){held}")
    yield row("classes", f"{len(shown['classes'])}: {', '.join(shown['classes'])}")
    yield row("sequences", f"{shown['features']} features, {spread(shown['lengths'])} steps")


def _fetch(name: str) -> str:
    return open_labels(LabelOptions(dataset=name)).fingerprint()


DATA = NamedData(
    kind="labels",
    table=DATASETS,
    suffixes=(".ts",),
    open=_open,
    describe=_describe,
    tell=_tell,
    fetch=_fetch,
)
