"""The characters of a text, each from those before it. B rows, T steps, V characters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recurra.bench.tasks.base import Batch, Metrics, Task
from recurra.language.options import TextOptions
from recurra.language.text.batches import StreamBatches
from recurra.language.text.dataset import TextDataset
from recurra.ngram.kneser_ney import KneserNey

__all__ = ["Characters"]

MOST_HELD_OUT = 2**15
"""Characters of a held-out split that are judged, from its beginning."""


class Characters(Task):
    """Say the next character of a text: English docstrings of Python's library, which ship.

    Truncated back-propagation over T steps through B streams, the state carried; a held-out
    text is read as B streams too. Nats and bits are per character, ends of lines included.

    Args:
        corpus: which text.
        length: T.

    Source: the text: `recurra.language.text.corpora.docstrings`; truncation: Williams & Peng 1990,
        "An efficient gradient-based algorithm for on-line training of recurrent network
        trajectories".

    Example:
        >>> task = Characters("grammar")
        >>> x, target = task.batch(1, 0, 0)
        >>> x.shape, bool((x[:, 1:] == target[:, :-1]).all())
        (torch.Size([32, 64]), True)
    """

    metric = "bits_per_char"
    better = "lower"
    carries = True

    def __init__(self, corpus: str = "docstrings", length: int = 64) -> None:
        self.length = length
        options = TextOptions(corpus=corpus, rule="characters")
        self.data = TextDataset.open(options)
        self.tokens = self.outputs = len(self.data.vocabulary)
        self.batches = StreamBatches(self.data.ids("train"), self.batch_size, length)
        self.steps_per_epoch = len(self.batches)
        self.title = f"characters of {corpus}: {len(self.data.ids('train')):,} to learn from"

    def batch(self, seed: int, epoch: int, step: int) -> Batch:
        """Return the next T characters of each stream, the same for every seed."""
        return Batch(*self.batches.batch(step, epoch))

    def held_out(self, split: str) -> list[Batch]:
        """Return its first characters, as streams."""
        batches = StreamBatches(self._ids(split), self.batch_size, self.length)
        return [Batch(*batches.batch(step)) for step in range(len(batches))]

    def _ids(self, split: str) -> NDArray[np.int32]:
        ids = self.data.ids(split)[:MOST_HELD_OUT]
        return np.asarray(ids)

    def metrics(self, outputs: Tensor, target: Tensor) -> Metrics:
        """Return nats and bits per character, and the share of characters that came first."""
        metrics = super().metrics(outputs, target)
        return metrics | _entropies(metrics["loss"])

    def baselines(self) -> dict[str, Metrics]:
        """Return Kneser-Ney 5-grams that counted the whole training text once."""
        train = np.asarray(self.data.ids("train"))
        assert self.tokens is not None
        model = KneserNey.fit(train, 5, self.tokens, self.data.vocabulary.eos)
        nats = -float(np.mean(model.log_probs_of(self._ids("test"))))
        return {"kn5": _entropies(nats)}


def _entropies(nats: float) -> Metrics:
    return {"loss": nats, "nats_per_char": nats, "bits_per_char": nats / math.log(2)}
