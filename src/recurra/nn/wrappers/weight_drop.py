"""Recurrent weights dropped for a whole unroll. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from recurra.errors import ConfigError
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper
from recurra.nn.wrappers.masks import Masks, require_probabilities

__all__ = ["WeightDrop"]

Module = TypeVar("Module", bound=nn.Module)


class WeightDrop(Wrapper):
    """Recurrent weights dropped, in training mode, by one mask for all the steps of an unroll.

        W' = m * W_hh;  y, s' = f(x, s; W')

    with m = 0 with the given probability of *dropping*, else 1 / (1 - probability), drawn from
    the generator given to `unroll` or to the step. The cells run on the kernels they always
    run on, and the gradient of W_hh is m times that of W'. Nothing is written to what is
    wrapped: the cells of one unroll are shallow twins of it.

    Shapes: those of the wrapped recurrence; each mask has its weight's.

    Args:
        cell: what is wrapped; in a wrapper, the weights of every cell in it.
        probability: of dropping a weight, in [0, 1).
        names: the parameters that are dropped, by the ends of their names: one, or several.

    Raises:
        ConfigError: for a probability outside [0, 1), where no parameter has such a name, and
            where a forward is replaced on an object, as it would read what is not dropped, or
            a part is parametrised, as what is dropped would be made anew.
        RunError: in training mode without a generator.

    Source: Merity et al. 2018, "Regularizing and optimizing LSTM language models", section 2;
        DropConnect: Wan et al. 2013.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> from recurra.nn.unroll import unroll
        >>> cell = WeightDrop(LSTMCell(3, 4), 0.5)
        >>> unroll(cell, torch.ones(2, 7, 3), generator=torch.Generator().manual_seed(1))[0].shape
        torch.Size([2, 7, 4])
    """

    def __init__(
        self, cell: Recurrence, probability: float, names: str | Sequence[str] = ("weight_hh",)
    ) -> None:
        require_probabilities("WeightDrop", probability=probability)
        super().__init__([cell])
        self.probability = probability
        self.names = (names,) if isinstance(names, str) else tuple(names)
        if not self._weights():
            raise ConfigError(
                f"WeightDrop: no parameter of {type(cell).__name__} is named "
                f"{' or '.join(self.names)}; name those to drop in names="
            )

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the outputs and state of what is wrapped, its weights masked."""
        if not self.training or not self.probability:
            return run(self.inner(), x, state)
        twin = run.masks.once(self, "twin", lambda: self._dropped(run.masks))
        return run(twin, x, state)

    def _weights(self) -> dict[str, nn.Parameter]:
        for part in self.inner().modules():
            if parametrize.is_parametrized(part):
                raise ConfigError(
                    f"WeightDrop: weights of {type(part).__bases__[0].__name__} are parametrised, "
                    "and what makes them is not dropped; remove_parametrizations of torch makes "
                    "them plain"
                )
        ends = tuple(f".{name}" for name in self.names)
        return {
            name: parameter
            for name, parameter in self.inner().named_parameters(remove_duplicate=False)
            if f".{name}".endswith(ends)
        }

    def _dropped(self, masks: Masks) -> Recurrence:
        weights = self._weights()
        masked = {
            weight: weight * masks.draw(weight.shape, self.probability, weight, "WeightDrop")
            for weight in dict.fromkeys(weights.values())  # one that stands twice has one mask
        }
        dropped = {name: masked[weight] for name, weight in weights.items()}
        return _twin(self.inner(), dropped)

    def extra_repr(self) -> str:
        """Return the probability and what is dropped, for printing."""
        return f"probability={self.probability}, names={self.names}"


def _twin(module: Module, tensors: Mapping[str, Tensor]) -> Module:
    """Return the module with other tensors in the place of some parameters, all else shared."""
    if "forward" in vars(module):
        raise ConfigError(
            f"WeightDrop: the forward of a {type(module).__name__} is replaced by one of the "
            "object's own, which reads its weights undropped; replace it in a subclass"
        )
    parameters: dict[str, Tensor | None] = dict(module._parameters)
    modules = dict(module._modules)
    within: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        child, _, rest = name.partition(".")
        if rest:
            within.setdefault(child, {})[rest] = tensor
        else:
            parameters[child] = tensor
    for child, parts in within.items():
        found = modules[child]
        modules[child] = found and _twin(found, parts)
    twin = copy.copy(module)
    original = vars(module).get("twin_of", module)
    vars(twin).update(_parameters=parameters, _modules=modules, twin_of=original)
    return twin
