"""The tasks of text, as everything else finds them: recurrent language models, and n-grams."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from recurra.language.options import (
    SIZED,
    MixtureOptions,
    NetworkOptions,
    NgramOptions,
    TextOptions,
)
from recurra.learning.config import RunConfig
from recurra.learning.metric import Metric
from recurra.learning.options import TrainOptions
from recurra.learning.task import TaskEntry, presets_in
from recurra.storage.format import Format
from recurra.table import imported

__all__ = ["FORMAT", "LANGUAGE", "NGRAM", "LanguageRun", "NgramRun"]


class LanguageRun(RunConfig):
    """A recurrent language model learns a text."""

    source_setting = "data.corpus"
    takes = "learns a text: give a corpus's name, a directory or a file"
    sized = SIZED
    sketch = "recurra.language.sketch:sketcher"

    task: Literal["language"] = Field("language", description="what is learned")
    data: TextOptions = TextOptions()
    network: NetworkOptions = NetworkOptions()
    train: TrainOptions = TrainOptions()
    mix: MixtureOptions = MixtureOptions()


class NgramRun(RunConfig):
    """The n-grams of a text are counted."""

    source_setting = LanguageRun.source_setting
    takes = LanguageRun.takes

    task: Literal["ngram"] = Field("ngram", description="what is learned")
    data: TextOptions = TextOptions()
    ngram: NgramOptions = NgramOptions()


def _is_ngrams(path: Path) -> bool:
    """Return whether another tool's n-grams are in a file; nothing is imported before one is."""
    return bool(imported("recurra.language.text.arpa:is_ngrams", "test of a file")(path))


FORMAT = Format(
    "recurra-language-model",
    versions=(1, 2),  # of a model alone, and of one that is made of others
    files=("vocabulary.json",),
    single=_is_ngrams,
)
_MODEL = "recurra.language.models.base:LanguageModel"
_PRESETS = "recurra.language.presets"
_METRICS = (
    Metric(name="perplexity", column=15, overflows=True),
    Metric(name="interval", title="95% interval", column=13),
    Metric(name="nats_per_token", column=14, places=4, overflows=True),
    Metric(name="bits_per_char", column=13, places=4, overflows=True),
    Metric(name="loss", places=4),
)

LANGUAGE = TaskEntry(
    config=LanguageRun,
    data="recurra.language.described:DATA",
    task="recurra.language.task:LanguageTask",
    model=_MODEL,
    format=FORMAT,
    metrics=_METRICS,
    presets=presets_in(
        _PRESETS,
        "docstrings words characters ptb-seed ptb-small ptb-medium ptb-large ptb-quick ptb-tied "
        "ptb-awd ptb-mos ptb-minutes",
    ),
)
NGRAM = TaskEntry(
    config=NgramRun,
    task="recurra.language.task:NgramTask",
    model=_MODEL,
    format=FORMAT,
    metrics=_METRICS,
    presets=presets_in(_PRESETS, "kn1 kn2 kn3 kn4 kn5"),
)
