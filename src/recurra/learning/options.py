"""Options: frozen, checked values with a description each; and those of a training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from recurra.learning.written import require_scalars
from recurra.table import Table

__all__ = [
    "BY_COMMAS",
    "CELL",
    "CELL_OPTIONS",
    "LOSSES",
    "OPTIMIZERS",
    "REGULARISERS",
    "SCHEDULES",
    "NamedIn",
    "Options",
    "TrainOptions",
    "Values",
    "is_own",
]

FUNCTION = "types:FunctionType"

OPTIMIZERS = Table(
    "optimizer",
    {
        "sgd": "torch.optim:SGD",
        "adagrad": "torch.optim:Adagrad",
        "adam": "torch.optim:Adam",
        "adamw": "torch.optim:AdamW",
    },
    base=f"torch.optim:Optimizer {FUNCTION}",
)
"""Name -> class; one's own may be a function that makes one, too."""

SCHEDULES = Table(
    "schedule",
    {
        name: f"recurra.learning.optimization:{name}"
        for name in ("constant", "tutorial", "linear", "cosine")
    },
    base=FUNCTION,
)
"""Name -> function of a step, which returns what the learning rate is multiplied by."""

LOSSES = Table("loss", {}, base=FUNCTION)
"""One's own alone: a function of outputs and targets."""

REGULARISERS = Table("regulariser", {}, base=FUNCTION)
"""One's own alone: a function of the model."""

PLACE = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")


def is_own(name: str) -> bool:
    """Return whether a name is a place of someone's own, as `module:Name`.

    Args:
        name: as a setting gives it.

    Example:
        >>> is_own("mine:Lion"), is_own("adam"), is_own("mine:")
        (True, False, False)
    """
    return PLACE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class NamedIn:
    """What checks that a setting is a name in a table, or a place: nothing is imported for it.

    Args:
        table: which.

    Example:
        >>> NamedIn(SCHEDULES)("cosine")
        'cosine'
    """

    table: Table

    @property
    def words(self) -> str:
        """What is allowed, in words."""
        own = "module:Name of your own"
        return f"one of {', '.join(self.table)}, or {own}" if len(self.table) else own

    def __call__(self, name: str | None) -> str | None:
        """Return the name.

        Args:
            name: as it was given.
        """
        if name is not None and name not in self.table.places and not is_own(name):
            raise ValueError(self.words)
        return name


Values = Annotated[dict[str, Any], AfterValidator(require_scalars)]
"""Names with values, each by itself settable as `SETTING.NAME=VALUE`: what one's own code takes."""

CELL = "a name in CELLS, or module:Name; mlstm(num_heads=4) has options"
CELL_OPTIONS = "more of them, each by its name, as cell_options.num_heads=4"
"""What is said of the settings that name a cell."""

BY_COMMAS: JsonDict = {"by_commas": True}
"""Marks an option whose one value is several names by commas, which a sweep does not divide."""


class Options(BaseModel):
    """What every group of settings is: frozen, without unknown names, of finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainOptions(Options):
    """How long, with which optimizer and which schedule a model learns."""

    epochs: float = Field(1.0, gt=0, le=100_000, description="passes over the training data")
    steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="optimizer steps, in place of epochs; frozen by minutes",
    )
    minutes: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="budget of training, sets steps; what comes after gets as long, or 45 s",
    )
    left_out: dict[str, str] | None = Field(
        None, description="what there is no time for after the training, and why; frozen by minutes"
    )
    sized: bool = Field(
        False,
        description="of a text: whether minutes choose width, dropout and learning rate too, by "
        "measured speed",
    )
    batch_size: int = Field(20, ge=1, le=1_000_000, description="sequences in a step")
    optimizer: Annotated[str, AfterValidator(NamedIn(OPTIMIZERS))] = Field(
        "sgd", description="the update rule, by name or as module:Name"
    )
    optimizer_options: Values = Field({}, description="what else the optimizer is made with")
    learning_rate: float = Field(1.0, gt=0, le=10_000, description="for a loss that is a mean")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd; the first beta of adam")
    weight_decay: float = Field(0.0, ge=0, le=1, description="L2, or decoupled for adamw")
    schedule: Annotated[str, AfterValidator(NamedIn(SCHEDULES))] = Field(
        "constant",
        description="tutorial is flat, then multiplied by decay at every epoch; or module:function",
    )
    schedule_options: Values = Field({}, description="what a schedule of one's own takes beside")
    warmup_steps: int = Field(
        0, ge=0, le=1_000_000_000, description="first steps of a linear rise from 0"
    )
    flat_epochs: int = Field(
        0, ge=0, le=1_000_000_000, description="of tutorial: epochs before decay sets in"
    )
    decay: float = Field(1.0, gt=0, le=1, description="of tutorial: factor at each later epoch")
    loss: Annotated[str | None, AfterValidator(NamedIn(LOSSES))] = Field(
        None, description="module:function of outputs and targets, in place of the task's own; none"
    )
    loss_options: Values = Field({}, description="what a loss of one's own takes beside")
    regulariser: Annotated[str | None, AfterValidator(NamedIn(REGULARISERS))] = Field(
        None, description="module:function of the model, whose value is added to the loss; none"
    )
    regulariser_options: Values = Field({}, description="what a regulariser takes beside")
    clip_norm: float | None = Field(
        None, gt=0, le=1e30, description="most the gradient's global L2 norm may be; none"
    )
    validate_epochs: float = Field(
        1.0, gt=0, le=100_000, description="passes between two validations"
    )
    validations: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="evenly spaced validations of a run, in place of validate_epochs",
    )
    keep: Literal["last", "best"] = Field(
        "last", description="which weights become the model: the last, or the best validated"
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="validations without a new best before training ends; never",
    )
    average: Literal["none", "ema", "asgd"] = Field(
        "none",
        description="what is validated and kept: the weights, an exponential moving average of "
        "them, or their mean from when validation stops improving",
    )
    average_decay: float = Field(
        0.999, gt=0, lt=1, description="of ema: what is left of the average after a step"
    )
    average_start: float = Field(
        0.0, ge=0, lt=1, description="of ema: share of the training before it begins"
    )
    average_patience: int = Field(
        5,
        ge=0,
        le=1_000_000_000,
        description="of asgd: newest validations that one is not compared with",
    )
    average_steps: int = Field(
        1,
        ge=1,
        le=1_000_000_000,
        description="steps from one set of weights that enters the average to the next",
    )
    save_seconds: float = Field(
        60.0, ge=0, le=1e9, description="time between checkpoints, in seconds"
    )
