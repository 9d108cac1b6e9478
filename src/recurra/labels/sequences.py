"""Labelled sequences in memory, and their padded batches.

n sequences, of T_i steps each, F features, C classes, B rows of a batch, T steps of its longest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError
from recurra.randomness import derive_seed

__all__ = [
    "LabelledSequences",
    "Ragged",
    "Rows",
    "digest_arrays",
    "shuffled_classes",
    "stratified_folds",
]


NOTHING = np.zeros((0, 1))


class Rows(Sequence[NDArray[np.float64]]):
    """The rows of a table as sequences of a single step, each made when it is asked for.

    Args:
        values: `(n, F)`.

    Example:
        >>> rows = Rows(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> len(rows), rows[1].tolist()
        (2, [[3.0, 4.0]])
    """

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            return self.values[range(len(self))[index]][None]
        return Rows(self.values[index])


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSequences:
    """Sequences with a class each.

    Args:
        sequences: n arrays `(T_i, F)` of finite numbers, at least one step each.
        labels: `(n,)`, places in `classes`.
        classes: the names of all the classes, those of other splits included.

    Raises:
        DataError: for a sequence of another shape, without a step, or with what is no number.

    Example:
        >>> sequences = (np.zeros((3, 2)), np.ones((5, 2)))
        >>> data = LabelledSequences(sequences, np.array([0, 1]), ("a", "b"))
        >>> len(data), data.num_features, data.lengths, data.counts()
        (2, 2, (3, 5), {'a': 1, 'b': 1})
    """

    sequences: Sequence[NDArray[np.floating]]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for number, sequence in enumerate(self.sequences, start=1):
            if sequence.ndim != 2 or sequence.shape[1] != self.sequences[0].shape[1]:
                raise DataError(
                    f"example {number} has the shape {sequence.shape}, expected (steps, "
                    f"{self.sequences[0].shape[-1]}) as the first has"
                )
            if not len(sequence):
                raise DataError(f"example {number} has no step, expected at least one")
            if not np.isfinite(sequence).all():
                step, feature = np.argwhere(~np.isfinite(sequence))[0]
                raise DataError(
                    f"example {number}, step {step + 1}, feature {feature + 1} is "
                    f"{sequence[step, feature]}: fill or leave out what is no finite number"
                )

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def num_features(self) -> int:
        """F; 0 where there is no sequence."""
        return self.sequences[0].shape[1] if self.sequences else 0

    @property
    def lengths(self) -> tuple[int, int]:
        """The steps of the shortest and of the longest sequence."""
        lengths = [len(sequence) for sequence in self.sequences]
        return (min(lengths), max(lengths)) if lengths else (0, 0)

    def counts(self) -> dict[str, int]:
        """Return how many examples each class has, in the order of `classes`."""
        counted = Counter(self.labels.tolist())
        return {name: counted[place] for place, name in enumerate(self.classes)}

    def take(self, rows: Iterable[int]) -> LabelledSequences:
        """Return some of the examples.

        Args:
            rows: which, from 0.
        """
        chosen = [int(row) for row in rows]
        if isinstance(self.sequences, Rows):
            return LabelledSequences(self.sequences[chosen], self.labels[chosen], self.classes)
        sequences = tuple(self.sequences[row] for row in chosen)
        return LabelledSequences(sequences, self.labels[chosen], self.classes)

    def fingerprint(self) -> str:
        """Return a SHA-256 that changes whenever a number, a label or a class does."""
        return digest_arrays([*self.sequences, self.labels], "\n".join(self.classes))


def digest_arrays(arrays: Iterable[NDArray[np.generic]], words: str = "") -> str:
    """Return the SHA-256 of arrays, their shapes and kinds, as hexadecimal digits.

    Args:
        arrays: in an order that matters.
        words: what else there is to tell apart.

    Example:
        >>> digest_arrays([np.zeros((2, 3))]) == digest_arrays([np.zeros((3, 2))])
        False
    """
    sha = hashlib.sha256(words.encode())
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def shuffled_classes(
    labels: NDArray[np.integer], seed: int, purpose: str
) -> list[NDArray[np.int64]]:
    """Return the rows of every class there is, each class's in an order drawn from the stream.

    Args:
        labels: `(n,)`, the classes of the rows.
        seed: where the order derives from.
        purpose: what the order is for.

    Example:
        >>> [sorted(rows.tolist()) for rows in shuffled_classes(np.array([1, 0, 1]), 1, "test")]
        [[1], [0, 2]]
    """
    stream = np.random.default_rng(derive_seed(seed, purpose))
    return [stream.permutation(np.flatnonzero(labels == place)) for place in np.unique(labels)]


def stratified_folds(labels: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """Return `(n,)`: which fold each row is in; of every class, all have the same number to one.

    Args:
        labels: `(n,)`, the classes of the rows.
        folds: how many.
        seed: where the order derives from.

    Raises:
        DataError: a class has fewer examples than there are folds; gives the counts.

    Example:
        >>> np.bincount(stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=1))
        array([2, 2, 2])
    """
    classes = shuffled_classes(labels, seed, "folds")
    if any(len(rows) < folds for rows in classes):
        counts = ", ".join(str(len(rows)) for rows in classes)
        raise DataError(
            f"{folds} folds need {folds} examples of every class, there are {counts}: "
            "ask for fewer by data.folds"
        )
    order = np.concatenate(classes)
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(order)) % folds
    return found


class Ragged:
    """Sequences of any lengths as one tensor of steps, from which padded batches are gathered.

    Shapes: a batch is `x (B, T, F)` and `lengths (B,)`, T the longest of its rows.

    Args:
        sequences: n arrays `(T_i, F)`.
        dtype: of the batches.
        device: of the batches.

    Example:
        >>> x, lengths = Ragged([np.ones((3, 2)), np.ones((5, 2))]).batch(torch.tensor([0, 1]))
        >>> x.shape, lengths
        (torch.Size([2, 5, 2]), tensor([3, 5]))
    """

    def __init__(
        self,
        sequences: Sequence[NDArray[np.floating]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        counts = [len(sequence) for sequence in sequences]
        steps = (
            sequences.values
            if isinstance(sequences, Rows)
            else np.concatenate([np.asarray(s, np.float64) for s in sequences] or [NOTHING])
        )
        self.steps = torch.from_numpy(steps).to(device, dtype)
        self.lengths = torch.tensor(counts, dtype=torch.int64, device=device)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.equal = len(set(counts)) <= 1

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return some sequences padded with zeros, and their lengths; None where all n are equal.

        Args:
            rows: `(B,)` int64, which.
        """
        rows = rows.to(self.lengths.device)
        lengths = self.lengths[rows]
        offsets = torch.arange(int(lengths.max()) if len(rows) else 0, device=rows.device)
        place = self.starts[rows].unsqueeze(1) + offsets
        if self.equal:
            return self.steps[place], None
        past = offsets >= lengths.unsqueeze(1)
        x = self.steps[place.masked_fill(past, 0)].masked_fill(past.unsqueeze(2), 0)
        return x, lengths
