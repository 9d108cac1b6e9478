"""The words of a text, each from those before it. B rows, T steps, V words."""

from __future__ import annotations

import math

from torch import Tensor

from recurra.bench.tasks.base import Metrics, Task
from recurra.bench.tasks.text import Streamed
from recurra.language.options import TextOptions

__all__ = ["Words"]

MOST_HELD_OUT = 2**13
"""Words of a held-out split that are judged, from its beginning."""


class Words(Streamed, Task):
    """Say the next word of a text: English docstrings of Python's library, which ship.

    The V - 2 commonest words of the training text and the end of a line are told apart, every
    other word is `<unk>`: perplexities are lower than those of larger vocabularies. Streams and
    truncation are those of the characters.

    Args:
        corpus: which text.
        length: T.
        vocabulary: V.

    Source: the text: `recurra.language.text.corpora.docstrings`; truncation: Williams & Peng 1990,
        "An efficient gradient-based algorithm for on-line training of recurrent network
        trajectories".

    Example:
        >>> task = Words("grammar")
        >>> x, target = task.batch(1, 0, 0)
        >>> x.shape, bool((x[:, 1:] == target[:, :-1]).all())
        (torch.Size([32, 35]), True)
    """

    metric = "perplexity"
    better = "lower"
    carries = True
    parameters = 180_000

    def __init__(
        self, corpus: str = "docstrings", length: int = 35, vocabulary: int = 2000
    ) -> None:
        self.length = length
        options = TextOptions(corpus=corpus, vocabulary_size=vocabulary)
        self.open(options, MOST_HELD_OUT)
        count = len(self.data.ids("train"))
        self.title = f"words of {corpus}: {count:,} to learn from, {self.tokens:,} told apart"

    def metrics(self, outputs: Tensor, target: Tensor) -> Metrics:
        """Return nats a word, their perplexity, and the share of words that came first."""
        metrics = super().metrics(outputs, target)
        return metrics | _perplexities(metrics["loss"])

    def baselines(self) -> dict[str, Metrics]:
        """Return Kneser-Ney 5-grams that counted the whole training text once."""
        return {"kn5": _perplexities(self.kn5_nats())}


def _perplexities(nats: float) -> Metrics:
    # past the largest float a loss says how far off it is, and a perplexity nothing more
    return {"loss": nats, "perplexity": math.exp(min(nats, 700.0))}
