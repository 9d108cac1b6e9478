"""Weights from a file into a network: what fits, and what the machine can hold, is asked before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from recurra.errors import CheckpointError, ConfigError, RecurraError, ResourceError
from recurra.machine import available_memory
from recurra.storage.finite import not_finite

__all__ = [
    "described",
    "load_weights",
    "require_finite",
    "require_fit",
    "require_memory",
    "require_room",
    "restored",
    "sketched",
]

MOST_FAULTS = 20
"""Of one kind, in one message."""

Network = TypeVar("Network", bound=nn.Module)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into `model`: all of them, or none.

    Args:
        model: where to.
        weights: name -> tensor, the names and shapes of the model's.

    Raises:
        CheckpointError: names or shapes differ; lists missing, unexpected and mismatched ones. Or
            a number is not finite; names its tensor.

    Example:
        >>> load_weights(nn.Linear(2, 1), {"weight": torch.zeros(1, 2)})
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: the weights do not fit the model: missing bias
    """
    require_fit(model, weights)
    require_finite(weights)
    model.load_state_dict(dict(weights))


def require_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise unless every number of every tensor is finite: what is not would spread.

    Args:
        weights: name -> tensor.

    Raises:
        CheckpointError: names the first tensor that is not, and the place in it.

    Example:
        >>> require_finite({"bias": torch.tensor([0.0, float("nan")])})
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: bias[1] is nan: every number must be finite
    """
    for name, tensor in weights.items():
        if (place := not_finite(tensor)) is not None:
            where = f"[{', '.join(map(str, place))}]" if place else ""
            said = f"{name:.80}{where} is {tensor[place].item()}"
            raise CheckpointError(f"{said}: every number must be finite")


def require_fit(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise unless `weights` has the names, shapes and kinds of number of the model's.

    Args:
        model: may be on the meta device, where it costs no memory.
        weights: name -> tensor, which may be there too.

    Raises:
        CheckpointError: lists missing, unexpected and mismatched ones.
    """
    own = model.state_dict()
    missing = [f"missing {name}" for name in own if name not in weights]
    unexpected = [f"unexpected {name}" for name in weights if name not in own]
    wrong = [
        f"{name} is {tuple(found.shape)}, expected {tuple(tensor.shape)}"
        if found.shape != tensor.shape
        else f"{name} holds {found.dtype}, expected {tensor.dtype}"
        for name, tensor in own.items()
        if (found := weights.get(name)) is not None
        and (found.shape, found.is_floating_point()) != (tensor.shape, tensor.is_floating_point())
    ]
    told = [_few(faults) for faults in (missing, unexpected, wrong) if faults]
    if told:
        raise CheckpointError(f"the weights do not fit the model: {'; '.join(told)}")


def _few(faults: list[str]) -> str:
    more = f"; and {len(faults) - MOST_FAULTS:,} more" if len(faults) > MOST_FAULTS else ""
    return "; ".join(fault[:200] for fault in faults[:MOST_FAULTS]) + more


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


def restored(
    make: Callable[[], Network],
    layout: Mapping[str, Tensor],
    read: Callable[[], Mapping[str, Tensor]],
) -> Network:
    """Return a network with weights that were saved, read only once they are seen to fit.

    Args:
        make: makes the network that a file describes.
        layout: name -> tensor on the meta device, as the file's header tells it.
        read: reads the weights.

    Raises:
        CheckpointError: no such network can be made, or names or shapes differ, or a number is
            not finite.
        ResourceError: the memory cannot hold them.

    Example:
        >>> saved = {"weight": torch.ones(1, 2)}
        >>> layout = {"weight": torch.ones(1, 2, device="meta")}
        >>> restored(lambda: nn.Linear(2, 1, bias=False), layout, lambda: saved).weight.sum()
        tensor(2., grad_fn=<SumBackward0>)
    """
    require_fit(described(make), layout)
    require_room(layout)
    weights = read()
    network = make()
    load_weights(network, weights)
    return network


def require_room(layout: Mapping[str, Tensor]) -> None:
    """Refuse to read tensors that the memory cannot hold.

    Args:
        layout: name -> tensor, which may be on the meta device.

    Raises:
        ResourceError: they do not fit; says both sizes.

    Example:
        >>> require_room({"bias": torch.empty(3, device="meta")})
    """
    needed, free = sum(tensor.nbytes for tensor in layout.values()), available_memory()
    if free is not None and needed > free:
        raise ResourceError(
            f"the weights have {needed / 1e9:,.1f} GB, more than the {free / 1e9:,.1f} GB of "
            "memory that are free"
        )


def described(make: Callable[[], Network]) -> Network:
    """Return the sketch of a network that a file describes, which may be none.

    Args:
        make: makes the network; a cell of someone's own may raise anything.

    Raises:
        CheckpointError: no such network can be made.

    Example:
        >>> described(lambda: nn.Linear(2, "one"))
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: no such network can be made: TypeError: ...
    """
    try:
        return sketched(make)
    except CheckpointError:
        raise
    except Exception as error:
        name = "" if isinstance(error, RecurraError) else f"{type(error).__name__}: "
        said = " ".join(str(error).split())
        raise CheckpointError(f"no such network can be made: {name}{said:.400}") from error


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
