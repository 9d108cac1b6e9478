"""Dropout masks, drawn once for all the steps of an unroll. B rows, T steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, RunError
from recurra.nn.kernels.dropout import dropout_mask

__all__ = ["Masks", "require_probabilities"]

Made = TypeVar("Made")


class Masks:
    """The dropout masks of one unroll, each drawn once for all of its steps.

    Args:
        generator: where they come from; None where none will be needed.
        steps: T, steps of the unroll.
    """

    def __init__(self, generator: torch.Generator | None, steps: int) -> None:
        if generator is not None and not isinstance(generator, torch.Generator):
            raise ConfigError(
                f"generator is a torch.Generator, got {generator!r:.40}: "
                "torch.Generator().manual_seed(1) is one"
            )
        self.generator = generator
        self.steps = steps
        self.made: dict[Any, Any] = {}

    def get(self, owner: nn.Module, place: str, x: Tensor, p: float, shared: bool) -> Tensor:
        """Return the mask `(B, T, ...)`, or `(B, 1, ...)` where all steps share it.

        Args:
            owner: whose mask.
            place: which of its masks.
            x: `(B, T, ...)`, what will be masked, or one step of it `(B, 1, ...)`.
            p: probability of dropping a unit.
            shared: whether one mask serves all steps.
        """
        shape = (x.shape[0], 1 if shared else self.steps, *x.shape[2:])
        return self.once(owner, place, lambda: self.draw(shape, p, x, type(owner).__name__))

    def once(self, owner: nn.Module, place: str, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, which is called at the first of the steps alone.

        Args:
            owner: whose it is.
            place: which of the owner's.
            make: makes it.
        """
        key = (id(owner), place)
        if key not in self.made:
            self.made[key] = make()
        return cast("Made", self.made[key])

    def draw(self, shape: Sequence[int], p: float, like: Tensor, owner: str = "Dropout") -> Tensor:
        """Return a new mask, of the dtype and device of `like`.

        Args:
            shape: of the mask.
            p: probability of dropping a unit.
            like: what will be masked.
            owner: whose mask, for the message where there is no generator.
        """
        if self.generator is None:
            raise RunError(
                f"{owner} in training mode draws its masks from a generator: pass "
                "generator=torch.Generator(), or call .eval() first"
            )
        if p == 1:  # nothing is left to be scaled
            return like.new_zeros(shape)
        return dropout_mask(shape, p, self.generator, like.dtype).to(like.device)


def require_probabilities(wrapper: str, all_of_it: bool = False, /, **given: float) -> None:
    """Raise ConfigError unless these are probabilities of dropping something.

    Args:
        wrapper: whose they are, for the message.
        all_of_it: whether all may be dropped, by a probability of 1.
        given: name -> probability.

    Example:
        >>> require_probabilities("WeightDrop", probability=1)
        Traceback (most recent call last):
        recurra.errors.ConfigError: WeightDrop: probability is a probability in [0, 1), got 1
    """
    for name, p in given.items():
        if not isinstance(p, Real) or not (0 <= p < 1 or (all_of_it and p == 1)):
            interval = "[0, 1]" if all_of_it else "[0, 1)"
            raise ConfigError(f"{wrapper}: {name} is a probability in {interval}, got {p!r:.40}")
