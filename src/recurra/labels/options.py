"""The options of labelled sequences, and of the network that classifies them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recurra.learning.options import CELL, CELL_OPTIONS, Options, Values

__all__ = ["LabelNetworkOptions", "LabelOptions"]


class LabelOptions(Options):
    """Which labelled sequences are read, and which of them are kept for judging."""

    dataset: str = Field(
        "iris",
        description="a dataset's name, NAME_TRAIN.ts (.tsv, .arff), a CSV file, or module:Name",
    )
    label_column: str | None = Field(
        None, description="column of a table that holds the labels; label, or the last one"
    )
    rows: Literal["steps", "features"] | None = Field(
        None,
        description="what the numbers of a table's row are: steps of one feature, or features of "
        "one step; by its form",
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="share of the examples held out, where no test is published"
    )
    valid_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of the training examples kept for validation"
    )
    folds: int | None = Field(
        None, ge=2, le=100, description="stratified folds reported beside the result; none"
    )


class LabelNetworkOptions(Options):
    """The network that classifies: a recurrence read out at its end, or a linear layer alone."""

    kind: Literal["recurrent", "softmax"] = Field(
        "recurrent", description="recurrent layers, or softmax regression on all the numbers"
    )
    cell: str = Field("lstm", description=f"of recurrent: {CELL}")
    cell_options: Values = Field({}, description=CELL_OPTIONS)
    hidden_size: int = Field(64, ge=1, le=65_536, description="units of each layer and direction")
    num_layers: int = Field(1, ge=1, le=256, description="layers of the cell")
    bidirectional: bool = Field(True, description="whether every layer reads from both ends")
    pooling: Literal["last", "mean", "attention"] = Field(
        "mean", description="how the outputs of all the steps become one vector"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="probability of dropping a unit of a layer for all its steps"
    )
    noise: float | None = Field(
        0.0,
        ge=0,
        le=100,
        description="Gaussian noise on inputs in training, in their deviation; none: by the steps",
    )
    standardize: bool = Field(
        True, description="whether inputs are scaled by the training data's mean and deviation"
    )
    members: int = Field(
        1, ge=1, le=256, description="networks learned side by side, whose outputs are averaged"
    )
