"""`recurra data`: which texts there are, what they look like, and fetching them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import Json, existing, open_console, print_json

if TYPE_CHECKING:
    from recurra.language.batches import StreamBatches
    from recurra.language.dataset import TextDataset

__all__ = ["app"]

app = typer.Typer(help="The texts there are: list them, look at one, fetch one.")
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", callback=existing, help="A corpus, a directory, a file, or module:Name."
    ),
]
_FIRST_IDS = 100
_BATCHES, _BATCH_SIZE, _CHUNK_LENGTH = 3, 4, 5  # as the tutorial prints them


@app.command("list")
def list_(json: Json = False) -> None:
    """List the texts that have a name, and where each is found."""
    from recurra.language.corpora import CORPORA
    from recurra.language.options import TextOptions

    rows = []
    for name in CORPORA:
        corpus = CORPORA[name](TextOptions(corpus=name))
        described = (inspect.getdoc(type(corpus)) or "").partition("\n")[0]
        rows.append({"name": name, "description": described, "found": corpus.found()})
    if json:
        print_json({"datasets": rows})
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        found = row["found"] or f"[yellow]not here[/yellow]: recurra data fetch {row['name']}"
        table.add_row(f"[bold]{row['name']}[/bold]", row["description"], found)
    open_console().print(table)


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Print a text's size, its first ids, and its first batches."""
    from recurra.language.batches import StreamBatches
    from recurra.language.dataset import TextDataset
    from recurra.language.options import TextOptions

    dataset = TextDataset.open(TextOptions(corpus=name))
    first = [int(token) for token in dataset.ids("train")[:_FIRST_IDS]]
    batches = StreamBatches(dataset.ids("train"), _BATCH_SIZE, _CHUNK_LENGTH)
    shown = _describe(name, dataset, first, batches)
    if json:
        print_json(shown)
        return
    console = open_console()
    for split, tokens in shown["splits"].items():
        console.print(f"{split:12}{tokens:>12,} tokens")
    console.print(f"{'vocabulary':12}{shown['vocabulary']:>12,} tokens, cut by {dataset.rule!r}\n")
    console.print(str(first), soft_wrap=True)
    for number, batch in enumerate(shown["batches"]):
        for letter in ("x", "y"):
            console.print(f"{letter.upper()}{number}: {_grid(batch[letter])}")
    console.print(f"\n[dim]{' '.join(dataset.vocabulary.decode(first))}", soft_wrap=True)


@app.command()
def fetch(name: Name, json: Json = False) -> None:
    """Find a text here, else download it; verify it either way."""
    from recurra.language.corpora import open_corpus
    from recurra.language.options import TextOptions

    corpus = open_corpus(TextOptions(corpus=name))
    corpus.verify()
    if json:
        print_json({"name": name, "found": corpus.found(), "fingerprint": corpus.fingerprint()})
    else:
        open_console().print(f"{name} is here, and whole: {corpus.found()}", markup=False)


def _describe(
    name: str, dataset: TextDataset, first: list[int], batches: StreamBatches
) -> dict[str, Any]:
    shown = []
    for number in range(min(_BATCHES, len(batches))):
        x, y = batches.batch(number)
        shown.append({"x": x.tolist(), "y": y.tolist()})
    return {
        "name": name,
        "splits": {split: len(dataset.ids(split)) for split in dataset.splits},
        "vocabulary": len(dataset.vocabulary),
        "first_ids": first,
        "batches": shown,
    }


def _grid(rows: list[list[int]]) -> str:
    width = max(len(str(value)) for row in rows for value in row)
    lines = ["[" + " ".join(f"{value:{width}}" for value in row) + "]" for row in rows]
    return "[" + "\n     ".join(lines) + "]"
