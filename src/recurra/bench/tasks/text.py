"""A text as streams to learn from: what the tasks over characters and words share.

B rows, T steps, V tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recurra.bench.tasks.base import Batch
from recurra.language.options import TextOptions
from recurra.language.text.batches import StreamBatches
from recurra.language.text.dataset import TextDataset
from recurra.ngram.kneser_ney import KneserNey

__all__ = ["Streamed"]


class Streamed:
    """A task whose batches are B streams through a text, T steps at a time, the state carried.

    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories".

    Example:
        >>> from recurra.bench.tasks.characters import Characters
        >>> x, target = Characters("grammar").batch(1, 0, 0)
        >>> x.shape, bool((x[:, 1:] == target[:, :-1]).all())
        (torch.Size([32, 64]), True)
    """

    batch_size: int
    length: int

    def open(self, options: TextOptions, most_held_out: int) -> None:
        """Open the text; set V, the outputs and the batches of a pass.

        Args:
            options: which text, and what its tokens are.
            most_held_out: tokens of a held-out split that are judged, from its beginning.
        """
        self.data = TextDataset.open(options)
        self.most_held_out = most_held_out
        self.tokens: int | None = len(self.data.vocabulary)
        self.outputs: int = len(self.data.vocabulary)
        self.batches = StreamBatches(self.data.ids("train"), self.batch_size, self.length)
        self.steps_per_epoch: int | None = len(self.batches)

    def batch(self, seed: int, epoch: int, step: int) -> Batch:
        """Return the next T tokens of each stream, the same for every seed.

        Args:
            seed: of the trial.
            epoch: pass over the text, from 0.
            step: place in the pass, from 0.
        """
        return Batch(*self.batches.batch(step, epoch))

    def held_out(self, split: str) -> list[Batch]:
        """Return a split's first tokens, as streams.

        Args:
            split: `"valid"` or `"test"`.
        """
        batches = StreamBatches(self.ids(split), self.batch_size, self.length)
        return [Batch(*batches.batch(step)) for step in range(len(batches))]

    def ids(self, split: str) -> NDArray[np.int32]:
        """Return the tokens of a split that are judged.

        Args:
            split: `"valid"` or `"test"`.
        """
        return np.asarray(self.data.ids(split)[: self.most_held_out])

    def kn5_nats(self) -> float:
        """Return the nats a token of the test has for 5-grams that counted all of the training."""
        train = np.asarray(self.data.ids("train"))
        model = KneserNey.fit(train, 5, self.outputs, self.data.vocabulary.eos)
        return -float(np.mean(model.log_probs_of(self.ids("test"))))
