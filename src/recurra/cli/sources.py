"""The texts, series and labels that have a name, and what a name or a file stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from recurra.table import Table

__all__ = ["Kind", "kind_of", "open_source", "tables"]

Kind = Literal["text", "series", "labels"]


def tables() -> dict[Kind, Table]:
    """Return the tables of names, by what they hold."""
    from recurra.labels.datasets import DATASETS as LABELS
    from recurra.language.text.corpora import CORPORA
    from recurra.series.datasets import DATASETS as SERIES

    return {"text": CORPORA, "series": SERIES, "labels": LABELS}


def kind_of(name: str) -> Kind:
    """Return what a name or a file stands for; what is like no other is a text.

    Args:
        name: a name, a path, or `module:Name`.

    Example:
        >>> kind_of("sales.csv"), kind_of("iris"), kind_of("novel.txt")
        ('series', 'labels', 'text')
    """
    from difflib import get_close_matches

    known = tables()
    for kind, table in known.items():
        if name in table.places:
            return kind
    path = name.lower().removesuffix(".gz")
    if path.endswith((".csv", ".tsv", ".parquet")):
        return "series"
    if path.endswith(".ts"):
        return "labels"
    names = {other: kind for kind, table in known.items() for other in table}
    close = [] if Path(name).exists() else get_close_matches(name, names, n=1)
    return names[close[0]] if close else "text"


def open_source(kind: Kind, name: str) -> Any:
    """Return where data come from: a `Corpus`, a `SeriesSource` or a `LabelSource`.

    Args:
        kind: which of them.
        name: a name, a path, or `module:Name`.

    Raises:
        ConfigError: nothing is named so.

    Example:
        >>> open_source("labels", "iris").found()
        "part of this package's dependencies"
    """
    if kind == "text":
        from recurra.language.options import TextOptions
        from recurra.language.text.corpora import open_corpus

        return open_corpus(TextOptions(corpus=name))
    if kind == "series":
        from recurra.series.datasets import open_source as open_series
        from recurra.series.options import SeriesOptions

        return open_series(SeriesOptions(dataset=name))
    from recurra.labels.datasets import open_source as open_labels
    from recurra.labels.options import LabelOptions

    return open_labels(LabelOptions(dataset=name))
