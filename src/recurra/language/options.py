"""The options of text, of the recurrent language network, and of n-grams."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from recurra.errors import ConfigError
from recurra.learning.options import CELL, CELL_OPTIONS, Options, Values
from recurra.learning.written import wanted

__all__ = [
    "SIZED",
    "AnyOptions",
    "CacheOptions",
    "DynamicOptions",
    "MixtureOptions",
    "NetworkOptions",
    "NgramOptions",
    "TextOptions",
    "UnigramCacheOptions",
    "checked",
]


SIZED = ("network.hidden_size", "network.dropout", "train.learning_rate")
"""The settings that a run whose `train.sized` is set chooses by measuring."""

AnyOptions = TypeVar("AnyOptions", bound=Options)


class TextOptions(Options):
    """Which text is read, and how it becomes tokens."""

    corpus: str = Field(
        "docstrings",
        description="a corpus's name, a directory, a text file, or module:Name",
    )
    rule: Literal["auto", "split", "words", "characters", "bpe"] = Field(
        "auto",
        description="how text is cut into tokens; auto is the corpus's own way, bpe byte pairs",
    )
    split: str = Field(
        "90/5/5",
        pattern=r"^\d+(\.\d+)?(/\d+(\.\d+)?){1,2}$",
        description="percent of a single file for train/valid or train/valid/test",
    )
    vocabulary_size: int | None = Field(
        None,
        ge=3,
        le=10_000_000,
        description="most tokens kept, the rarest become <unk>; all, of bpe 8,000",
    )
    min_count: int = Field(
        1,
        ge=1,
        le=1_000_000_000,
        description="occurrences a training token needs to be kept, in counts",
    )
    errors: Literal["strict", "replace"] = Field(
        "strict", description="what bytes that are not UTF-8 do: end the run, or become U+FFFD"
    )
    chunk_length: int = Field(
        35, ge=1, le=100_000, description="steps of truncated back-propagation, in tokens"
    )
    random_chunks: bool = Field(
        False,
        description="whether chunks are of random length about chunk_length, at times half of it, "
        "the learning rate scaled by the length",
    )


class NetworkOptions(Options):
    """The recurrent language network: embedding, layers of one cell, softmax."""

    cell: str = Field("lstm", description=CELL)
    cell_options: Values = Field({}, description=CELL_OPTIONS)
    hidden_size: int = Field(200, ge=1, le=65_536, description="units of each layer")
    num_layers: int = Field(2, ge=1, le=256, description="layers of the cell")
    layer_sizes: str | None = Field(
        None,
        pattern=r"^[1-9]\d{0,4}(/[1-9]\d{0,4}){0,255}$",
        description="units of each layer, as 1150/1150/400, in place of hidden_size and num_layers",
    )
    embedding_size: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="units of an embedding; the last layer's if tied, else hidden_size. A last "
        "layer that layer_sizes does not name takes it, if tied",
    )
    residual: bool = Field(
        False,
        description="whether a layer above the first adds its input to its output, if as wide",
    )
    tied: bool = Field(False, description="whether the softmax shares the embedding's weights")
    softmax: Literal["full", "mixture", "adaptive"] = Field(
        "full",
        description="one softmax, a mixture of them, or one that is coarser the rarer the words",
    )
    sampled: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="words that in training stand for all but a chunk's own and the 1,000 most "
        "frequent in a full softmax; every word",
    )
    experts: int = Field(10, ge=1, le=1024, description="softmaxes in a mixture of them")
    latent_size: int | None = Field(
        None, ge=1, le=65_536, description="units below each softmax of a mixture; embedding_size"
    )
    cutoffs: str | None = Field(
        None,
        pattern=r"^[1-9]\d{0,7}(/[1-9]\d{0,7}){0,15}$",
        description="where an adaptive softmax cuts the words by frequency, as 2000/10000; at a "
        "tenth and at a half of them",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="probability of dropping an embedding's or layer output's unit"
    )
    input_dropout: float | None = Field(
        None, ge=0, lt=1, description="of dropping an embedding's unit; dropout"
    )
    hidden_dropout: float | None = Field(
        None, ge=0, lt=1, description="of dropping a unit between two layers; dropout"
    )
    output_dropout: float | None = Field(
        None, ge=0, lt=1, description="of dropping a unit of the last layer's outputs; dropout"
    )
    latent_dropout: float = Field(
        0.0, ge=0, lt=1, description="of dropping a unit below the softmaxes of a mixture"
    )
    embedding_dropout: float = Field(
        0.0, ge=0, lt=1, description="of dropping a word's whole embedding throughout a chunk"
    )
    weight_dropout: float = Field(
        0.0, ge=0, lt=1, description="of dropping a recurrent weight throughout a chunk"
    )
    variational: bool = Field(
        False, description="whether one dropout mask serves a whole chunk, not a mask per step"
    )
    activation_penalty: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="times the mean square of the last layer's outputs, after dropout",
    )
    temporal_penalty: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="times the mean square of how the last layer's outputs change a step",
    )
    init_scale: float = Field(
        0.1,
        gt=0,
        le=10,
        description="weights start uniform in (-init_scale, init_scale), but those of cells "
        "that need a start of their own",
    )
    init: Literal["scale", "width"] = Field(
        "scale",
        description="all weights by init_scale; or the layers' by 1/sqrt(units), as torch does, "
        "with a softmax's bias at zero",
    )
    unigram_bias: bool = Field(
        False,
        description="whether the softmax's bias starts at the logarithm of the words' frequencies",
    )
    zero_bias: bool = Field(
        True, description="whether the cells' biases start at zero, not at random"
    )
    forget_bias: float = Field(
        1.0,
        ge=-1000,
        le=1000,
        description="what an LSTM's forget gate bias starts at, on top of the above",
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="of matrix products in training, not in evaluation; auto: bfloat16 if native",
    )

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each layer, the lowest first."""
        if self.layer_sizes is not None:
            return tuple(int(size) for size in self.layer_sizes.split("/"))
        below = (self.hidden_size,) * (self.num_layers - 1)
        shared = self.tied and self.softmax == "full"
        return (*below, (self.embedding_size if shared else None) or self.hidden_size)

    @property
    def embedding_width(self) -> int:
        """Units of an embedding."""
        if self.embedding_size is not None:
            return self.embedding_size
        return self.widths[-1] if self.tied else self.hidden_size


class NgramOptions(Options):
    """An interpolated modified Kneser-Ney n-gram model."""

    order: int = Field(5, ge=1, le=5, description="words in an n-gram, the predicted one included")
    cutoffs: str = Field(
        "0",
        pattern=r"^0(/\d{1,9})*$",
        description="n-grams that occur at most this often are left out: a number for each length "
        "from 1 on, the last for all longer ones, as 0/0/1",
    )
    prune: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="n-grams without which the perplexity grows by a smaller part than this are "
        "left out, as 1e-7",
    )


class MixtureOptions(Options):
    """What the network is mixed with once it has learned; the weights come from validation."""

    cache: bool = Field(
        False, description="whether a pointer cache over the network's hidden vectors is a part"
    )
    dynamic: bool = Field(False, description="whether the network evaluated dynamically is a part")
    order: int = Field(
        0, ge=0, le=5, description="words in the n-grams that are a part; 0 for no such part"
    )
    unigram_cache: bool = Field(
        False, description="whether a cache of the words just read is a part, over the n-grams"
    )
    buckets: Literal["none", "previous"] = Field(
        "none", description="weights for all contexts, or by how rare the previous token is"
    )

    @property
    def wanted(self) -> bool:
        """Whether there is anything to mix the network with."""
        return self.cache or self.dynamic or self.order > 0 or self.unigram_cache


class CacheOptions(Options):
    """A pointer cache over hidden vectors."""

    weight: float = Field(0.15, ge=0, le=1, description="of the cache in the mixture, a share")
    theta: float = Field(
        0.3,
        ge=0,
        le=1000,
        description="times the product of two hidden vectors: how alike they are",
    )
    window: int = Field(500, ge=1, le=1_000_000, description="entries of the cache, in tokens")


class UnigramCacheOptions(Options):
    """A cache of the words just read."""

    weight: float = Field(0.12, ge=0, le=1, description="of the cache in the mixture, a share")
    half_life: float = Field(
        90.0, ge=0.1, le=1e9, description="tokens after which a word read counts half"
    )


class DynamicOptions(Options):
    """Dynamic evaluation: a network that goes on learning from the text it reads."""

    learning_rate: float = Field(0.004, ge=0, le=1000, description="of a segment's mean gradient")
    decay: float = Field(
        0.005, ge=0, le=1, description="share of the way back to the trained weights, per segment"
    )
    epsilon: float = Field(
        0.001, gt=0, le=1000, description="added to a weight's root mean square gradient"
    )
    segment: int = Field(20, ge=1, le=10_000, description="tokens between two updates")


def checked(options: type[AnyOptions], whose: str, **values: float) -> AnyOptions:
    """Return the options that a function was given as arguments.

    Args:
        options: their class.
        whose: for the message, as `"a cache"`.
        values: name -> value.

    Raises:
        ConfigError: for a value out of range.

    Example:
        >>> checked(CacheOptions, "a cache", weight=0.1, theta=1, window=500).window
        500
    """
    try:
        return options.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        said = f"{name} is {first['input']!r:.80}, but must be {wanted(first)}"
        raise ConfigError(f"{whose}: {said}") from error
