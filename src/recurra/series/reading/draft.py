"""Series while they are being read, with the row that each observation came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADDED", "Draft", "Source", "names_of"]

ADDED = -1
"""The row of an observation that stands in no file: a gap that was added."""


def names_of(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names as a message lists them.

    Args:
        names: of series.
        most: how many are listed.

    Example:
        >>> names_of(["a", "b", "c", "d"], 2)
        "'a', 'b' and 2 more"
    """
    listed = ", ".join(repr(name) for name in names[:most])
    return listed + (f" and {len(names) - most} more" if len(names) > most else "")


@dataclass(frozen=True, slots=True)
class Source:
    """What all series of one reading have in common.

    Args:
        place: what they are from, for messages.
        targets: names of the V variables.
        past: names of the P covariates known up to now.
        future: names of the F covariates known ahead.
        static: names of the S numbers that do not change.
        time: name of the column of stamps; None where there is none.
        zone: by whose clock days begin, where the stamps, in UTC, are of one.
        code: that stamps are written in, where it is none of dates.
    """

    place: str
    targets: tuple[str, ...] = ("y",)
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    time: str | None = None
    zone: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """One series while it is being read; T counts rows ahead too, where covariates are known.

    Args:
        unique_id: its name.
        rows: `(T,)`, the row of each observation, from 1, or `ADDED`.
        values: `(T, V)`, NaN is a gap.
        stamps: `(T,)`; None where there are none.
        past: `(T, P)`.
        future: `(T, F)`.
        static: `(S,)`.
    """

    unique_id: str
    rows: NDArray[np.integer]
    values: NDArray[np.float64]
    stamps: NDArray[Any] | None
    past: NDArray[np.float64]
    future: NDArray[np.float64]
    static: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)
