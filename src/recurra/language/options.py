"""The options of text, of the recurrent language network, and of n-grams."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["NetworkOptions", "NgramOptions", "TextOptions"]


class TextOptions(BaseModel):
    """Which text is read, and how it becomes tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    corpus: str = Field(
        "docstrings",
        description="a corpus's name, a directory, a text file, or module:Name",
    )
    rule: Literal["auto", "split", "words", "characters"] = Field(
        "auto", description="how text is cut into tokens; auto is the corpus's own way"
    )
    split: str = Field(
        "90/5/5",
        pattern=r"^\d+(\.\d+)?(/\d+(\.\d+)?){1,2}$",
        description="percent of a single file for train/valid or train/valid/test",
    )
    vocabulary_size: int | None = Field(
        None, ge=3, le=10_000_000, description="most tokens kept, the rarest become <unk>; all"
    )
    min_count: int = Field(
        1, ge=1, description="occurrences a training token needs to be kept, in counts"
    )
    errors: Literal["strict", "replace"] = Field(
        "strict", description="what bytes that are not UTF-8 do: end the run, or become U+FFFD"
    )
    chunk_length: int = Field(
        35, ge=1, le=100_000, description="steps of truncated back-propagation, in tokens"
    )


class NetworkOptions(BaseModel):
    """The recurrent language network: embedding, layers of one cell, softmax."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cell: str = Field("lstm", description="a name in CELLS, or module:Name")
    hidden_size: int = Field(200, ge=1, le=65_536, description="units of each layer")
    num_layers: int = Field(2, ge=1, le=256, description="layers of the cell")
    tied: bool = Field(False, description="whether the softmax shares the embedding's weights")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="probability of dropping an embedding's or layer output's unit"
    )
    variational: bool = Field(
        False, description="whether one dropout mask serves a whole chunk, not a mask per step"
    )
    init_scale: float = Field(
        0.1, gt=0, le=10, description="weights start uniform in (-init_scale, init_scale)"
    )
    zero_bias: bool = Field(
        True, description="whether the cells' biases start at zero, not at random"
    )
    forget_bias: float = Field(
        1.0, description="what an LSTM's forget gate bias starts at, on top of the above"
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="of matrix products in training, not in evaluation; auto: bfloat16 if native",
    )


class NgramOptions(BaseModel):
    """An interpolated modified Kneser-Ney n-gram model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    order: int = Field(5, ge=1, le=5, description="words in an n-gram, the predicted one included")
