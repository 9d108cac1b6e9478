"""What a forecaster is made of, as facts and tensors on disk, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, RecurraError
from recurra.learning.weights import described, load_weights, require_fit, require_room
from recurra.learning.written import typed
from recurra.series.calendar.frequency import Frequency
from recurra.series.calendar.months import LAST_DAY
from recurra.series.data.dataset import Features
from recurra.series.data.windows import Scaling
from recurra.series.network.model import ForecastNetwork, Shape
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel
from recurra.series.use.history import Packed, pack, unpack
from recurra.storage.finite import not_finite
from recurra.storage.pretrained import Pretrained

__all__ = ["Saved"]

Floats = NDArray[np.float64]

FACTS = {"network", "data", "shape", "scaling", "features", "history"}
MOST_STEPS = 1_000_000
"""Of a window that is seen, or that is forecast."""
MOST_COUNT = 1e18
"""Units in a step: nanoseconds of thirty years."""


class Saved(NamedTuple):
    """The arguments of a `Forecaster`, in their order.

    Args:
        network: what forecasts.
        options: what it was built from.
        data: the columns that it reads.
        features: what it sees beside the values.
        history: the last observations of every series, as many as are seen.
        deviations: of each channel's training part, `(N,)`.
    """

    network: ForecastNetwork
    options: ForecastOptions
    data: SeriesOptions
    features: Features
    history: Panel
    deviations: Floats

    def packed(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the facts, as JSON values, and the tensors: weights, history and deviations."""
        history, ends = pack(self.history)
        facts = {
            "network": self.options.model_dump(),
            "data": self.data.model_dump(),
            "shape": asdict(self.network.shape),
            "scaling": self.network.scaling._asdict(),
            "features": asdict(self.features),
            "history": history,
        }
        tensors = {
            **{f"network.{name}": t for name, t in self.network.state_dict().items()},
            **{f"history.{name}": t for name, t in ends.items()},
            "deviations": torch.from_numpy(np.ascontiguousarray(self.deviations)),
        }
        return facts, tensors

    @classmethod
    def restored(cls, found: Pretrained) -> Saved:
        """Return what was saved, once facts and tensors are seen to fit each other.

        Args:
            found: of a forecaster's directory.

        Raises:
            CheckpointError: they do not.
        """

        path, facts = found.facts_path, found.facts
        if missing := sorted(FACTS - facts.keys()):
            raise CheckpointError(f"{path} describes no forecaster: it lacks {', '.join(missing)}")
        options = typed(ForecastOptions, facts["network"], f"{path}: network")
        data = typed(SeriesOptions, facts["data"], f"{path}: data")
        shape = typed(Shape, facts["shape"], f"{path}: shape")
        scaling = typed(Scaling, facts["scaling"], f"{path}: scaling")
        features = typed(Features, facts["features"], f"{path}: features")
        packed = typed(Packed, facts["history"], f"{path}: history")
        frequency = typed(Frequency, packed.frequency, f"{path}: history.frequency")
        layout = _under("network.", found.layout)
        if max(shape.context, shape.horizon, options.members * options.num_layers) > MOST_STEPS:
            raise CheckpointError(f"{path}: {shape} is larger than any that can be asked for")
        if options.members * options.num_layers > len(layout):
            raise CheckpointError(
                f"{path}: network.members is {options.members}, but there are {len(layout)} tensors"
            )

        def make() -> ForecastNetwork:
            return ForecastNetwork(options, shape, scaling, [None] * options.members)

        require_fit(described(make), layout)
        require_room(found.layout)
        tensors = found.tensors()
        try:
            history = unpack(packed, frequency, _under("history.", tensors))
            deviations = tensors["deviations"].double().numpy()
            _require_match(shape, features, history, deviations)
        except (LookupError, TypeError, ValueError, RuntimeError, RecurraError) as error:
            told = " ".join(str(error).split())
            raise CheckpointError(
                f"{path} describes no forecaster: {type(error).__name__}: {told:.400}"
            ) from error
        network = make()
        load_weights(network, _under("network.", tensors))
        return cls(network, options, data, features, history, deviations)


def _require_match(shape: Shape, features: Features, history: Panel, deviations: Floats) -> None:
    """Raise a ValueError where what is read of a forecaster contradicts itself."""
    if min(shape.context, shape.segment, shape.horizon) < 1 or shape.context % shape.segment:
        raise ValueError(f"a context of {shape.context} is no whole segments of {shape.segment}")
    if not_finite(np.array([*features.means, *features.deviations])) is not None:
        raise ValueError("a feature's mean or deviation is not finite")
    if not (np.isnan(deviations) | (deviations >= 0) & (deviations < np.inf)).all():
        raise ValueError("a deviation is negative or infinite")
    frequency = history.frequency
    if not (0 < frequency.count <= MOST_COUNT and 1 <= frequency.day <= LAST_DAY):
        raise ValueError(f"there is no step as {frequency}")
    if frequency.unit != "step" and frequency.count != int(frequency.count):
        raise ValueError(f"{frequency.count} {frequency.unit}s are no step")
    channels = features.channels(history)
    if len(channels) != len(deviations):
        raise ValueError(f"{len(channels)} channels, but {len(deviations)} deviations")
    one = channels[0]
    found = one.seen.shape[1], one.known.shape[1], len(one.static), len(history.targets)
    if found != (shape.seen, shape.known, shape.static, shape.variables):
        raise ValueError(f"the history has {found} features and variables, not those of {shape}")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
