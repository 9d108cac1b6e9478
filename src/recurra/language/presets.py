"""The presets of text.

The tutorial's recipes sum the loss over the T steps of a chunk; here it is a mean over targets.
Their learning rate is therefore multiplied by T, and their clipping norm divided by it.
"""

from __future__ import annotations

from typing import Literal

from recurra.language.entry import LanguageRun, NgramRun
from recurra.language.options import MixtureOptions, NetworkOptions, NgramOptions, TextOptions
from recurra.learning.options import TrainOptions

__all__ = [
    "characters",
    "docstrings",
    "kn1",
    "kn2",
    "kn3",
    "kn4",
    "kn5",
    "ptb_awd",
    "ptb_large",
    "ptb_medium",
    "ptb_minutes",
    "ptb_mos",
    "ptb_quick",
    "ptb_seed",
    "ptb_small",
    "ptb_tied",
    "words",
]


def docstrings() -> LanguageRun:
    """Learn the English of the Python standard library's docstrings; nothing to download."""
    return LanguageRun(
        preset="docstrings",
        data=TextOptions(corpus="docstrings", min_count=2),
        network=NetworkOptions(hidden_size=200, tied=True, dropout=0.3),
        train=_falling(epochs=7, batch_size=20, optimizer="sgd", learning_rate=20.0),
    )


def words(size: int | None = None, minutes: float | None = None) -> LanguageRun:
    """Learn the words of a text of your own: --data FILE, or a directory.

    Width, dropout, batch and passes follow from the size of the text and the time there is.

    Args:
        size: of the training text, in bytes.
        minutes: of training.
    """
    tokens = (size or 1_150_000) // 5
    seen = int(minutes * 60 * 30_000) if minutes else max(2 * tokens, 2_500_000)
    passes = seen / max(1, tokens)
    return LanguageRun(
        preset="words",
        data=TextOptions(min_count=2, vocabulary_size=20_000),
        network=NetworkOptions(
            hidden_size=200 if seen < 10_000_000 else 400, tied=True, dropout=_dropout(passes)
        ),
        train=_falling(
            epochs=min(40.0, max(1.0, round(passes))),
            batch_size=_between(1, tokens // 2_000, 20),
            optimizer="sgd",
            learning_rate=20.0,
        ),
    )


def characters(size: int | None = None, minutes: float | None = None) -> LanguageRun:
    """Learn the characters of a text of your own: --data FILE, or a directory.

    Width, dropout, batch and passes follow from the size of the text and the time there is.

    Args:
        size: of the training text, in bytes.
        minutes: of training.
    """
    tokens = size or 1_150_000
    seen = int(minutes * 60 * 30_000) if minutes else max(2 * tokens, 8_000_000)
    passes = seen / max(1, tokens)
    return LanguageRun(
        preset="characters",
        data=TextOptions(rule="characters", chunk_length=100),
        network=NetworkOptions(
            hidden_size=256 if seen < 25_000_000 else 512,
            residual=True,
            unigram_bias=True,
            dropout=_dropout(passes) / 3,
        ),
        train=_falling(
            epochs=min(40.0, max(1.0, round(passes))),
            batch_size=_between(1, tokens // 5_000, 32),
            optimizer="adam",
            learning_rate=0.004,
        ),
    )


def ptb_seed() -> LanguageRun:
    """Penn Treebank by the 2017 tutorial's program: 2 x 200, dropout 0.5, two epochs.

    The tutorial's summed loss becomes a mean: its learning rate 1 is 35 here, its clip 5 is 5/35.
    """
    network = NetworkOptions(hidden_size=200, dropout=0.5, init_scale=0.05)
    return _penn("ptb-seed", network, TrainOptions(epochs=2, learning_rate=35.0, clip_norm=5 / 35))


def ptb_small() -> LanguageRun:
    """Penn Treebank, the small network of Zaremba et al. 2014: 2 x 200, 13 epochs.

    Its summed loss becomes a mean: its learning rate 1 is 20 here, its clip 5 is 5/20.
    """
    network = _zaremba(hidden_size=200, dropout=0.0, init_scale=0.1)
    train = _tutorial_schedule(epochs=13, flat=4, decay=0.5, chunk_length=20, clip=5)
    return _penn("ptb-small", network, train, chunk_length=20)


def ptb_medium() -> LanguageRun:
    """Penn Treebank, the medium network of Zaremba et al. 2014: 2 x 650, 39 epochs.

    Its summed loss becomes a mean: its learning rate 1 is 35 here, its clip 5 is 5/35.
    """
    network = _zaremba(hidden_size=650, dropout=0.5, init_scale=0.05)
    train = _tutorial_schedule(epochs=39, flat=6, decay=0.8, chunk_length=35, clip=5)
    return _penn("ptb-medium", network, train)


def ptb_large() -> LanguageRun:
    """Penn Treebank, the large network of Zaremba et al. 2014: 2 x 1500, 55 epochs.

    Its summed loss becomes a mean: its learning rate 1 is 35 here, its clip 10 is 10/35.
    """
    network = _zaremba(hidden_size=1500, dropout=0.65, init_scale=0.04)
    train = _tutorial_schedule(epochs=55, flat=14, decay=1 / 1.15, chunk_length=35, clip=10)
    return _penn("ptb-large", network, train)


def ptb_tied(minutes: float | None = None) -> LanguageRun:
    """Penn Treebank, 2 x 300 tied, mixed with caches, dynamic evaluation and n-grams.

    Regularisation follows from the minutes there are.

    Args:
        minutes: of training; without them 36 epochs.
    """
    long = minutes is None or minutes > 20
    network = _tied(300, dropout=0.3, weight_dropout=0.2 if long else 0.0)
    mix = MixtureOptions(cache=True, dynamic=True, order=5, unigram_cache=True, buckets="previous")
    return _penn("ptb-tied", network, _steep(36, warmup_steps=300, validations=10), mix=mix)


def ptb_quick() -> LanguageRun:
    """Penn Treebank to a perplexity below 180 in half a minute: one layer of 128, 1.25 passes."""
    network = NetworkOptions(
        hidden_size=128, num_layers=1, tied=True, sampled=1500, unigram_bias=True, dropout=0.2
    )
    train = _steep(1.25, warmup_steps=50, validations=1, keep="last")
    return _penn("ptb-quick", network, train)


def ptb_awd() -> LanguageRun:
    """Penn Treebank by AWD-LSTM (Merity et al. 2018): 1150-1150-400, 24M weights, 500 epochs.

    Departs from the paper's program in this: a layer has one bias, not two that are added; the
    last chunk of an epoch is weighed by what is left of it; the average has the weights of the
    moment it begins in it; validation reads the text as one stream; products are in bfloat16
    where that is native (network.precision=float32 for the program's). It ends before the
    "finetuning", a second such training from the weights of the first.
    """
    network = _awd(embedding=400, layers="1150/1150/400", between=0.25)
    train = _averaged(epochs=500, batch_size=20, learning_rate=30.0)
    return _penn("ptb-awd", network, train, chunk_length=70, random_chunks=True)


def ptb_mos() -> LanguageRun:
    """Penn Treebank by a mixture of 15 softmaxes (Yang et al. 2018): 22M weights, 1000 epochs.

    Everything but the sizes, the mixture and four constants is `ptb-awd`'s, and so is what it
    departs in. A chunk may also be longer than 110 tokens, where the paper's program cuts it.
    """
    mixture = {"softmax": "mixture", "experts": 15, "latent_size": 280, "latent_dropout": 0.29}
    network = _awd(embedding=280, layers="960/960/620", between=0.225).model_copy(update=mixture)
    train = _averaged(epochs=1000, batch_size=12, learning_rate=20.0)
    return _penn("ptb-mos", network, train, chunk_length=70, random_chunks=True)


def ptb_minutes(minutes: float | None = None) -> LanguageRun:
    """Penn Treebank in the minutes there are, by the network that suits them on this machine.

    A few networks are trained for two seconds each; the widest that sees the text often enough in
    the time is taken, with dropout by how often that is. What was chosen is in config.json.

    Args:
        minutes: of training; 10 by default.
    """
    sized = {"minutes": minutes or 10.0, "sized": True}
    train = _steep(1, warmup_steps=300, validations=10).model_copy(update=sized)
    return _penn("ptb-minutes", _tied(200, dropout=0.2), train)


def kn1() -> NgramRun:
    """Penn Treebank by smoothed unigrams: how often each word occurs."""
    return _kneser_ney(1)


def kn2() -> NgramRun:
    """Penn Treebank by interpolated modified Kneser-Ney bigrams."""
    return _kneser_ney(2)


def kn3() -> NgramRun:
    """Penn Treebank by interpolated modified Kneser-Ney trigrams."""
    return _kneser_ney(3)


def kn4() -> NgramRun:
    """Penn Treebank by interpolated modified Kneser-Ney 4-grams."""
    return _kneser_ney(4)


def kn5() -> NgramRun:
    """Penn Treebank by interpolated modified Kneser-Ney 5-grams."""
    return _kneser_ney(5)


def _penn(
    name: str,
    network: NetworkOptions,
    train: TrainOptions,
    *,
    chunk_length: int = 35,
    random_chunks: bool = False,
    mix: MixtureOptions | None = None,
) -> LanguageRun:
    data = TextOptions(corpus="ptb", chunk_length=chunk_length, random_chunks=random_chunks)
    mix = mix or MixtureOptions()
    return LanguageRun(preset=name, data=data, network=network, train=train, mix=mix)


def _zaremba(hidden_size: int, dropout: float, init_scale: float) -> NetworkOptions:
    return NetworkOptions(
        hidden_size=hidden_size,
        dropout=dropout,
        init_scale=init_scale,
        zero_bias=False,
        forget_bias=0.0,
    )


def _tied(hidden_size: int, dropout: float, weight_dropout: float = 0.0) -> NetworkOptions:
    """What learns Penn Treebank fastest on a processor: `docs/LOG.md` has what was compared."""
    return NetworkOptions(
        hidden_size=hidden_size,
        tied=True,
        residual=True,
        sampled=1500,
        unigram_bias=True,
        dropout=dropout,
        embedding_dropout=0.05,
        weight_dropout=weight_dropout,
        variational=True,
    )


def _awd(embedding: int, layers: str, between: float) -> NetworkOptions:
    """What Merity et al. 2018 and Yang et al. 2018 share."""
    return NetworkOptions(
        embedding_size=embedding,
        layer_sizes=layers,
        tied=True,
        input_dropout=0.4,
        hidden_dropout=between,
        output_dropout=0.4,
        embedding_dropout=0.1,
        weight_dropout=0.5,
        variational=True,
        activation_penalty=2.0,
        temporal_penalty=1.0,
        init="width",
        zero_bias=False,
        forget_bias=0.0,
    )


def _averaged(epochs: int, batch_size: int, learning_rate: float) -> TrainOptions:
    """Plain descent, averaged from when it improves no longer: NT-ASGD."""
    return TrainOptions(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=1.2e-6,
        clip_norm=0.25,
        average="asgd",
        average_patience=5,
        keep="best",
    )


def _tutorial_schedule(
    epochs: int, flat: int, decay: float, chunk_length: int, clip: float
) -> TrainOptions:
    return TrainOptions(
        epochs=epochs,
        learning_rate=float(chunk_length),
        schedule="tutorial",
        flat_epochs=flat,
        decay=decay,
        clip_norm=clip / chunk_length,
    )


def _falling(
    epochs: float, batch_size: int, optimizer: Literal["sgd", "adam"], learning_rate: float
) -> TrainOptions:
    return TrainOptions(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule="linear",
        clip_norm=0.25,
        keep="best",
    )


def _steep(
    epochs: float, warmup_steps: int, validations: int, keep: Literal["best", "last"] = "best"
) -> TrainOptions:
    """What `_tied` learns by: a rate so high that it is warmed up."""
    train = _falling(epochs=epochs, batch_size=20, optimizer="sgd", learning_rate=40.0)
    rest = {"warmup_steps": warmup_steps, "validations": validations, "keep": keep}
    return train.model_copy(update=rest)


def _dropout(passes: float) -> float:
    """The more often a text is seen, the more there is to keep from being learned by heart."""
    return 0.5 if passes > 20 else 0.3 if passes > 4 else 0.15 if passes > 1.5 else 0.0


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def _kneser_ney(order: int) -> NgramRun:
    return NgramRun(
        preset=f"kn{order}", data=TextOptions(corpus="ptb"), ngram=NgramOptions(order=order)
    )
