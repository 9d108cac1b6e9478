"""A corpus as token ids on disk, memory-mapped: a text larger than the memory is no matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.language.options import TextOptions
from recurra.language.text.corpora import open_corpus
from recurra.language.text.corpora.base import Corpus, digest
from recurra.language.text.spelling import Spelling
from recurra.language.text.tokenization import UNK, Merges, learn_merges, read_text, tokens
from recurra.language.text.vocabulary import Vocabulary
from recurra.storage.files import Content, Sink, json_bytes
from recurra.storage.folders import cached, scratch_file
from recurra.storage.reading import read_json
from recurra.work import worked_on, working

__all__ = ["SplitFacts", "TextDataset", "encode_text"]

RULES = 1  # version of the tokenization rules; any change to what they yield raises it
VERSION = 2  # of what is cached, the nats of spelling included
BYTE_PAIR_TOKENS = 8_000  # unless `vocabulary_size` says otherwise


@dataclass(frozen=True)
class SplitFacts:
    """What was counted while a text became ids.

    Args:
        tokens: how many there are.
        oov: how many became `<unk>`; a literal `<unk>` is not counted.
        characters: of the text, newlines included.
        replaced: byte sequences that were not UTF-8 and became U+FFFD.
        spelling_nats: of spelling the tokens that `oov` counts, letter by letter.

    Example:
        >>> SplitFacts(tokens=10, oov=2, characters=50, replaced=0).oov_rate
        0.2
    """

    tokens: int
    oov: int
    characters: int
    replaced: int
    spelling_nats: float = 0.0

    @property
    def oov_rate(self) -> float:
        """The share of tokens outside the vocabulary, 0 ... 1."""
        return self.oov / self.tokens if self.tokens else 0.0


class TextDataset:
    """The splits of a corpus as ids, with the vocabulary of its training split.

    Made by `open`. Ids and vocabulary are kept in the cache folder, under names that hold all
    they depend on, so that the second opening is quick.

    Example:
        >>> data = TextDataset.open("grammar")
        >>> data.splits, len(data.vocabulary)
        (('train', 'valid', 'test'), 141)
        >>> data.vocabulary.decode(data.ids("test")[:4])
        ['this', 'quiet', 'ship', 'near']
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        rule: str,
        fingerprint: str,
        ids: dict[str, NDArray[np.int32]],
        facts: dict[str, SplitFacts],
    ) -> None:
        self.vocabulary = vocabulary
        self.rule = rule
        self.fingerprint = fingerprint
        self._ids = ids
        self._facts = facts

    @classmethod
    def open(
        cls, text: TextOptions | str | Path, vocabulary: Vocabulary | None = None
    ) -> TextDataset:
        """Return a text, tokenised and encoded.

        Args:
            text: a corpus's name, as `"ptb"`, a directory or a file; or a preset's `data`, which
                says too how it becomes tokens.
            vocabulary: the one to use; by default it is counted in the training split.

        Raises:
            ConfigError: no corpus is named so.
            DataError: the text cannot be read, is not UTF-8, or a split has no tokens.
            ResourceError: the disk is full.

        Example:
            >>> data = TextDataset.open(TextOptions(corpus="grammar"))
            >>> data.ids("train").dtype, data.facts("train").oov
            (dtype('int32'), 0)
        """
        options = text if isinstance(text, TextOptions) else TextOptions(corpus=str(text))
        corpus = open_corpus(options)
        rule = corpus.rule if options.rule == "auto" else options.rule
        content = digest(RULES, corpus.fingerprint(), rule)
        known = vocabulary or _count_vocabulary(corpus, rule, content, options)
        fingerprint = digest(content, known.fingerprint())
        paths = cached(fingerprint, "text", VERSION, lambda: _encode_splits(corpus, rule, known))
        facts = read_json(paths["facts.json"])
        return cls(
            known,
            rule,
            fingerprint,
            {split: np.memmap(paths[f"{split}.ids"], np.int32, "r") for split in facts},
            {split: SplitFacts(**facts[split]) for split in facts},
        )

    @property
    def splits(self) -> tuple[str, ...]:
        """Which of `train`, `valid` and `test` there are."""
        return tuple(self._ids)

    def ids(self, split: str) -> NDArray[np.int32]:
        """Return the token ids of a split, read-only and memory-mapped.

        Args:
            split: one of `splits`.

        Raises:
            DataError: there is no such split.
        """
        self._require(split)
        return self._ids[split]

    def facts(self, split: str) -> SplitFacts:
        """Return what was counted in a split.

        Args:
            split: one of `splits`.

        Raises:
            DataError: there is no such split.
        """
        self._require(split)
        return self._facts[split]

    def _require(self, split: str) -> None:
        if split not in self._ids:
            raise DataError(f"the text has no {split} split, only {', '.join(self._ids)}")


def _count_vocabulary(corpus: Corpus, rule: str, text: str, options: TextOptions) -> Vocabulary:
    if "train" not in corpus.splits():
        raise DataError(f"{options.corpus} has no training text to take a vocabulary from")
    size, least = options.vocabulary_size, options.min_count

    def build() -> dict[str, Content]:
        merges: Merges | None = None
        if rule == "bpe":
            wanted = BYTE_PAIR_TOKENS if size is None else size
            with working("learning which bytes go together"):
                merges = learn_merges(corpus.chunks("train"), wanted, least)
        stream = tokens(corpus.chunks("train"), rule, merges or ())
        stream = worked_on(stream, "counting words", "pieces")
        return {"vocabulary.json": Vocabulary.count(stream, size, least, merges).to_json()}

    paths = cached(digest(text, size, least), "vocabulary", VERSION, build)
    return Vocabulary.from_json(paths["vocabulary.json"].read_bytes())


def _encode_splits(corpus: Corpus, rule: str, vocabulary: Vocabulary) -> dict[str, Content]:
    """Return the files of a dataset; the facts come last, as they are known only then."""
    facts: dict[str, SplitFacts] = {}

    def encode(split: str, sink: Sink) -> None:
        place = corpus.place(split)
        counted = _encode(corpus.chunks(split), rule, vocabulary, sink.write, place)
        facts[split] = replace(counted, replaced=corpus.replaced(split))

    files: dict[str, Content] = {
        f"{split}.ids": partial(encode, split) for split in corpus.splits()
    }
    files["facts.json"] = lambda sink: _write_facts(facts, sink)
    return files


def _write_facts(facts: dict[str, SplitFacts], sink: Sink) -> None:
    sink.write(json_bytes({split: asdict(entry) for split, entry in facts.items()}))


def _encode(
    chunks: Iterable[str],
    rule: str,
    vocabulary: Vocabulary,
    write: Callable[[memoryview], object],
    place: str,
) -> SplitFacts:
    total = oov = characters = 0
    nats = 0.0
    spelling = cache(lambda: Spelling.of(vocabulary))

    def counted() -> Iterator[str]:
        nonlocal characters
        for chunk in chunks:
            characters += len(chunk)
            yield chunk

    parts = tokens(counted(), rule, vocabulary.merges)
    for part in worked_on(parts, f"numbering the tokens of {place}", "pieces"):
        ids = vocabulary.encode(part)
        total += len(ids)
        unknown = Counter(part[index] for index in np.flatnonzero(ids == vocabulary.unk))
        del unknown[UNK]
        oov += unknown.total()
        nats -= sum(count * spelling().log_prob_outside(word) for word, count in unknown.items())
        write(ids.data)
    if not total:
        raise DataError(f"no tokens in {place}: it is empty, or white space alone")
    return SplitFacts(total, oov, characters, 0, nats)


def encode_text(
    text: str | Path, vocabulary: Vocabulary, rule: str, errors: str = "strict"
) -> tuple[NDArray[np.int32], SplitFacts]:
    """Return the ids of a text that is no split of a dataset, and what was counted in it.

    Args:
        text: the text itself, or the file it is in, which may be larger than the memory.
        vocabulary: of the model that is to read it.
        rule: of that model.
        errors: what bytes of the file that are not UTF-8 do, `"strict"` or `"replace"`.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or holds no tokens.
        ResourceError: the disk is full.

    Example:
        >>> ids, facts = encode_text("a b a\\n", Vocabulary(["a", "<eos>", "<unk>"]), "split")
        >>> ids.tolist(), facts.oov
        ([0, 2, 0, 1], 1)
    """
    bad: list[int] = []
    chunks = read_text(text, errors, replaced=bad.append) if isinstance(text, Path) else [text]
    place = str(text) if isinstance(text, Path) else "the text"
    with scratch_file() as file:
        facts = _encode(chunks, rule, vocabulary, file.write, place)
        file.flush()
        return np.memmap(file, np.int32, "r"), replace(facts, replaced=sum(bad))
