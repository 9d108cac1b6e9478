"""The texts that have a name, as commands list, show and fetch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recurra.language.options import TextOptions
from recurra.language.text.batches import StreamBatches
from recurra.language.text.corpora import CORPORA, open_corpus
from recurra.language.text.corpora.base import Corpus
from recurra.language.text.dataset import TextDataset
from recurra.language.text.tokenization import detokenize
from recurra.learning.task import NamedData

__all__ = ["DATA"]

FIRST_IDS = 100
BATCHES, BATCH_SIZE, CHUNK_LENGTH = 3, 4, 5
"""That many are shown, as the tutorial prints them."""


def _open(name: str) -> Corpus:
    return open_corpus(TextOptions(corpus=name))


def _describe(name: str) -> dict[str, Any]:
    dataset = TextDataset.open(TextOptions(corpus=name))
    first = [int(token) for token in dataset.ids("train")[:FIRST_IDS]]
    words = dataset.vocabulary.decode(first)
    spaced = dataset.rule in ("split", "words")  # the other rules keep the text's own spaces
    batches = StreamBatches(dataset.ids("train"), BATCH_SIZE, CHUNK_LENGTH)
    shown = []
    for number in range(min(BATCHES, len(batches))):
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


def _tell(shown: Mapping[str, Any]) -> Iterator[str]:
    for split, tokens in shown["splits"].items():
        yield f"{split:12}{tokens:>12,} tokens"
    yield f"{'vocabulary':12}{shown['vocabulary']:>12,} tokens, cut by {shown['rule']!r}\n"
    yield str(shown["first_ids"])
    for number, batch in enumerate(shown["batches"]):
        for letter in ("x", "y"):
            yield f"{letter.upper()}{number}: {_grid(batch[letter])}"


def _grid(rows: list[list[int]]) -> str:
    width = max(len(str(value)) for row in rows for value in row)
    lines = ["[" + " ".join(f"{value:{width}}" for value in row) + "]" for row in rows]
    return "[" + "\n     ".join(lines) + "]"


def _fetch(name: str) -> str:
    corpus = _open(name)
    corpus.verify()
    return corpus.fingerprint()


DATA = NamedData(
    kind="text",
    table=CORPORA,
    suffixes=(),
    open=_open,
    describe=_describe,
    tell=_tell,
    fetch=_fetch,
)
