"""What a forecaster is made of, as facts and tensors on disk, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from recurra.errors import CheckpointError, RecurraError
from recurra.learning.weights import restored, sketched
from recurra.series.data.dataset import Features
from recurra.series.data.windows import Scaling
from recurra.series.network.model import ForecastNetwork, Shape
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel
from recurra.series.use.history import pack, unpack
from recurra.storage.pretrained import Pretrained

__all__ = ["Saved"]

Floats = NDArray[np.float64]


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

        def make() -> ForecastNetwork:
            return ForecastNetwork(options, shape, scaling, [None] * options.members)

        try:
            options = ForecastOptions.model_validate(found.facts["network"])
            data = SeriesOptions.model_validate(found.facts["data"])
            shape = TypeAdapter(Shape).validate_python(found.facts["shape"])
            scaling = TypeAdapter(Scaling).validate_python(found.facts["scaling"])
            features = Features.from_facts(found.facts["features"])
            history = unpack(found.facts["history"], _under("history.", found.tensors))
            deviations = found.tensors["deviations"].double().numpy()
            _require_match(shape, features, history, deviations)
            sketched(make)
        except (LookupError, TypeError, ValueError, RuntimeError, RecurraError) as error:
            told = " ".join(str(error).split())
            raise CheckpointError(
                f"{found.facts_path} describes no forecaster: {type(error).__name__}: {told}"
            ) from error
        network = restored(make, _under("network.", found.tensors))
        return cls(network, options, data, features, history, deviations)


def _require_match(shape: Shape, features: Features, history: Panel, deviations: Floats) -> None:
    """Raise a ValueError where what is read of a forecaster contradicts itself."""
    if min(shape.context, shape.segment, shape.horizon) < 1 or shape.context % shape.segment:
        raise ValueError(f"a context of {shape.context} is no whole segments of {shape.segment}")
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
