"""The parameters of estimators: what they may be, and what is said of those that may not."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recurra.errors import ConfigError
from recurra.learning.options import Values
from recurra.learning.written import wanted
from recurra.table import nearest

__all__ = ["SequenceOptions", "checked"]

Options = TypeVar("Options", bound=BaseModel)


class SequenceOptions(BaseModel):
    """The rest of the network and of how it learns.

    Example:
        >>> SequenceOptions(num_layers=2, dropout=0.2).validation_fraction
        0.1
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cell_options: Values | None = Field(
        None, description="of the cell, each by its name, as {'num_heads': 4}"
    )
    num_layers: int = Field(1, ge=1, le=256, description="layers of the cell")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="probability of dropping a unit of a layer for all its steps"
    )
    noise: float = Field(
        0.0, ge=0, le=100, description="Gaussian noise on the inputs in training, in deviations"
    )
    members: int = Field(
        1, ge=1, le=256, description="networks learned side by side, whose outputs are averaged"
    )
    standardize: bool = Field(
        True, description="whether inputs are scaled by the training data's mean and deviation"
    )
    learning_rate: float = Field(0.02, gt=0, le=10, description="of Adam, at its highest")
    batch_size: int = Field(256, ge=1, le=1_000_000, description="sequences in a step")
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled from the gradient")
    clip_norm: float = Field(1.0, gt=0, description="most the gradient's global L2 norm may be")
    early_stopping: bool = Field(
        False,
        description="whether examples are held out, and the weights kept that do best on them",
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of the examples that early stopping holds out"
    )
    patience: int = Field(
        20, ge=1, description="passes without a lower validation loss before stopping early"
    )


def checked(make: type[Options], **settings: Any) -> Options:
    """Return options made of `settings`.

    Args:
        make: which options.
        settings: their fields; numpy's numbers are as good as Python's.

    Raises:
        ConfigError: one is unknown, of the wrong type or out of range; says which.

    Example:
        >>> checked(SequenceOptions, num_layers=np.int64(2)).num_layers
        2
        >>> checked(SequenceOptions, num_layers=0)
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: num_layers is 0, but must be at least 1
    """
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    try:
        return make(**plain)
    except ValidationError as error:
        faults = [_say(fault, list(make.model_fields)) for fault in error.errors()]
    raise ConfigError("; ".join(faults))


def _say(fault: Any, names: list[str]) -> str:
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"there is no setting {name!r}.{nearest(name, names)}"
    return f"{name} is {fault['input']!r:.80}, but must be {wanted(fault)}"
