"""The presets of series: each a function that returns a config."""

from __future__ import annotations

from recurra.learning.options import TrainOptions
from recurra.series.entry import SeriesRun
from recurra.series.options import ForecastOptions, SeriesOptions

__all__ = [
    "airline",
    "etth1",
    "m4_hourly",
    "series",
    "sine",
    "sine_2017",
    "sine_free",
    "sine_steps",
    "sunspots",
]

BYTES_PER_POINT = 20
"""Of a row in long form, to tell a file's points by its size."""


def sine() -> SeriesRun:
    """The 2017 tutorial's sine: ten points seen as one step of ten features, the next predicted.

    The tutorial means its window as ten steps of one feature, but its shapes make it one step of
    ten; this preset keeps that, `sine-steps` is the other form. What the tutorial prints as mean
    square error is the root of it: the report has both. Each layer has a cell of its own, as there.
    Otherwise than there, quantiles are learned, by Adam in 500 steps, where the tutorial takes
    squared errors, Adagrad and 3,000; and a window is told by its distance from its last value and
    in its own deviation, which makes the task far easier; `sine-2017` takes all of it as it was. On
    its own predictions a window of ten points drifts away, as the report says.
    """
    return _sine("sine", segment=10)


def sine_2017() -> SeriesRun:
    """The 2017 tutorial's sine by its own program: squared errors, Adagrad, nothing scaled.

    Ten points as one step of ten features, which two LSTM layers of 30 read as they are; 3,000
    steps of 32 windows, at a rate of 0.1 from accumulators that begin at 0.1, as TensorFlow's do.
    It departs from the program in this: the last 1,000 of the 10,000 points are kept for
    validation, by whose errors the intervals are told; the last layer starts at zero; and the one
    window that the program's range leaves out is in the test.
    """
    made = _sine("sine-2017", segment=10)
    plain = {"head": "mean", "residual": "none", "scale": "none", "errors": "none", "embed": False}
    train = TrainOptions(
        steps=3000,
        batch_size=32,
        optimizer="adagrad",
        optimizer_options={"initial_accumulator_value": 0.1},
        learning_rate=0.1,
        validations=20,
    )
    network = made.network.model_copy(update=plain)
    return made.model_copy(update={"network": network, "train": train})


def sine_steps() -> SeriesRun:
    """The 2017 tutorial's sine as it was meant: ten steps of one feature each."""
    return _sine("sine-steps", segment=1)


def sine_free() -> SeriesRun:
    """A sine to run freely: 100 points seen, 50 ahead at once, so that few errors add up."""
    return SeriesRun(
        preset="sine-free",
        data=SeriesOptions(dataset="sine", horizon=50, judge="rmse"),
        network=ForecastOptions(
            hidden_size=64, context=100, segment=10, residual="last", linear=False
        ),
        train=_falling(steps=1500, batch_size=32, learning_rate=0.005),
    )


def airline() -> SeriesRun:
    """Monthly airline passengers, 1949 to 1960: a year ahead, in logarithms as they grow."""
    return SeriesRun(
        preset="airline",
        data=SeriesOptions(dataset="airline"),
        network=ForecastOptions(
            hidden_size=32, members=5, context=48, logarithm=True, calendar=True, dropout=0.2
        ),
        train=_falling(steps=1000, batch_size=64, learning_rate=0.003),
    )


def sunspots() -> SeriesRun:
    """Yearly sunspots since 1700: 11 years ahead."""
    return SeriesRun(
        preset="sunspots",
        data=SeriesOptions(dataset="sunspots"),
        network=ForecastOptions(hidden_size=32, members=5, dropout=0.2, context=33),
        train=_falling(steps=1000, batch_size=64, learning_rate=0.003),
    )


def m4_hourly() -> SeriesRun:
    """The 414 hourly series of the M4 competition: 48 hours ahead, one model for all of them."""
    return SeriesRun(
        preset="m4-hourly",
        data=SeriesOptions(dataset="m4-hourly"),
        network=ForecastOptions(members=4),
        train=_falling(steps=10_000, batch_size=256, learning_rate=0.004),
    )


def etth1() -> SeriesRun:
    """Seven readings of a transformer, hourly: 96 hours ahead, by the usual protocol.

    8,640 hours to learn from, 2,880 for validation, 2,880 for the test; errors of scaled values,
    over every window. The recipe is SegRNN's (Lin et al. 2023): a GRU over segments of 48 of the
    last 720 hours, told as distances from the last value, all segments ahead decoded at once, each
    reading a channel of one network that is told which it is.
    """
    return SeriesRun(
        preset="etth1",
        data=SeriesOptions(dataset="etth1", judge="mse"),
        network=ForecastOptions(
            cell="gru",
            decoder="segments",
            hidden_size=256,
            context=720,
            segment=48,
            residual="last",
            scale="series",
            errors="series",
            linear=False,
            dropout=0.5,
            members=3,
        ),
        train=_falling(steps=2_400, batch_size=256, learning_rate=0.001).model_copy(
            update={"keep": "best"}
        ),
    )


def series(size: int | None = None, minutes: float | None = None) -> SeriesRun:
    """Series of your own: --data FILE.csv with unique_id, ds, y, or with a single column.

    Width, members and steps follow from the size of the data and the time there is.

    Args:
        size: of the data, in bytes.
        minutes: of training.
    """
    points = (size or 20_000) // BYTES_PER_POINT
    small = points < 5_000
    steps = 800 if points < 1_000 else 2_000 if small else 4_000 if points < 100_000 else 8_000
    return SeriesRun(
        preset="series",
        data=SeriesOptions(),
        network=ForecastOptions(
            hidden_size=32 if small else 64 if points < 100_000 else 128,
            members=5 if small else 4,
            dropout=0.2 if small else 0.0,
        ),
        train=_falling(
            steps=None if minutes else steps,
            batch_size=64 if small else 256,
            learning_rate=0.003,
        ).model_copy(update={"keep": "best"}),
    )


def _sine(name: str, segment: int) -> SeriesRun:
    """The tutorial's data, width and batch; the first ten points of the test are only seen."""
    return SeriesRun(
        preset=name,
        data=SeriesOptions(dataset="sine", test=990, judge="rmse"),
        network=ForecastOptions(
            hidden_size=30,
            num_layers=2,
            context=10,
            segment=segment,
            residual="last",
            linear=False,
        ),
        train=_falling(steps=500, batch_size=32, learning_rate=0.005),
    )


def _falling(steps: int | None, batch_size: int, learning_rate: float) -> TrainOptions:
    return TrainOptions(
        steps=steps,
        batch_size=batch_size,
        optimizer="adam",
        learning_rate=learning_rate,
        schedule="cosine",
        warmup_steps=20,
        validations=20,
        clip_norm=1.0,
    )
