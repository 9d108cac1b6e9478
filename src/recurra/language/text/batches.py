"""Truncated back-propagation's batches: contiguous streams, side by side.

B sequences in a batch, T steps in a chunk, L tokens in a stream, N tokens in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError
from recurra.randomness import generator

__all__ = ["StreamBatches", "random_chunks"]

HALVED = 0.05
"""The share of random chunks whose length is drawn about T / 2, not about T."""

DEVIATION = 5.0
"""Of a random chunk's length, in tokens."""

SHORTEST = 5
"""What a random chunk has at least, in tokens; the last of a stream excepted."""


class StreamBatches:
    """The text cut into B equal streams; batch k holds steps kT ... kT + T - 1 of each.

    Row b of batch k + 1 goes on where row b of batch k ended, so a carried state fits. A batch
    is a pure function of its number and its epoch. The last N mod B tokens, and what of a stream
    does not fill a chunk, are left out, as in the TensorFlow PTB tutorial's reader. With a seed
    chunks are of random length, other ones in every epoch, and the last takes what is left.
    `for inputs, targets in batches` reads the text once through.

    Shapes: inputs and targets `(B, T)`, int64; a target is the token after its input.

    Args:
        ids: the text, `(N,)` integers, as `TextDataset.ids` has them; never copied as a whole.
        batch_size: B.
        chunk_length: T, in tokens; with a seed the length that chunks vary about.
        seed: of `random_chunks`; None for chunks of one length.

    Raises:
        DataError: the text is too short for a single batch.

    Source: Zaremba, Sutskever & Vinyals 2014, "Recurrent neural network regularization",
        section 4.1, and the reader of the program beside it.

    Example:
        >>> batches = StreamBatches(range(14), batch_size=2, chunk_length=3)
        >>> for inputs, targets in batches:
        ...     print(inputs.tolist(), "->", targets.tolist())
        [[0, 1, 2], [7, 8, 9]] -> [[1, 2, 3], [8, 9, 10]]
        [[3, 4, 5], [10, 11, 12]] -> [[4, 5, 6], [11, 12, 13]]
        >>> len(batches), batches.batch(1)[0].tolist()
        (2, [[3, 4, 5], [10, 11, 12]])
    """

    def __init__(
        self,
        ids: NDArray[np.integer] | Sequence[int],
        batch_size: int,
        chunk_length: int,
        seed: int | None = None,
    ) -> None:
        needed = batch_size * (chunk_length + 1)
        if len(ids) < needed:
            raise DataError(
                f"{batch_size} sequences of {chunk_length} steps need {needed:,} tokens, the text "
                f"has {len(ids):,}: make batch_size or chunk_length smaller (of a run, "
                "train.batch_size or data.chunk_length)"
            )
        length = len(ids) // batch_size
        # A plain array: slicing a memory map's own class costs microseconds.
        self._streams = np.asarray(ids)[: batch_size * length].reshape(batch_size, length)
        self.batch_size = batch_size
        self.chunk_length = chunk_length
        self.seed = seed
        self._drawn: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return self.steps_in(0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch in their order, inputs and targets, both `(B, T)`.

        Args:
            number: which, from 0; all are the same but for chunks of random length.
        """
        for k in range(self.steps_in(number)):
            yield self.batch(k, number)

    def steps_in(self, epoch: int) -> int:
        """Return how many batches an epoch has.

        Args:
            epoch: which, from 0.
        """
        if self.seed is None:
            return (self._streams.shape[1] - 1) // self.chunk_length
        return len(self._starts(self.seed, epoch)) - 1

    def rate_factor(self, epoch: int, k: int) -> float:
        """Return the length of a batch's chunk over T, for the learning rate to be scaled by.

        So every token weighs the same, in a long chunk or a short one.

        Args:
            epoch: which, from 0.
            k: which batch of it.

        Source: Merity, Keskar & Socher 2018, "Regularizing and optimizing LSTM language models",
            section 4.1.
        """
        if self.seed is None:
            return 1.0
        start, stop = self._bounds(k, epoch)
        return (stop - start) / self.chunk_length

    def batch(self, k: int, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, both (B, T) int64; a target is the token after its input.

        Args:
            k: which batch, 0 ... `steps_in(epoch)` - 1.
            epoch: which; the same batches in all of them, but for chunks of random length.

        Raises:
            IndexError: there is no such batch.
        """
        start, stop = self._bounds(k, epoch)
        inputs = self._streams[:, start:stop].astype(np.int64)
        targets = self._streams[:, start + 1 : stop + 1].astype(np.int64)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def _bounds(self, k: int, epoch: int) -> tuple[int, int]:
        if not 0 <= k < self.steps_in(epoch):
            raise IndexError(f"batch {k} of {self.steps_in(epoch)}")
        if self.seed is None:
            return k * self.chunk_length, (k + 1) * self.chunk_length
        starts = self._starts(self.seed, epoch)
        return starts[k], starts[k + 1]

    def _starts(self, seed: int, epoch: int) -> list[int]:
        if self._drawn[0] != epoch:
            steps = self._streams.shape[1] - 1
            drawn = random_chunks(steps, self.chunk_length, generator(seed, "chunks", epoch))
            self._drawn = epoch, drawn.tolist()
        return self._drawn[1]


def random_chunks(steps: int, chunk_length: int, generator: torch.Generator) -> NDArray[np.int64]:
    """Return where chunks of random length start, and last where all of them end.

    About T with probability .95, else about T / 2; from there normal, with a deviation of 5,
    rounded down, and at least 5; the last chunk takes what is left.

    Shapes: returns `(chunks + 1,)`.

    Args:
        steps: L, steps of a stream.
        chunk_length: T, in tokens.
        generator: where the lengths come from.

    Source: Merity, Keskar & Socher 2018, "Regularizing and optimizing LSTM language models",
        section 4.1.

    Differs: from its authors' program, where the learning rate of the last chunk is scaled by
        the length that was drawn, not by what is left, and a last single token is left out.

    Example:
        >>> random_chunks(100, 30, torch.Generator().manual_seed(1))
        array([  0,  34,  45,  65,  85, 100])
    """
    most = -(-steps // SHORTEST)
    double = torch.float64
    halved = torch.rand(most, generator=generator, dtype=double).numpy() < HALVED
    around = np.where(halved, chunk_length / 2, chunk_length)
    drawn = around + DEVIATION * torch.randn(most, generator=generator, dtype=double).numpy()
    ends = np.cumsum(np.maximum(SHORTEST, drawn.astype(np.int64)))
    within = ends[: np.searchsorted(ends, steps)]
    return np.concatenate([[0], within, [steps]])
