"""Truncated back-propagation's batches: contiguous streams, side by side.

B sequences in a batch, T steps in a chunk, L tokens in a stream, N tokens in the text.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError

__all__ = ["StreamBatches"]


class StreamBatches:
    """The text cut into B equal streams; batch k holds steps kT ... kT + T - 1 of each.

    Row b of batch k + 1 goes on where row b of batch k ended, so a carried state fits. A batch
    is a pure function of its number. The last N mod B tokens, and what of a stream does not
    fill a chunk, are left out, as in the TensorFlow PTB tutorial's reader.

    Args:
        ids: the text, (N,) integers; never copied as a whole.
        batch_size: B.
        chunk_length: T, in tokens.

    Raises:
        DataError: the text is too short for a single batch.

    Example:
        >>> inputs, targets = StreamBatches(np.arange(10), batch_size=2, chunk_length=3).batch(0)
        >>> inputs
        tensor([[0, 1, 2],
                [5, 6, 7]])
        >>> targets
        tensor([[1, 2, 3],
                [6, 7, 8]])
    """

    def __init__(self, ids: NDArray[np.integer], batch_size: int, chunk_length: int) -> None:
        needed = batch_size * (chunk_length + 1)
        if len(ids) < needed:
            raise DataError(
                f"{batch_size} sequences of {chunk_length} steps need {needed:,} tokens, the text "
                f"has {len(ids):,}: make train.batch_size or data.chunk_length smaller"
            )
        length = len(ids) // batch_size
        # A plain array: slicing a memory map's own class costs microseconds.
        self._streams = np.asarray(ids)[: batch_size * length].reshape(batch_size, length)
        self.batch_size = batch_size
        self.chunk_length = chunk_length

    def __len__(self) -> int:
        return (self._streams.shape[1] - 1) // self.chunk_length

    def batch(self, k: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, both (B, T) int64; a target is the token after its input.

        Args:
            k: which batch, 0 ... len - 1.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"batch {k} of {len(self)}")
        start = k * self.chunk_length
        stop = start + self.chunk_length
        inputs = self._streams[:, start:stop].astype(np.int64)
        targets = self._streams[:, start + 1 : stop + 1].astype(np.int64)
        return torch.from_numpy(inputs), torch.from_numpy(targets)
