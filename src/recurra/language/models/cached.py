"""What the two caches have in common: how they are mixed with a model, and read back.

N tokens in a text.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.errors import CheckpointError
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.options import AnyOptions
from recurra.learning.written import typed
from recurra.nn.state import State, flatten

__all__ = ["device_of", "mix", "restored"]

Floats = NDArray[np.float64]


def mix(own: Floats, cached: Floats, weight: float) -> Floats:
    """Return the log-probabilities `(N,)` of a model and a cache mixed.

    Args:
        own: `(N,)`, the model's.
        cached: `(N,)`, the cache's, -inf allowed.
        weight: of the cache, from 0 to 1.

    Example:
        >>> np.exp(mix(np.log([0.5, 0.2]), np.array([0.0, -np.inf]), 0.5))
        array([0.75, 0.1 ])
    """
    with np.errstate(divide="ignore"):
        mixed: Floats = np.logaddexp(own + np.log1p(-weight), cached + np.log(weight))
    return mixed


def device_of(state: State) -> torch.device:
    """Return where a state's tensors are.

    Args:
        state: of at least one tensor.
    """
    return next(iter(flatten(state).values())).device


def restored(
    saved: Saved, kind: str, options: type[AnyOptions]
) -> tuple[LanguageModel, AnyOptions]:
    """Return the one model that a saved cache is over, and its options.

    Args:
        saved: what there is of it.
        kind: of the cache.
        options: their class.

    Raises:
        CheckpointError: there is another number of models, a tensor, or an option that is not
            valid.
    """
    if len(saved.inner) != 1 or saved.tensors:
        raise CheckpointError(
            f"a {kind} model is made of one model and no tensors, got {len(saved.inner)} and "
            f"{sorted(saved.tensors)[:3]}"
        )
    return saved.inner[0], typed(options, saved.facts, f"model.json: the {kind} model")
