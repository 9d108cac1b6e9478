"""The texts that can be asked for by name, and the door to all others."""

from __future__ import annotations

from recurra.errors import ConfigError
from recurra.language.options import TextOptions
from recurra.language.text.corpora.base import Corpus
from recurra.language.text.corpora.files import DirectoryCorpus, FileCorpus
from recurra.table import Table, located

__all__ = ["CORPORA", "open_corpus"]

CORPORA = Table(
    "corpus",
    {
        "docstrings": "recurra.language.text.corpora.docstrings:DocstringsCorpus",
        "grammar": "recurra.language.text.corpora.grammar:GrammarCorpus",
        "ptb": "recurra.language.text.corpora.ptb:PtbCorpus",
    },
    base="recurra.language.text.corpora.base:Corpus",
)


def open_corpus(options: TextOptions) -> Corpus:
    """Return the corpus that `options.corpus` names: a name, a directory, a file or module:Name.

    Args:
        options: handed on to the corpus.

    Raises:
        ConfigError: nothing is named so, or it has splits of its own and others are asked for.
        DataError: the path is not there, or cannot be read.

    Example:
        >>> open_corpus(TextOptions(corpus="grammar")).splits()
        ('train', 'valid', 'test')
    """
    name = options.corpus
    if name not in CORPORA.places and (path := located(name)) is not None:
        own = options.model_copy(update={"corpus": str(path)})
        if path.is_dir():
            _require_own_splits(options)
            return DirectoryCorpus(own)
        return FileCorpus(own)
    if name in CORPORA.places:
        _require_own_splits(options)
    corpus: Corpus = CORPORA[name](options)
    return corpus


def _require_own_splits(options: TextOptions) -> None:
    asked, usual = options.split, TextOptions.model_fields["split"].default
    if asked != usual:
        raise ConfigError(
            f"data.split={asked} divides a single file, but {options.corpus} has splits of its "
            "own: leave data.split out"
        )
