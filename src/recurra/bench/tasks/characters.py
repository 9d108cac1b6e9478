"""The characters of a text, each from those before it. B rows, T steps, V characters."""

from __future__ import annotations

import math

from torch import Tensor

from recurra.bench.tasks.base import Metrics, Task
from recurra.bench.tasks.text import Streamed
from recurra.language.options import TextOptions

__all__ = ["Characters"]

MOST_HELD_OUT = 2**15
"""Characters of a held-out split that are judged, from its beginning."""


class Characters(Streamed, Task):
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
        self.open(options, MOST_HELD_OUT)
        self.title = f"characters of {corpus}: {len(self.data.ids('train')):,} to learn from"

    def metrics(self, outputs: Tensor, target: Tensor) -> Metrics:
        """Return nats and bits per character, and the share of characters that came first."""
        metrics = super().metrics(outputs, target)
        return metrics | _entropies(metrics["loss"])

    def baselines(self) -> dict[str, Metrics]:
        """Return Kneser-Ney 5-grams that counted the whole training text once."""
        return {"kn5": _entropies(self.kn5_nats())}


def _entropies(nats: float) -> Metrics:
    return {"loss": nats, "nats_per_char": nats, "bits_per_char": nats / math.log(2)}
