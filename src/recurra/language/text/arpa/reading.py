"""ARPA files of any tool, read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recurra.errors import DataError
from recurra.language.text.arpa.sections import (
    Lines,
    Section,
    next_length,
    read_head,
    read_section,
)
from recurra.language.text.arpa.tools import other_form
from recurra.language.text.arpa.words import ENDS, LN10, NEVER, ends_of, unknown_of
from recurra.language.text.tokenization import EOS, UNK
from recurra.language.text.vocabulary import LARGEST, Vocabulary
from recurra.ngram.arrays import LAST_KEY, Floats, Integers
from recurra.ngram.backoff import BackoffLevel, BackoffNgrams, sampled_sums
from recurra.ngram.gaps import filled
from recurra.storage.reading import plain

__all__ = ["read_arpa"]

MOST_OF_WORDS, MOST_AFTER = 1.05, 1.3  # sums that few digits, and pruning by others, may leave


def read_arpa(
    path: Path | str, vocabulary: Vocabulary | None = None
) -> tuple[BackoffNgrams, Vocabulary]:
    """Return the n-grams of an ARPA file, of any tool, and their words.

    Takes memory for what the file holds, whatever its head says. Warns where the head is wrong,
    n-grams begin with what is none, or probabilities sum to more than one.

    Args:
        path: the file, packed or not.
        vocabulary: the file's words, for the ids they are to have; in the file's order.

    Raises:
        DataError: it cannot be read or is no such file, the line is named then; or its words are
            not those of the vocabulary.

    Example:
        >>> import tempfile
        >>> from recurra.language.text.arpa import write_arpa
        >>> path = Path(tempfile.mkdtemp()) / "coin.arpa"
        >>> coin = BackoffNgrams(np.log([0.5, 0.5]), (), eos=0)
        >>> write_arpa(path, coin, Vocabulary(["<eos>", "<unk>"]))
        >>> again, vocabulary = read_arpa(path)
        >>> again.log_unigrams.round(4), vocabulary.tokens
        (array([-0.6931, -0.6931]), ('<eos>', '<unk>'))
    """
    with plain(Path(path)) as file:
        if told := other_form(file.peek(64)):
            raise DataError(f"{path} is {told.replace('FILE', str(path))}")
        lines = Lines(Path(path), file)
        notes: list[str] = []
        ngrams, vocabulary = _parsed(lines, vocabulary, notes)
    for note in [*notes, *_sums_above_one(ngrams)]:
        warnings.warn(f"{path}: {note}", stacklevel=3)
    return ngrams, vocabulary


def _parsed(
    lines: Lines, given: Vocabulary | None, notes: list[str]
) -> tuple[BackoffNgrams, Vocabulary]:
    """Return what a file holds; what one should know of it is added to `notes`."""
    said = read_head(lines)
    found = dict.fromkeys(said, 0)
    next_length(lines, 0)
    section = read_section(lines, 1, ids := dict[bytes, int](), new=True)
    found[1] = len(section.log_probs)
    vocabulary, ids = _words(section, ids, given)
    ngrams = _of_words(section, ids, vocabulary)
    last = 1
    while (n := next_length(lines, last)) is not None:
        section = read_section(lines, n, ids)
        found[n] = len(section.log_probs)
        while ngrams.order < n:
            ngrams = _longer(ngrams, np.zeros(1))
        ngrams = _with(section, ngrams, notes)
        last = n
    if wrong := [n for n in sorted(found) if found[n] != said.get(n)]:
        told = ", ".join(
            f"{said.get(n, 0):,} of length {n} ({found[n]:,} are there)" for n in wrong
        )
        notes.append(f"its head says other numbers of n-grams than there are: {told}")
    return BackoffNgrams(ngrams.log_unigrams, ngrams.levels[:-1], ngrams.eos), vocabulary


def _longer(ngrams: BackoffNgrams, log_backoffs: Floats) -> BackoffNgrams:
    """Return the model with n-grams of one length more, of which there are none yet."""
    keys, size = np.array([LAST_KEY]), ngrams.vocabulary_size
    level = BackoffLevel(keys, np.zeros(1), log_backoffs, size)
    return BackoffNgrams(ngrams.log_unigrams, (*ngrams.levels, level), ngrams.eos)


def _words(
    section: Section, ids: dict[bytes, int], given: Vocabulary | None
) -> tuple[Vocabulary, dict[bytes, int]]:
    """Return the vocabulary, and the ids of the file's words: V of what opens a sentence."""
    lines = section.lines
    ends = ends_of(ids)
    if ends is None:
        lines.fail(f"no word is {ENDS[0][1]}, the end of a sentence, so nothing could be <eos>")
    start, end = ends
    if len(ids) > LARGEST + 1:
        lines.fail(f"there are more than {LARGEST:,} words")
    renamed = {end: EOS, unknown_of(ids): UNK}
    tokens: dict[str, bytes] = {}
    for place, name in enumerate(ids):
        if name == EOS.encode():
            lines.fail(
                f"the word {EOS} stands beside {end.decode()}, which is {EOS} here; rename it",
                section.line_of(place),
            )
        if name != start:
            try:
                tokens[renamed.get(name) or name.decode()] = name
            except UnicodeDecodeError:
                lines.fail(f"{name[:40]!r} is not UTF-8", section.line_of(place))
    vocabulary = given or Vocabulary([*tokens, *([] if UNK in tokens else [UNK])])
    if odd := {*tokens, UNK} ^ set(vocabulary.tokens):
        raise DataError(
            f"{lines.path}: {len(odd):,} words are in the file or in the vocabulary and not in "
            f"both, as {min(odd)!r:.60}; both need the same"
        )
    places = {name: vocabulary.ids[token] for token, name in tokens.items()}
    return vocabulary, {name: places.get(name, len(vocabulary)) for name in ids}


def _of_words(section: Section, ids: Mapping[bytes, int], vocabulary: Vocabulary) -> BackoffNgrams:
    """Return the model of the words alone, with room for what they begin."""
    size, eos = len(vocabulary), vocabulary.eos
    places = np.array(list(ids.values()), np.int64)
    predicted = places < size
    section.log_probs[~predicted] = NEVER  # whatever a file says of what opens a sentence
    section.to_nats()
    log_unigrams = np.full(size, NEVER * LN10)
    log_backoffs = np.zeros(size + 1)
    log_unigrams[places[predicted]] = section.log_probs[predicted]
    log_backoffs[places[predicted]] = section.log_backoffs[predicted]
    log_backoffs[eos] = section.log_backoffs[~predicted].sum()  # that of <s>, if it is there
    return _longer(BackoffNgrams(log_unigrams, (), eos), log_backoffs)


def _with(section: Section, ngrams: BackoffNgrams, notes: list[str]) -> BackoffNgrams:
    """Return the model with a section's n-grams, and with room for what they begin."""
    size, eos = ngrams.vocabulary_size, ngrams.eos
    section.to_nats()
    met = (section.words[:, 1:] < size).all(1) & (section.words[:, :-1] != eos).all(1)
    places = np.flatnonzero(met)
    words = section.words[places]
    words[words == size] = eos
    contexts = _contexts(words, ngrams)
    if (missing := contexts < 0).any():
        at = section.line_of(int(places[missing.argmax()]))
        notes.append(
            f"n-grams of length {words.shape[1]} begin with what is no n-gram of the file, "
            f"{missing.sum():,} of them, the first in line {at}: it gets what backing off gives"
        )
        ngrams = filled(ngrams, words[missing, :-1])
        contexts = _contexts(words, ngrams)
    keys = contexts * size + words[:, -1]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    if (twice := keys[1:] == keys[:-1]).any():
        at = section.line_of(int(places[order[1:][twice][0]]))
        section.lines.fail("the n-gram is there twice", at)
    moved = places[order]
    weights = section.log_backoffs[moved]
    weights[keys % size == eos] = 0.0  # after it a sentence begins, whatever was before
    level = BackoffLevel(
        np.append(keys, LAST_KEY),
        np.append(section.log_probs[moved], 0.0),
        ngrams.levels[-1].log_backoffs,
        size,
    )
    levels = (*ngrams.levels[:-1], level)
    return _longer(BackoffNgrams(ngrams.log_unigrams, levels, eos), np.append(weights, 0.0))


def _contexts(words: Integers, ngrams: BackoffNgrams) -> Integers:
    """Return the ranks of what `(M, n)` n-grams begin with, -1 where it is no n-gram."""
    contexts = words[:, 0]
    for level, column in zip(ngrams.levels, words.T[1:-1]):
        contexts = level.find(contexts, column)
    return contexts


def _sums_above_one(ngrams: BackoffNgrams) -> list[str]:
    """Say where probabilities sum to more than one: a perplexity by them is too good."""
    words, *contexts = sampled_sums(ngrams)
    wrong = [words] if not words[1] <= MOST_OF_WORDS else []
    wrong += [each for each in contexts if not each[1] <= MOST_AFTER]
    if not wrong:
        return []
    more = f", and {len(wrong) - 1} more that were looked at" if len(wrong) > 1 else ""
    return [
        f"the probabilities of {wrong[0][0]} sum to {wrong[0][1]:.4g}, more than 1{more}: what is "
        "told by them is too good to be true"
    ]
