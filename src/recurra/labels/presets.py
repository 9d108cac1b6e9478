"""The presets of labelled sequences."""

from __future__ import annotations

from recurra.labels.entry import LabelRun
from recurra.labels.options import LabelNetworkOptions, LabelOptions
from recurra.learning.options import TrainOptions

__all__ = ["iris", "labels", "vowels"]


def iris() -> LabelRun:
    """The 2017 tutorial's iris: softmax regression by 800 steps of Adam.

    The tutorial applies softmax twice: its layer's outputs are probabilities already, and its
    loss, which takes logits, applies softmax to them again. As what goes in lies between 0 and
    1, even a perfect answer is told as e / (e + 2) = 0.58 and the loss cannot fall below
    log(1 + 2 / e) = 0.55 nats; the gradient, which passes through both, dies where the first
    softmax saturates. The largest output stays the largest, so that the accuracy hides it; the
    probabilities are worth nothing. Here it is applied once.

    A stratified fifth is held out, and the accuracy over five stratified folds is reported
    beside.
    """
    return LabelRun(
        preset="iris",
        data=LabelOptions(dataset="iris", folds=5),
        network=LabelNetworkOptions(kind="softmax", standardize=False),
        train=TrainOptions(
            steps=800,
            batch_size=128,
            optimizer="adam",
            learning_rate=0.01,
            validate_epochs=100,
            save_seconds=5.0,
        ),
    )


def vowels() -> LabelRun:
    """Tell nine speakers apart by a vowel: five bidirectional LSTMs, 270 utterances.

    Everything was chosen by cross-validation among those 270; docs/LOG.md has what was compared.
    """
    return LabelRun(
        preset="vowels",
        data=LabelOptions(dataset="vowels"),
        network=LabelNetworkOptions(
            hidden_size=64, pooling="last", dropout=0.3, noise=1.0, members=5
        ),
        train=_falling(epochs=120, learning_rate=0.003),
    )


def labels(size: int | None = None) -> LabelRun:
    """Learn the labels of sequences of your own: --data NAME_TRAIN.ts, or a CSV file.

    Width and passes follow from the size of the data, the noise from the sequences' length.

    Args:
        size: of the training file, in bytes.
    """
    numbers = (size or 400_000) / 8
    return LabelRun(
        preset="labels",
        data=LabelOptions(),
        network=LabelNetworkOptions(
            hidden_size=64 if numbers < 1e6 else 128,
            pooling="attention",
            dropout=0.3,
            noise=None,
            members=3,
        ),
        train=_falling(epochs=min(100.0, max(10.0, round(5e6 / numbers))), learning_rate=0.003),
    )


def _falling(epochs: float, learning_rate: float) -> TrainOptions:
    return TrainOptions(
        epochs=epochs,
        batch_size=32,
        optimizer="adamw",
        learning_rate=learning_rate,
        schedule="linear",
        clip_norm=1.0,
        validate_epochs=max(1.0, epochs / 20),
    )
