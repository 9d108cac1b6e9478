"""Series in memory: values with gaps, stamps, covariates, and what they have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError, ShapeError
from recurra.series.calendar.frequency import STEPS, Frequency
from recurra.series.calendar.limits import nanoseconds
from recurra.storage.finite import MOST, not_finite

__all__ = ["Panel", "Series", "least_length"]

TELLING = 8
"""Observations of a series, of which fewer say nothing of how a panel is to be divided."""


def _nothing() -> NDArray[np.float64]:
    return np.empty((0, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The observations of one thing over time. A number that is not known is NaN.

    Args:
        unique_id: its name.
        values: the variables to forecast, `(T, V)`; `(T,)` is taken as one variable.
        stamps: `(T,)`, `datetime64[ns]` in UTC or float64, strictly increasing; None where
            observations are merely counted, 0, 1, 2, ...
        past: covariates known up to now only, `(T, P)`; none by default.
        future: covariates known ahead as well, `(>=T, F)`; none by default.
        static: numbers that do not change, `(S,)`; none by default.

    Raises:
        ShapeError: the lengths disagree.
        DataError: there is no observation, a value is infinite or too large, or stamps do not
            increase.

    Example:
        >>> one = Series("a", np.array([1.0, 2.0, np.nan]))
        >>> len(one), one.values.shape, one.past.shape
        (3, (3, 1), (3, 0))
    """

    unique_id: str
    values: NDArray[np.float64]
    stamps: NDArray[Any] | None = None
    past: NDArray[np.float64] = field(default_factory=_nothing)
    future: NDArray[np.float64] = field(default_factory=_nothing)
    static: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        values = _matrix(self.values)
        length = len(values)
        for name in ("past", "future"):
            given = _matrix(getattr(self, name))
            object.__setattr__(self, name, given if given.shape[1] else np.empty((length, 0)))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "static", np.asarray(self.static, np.float64).reshape(-1))
        if self.stamps is not None:
            object.__setattr__(self, "stamps", _as_stamps(self.stamps))
        self._check()

    def _check(self) -> None:
        where, length = f"series {self.unique_id!r}", len(self.values)
        if self.values.ndim != 2 or not self.values.size:
            raise DataError(f"{where} has no observations: its values are {self.values.shape}")
        if self.stamps is not None and self.stamps.shape != (length,):
            raise ShapeError(f"{where} has {length} values, but stamps {self.stamps.shape}")
        if len(self.past) != length:
            raise ShapeError(f"{where} has {length} values, but {len(self.past)} past covariates")
        if len(self.future) < length:
            raise ShapeError(
                f"{where} has {length} values, but {len(self.future)} future covariates; "
                "there must be one for every step, and for steps ahead where forecasts are wanted"
            )
        for name in ("values", "past", "future", "static"):
            numbers = getattr(self, name)
            if (place := not_finite(np.where(np.isnan(numbers), 0.0, numbers), MOST)) is not None:
                step = f", step {place[0] + 1}" if numbers.ndim > 1 else ""
                raise DataError(
                    f"{where}{step}: {numbers[place]:g} in its {name}; give finite "
                    f"numbers of at most {MOST:g}, NaN where one is not known"
                )
        if self.stamps is not None and not (self.stamps[1:] > self.stamps[:-1]).all():
            raise DataError(f"{where} has stamps that do not increase; sort them, keep each once")

    def __len__(self) -> int:
        return len(self.values)


def _matrix(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[:, None] if array.ndim == 1 else array


def _as_stamps(stamps: NDArray[Any]) -> NDArray[Any]:
    given = np.asarray(stamps)
    return nanoseconds(given) if given.dtype.kind == "M" else np.asarray(given, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Several series with the same variables, covariates and frequency.

    Args:
        series: at least one.
        targets: the names of the V variables.
        frequency: of them all.
        past: the names of the P covariates.
        future: the names of the F covariates.
        static: the names of the S numbers.
        notes: in words, what was inferred, sorted and filled while they were read.

    Raises:
        ShapeError: a series has another number of variables or covariates than there are names.
        DataError: there are no series, or two have the same name.

    Example:
        >>> panel = Panel((Series("a", np.arange(3.0)),), ("y",))
        >>> panel.frequency.name, panel.stamps_after(panel.series[0], 2).tolist()
        ('steps', [3.0, 4.0])
    """

    series: tuple[Series, ...]
    targets: tuple[str, ...] = ("y",)
    frequency: Frequency = STEPS
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.series:
            raise DataError("there are no series")
        wanted = {
            "values": (1, self.targets),
            "past": (1, self.past),
            "future": (1, self.future),
            "static": (0, self.static),
        }
        seen: set[str] = set()
        for one in self.series:
            for name, (axis, names) in wanted.items():
                size = getattr(one, name).shape[axis]
                if size != len(names):
                    raise ShapeError(
                        f"series {one.unique_id!r} has {size} columns of {name}, "
                        f"but {len(names)} are named: {', '.join(names) or 'none'}"
                    )
            if one.unique_id in seen:
                raise DataError(f"two series are named {one.unique_id!r}; give each its own name")
            seen.add(one.unique_id)

    def __len__(self) -> int:
        return len(self.series)

    def stamps_after(self, series: Series, n: int) -> NDArray[Any]:
        """Return the `n` stamps that follow a series' last: `datetime64[ns]` or float64.

        Args:
            series: one of them.
            n: how many.
        """
        last = len(series) - 1 if series.stamps is None else series.stamps[-1]
        return self.frequency.after(last, n)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of names, frequency, stamps and all numbers, as hexadecimal digits."""
        names = [self.targets, self.past, self.future, self.static]
        hashed = hashlib.sha256(json.dumps([names, self.frequency.facts()]).encode())
        for one in self.series:
            arrays = (one.values, one.stamps, one.past, one.future, one.static)
            shapes = [None if array is None else (array.dtype.str, array.shape) for array in arrays]
            hashed.update(json.dumps([one.unique_id, shapes]).encode())
            for array in arrays:
                if array is not None:
                    hashed.update(np.ascontiguousarray(array).view(np.uint8).data)
        return hashed.hexdigest()


def least_length(lengths: Iterable[int]) -> int:
    """Return the length of the shortest series, of those that are no mere beginnings.

    Args:
        lengths: of all.

    Example:
        >>> least_length([1, 120, 90]), least_length([1, 3])
        (90, 1)
    """
    several = sorted(lengths)
    return next((length for length in several if length >= TELLING), several[0])
