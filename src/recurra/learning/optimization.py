"""Optimizers, learning-rate schedules and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, RunError
from recurra.learning.options import (
    LOSSES,
    OPTIMIZERS,
    REGULARISERS,
    SCHEDULES,
    TrainOptions,
    is_own,
)
from recurra.learning.own.blame import blamed, line_of, own_randomness, require_taken
from recurra.table import require_options

__all__ = [
    "clip_gradients",
    "constant",
    "cosine",
    "learning_rate",
    "linear",
    "make_optimizer",
    "require_own",
    "take_step",
    "takes_sparse_gradients",
    "tutorial",
]


def require_own(options: TrainOptions) -> None:
    """Raise unless all that the options name is there, and the schedule takes what it is given.

    Args:
        options: of a training.

    Raises:
        ConfigError: names what is not; nothing is trained yet.

    Example:
        >>> require_own(TrainOptions(optimizer="adam"))
    """
    for table, name in (
        (OPTIMIZERS, options.optimizer),
        (LOSSES, options.loss),
        (REGULARISERS, options.regulariser),
    ):
        if name is not None:
            table[name]
    _named(options)
    place = options.schedule
    require_taken("train.schedule", place, SCHEDULES[place], 3, _constants(options))


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
    name, begun = options.schedule, options.warmup_steps
    where = step - begun, max(1, steps - begun), epoch
    if not is_own(name):
        factor: float = SCHEDULES[name](*where, **_constants(options))
        return peak * factor
    with blamed("train.schedule", name):
        found = SCHEDULES[name](*where, **options.schedule_options)
    try:
        factor = float(found)
    except (TypeError, ValueError):
        factor = math.nan
    if not (math.isfinite(factor) and factor >= 0):
        raise RunError(
            f"train.schedule={name}: it returned {found!r:.80} at step {step}, but must return a "
            f"finite number, at least 0{line_of(SCHEDULES[name])}"
        )
    return peak * factor


def _constants(options: TrainOptions) -> dict[str, Any]:
    if options.schedule == "tutorial":
        return {"flat_epochs": options.flat_epochs, "decay": options.decay}
    return options.schedule_options


def constant(step: int, steps: int, epoch: int) -> float:
    """Return 1.

    Args:
        step: which step, from 0, after the warm-up.
        steps: how many there are after the warm-up.
        epoch: the pass over the data that it belongs to, from 0.

    Example:
        >>> constant(3, 10, 0)
        1.0
    """
    return 1.0


def linear(step: int, steps: int, epoch: int) -> float:
    """Return what falls evenly from 1, to be 0 at the step after the last.

    Args:
        step: which step, from 0, after the warm-up.
        steps: how many there are after the warm-up.
        epoch: the pass over the data that it belongs to, from 0.

    Example:
        >>> linear(5, 10, 0)
        0.5
    """
    return 1 - step / steps


def cosine(step: int, steps: int, epoch: int) -> float:
    """Return what falls from 1 to 0 by half a cosine.

    Args:
        step: which step, from 0, after the warm-up.
        steps: how many there are after the warm-up.
        epoch: the pass over the data that it belongs to, from 0.

    Source: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
        equation 5, without restarts.

    Example:
        >>> round(cosine(5, 10, 0), 9)
        0.5
    """
    return 0.5 * (1 + math.cos(math.pi * (step / steps)))


def tutorial(step: int, steps: int, epoch: int, flat_epochs: int = 0, decay: float = 1) -> float:
    """Return 1 for some epochs, then what is multiplied by a factor at each.

    Args:
        step: which step, from 0, after the warm-up.
        steps: how many there are after the warm-up.
        epoch: the pass over the data that it belongs to, from 0.
        flat_epochs: how many stay at 1.
        decay: the factor.

    Source: Zaremba, Sutskever & Vinyals 2014, "Recurrent neural network regularization",
        section 4.1, as the program beside it has it.

    Example:
        >>> [tutorial(0, 1, epoch, flat_epochs=2, decay=0.5) for epoch in range(4)]
        [1.0, 1.0, 0.5, 0.25]
    """
    return float(decay ** max(epoch + 1 - flat_epochs, 0))


Parameters = Iterable[nn.Parameter]
Named = Sequence[tuple[str, nn.Parameter]]

TAKEN = {"lr": "train.learning_rate", "weight_decay": "train.weight_decay"}
"""What an optimizer is given by settings of their own."""


def make_optimizer(parameters: Parameters | Named, options: TrainOptions) -> torch.optim.Optimizer:
    """Return the optimizer that `options` names, over `parameters`.

    One's own class is made with `(parameters, lr=..., **optimizer_options)`, and with
    `weight_decay` where that is not zero; one's own function, which may divide the parameters into
    groups, with pairs of name and parameter in their place.

    Args:
        parameters: what it updates, with their names or without.
        options: its name and constants.

    Raises:
        ConfigError: it cannot be made with these, leaves parameters out, or has no rate to set.

    Example:
        >>> make_optimizer([nn.Parameter(torch.zeros(2))], TrainOptions(optimizer="adam"))
        Adam (
        ...
    """
    pairs = [p if isinstance(p, tuple) else (str(n), p) for n, p in enumerate(parameters)]
    place, named = options.optimizer, _named(options)
    make = OPTIMIZERS[place]
    given: list[Any] = [parameter for _, parameter in pairs]
    require_options(f"train.optimizer={place}", make, options.optimizer_options, placed=1)
    if not is_own(place):
        if not options.optimizer_options:
            return cast("torch.optim.Optimizer", make(given, **named))
        with blamed("train.optimizer", place, ConfigError):
            return cast("torch.optim.Optimizer", make(given, **named))
    if not isinstance(make, type):
        given = pairs
    with blamed("train.optimizer", place, ConfigError):
        made = make(given, **named)
    _require_optimizer(made, make, place, dict(pairs))
    for group in made.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return cast("torch.optim.Optimizer", made)


def _named(options: TrainOptions) -> dict[str, Any]:
    """Return what an optimizer is made with, by name."""
    own = {name: _pair(value) for name, value in options.optimizer_options.items()}
    name, momentum = options.optimizer, options.momentum
    settings = TAKEN | ({"momentum": "train.momentum"} if name == "sgd" else {})
    if taken := [setting for setting in settings if setting in own]:
        raise ConfigError(f"train.optimizer_options.{taken[0]} is set by {settings[taken[0]]}")
    named: dict[str, Any] = {"lr": options.learning_rate}
    if is_own(name):
        if momentum:
            raise ConfigError(
                "train.momentum is of sgd and adam; for one's own optimizer give "
                f"train.optimizer_options.momentum={momentum:g}"
            )
        return (
            named | own | ({"weight_decay": options.weight_decay} if options.weight_decay else {})
        )
    named["weight_decay"] = options.weight_decay
    if name == "sgd":
        named["momentum"] = momentum
    elif name in ("adam", "adamw"):
        named |= {"betas": (momentum or 0.9, 0.999), "fused": True}
    return named | own


def _pair(value: Any) -> Any:
    """Return the numbers of `0.9/0.99` as a tuple; what is no such text as it is."""
    if isinstance(value, str) and "/" in value:
        try:
            return tuple(float(part) for part in value.split("/"))
        except ValueError:
            pass
    return value


def _require_optimizer(made: Any, make: Any, place: str, named: dict[str, nn.Parameter]) -> None:
    """Raise unless something is an optimizer of all the parameters, each with a rate to be set."""
    where = f"train.optimizer={place}"
    if not isinstance(made, torch.optim.Optimizer):
        raise ConfigError(
            f"{where}: it returned a {type(made).__name__}, but must return a torch.optim.Optimizer"
            f"{line_of(make)}"
        )
    taken = {id(each) for group in made.param_groups for each in group["params"]}
    if left := [name for name, parameter in named.items() if id(parameter) not in taken]:
        raise ConfigError(
            f"{where}: it leaves out {len(left)} of {len(named)} parameters, {left[0]} the first; "
            f"what is not to learn takes a group with lr=0{line_of(make)}"
        )
    if taken - {id(parameter) for parameter in named.values()}:
        raise ConfigError(f"{where}: it has parameters that are not the model's{line_of(make)}")
    if not all(isinstance(group.get("lr"), int | float) for group in made.param_groups):
        raise ConfigError(
            f"{where}: its groups have no number lr, so no schedule would reach them; have it "
            f"among the defaults{line_of(make)}"
        )


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


def take_step(
    optimizer: torch.optim.Optimizer,
    options: TrainOptions,
    rate: float,
    drawn: tuple[int, int] = (0, 0),
) -> float:
    """Clip the gradients, update at the given rate, and return the gradients' norm before.

    Where the norm is not finite, nothing is updated. Weight decay is added to the clipped gradient.

    Args:
        optimizer: as `make_optimizer(..., options)` returned it.
        options: with the bound on the norm.
        rate: the learning rate of this step.
        drawn: seed and step, from which follows what one's own optimizer draws.

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
    if is_own(options.optimizer):
        if math.isfinite(norm):
            with own_randomness(drawn[0], "own optimizer", drawn[1], parameters[0].device):
                _take_own_step(optimizer, options, rate)
        return norm
    for group in optimizer.param_groups:
        group["lr"], group["weight_decay"] = rate, decay
    if math.isfinite(norm):
        optimizer.step()
    return norm


def _take_own_step(optimizer: torch.optim.Optimizer, options: TrainOptions, rate: float) -> None:
    """Update at the given rate, groups with a rate of their own at as much of theirs."""
    peak = options.learning_rate
    for group in optimizer.param_groups:
        own = group["initial_lr"]
        group["lr"] = rate if own == peak else own * (rate / peak)
    with blamed("train.optimizer", options.optimizer):
        optimizer.step()


def takes_sparse_gradients(options: TrainOptions) -> bool:
    """Return whether the optimizer leaves alone what a gradient does not mention.

    Args:
        options: its name and constants.

    Example:
        >>> takes_sparse_gradients(TrainOptions(optimizer="adam"))
        False
    """
    plain = not options.momentum and not options.weight_decay and not options.optimizer_options
    return options.optimizer == "sgd" and plain


def _values(parameter: nn.Parameter) -> Tensor:
    """Return what the gradient's norm is taken of, in place: of a sparse one, each row once."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad._values()
