"""How words are spelled: what the probability of `<unk>` is spread over, for open vocabularies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.language.text.tokenization import EOS, UNK
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import BackoffNgrams, KneserNey

__all__ = ["Spelling"]

ORDER = 7
CODE_POINTS = 0x110000  # characters a string can hold, lone surrogates included
END, UNSEEN, FIRST = 0, 1, 2  # ids: of a word's end, of all characters not known, of the known
MOST_WORDS = 200_000  # that are learned from
LONGEST = 100  # characters of a word that is learned from or remembered
MOST_REMEMBERED = 65_536  # words
BATCH = 4096  # words scored at once


class Spelling:
    """A character model of words; its probabilities of all strings but the empty one sum to one.

    It is an interpolated modified Kneser-Ney model of the characters of the vocabulary's words,
    each word counted once, and a function of the vocabulary alone. A character that none of them
    has is an escape, and all others that Unicode has are equally likely then.

    Chosen on PTB, a fifth of the rarer half of its words held out: 2.776 bits per character of
    order 7 counted from all other words; 2.818 of order 5, 2.779 of 6, 2.776 of 8; 2.949 of
    order 7 from the rarer half of the words alone, and 2.822 without the most frequent quarter.

    Args:
        ngrams: of characters.
        characters: the characters that have an id, each the id.
        words: the vocabulary's, which `log_outside` leaves out.

    Example:
        >>> spelling = Spelling.of(Vocabulary(["cat", "cats", "car", "<eos>", "<unk>"]))
        >>> spelling.log_prob("cars") > spelling.log_prob("srac") > spelling.log_prob("猫")
        True
        >>> round(spelling.bits("cat") + spelling.log_prob("cat") / math.log(2), 12)
        0.0
    """

    def __init__(
        self, ngrams: BackoffNgrams, characters: dict[str, int], words: Sequence[str]
    ) -> None:
        self.ngrams = ngrams
        self.characters = characters
        self.words = words
        self._escape = -math.log(max(CODE_POINTS - len(characters), 1))
        self._not_empty = math.log1p(-math.exp(ngrams.distribution([])[END]))
        self._remembered: dict[str, float] = {}

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Spelling:
        """Return how the words of a vocabulary are spelled, `<eos>` and `<unk>` left out.

        Learns from its first 200,000 words, and from none of more than 100 characters.

        Args:
            vocabulary: the words, of one character or more.
        """
        words = [token for token in vocabulary.tokens if token and token not in (EOS, UNK)]
        learned = [word for word in islice(words, MOST_WORDS) if len(word) <= LONGEST]
        alphabet = sorted(set().union(*learned))
        characters = {character: FIRST + n for n, character in enumerate(alphabet)}
        # Where there is no word, the end alone is counted.
        ids = _ids(learned, characters) if learned else np.array([END])
        counts = KneserNey.fit(ids, ORDER, FIRST + len(alphabet), END)
        return cls(counts.backoff, characters, words)

    def log_prob(self, word: str) -> float:
        """Return the log-probability of a word, in nats; finite for every string but the empty.

        Args:
            word: any string of a character or more, in the vocabulary or not.

        Raises:
            DataError: the string is empty.
        """
        if word in self._remembered:
            return self._remembered[word]
        if not word:
            raise DataError("the empty string is no word, so it has no spelling")
        found = float(self._log_probs([word])[0])
        if len(word) <= LONGEST:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[word] = found
        return found

    def log_prob_outside(self, word: str) -> float:
        """Return the log-probability of a word among those outside the vocabulary, in nats.

        Added to the log-probability of `<unk>`, it makes all strings together sum to one.

        Args:
            word: any string of a character or more that the vocabulary has not.

        Raises:
            DataError: the string is empty.
        """
        return self.log_prob(word) - self.log_outside

    def bits(self, word: str) -> float:
        """Return how many bits spell a word: minus its log-probability to base 2.

        Args:
            word: any string of a character or more.

        Raises:
            DataError: the string is empty.
        """
        return -self.log_prob(word) / math.log(2)

    @cached_property
    def log_outside(self) -> float:
        """The logarithm of the share of the strings that are not in the vocabulary, in nats.

        `<unk>` is only for those.
        """
        inside = 0.0
        # Longer words have no share in it that a float could tell.
        words = [word for word in self.words if len(word) <= LONGEST]
        for start in range(0, len(words), BATCH):
            inside += float(np.exp(self._log_probs(words[start : start + BATCH])).sum())
        # Something is always outside; rounding must not say otherwise.
        return math.log(max(1 - inside, 1e-12))

    def _log_probs(self, words: Sequence[str]) -> NDArray[np.float64]:
        ids = _ids(words, self.characters)
        log_probs = self.ngrams.log_probs_of(ids) + np.where(ids == UNSEEN, self._escape, 0.0)
        starts = np.cumsum([0, *[len(word) + 1 for word in words]])[:-1]
        return np.add.reduceat(log_probs, starts) - self._not_empty


def _ids(words: Iterable[str], characters: dict[str, int]) -> NDArray[np.int64]:
    """Return the ids of the words' characters, the end's after each word."""
    find = characters.get
    return np.array([n for word in words for n in (*[find(c, UNSEEN) for c in word], END)])
