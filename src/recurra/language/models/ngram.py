"""N-grams as a language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError, ShapeError
from recurra.language.models.base import LanguageModel, Layout, Saved
from recurra.language.options import NgramOptions
from recurra.language.text.arpa import read_arpa, write_arpa
from recurra.language.text.token import token_ids
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import BackoffNgrams, KneserNey, pruned

__all__ = ["NgramModel", "NgramState"]


class NgramState(NamedTuple):
    """What the text ends in: `contexts (B, order - 1)` ranks of its n-grams, -1 where unseen.

    The n-th column is for the last n words, the rank of one word being its id.
    """

    contexts: Tensor


class NgramModel(LanguageModel):
    """Counted n-grams, with what their ids mean.

    Args:
        counts: the n-grams, as they were counted or as tables that back off.
        vocabulary: what ids mean.
        rule: how text is cut into tokens.
    """

    kind = "ngram"

    def __init__(
        self, counts: KneserNey | BackoffNgrams, vocabulary: Vocabulary, rule: str
    ) -> None:
        super().__init__(vocabulary, rule)
        self.counts = counts

    @classmethod
    def count(
        cls, ids: ArrayLike, options: NgramOptions, vocabulary: Vocabulary, rule: str
    ) -> NgramModel:
        """Return the n-grams of a text, smoothed by Kneser-Ney and pruned as the options say.

        Args:
            ids: `(T,)` the text.
            options: the order and what is left out.
            vocabulary: what ids mean.
            rule: how text is cut into tokens.

        Raises:
            ConfigError: the cut-offs do not grow from 0.
            DataError: there is no token.

        Example:
            >>> vocabulary = Vocabulary(["<eos>", "a", "<unk>"])
            >>> model = NgramModel.count([1, 0, 1, 1, 0], NgramOptions(), vocabulary, "split")
            >>> model.counts.order
            5
        """
        cutoffs = [int(cutoff) for cutoff in options.cutoffs.split("/")]
        size, eos = len(vocabulary), vocabulary.eos
        counts = KneserNey.fit(ids, options.order, size, eos, cutoffs)
        model = cls(counts, vocabulary, rule)
        return model.pruned(options.prune, ids) if options.prune else model

    @property
    def ngrams(self) -> BackoffNgrams:
        """The n-grams as tables that back off, in which form they are asked."""
        return self.counts.backoff if isinstance(self.counts, KneserNey) else self.counts

    def initial_state(self, batch_size: int = 1) -> NgramState:
        """Return the state of texts without a word."""
        return NgramState(torch.full((batch_size, self.counts.order - 1), -1))

    def step(self, token: int | Tensor, state: NgramState) -> tuple[Tensor, NgramState]:
        """Read a token; return the next one's log-probabilities in nats, and the state.

        Raises:
            DataError: an id is outside the vocabulary.
            ShapeError: the state is of another number of texts.
        """
        ngrams = self.ngrams
        read = [token] if isinstance(token, int) else token_ids(token).view(-1).tolist()
        rows = state.contexts.tolist()
        if len(read) != len(rows):
            raise ShapeError(f"got {len(read)} tokens, and a state of {len(rows)} texts")
        contexts = [ngrams.read(index, row) for index, row in zip(read, rows)]
        log_probs = np.empty((len(rows), ngrams.vocabulary_size))
        for row, out in zip(contexts, log_probs):
            ngrams.distribution_after(row, out)
        result = torch.from_numpy(log_probs)
        after = torch.tensor(contexts, dtype=torch.int64).view(len(rows), -1)
        return (result[0] if isinstance(token, int) else result), NgramState(after)

    def log_probs_of(self, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it."""
        return self.ngrams.log_probs_of(ids)

    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[NDArray[np.float64]]:
        """Return the log-probabilities of lines that know nothing of each other."""
        if not lines:
            return []
        # An <eos> after each is what starts the next one anew.
        closed = [part for line in lines for part in (line, [self.vocabulary.eos])]
        log_probs = self.ngrams.log_probs_of(np.concatenate(closed))
        ends = np.cumsum([len(line) + 1 for line in lines])
        return [part[:-1] for part in np.split(log_probs, ends[:-1])]

    def pruned(self, threshold: float, ids: ArrayLike) -> NgramModel:
        """Return the model without the n-grams that it hardly misses; it sums to one as before.

        Args:
            threshold: part of the perplexity that doing without an n-gram may cost, as 1e-7.
            ids: `(T,)` the training text, for how often each context occurs.

        Raises:
            ConfigError: the threshold is negative or not a number.
            DataError: an id is outside the vocabulary.
        """
        return NgramModel(pruned(self.ngrams, threshold, ids), self.vocabulary, self.rule)

    def to_arpa(self, path: Path | str, digits: int = 15) -> None:
        """Write the model as an ARPA file, which other tools read.

        Args:
            path: the file; compressed if its name ends in `.gz`. What is there is replaced.
            digits: of each logarithm, 1 to 17.

        Raises:
            DataError: a token cannot stand in such a file, as one with white space in it.
            OSError: the disk refuses.
        """
        write_arpa(path, self.ngrams, self.vocabulary, digits)

    @classmethod
    def from_arpa(
        cls, path: Path | str, rule: str = "split", vocabulary: Vocabulary | None = None
    ) -> NgramModel:
        """Return the model of an ARPA file, of any tool.

        Args:
            path: the file, packed or not.
            rule: how the text it was counted from was cut into tokens.
            vocabulary: the file's words, for the ids they are to have, as those of a model to mix
                with; in the file's order.

        Raises:
            ConfigError: the rule is `bpe` and no vocabulary is given.
            DataError: it cannot be read or is no such file, the line is named then; or its words
                are not those of the vocabulary.
        """
        if rule == "bpe" and vocabulary is None:
            raise ConfigError("an ARPA file does not hold what bpe merges; give the vocabulary")
        ngrams, vocabulary = read_arpa(path, vocabulary)
        return cls(ngrams, vocabulary, rule)

    def tensors(self) -> dict[str, Tensor]:
        """Return the n-grams."""
        return {name: torch.from_numpy(array) for name, array in self.counts.tensors().items()}

    @classmethod
    def check(cls, saved: Saved, inner: Sequence[Layout]) -> None:
        """Raise unless the arrays are of sizes that go together."""
        sizes = {name: tuple(tensor.shape) for name, tensor in saved.tensors.items()}
        kind = BackoffNgrams if "log_unigrams" in sizes else KneserNey
        kind.check_sizes(sizes, len(saved.vocabulary))

    @classmethod
    def restore(cls, saved: Saved) -> NgramModel:
        """Return the model that `tensors` describe.

        Raises:
            CheckpointError: the n-grams are damaged, or of another vocabulary.
        """
        vocabulary, count = saved.vocabulary, len(saved.inner)
        if count:
            raise CheckpointError(f"n-gram model: is made of no model, but {count} are given")
        # What numpy has no type for, bfloat16, is refused as the float32 that it becomes.
        wide = {n: t.float() if t.dtype == torch.bfloat16 else t for n, t in saved.tensors.items()}
        arrays = {name: tensor.numpy() for name, tensor in wide.items()}
        counts = (BackoffNgrams if "log_unigrams" in arrays else KneserNey).from_tensors(arrays)
        if (counts.vocabulary_size, counts.eos) != (len(vocabulary), vocabulary.eos):
            raise CheckpointError(
                f"n-gram model: counted over {counts.vocabulary_size} words with <eos> at "
                f"{counts.eos}, but its vocabulary has {len(vocabulary)} with <eos> at "
                f"{vocabulary.eos}"
            )
        return cls(counts, vocabulary, saved.rule)
