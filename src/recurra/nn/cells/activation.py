"""The activations that cells take by name, those of Keras 3 among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.table import first_of, nearest

__all__ = ["ACTIVATIONS", "Activated", "Activation", "activate", "checked_activation"]

Activation = str | Callable[[Tensor], Tensor]
"""A name in ACTIVATIONS, or any function from a tensor to one of its shape."""


def _sparse_plus(x: Tensor) -> Tensor:
    return torch.where(x < 1, ((x.clamp(-1, 1) + 1) / 2).square(), x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "linear": lambda x: x,
    "hard_sigmoid": F.hardsigmoid,
    "keras2_hard_sigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "softsign": F.softsign,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "relu6": F.relu6,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "exponential": torch.exp,
    "hard_silu": F.hardswish,
    "hard_tanh": F.hardtanh,
    "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink,
    "tanh_shrink": F.tanhshrink,
    "squareplus": lambda x: (x + torch.sqrt(x.square() + 4)) / 2,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: ((x + 1) / 2).clamp(0, 1),
    "log_sigmoid": F.logsigmoid,
    "softmax": partial(torch.softmax, dim=-1),
    "log_softmax": partial(torch.log_softmax, dim=-1),
}
"""Name -> activation.

`hard_sigmoid` is Keras 3's, `relu6(x + 3) / 6`; Keras 2's and ONNX' is `keras2_hard_sigmoid`,
`clip(0.2 x + 0.5, 0, 1)`. `leaky_relu` has Keras' slope of 0.2, where torch has 0.01.
"""


def checked_activation(owner: str, name: str, given: Activation) -> Activation:
    """Return an activation as a cell keeps it, or raise ConfigError where it is none.

    Args:
        owner: the cell, for the message.
        name: of its argument.
        given: what should be one.

    Example:
        >>> checked_activation("LSTMCell", "activation", "rulu")
        Traceback (most recent call last):
        recurra.errors.ConfigError: LSTMCell: activation is one of ACTIVATIONS, tanh, sigmoid, \
relu, linear and 24 more, or a function of a tensor, got 'rulu'. Did you mean 'relu'?
    """
    if isinstance(given, str) and given in ACTIVATIONS:
        return given
    if isinstance(given, str | type) or not callable(given):
        near = f".{nearest(given[:80], ACTIVATIONS)}" if isinstance(given, str) else ""
        raise ConfigError(
            f"{owner}: {name} is one of ACTIVATIONS, {first_of(ACTIVATIONS, 4)}, or a function of "
            f"a tensor, got {given!r:.80}{near}"
        )
    if not isinstance(given, nn.Module):
        return given
    if any(True for _ in given.parameters()):
        raise ConfigError(
            f"{owner}: {name} is a function, and {type(given).__name__} has parameters to learn; "
            "write a cell with it, whose forward calls it"
        )
    return partial(given)  # no part of the cell's, so that one module may serve several


def activate(activation: Activation, x: Tensor) -> Tensor:
    """Return what an activation makes of numbers.

    Args:
        activation: as a cell keeps it.
        x: any shape.

    Example:
        >>> activate("keras2_hard_sigmoid", torch.tensor([-5.0, 0.5]))
        tensor([0.0000, 0.6000])
    """
    return (ACTIVATIONS[activation] if isinstance(activation, str) else activation)(x)


class Activated:
    """A cell whose activations are arguments, of which its kernels know few.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> LSTMCell(3, 5, activation="relu").unusual()
        "activation='relu'"
    """

    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "activation": ("tanh",),
        "recurrent_activation": ("sigmoid",),
    }
    """Argument -> those names that kernels know, the default first."""

    activation: Activation
    recurrent_activation: Activation

    def keep_activations(self, activation: Activation, recurrent_activation: Activation) -> None:
        """Keep both, or raise ConfigError where one is none.

        Args:
            activation: of the candidate, and of an LSTM's memory on its way out.
            recurrent_activation: of the gates.
        """
        name = type(self).__name__
        self.activation = checked_activation(name, "activation", activation)
        self.recurrent_activation = checked_activation(
            name, "recurrent_activation", recurrent_activation
        )

    def unusual(self) -> str:
        """Return the activations, in words, that no kernel of the cell knows; none as a rule."""
        return self._other_than(self.usual)

    def extra_repr(self) -> str:
        """Return the sizes, and the activations that are not the default, for printing."""
        sizes: str = super().extra_repr()  # type: ignore[misc]
        defaults = {name: names[:1] for name, names in self.usual.items()}
        return ", ".join(filter(None, (sizes, self._other_than(defaults))))

    def _other_than(self, known: Mapping[str, tuple[str, ...]]) -> str:
        kept = {name: getattr(self, name) for name in known}
        return ", ".join(
            f"{name}={given!r:.80}" for name, given in kept.items() if given not in known[name]
        )
