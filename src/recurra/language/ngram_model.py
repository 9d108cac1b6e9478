"""Kneser-Ney n-grams as a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError
from recurra.language.model import LanguageModel
from recurra.language.ngram import KneserNey
from recurra.language.vocabulary import Vocabulary

__all__ = ["NgramModel", "NgramState"]


class NgramState(NamedTuple):
    """The last words read: `history (B, order - 1)` ids, -1 where there is none yet."""

    history: Tensor


class NgramModel(LanguageModel):
    """Counted n-grams, with what their ids mean.

    Args:
        counts: the fitted n-grams.
        vocabulary: what ids mean.
        rule: how text is cut into tokens.
    """

    kind = "ngram"

    def __init__(self, counts: KneserNey, vocabulary: Vocabulary, rule: str) -> None:
        super().__init__(vocabulary, rule)
        self.counts = counts

    def initial_state(self, batch_size: int = 1) -> NgramState:
        """Return an empty history.

        Args:
            batch_size: B, texts side by side.
        """
        return NgramState(torch.full((batch_size, self.counts.order - 1), -1))

    def step(self, token: int | Tensor, state: NgramState) -> tuple[Tensor, NgramState]:
        """Read a token; return the next one's log-probabilities in nats, and the state.

        Args:
            token: an id, or `(B,)` ids.
            state: as `initial_state` or the step before returned it.
        """
        read = torch.as_tensor(token).view(-1, 1)
        history = torch.cat([state.history, read], dim=1)[:, 1:]
        rows = [self.counts.distribution(row[row >= 0]) for row in history.numpy()]
        log_probs = torch.from_numpy(np.stack(rows))
        return (log_probs[0] if isinstance(token, int) else log_probs), NgramState(history)

    def log_probs_of(self, ids: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it.

        Args:
            ids: `(N,)`.
        """
        return self.counts.log_probs_of(ids)

    def facts(self) -> dict[str, Any]:
        """Return nothing: the tensors say it all."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return the n-grams."""
        return {name: torch.from_numpy(array) for name, array in self.counts.tensors().items()}

    @classmethod
    def restore(
        cls,
        vocabulary: Vocabulary,
        rule: str,
        facts: Mapping[str, Any],
        tensors: dict[str, Tensor],
    ) -> NgramModel:
        """Return the model that `tensors` describe.

        Args:
            vocabulary: what ids mean.
            rule: how text is cut into tokens.
            facts: nothing.
            tensors: the n-grams.

        Raises:
            CheckpointError: the n-grams are damaged, or of another vocabulary.
        """
        # What numpy has no type for, bfloat16, is refused as the float32 that it becomes.
        wide = {n: t.float() if t.dtype == torch.bfloat16 else t for n, t in tensors.items()}
        counts = KneserNey.from_tensors({name: tensor.numpy() for name, tensor in wide.items()})
        if (counts.vocabulary_size, counts.eos) != (len(vocabulary), vocabulary.eos):
            raise CheckpointError(
                f"n-gram model: counted over {counts.vocabulary_size} words with <eos> at "
                f"{counts.eos}, but its vocabulary has {len(vocabulary)} with <eos> at "
                f"{vocabulary.eos}"
            )
        return cls(counts, vocabulary, rule)
