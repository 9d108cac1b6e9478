"""`recurra data`: which texts, series and labels there are, what they look like, fetching them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import Json, existing, open_console, print_json
from recurra.cli.sources import Kind, kind_of, open_source, tables

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app"]

app = typer.Typer(help="The data there are: list them, look at one, fetch one.")
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", callback=existing, help="A name, a directory, a file, or module:Name."
    ),
]
As = Annotated[
    Kind | None,
    typer.Option("--as", help="What a file of your own holds; told by its name where not given."),
]
_FIRST_IDS = 100
_FIRST_VALUES = 12
_BATCHES, _BATCH_SIZE, _CHUNK_LENGTH = 3, 4, 5  # as the tutorial prints them


@app.command("list")
def list_(json: Json = False) -> None:
    """List the data that have a name, and where each is found."""
    rows = []
    for kind, table in tables().items():
        for name in table:
            source = open_source(kind, name)
            described = (inspect.getdoc(type(source)) or "").partition("\n")[0]
            found = source.found()
            rows.append({"name": name, "task": kind, "description": described, "found": found})
    if json:
        print_json({"datasets": rows})
        return
    from rich.table import Table as Grid

    grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        found = row["found"] or f"[yellow]not here[/yellow]: recurra data fetch {row['name']}"
        grid.add_row(f"[bold]{row['name']}[/bold]", row["task"], row["description"], found)
    open_console().print(grid)


@app.command()
def show(name: Name, as_: As = None, json: Json = False) -> None:
    """Print how much data there are, and the first of them."""
    kind = as_ or kind_of(name)
    ways: dict[Kind, tuple[Callable[..., dict[str, Any]], Callable[..., None]]] = {
        "text": (_describe_text, _tell_text),
        "series": (_describe_series, _tell_series),
        "labels": (_describe_labels, _tell_labels),
    }
    describe, tell = ways[kind]
    shown = describe(name)
    words = shown.pop("words", None)
    if json:
        print_json(shown)
    else:
        tell(open_console(), shown, words)


@app.command()
def fetch(name: Name, as_: As = None, json: Json = False) -> None:
    """Find the data here, else download them; verify them either way."""
    kind = as_ or kind_of(name)
    source = open_source(kind, name)
    if kind == "text":
        source.verify()
        fingerprint = source.fingerprint()
    elif kind == "series":
        fingerprint = source.open().fingerprint
    else:
        from recurra.labels.datasets import open_labels
        from recurra.labels.options import LabelOptions

        fingerprint = open_labels(LabelOptions(dataset=name)).fingerprint()
    found = source.found()
    if json:
        print_json({"name": name, "found": found, "fingerprint": fingerprint})
    else:
        open_console().print(f"{name} is here, and whole: {found}", markup=False)


def _describe_text(name: str) -> dict[str, Any]:
    from recurra.language.options import TextOptions
    from recurra.language.text.batches import StreamBatches
    from recurra.language.text.dataset import TextDataset
    from recurra.language.text.tokenization import detokenize

    dataset = TextDataset.open(TextOptions(corpus=name))
    first = [int(token) for token in dataset.ids("train")[:_FIRST_IDS]]
    words = dataset.vocabulary.decode(first)
    spaced = dataset.rule in ("split", "words")  # the other rules keep the text's own spaces
    batches = StreamBatches(dataset.ids("train"), _BATCH_SIZE, _CHUNK_LENGTH)
    shown = []
    for number in range(min(_BATCHES, len(batches))):
        x, y = batches.batch(number)
        shown.append({"x": x.tolist(), "y": y.tolist()})
    return {
        "name": name,
        "task": "text",
        "splits": {split: len(dataset.ids(split)) for split in dataset.splits},
        "vocabulary": len(dataset.vocabulary),
        "rule": dataset.rule,
        "first_ids": first,
        "batches": shown,
        "words": " ".join(words) if spaced else detokenize(words, dataset.rule).rstrip("\n"),
    }


def _tell_text(console: Console, shown: dict[str, Any], words: str) -> None:
    for split, tokens in shown["splits"].items():
        console.print(f"{split:12}{tokens:>12,} tokens")
    console.print(f"{'vocabulary':12}{shown['vocabulary']:>12,} tokens, cut by {shown['rule']!r}\n")
    console.print(str(shown["first_ids"]), soft_wrap=True)
    for number, batch in enumerate(shown["batches"]):
        for letter in ("x", "y"):
            console.print(f"{letter.upper()}{number}: {_grid(batch[letter])}")
    console.print(f"\n{words}", style="dim", markup=False, soft_wrap=True)


def _describe_series(name: str) -> dict[str, Any]:
    from recurra.series.data.dataset import SeriesDataset
    from recurra.series.options import SeriesOptions

    dataset = SeriesDataset.open(SeriesOptions(dataset=name))
    panel, lengths = dataset.panel, dataset.lengths
    kept = {"valid": dataset.valid, "test": dataset.test}
    first = panel.series[0]
    stamps = None if first.stamps is None else [str(s) for s in first.stamps[:_FIRST_VALUES]]
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
        "first": [float(value) for value in first.values[:_FIRST_VALUES, 0]],
    }


def _tell_series(console: Console, shown: dict[str, Any], words: None) -> None:
    _tell(console, "series", f"{shown['series']:,}, {_range(shown['lengths'])} steps each")
    _tell(console, "variables", ", ".join(shown["variables"]))
    season = "none" if shown["season"] == 1 else f"{shown['season']} steps"
    _tell(console, "frequency", f"{shown['frequency']}, season {season}")
    for split, count in shown["splits"].items():
        _tell(console, split, f"{count:,} observations")
    _tell(console, "horizon", f"{shown['horizon']} steps")
    for kind, names in shown["covariates"].items():
        if names:
            _tell(console, kind, ", ".join(names))
    for note in shown["notes"]:
        _tell(console, "note", note)
    values = ", ".join(f"{value:g}" for value in shown["first"])
    console.print(f"\n{shown['first_series']} begins {values}", markup=False, soft_wrap=True)


def _describe_labels(name: str) -> dict[str, Any]:
    from recurra.labels.datasets import open_labels
    from recurra.labels.options import LabelOptions

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


def _tell_labels(console: Console, shown: dict[str, Any], words: None) -> None:
    for split, count in shown["examples"].items():
        held = "" if shown["published"] or split == "train" else ", held out by us"
        counts = ", ".join(f"{name} {n:,}" for name, n in shown["counts"][split].items())
        _tell(console, split, f"{count:,} examples ({counts}){held}")
    _tell(console, "classes", f"{len(shown['classes'])}: {', '.join(shown['classes'])}")
    _tell(console, "sequences", f"{shown['features']} features, {_range(shown['lengths'])} steps")


def _tell(console: Console, name: str, said: str) -> None:
    console.print(f"{name:12}{said}", markup=False, soft_wrap=True)


def _range(bounds: list[int]) -> str:
    least, most = bounds
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _grid(rows: list[list[int]]) -> str:
    width = max(len(str(value)) for row in rows for value in row)
    lines = ["[" + " ".join(f"{value:{width}}" for value in row) + "]" for row in rows]
    return "[" + "\n     ".join(lines) + "]"
