"""Optimizers, learning-rate schedules and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.learning.options import TrainOptions

__all__ = [
    "OPTIMIZERS",
    "clip_gradients",
    "learning_rate",
    "make_optimizer",
    "take_step",
    "takes_sparse_gradients",
]


def learning_rate(options: TrainOptions, step: int, steps: int, epoch: int) -> float:
    """Return the learning rate of one step; a pure function, so a schedule has no state.

    Args:
        options: names the schedule and its constants.
        step: which step, from 0.
        steps: how many the whole training takes.
        epoch: the pass over the data that it belongs to, from 0.

    Example:
        >>> half = TrainOptions(learning_rate=1, schedule="tutorial", flat_epochs=2, decay=0.5)
        >>> [learning_rate(half, epoch * 10, 40, epoch) for epoch in range(4)]
        [1.0, 1.0, 0.5, 0.25]
    """
    peak = options.learning_rate
    if step < options.warmup_steps:
        return peak * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
    if options.schedule == "linear":
        return peak * (1 - done)
    if options.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    if options.schedule == "tutorial":
        return peak * options.decay ** max(epoch + 1 - options.flat_epochs, 0)
    return peak


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}

Parameters = Iterable[nn.Parameter]


def make_optimizer(parameters: Parameters, options: TrainOptions) -> torch.optim.Optimizer:
    """Return the optimizer that `options` names, over `parameters`.

    Args:
        parameters: what it updates.
        options: its name and constants.

    Example:
        >>> make_optimizer([nn.Parameter(torch.zeros(2))], TrainOptions(optimizer="adam"))
        Adam (
        ...
    """
    own: dict[str, Any] = {}
    if options.optimizer == "sgd":
        own = {"momentum": options.momentum}
    elif options.optimizer in ("adam", "adamw"):
        own = {"betas": (options.momentum or 0.9, 0.999), "fused": True}
    make = OPTIMIZERS[options.optimizer]
    return make(parameters, lr=options.learning_rate, weight_decay=options.weight_decay, **own)


def clip_gradients(parameters: Parameters, most: float | None) -> Tensor:
    """Scale all gradients so that their global L2 norm is at most `most`; return the norm before.

    Args:
        parameters: whose gradients count; those without one are left out.
        most: the bound, or None to only measure.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural
        networks", algorithm 1.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> float(clip_gradients([weight], 1.0)), weight.grad
        (5.0, tensor([0.6000, 0.8000]))
    """
    gradients = [_values(p) for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if most is not None and norm > most:
        torch._foreach_mul_(gradients, (most / norm).item())
    return norm


def take_step(optimizer: torch.optim.Optimizer, options: TrainOptions, rate: float) -> float:
    """Clip the gradients, update at the given rate, and return the gradients' norm before.

    Where the norm is not finite, nothing is updated. Weight decay is added to the clipped gradient.

    Args:
        optimizer: as `make_optimizer(..., options)` returned it.
        options: with the bound on the norm.
        rate: the learning rate of this step.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> options = TrainOptions(clip_norm=1)
        >>> take_step(make_optimizer([weight], options), options, 0.5), weight.data
        (5.0, tensor([-0.3000, -0.4000]))
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    most = options.clip_norm
    decay = options.weight_decay
    if options.optimizer == "sgd" and not options.momentum:
        norm = float(clip_gradients(parameters, None))
        if most is not None and math.isfinite(norm) and norm > most:
            # The same update, without a pass over the gradients.
            rate, decay = rate * (most / norm), decay * (norm / most)
    else:
        norm = float(clip_gradients(parameters, most))
    for group in optimizer.param_groups:
        group["lr"], group["weight_decay"] = rate, decay
    if math.isfinite(norm):
        optimizer.step()
    return norm


def takes_sparse_gradients(options: TrainOptions) -> bool:
    """Return whether the optimizer leaves alone what a gradient does not mention.

    Args:
        options: its name and constants.

    Example:
        >>> takes_sparse_gradients(TrainOptions(optimizer="adam"))
        False
    """
    return options.optimizer == "sgd" and not options.momentum and not options.weight_decay


def _values(parameter: nn.Parameter) -> Tensor:
    """Return what the gradient's norm is taken of, in place: of a sparse one, each row once."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad._values()
