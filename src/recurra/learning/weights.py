"""Weights from a file into a network: what fits, and what the machine can hold, is asked before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from recurra.errors import CheckpointError, ConfigError
from recurra.machine import available_memory

__all__ = ["load_weights", "require_fit", "require_memory", "restored", "sketched"]

Network = TypeVar("Network", bound=nn.Module)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into `model`: all of them, or none.

    Args:
        model: where to.
        weights: name -> tensor, the names and shapes of the model's.

    Raises:
        CheckpointError: names or shapes differ; lists missing, unexpected and mismatched ones.

    Example:
        >>> load_weights(nn.Linear(2, 1), {"weight": torch.zeros(1, 2)})
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: the weights do not fit the model: missing bias
    """
    require_fit(model, weights)
    model.load_state_dict(dict(weights))


def require_fit(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise unless `weights` has the names and shapes of the model's.

    Args:
        model: may be on the meta device, where it costs no memory.
        weights: name -> tensor.

    Raises:
        CheckpointError: lists missing, unexpected and mismatched ones.
    """
    own = model.state_dict()
    faults = [f"missing {name}" for name in own if name not in weights]
    faults += [f"unexpected {name}" for name in weights if name not in own]
    faults += [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if faults:
        raise CheckpointError(f"the weights do not fit the model: {'; '.join(faults)}")


def sketched(make: Callable[[], Network]) -> Network:
    """Return a network whose parameters have shapes and no memory.

    Args:
        make: makes the network.

    Example:
        >>> sketched(lambda: nn.Linear(2, 1)).weight.device
        device(type='meta')
    """
    with torch.device("meta"):
        return make()


def restored(make: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """Return a network with weights that were saved, allocated only once they are seen to fit.

    Args:
        make: makes the network.
        weights: name -> tensor.

    Raises:
        CheckpointError: names or shapes differ.

    Example:
        >>> restored(lambda: nn.Linear(2, 1, bias=False), {"weight": torch.ones(1, 2)}).weight.sum()
        tensor(2., grad_fn=<SumBackward0>)
    """
    require_fit(sketched(make), weights)
    network = make()
    load_weights(network, weights)
    return network


def require_memory(parameters: int, sizes: str, moments: bool = False) -> None:
    """Refuse a network that the machine cannot hold together with what learning it needs.

    Args:
        parameters: how many there are.
        sizes: the settings that make them so many, in words.
        moments: whether the optimizer keeps two more numbers for each, beside its gradient.

    Raises:
        ConfigError: it does not fit; says the sizes and the memory.

    Example:
        >>> require_memory(1, "network.hidden_size=1")
    """
    needed, free = (16 if moments else 8) * parameters, available_memory()
    if free is not None and needed > free:
        kept = "gradients and moments" if moments else "their gradients"
        raise ConfigError(
            f"{sizes} make {parameters:,} parameters: with {kept} {needed / 1e9:,.1f} GB, more "
            f"than the {free / 1e9:,.1f} GB that are free"
        )
