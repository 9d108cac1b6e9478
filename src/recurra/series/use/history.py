"""A panel's end: cut off, gone on with, and as facts and tensors that a file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from recurra.errors import DataError
from recurra.learning.options import Options
from recurra.series.calendar.frequency import Frequency
from recurra.series.panel import Panel, Series
from recurra.storage.finite import not_finite

__all__ = [
    "Packed",
    "above_zero",
    "extended",
    "not_known_ahead",
    "pack",
    "require_alike",
    "stamps_after",
    "tail",
    "unpack",
]

Floats = NDArray[np.float64]


def extended(panel: Panel, values: Floats) -> Panel:
    """Return a panel whose series go on with some values.

    Args:
        panel: the series.
        values: of each channel, `(N, H)`.
    """
    count, steps = len(panel.targets), values.shape[1]
    parts = values.reshape(len(panel), count, steps)
    series = []
    for one, part in zip(panel.series, parts):
        length = len(one) + steps
        future = one.future
        if future.shape[1] and len(future) < length:
            future = np.vstack([future, np.repeat(future[-1:], length - len(future), axis=0)])
        stamps = one.stamps
        if stamps is not None:
            stamps = np.concatenate([stamps, panel.stamps_after(one, steps)])
        past = np.vstack([one.past, np.full((steps, one.past.shape[1]), np.nan)])
        ahead = np.vstack([one.values, part.T])
        series.append(replace(one, values=ahead, stamps=stamps, past=past, future=future))
    return replace(panel, series=tuple(series))


def above_zero(panel: Panel, nonnegative: Iterable[int]) -> NDArray[np.bool_]:
    """Return which channels are never below 0, `(N,)`: what is seen of them is not either.

    Args:
        panel: the series.
        nonnegative: the variables that are not.
    """
    kept = set(nonnegative)
    return np.array(
        [
            variable in kept and not (column < 0).any()
            for one in panel.series
            for variable, column in enumerate(one.values.T)
        ]
    )


def not_known_ahead(panel: Panel, steps: int) -> list[str]:
    """Return in words which covariates end before the steps ahead do.

    Args:
        panel: the series.
        steps: how many are forecast.
    """
    short = [
        one for one in panel.series if one.future.shape[1] and len(one.future) < len(one) + steps
    ]
    if not short:
        return []
    known = len(short[0].future) - len(short[0])
    names = ", ".join(map(repr, panel.future))
    return [
        f"{names}: {known} of the {steps} rows ahead of series {short[0].unique_id!r} are given; "
        "the last row stands for the others"
    ]


def require_alike(panel: Panel, learned: Panel) -> None:
    """Refuse a history that has other columns, or another step, than what was learned from.

    Args:
        panel: the history.
        learned: what was learned from.

    Raises:
        DataError: it has.
    """
    for name in ("targets", "past", "future", "static"):
        here, there = getattr(panel, name), getattr(learned, name)
        if len(here) != len(there) or (name != "targets" and here != there):
            raise DataError(
                f"the history has {name} {', '.join(here) or 'none'}; the forecaster learned "
                f"from {', '.join(there) or 'none'}"
            )
    here, there = panel.frequency, learned.frequency
    dated = "step" not in (here.unit, there.unit) and there.regular
    if dated and (here.unit, here.count, here.regular) != (there.unit, there.count, True):
        told = here.name if here.regular else "irregular"
        raise DataError(f"the history is {told}; the forecaster learned from {there.name} series")


def stamps_after(panel: Panel, count: int) -> NDArray[Any]:
    """Return the stamps `(N, H)` that follow each channel; most series end together.

    Args:
        panel: the series.
        count: H.
    """
    known, rows = dict[Any, NDArray[Any]](), list[NDArray[Any]]()
    for one in panel.series:
        last = len(one) if one.stamps is None else one.stamps[-1]
        if last not in known:
            known[last] = panel.stamps_after(one, count)
        rows += [known[last]] * len(panel.targets)
    return np.stack(rows)


def tail(panel: Panel, length: int) -> Panel:
    """Return a panel whose series hold their last observations alone.

    Args:
        panel: the series.
        length: how many are kept.
    """
    series = []
    for one in panel.series:
        begin = max(0, len(one) - length)
        stamps = np.arange(len(one), dtype=np.float64) if one.stamps is None else one.stamps
        series.append(
            replace(
                one,
                values=one.values[begin:],
                stamps=stamps[begin:],
                past=one.past[begin:],
                future=one.future[begin:],
            )
        )
    return replace(panel, series=tuple(series), notes=())


def pack(panel: Panel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a panel as facts that JSON can hold, and tensors.

    Args:
        panel: whose series all have stamps, as `tail` gives them.
    """
    series = panel.series
    stamps = np.concatenate([np.asarray(one.stamps) for one in series])
    dated = np.issubdtype(stamps.dtype, np.datetime64)
    facts = {
        "names": [one.unique_id for one in series],
        "lengths": [len(one) for one in series],
        "future_lengths": [len(one.future) for one in series],
        "dated": bool(dated),
        "frequency": panel.frequency.facts(),
        **{name: list(getattr(panel, name)) for name in ("targets", "past", "future", "static")},
    }
    arrays = {
        "values": np.concatenate([one.values for one in series]),
        "stamps": stamps.astype("datetime64[ns]").astype(np.int64) if dated else stamps,
        "past": np.concatenate([one.past for one in series]),
        "future": np.concatenate([one.future for one in series]),
        "static": np.stack([one.static for one in series]),
    }
    return facts, {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in arrays.items()}


class Packed(Options):
    """The facts that `pack` returns, as JSON gives them back."""

    names: list[str] = Field(min_length=1)
    lengths: list[Annotated[int, Field(ge=1)]]
    future_lengths: list[Annotated[int, Field(ge=0)]]
    dated: bool
    frequency: dict[str, Any]
    targets: list[str]
    past: list[str]
    future: list[str]
    static: list[str]


def unpack(facts: Packed, frequency: Frequency, tensors: Mapping[str, Tensor]) -> Panel:
    """Return the panel that `pack` took apart.

    Args:
        facts: as JSON gave them back.
        frequency: what those of it say.
        tensors: by their names.

    Raises:
        KeyError: something is missing.
        DataError: what is there makes no panel; also a `ValueError`.
    """
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    names, lengths, reach = facts.names, facts.lengths, facts.future_lengths
    stamps = arrays["stamps"]
    if stamps.dtype != (np.int64 if facts.dated else np.float64):
        raise DataError(f"stamps are {stamps.dtype}")
    if facts.dated and np.isnat(stamps.astype("datetime64[ns]")).any():
        raise DataError("a stamp is no time")
    if not_finite(stamps) is not None:
        raise DataError("a stamp is not finite")
    if not len(names) == len(lengths) == len(reach) == len(arrays["static"]):
        raise DataError(f"there are {len(names)} names, but {len(lengths)} lengths of series")
    if (sum(lengths), sum(reach)) != (len(arrays["values"]), len(arrays["future"])):
        raise DataError(f"series of {lengths} steps do not make {len(arrays['values'])} in all")
    cuts = np.cumsum(lengths)[:-1]
    parts = {name: np.split(arrays[name], cuts) for name in ("values", "stamps", "past")}
    futures = np.split(arrays["future"], np.cumsum(reach)[:-1])
    series = []
    for n, name in enumerate(names):
        stamps = parts["stamps"][n]
        series.append(
            Series(
                name,
                parts["values"][n],
                stamps.astype("datetime64[ns]") if facts.dated else stamps,
                parts["past"][n],
                futures[n],
                arrays["static"][n],
            )
        )
    columns = {k: tuple(getattr(facts, k)) for k in ("targets", "past", "future", "static")}
    return Panel(tuple(series), frequency=frequency, **columns)
