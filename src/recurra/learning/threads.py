"""How many threads a run takes: chosen once by what there is to compute, kept in its config."""

from __future__ import annotations

from typing import TypeVar

import torch

from recurra.learning.config import RunConfig
from recurra.machine import worth_threads

__all__ = ["with_threads"]

_Config = TypeVar("_Config", bound=RunConfig)


def with_threads(config: _Config, weights: int, positions: int) -> _Config:
    """Return a config that says how many threads its run takes, and have torch take them.

    Args:
        config: the run's; returned as it is where it says so already.
        weights: that each position of a batch is multiplied with.
        positions: of a batch: rows times steps.

    Example:
        >>> threads = torch.get_num_threads()
        >>> with_threads(RunConfig(preset="mine", task="own"), 15, 120).threads
        1
        >>> torch.set_num_threads(threads)
    """
    if config.threads is not None:
        return config
    threads = worth_threads(weights * positions)
    torch.set_num_threads(threads)
    return config.model_copy(update={"threads": threads})
