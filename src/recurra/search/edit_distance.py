"""How far sequences are from another: what it takes to make them the same.

H sequences, W items of the longest.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["edit_distances"]


def edit_distances(
    sequences: Sequence[Sequence[Hashable]], reference: Sequence[Hashable]
) -> NDArray[np.int64]:
    """Return `(H,)`: items to substitute, insert and delete to make each the reference.

    Args:
        sequences: of words, ids, or whatever can be told apart.
        reference: likewise.

    Source: Levenshtein 1966; Wagner & Fischer 1974.

    Example:
        >>> edit_distances([[1, 2, 3], [4, 2], []], [1, 2])
        array([1, 1, 2])
    """
    ids: dict[Hashable, int] = {}
    rows = [[ids.setdefault(item, len(ids)) for item in sequence] for sequence in sequences]
    wanted = [ids.get(item, -1) for item in reference]
    W = max(map(len, rows), default=0)
    padded = np.array([row + [-2] * (W - len(row)) for row in rows], np.int64).reshape(len(rows), W)
    steps = np.arange(W + 1)
    distance = np.tile(steps, (len(rows), 1))  # of the reference so far to each beginning
    for item in wanted:
        longer = distance + 1  # the item is missing
        longer[:, 1:] = np.minimum(longer[:, 1:], distance[:, :-1] + (padded != item))
        distance = np.minimum.accumulate(longer - steps, axis=1) + steps
    ends: NDArray[np.int64] = distance[np.arange(len(rows)), [len(row) for row in rows]]
    return ends
