"""Text from a seeded probabilistic grammar, whose true perplexity is known exactly.

A sentence is `subject (phrase)* verb [object] <eos>`. The verb agrees with the subject in number
and in topic, and the object is of that topic too, however many phrases, with nouns of their own,
stand between them: what a recurrent network can carry and an n-gram cannot see.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, product
from typing import NamedTuple

import numpy as np

from recurra.language.options import TextOptions
from recurra.language.text.corpora.base import SPLITS, Corpus, digest
from recurra.language.text.tokenization import EOS

__all__ = ["Grammar", "GrammarCorpus"]

VERSION = 1  # of the grammar's text; any change to that raises it
LENGTHS = {"train": 60_000, "valid": 6_000, "test": 6_000}  # tokens, and on to a sentence's end

DETERMINERS = {"this": "singular", "these": "plural"}
ADJECTIVES = ["old", "small", "grey", "quiet", "great"]
PREPOSITIONS = ["near", "behind", "above", "beside"]
TOPICS = {  # nouns, verbs
    "animal": (["cat", "dog", "horse", "bird"], ["sleep", "hunt", "follow", "swim"]),
    "machine": (["engine", "pump", "crane", "robot"], ["stop", "start", "lift", "turn"]),
    "person": (["judge", "baker", "pilot", "nurse"], ["speak", "laugh", "write", "greet"]),
    "weather": (["storm", "cloud", "wind", "wave"], ["rise", "fade", "cover", "strike"]),
    "plant": (["rose", "tree", "root", "seed"], ["grow", "wilt", "bloom", "spread"]),
    "vessel": (["ship", "canoe", "barge", "raft"], ["sail", "drift", "anchor", "sink"]),
    "dish": (["soup", "cake", "stew", "roast"], ["boil", "burn", "smell", "taste"]),
    "star": (["planet", "comet", "moon", "meteor"], ["shine", "orbit", "glow", "spin"]),
}

State = tuple[str, ...]
START: State = ("start",)
END: State = ("end",)


class Arc(NamedTuple):
    """One way on from a state."""

    probability: float
    state: State


class Grammar:
    """A finite-state grammar in which every word determines the next state.

    So the probability of a word, given all the words before it, is that of a single arc.

    Args:
        seed: draws how probable each word is among those of its kind.

    Example:
        >>> grammar = Grammar(seed=1)
        >>> sentence = next(grammar.sentences("example"))
        >>> sentence[-1], grammar.log_prob(sentence) < 0
        ('<eos>', True)
    """

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        stream = random.Random(f"{seed}/grammar")
        words = [*ADJECTIVES, *PREPOSITIONS]
        words += [word for nouns, verbs in TOPICS.values() for word in (*nouns, *verbs)]
        self._weights = {word: 0.2 + stream.random() for word in words}
        self.arcs: dict[State, dict[str, Arc]] = {}
        self._add_noun_phrase(START, 1.0, TOPICS, lambda number, topic: ("after", number, topic))
        for number, topic in product(DETERMINERS.values(), TOPICS):
            self._add_clause(number, topic)
        self._add(END, 1.0, {EOS: START})

    def _add(self, state: State, share: float, words: dict[str, State]) -> None:
        """Let `words` follow `state`, with `share` of the probability among them."""
        weights = [self._weights.get(word.removesuffix("s"), 1.0) for word in words]
        self.arcs.setdefault(state, {}).update(
            (word, Arc(share * weight / sum(weights), words[word]))
            for word, weight in zip(words, weights)
        )

    def _add_noun_phrase(
        self, state: State, share: float, topics: Iterable[str], then: Callable[[str, str], State]
    ) -> None:
        """Let a determiner, adjectives and a noun follow; its number and topic say what is next."""
        self._add(state, share, {word: (*state, number) for word, number in DETERMINERS.items()})
        for number in DETERMINERS.values():
            noun = (*state, number)
            ending = "s" if number == "plural" else ""
            nouns = {
                word + ending: then(number, topic) for topic in topics for word in TOPICS[topic][0]
            }
            self._add(noun, 0.3, dict.fromkeys(ADJECTIVES, noun))
            self._add(noun, 0.7, nouns)

    def _add_clause(self, number: str, topic: str) -> None:
        """Let phrases and the verb follow a subject, and an object the verb."""
        after, phrase, verb = ((part, number, topic) for part in ("after", "phrase", "verb"))
        ending = "s" if number == "singular" else ""
        self._add(after, 0.6, dict.fromkeys(PREPOSITIONS, phrase))
        self._add(after, 0.4, {word + ending: verb for word in TOPICS[topic][1]})
        self._add_noun_phrase(phrase, 1.0, TOPICS, lambda *_: after)
        self._add(verb, 0.4, {EOS: START})
        self._add_noun_phrase(verb, 0.6, [topic], lambda *_: END)

    def sentences(self, stream: str) -> Iterator[list[str]]:
        """Yield sentences without end, each with its `<eos>`.

        Args:
            stream: a name; another gives other sentences.
        """
        draw = random.Random(f"{self._seed}/grammar/{stream}").random
        words = {state: list(arcs) for state, arcs in self.arcs.items()}
        bounds = {
            state: list(accumulate(arc.probability for arc in arcs.values()))[:-1]
            for state, arcs in self.arcs.items()
        }
        state, sentence = START, []
        while True:
            word = words[state][bisect(bounds[state], draw())]
            state = self.arcs[state][word].state
            sentence.append(word)
            if state == START:
                yield sentence
                sentence = []

    def log_prob(self, tokens: Iterable[str]) -> float:
        """Return the natural log-probability of a text that begins with a sentence.

        Args:
            tokens: each sentence with its `<eos>`; the last may be unfinished.
        """
        state, total = START, 0.0
        for token in tokens:
            if token not in self.arcs[state]:
                return -math.inf
            probability, state = self.arcs[state][token]
            total += math.log(probability)
        return total

    def true_nats_per_token(self) -> float:
        r"""Return the entropy rate: what a perfect model of a long text reaches.

        The expected visits of a sentence to each state are v = e_start (I - Q)^{-1}, with Q the
        transitions that do not end it; the rate is sum_s v_s H_s / sum_s v_s.
        """
        place = {state: index for index, state in enumerate(self.arcs)}
        within = np.zeros((len(place), len(place)))
        entropy = np.zeros(len(place))
        for state, arcs in self.arcs.items():
            for probability, to in arcs.values():
                entropy[place[state]] -= probability * math.log(probability)
                if to != START:
                    within[place[state], place[to]] += probability
        start = np.eye(len(place))[place[START]]
        visits = np.linalg.solve((np.eye(len(place)) - within).T, start)
        return float(visits @ entropy / visits.sum())


class GrammarCorpus(Corpus):
    r"""60,000 / 6,000 / 6,000 tokens of the grammar with seed 1; for tests.

    Args:
        options: nothing in them changes the text.

    Example:
        >>> corpus = GrammarCorpus(TextOptions(corpus="grammar"))
        >>> next(corpus.chunks("train"))
        'these bakers above these roots greet these old old bakers\n'
    """

    rule = "split"

    def __init__(self, options: TextOptions) -> None:
        super().__init__(options)
        self.grammar = Grammar()

    def splits(self) -> tuple[str, ...]:
        """Return all three."""
        return SPLITS

    def chunks(self, split: str) -> Iterator[str]:
        """Yield the sentences of a split, one to a line."""
        left = LENGTHS[split]
        for sentence in self.grammar.sentences(split):
            yield " ".join(sentence[:-1]) + "\n"
            left -= len(sentence)
            if left <= 0:
                return

    def fingerprint(self) -> str:
        """Return a digest of the grammar's version."""
        return digest("grammar", VERSION)
