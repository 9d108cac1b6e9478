"""The texts that can be asked for by name, and the door to all others."""

from __future__ import annotations

from pathlib import Path

from recurra.errors import DataError
from recurra.language.options import TextOptions
from recurra.language.text.corpora.base import Corpus
from recurra.language.text.corpora.files import DirectoryCorpus, FileCorpus
from recurra.table import Table

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
        ConfigError: nothing is named so.
        DataError: the path is not there, or cannot be read.

    Example:
        >>> open_corpus(TextOptions(corpus="grammar")).splits()
        ('train', 'valid', 'test')
    """
    name, path = options.corpus, Path(options.corpus).expanduser()
    if name not in CORPORA.places:
        located = options.model_copy(update={"corpus": str(path)})
        try:
            if path.is_dir():
                return DirectoryCorpus(located)
            if path.exists() or (":" not in name and (len(path.parts) > 1 or path.suffix)):
                return FileCorpus(located)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    corpus: Corpus = CORPORA[name](options)
    return corpus
