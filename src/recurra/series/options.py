"""The options of series, and of the network that forecasts them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recurra.learning.options import BY_COMMAS, CELL, CELL_OPTIONS, Options, Values

__all__ = ["ForecastOptions", "SeriesOptions"]


class SeriesOptions(Options):
    """Which series are read, and which of their points are kept for judging."""

    dataset: str = Field(
        "airline", description="a dataset's name, a CSV or Parquet file, or module:Name"
    )
    horizon: int | None = Field(
        None, ge=1, le=100_000, description="how far is forecast, in steps; the dataset's own"
    )
    season: int | None = Field(
        None, ge=1, le=100_000, description="period of the season, in steps; inferred"
    )
    frequency: str | None = Field(
        None, description="step of dated series, as hourly, weekly or 15 minutes; inferred"
    )
    target: str | None = Field(
        None,
        description="columns to forecast, by commas; y, or the only numeric one",
        json_schema_extra=BY_COMMAS,
    )
    id_column: str | None = Field(None, description="column of the series' names; unique_id")
    time_column: str | None = Field(None, description="column of the stamps; ds")
    layout: Literal["long", "wide"] = Field(
        "long", description="of a table: a row an observation, or a column a series"
    )
    decimal: Literal["point", "comma"] | None = Field(
        None, description="decimal mark of a file's numbers; found"
    )
    past_covariates: str | None = Field(
        None,
        description="columns known up to now only, by commas; none",
        json_schema_extra=BY_COMMAS,
    )
    future_covariates: str | None = Field(
        None,
        description="columns known ahead as well, by commas; none",
        json_schema_extra=BY_COMMAS,
    )
    static_covariates: str | None = Field(
        None,
        description="columns that are one number a series, by commas; none",
        json_schema_extra=BY_COMMAS,
    )
    fill: Literal["mask", "forward", "linear", "refuse"] = Field(
        "mask",
        description="what is seen in a gap: the season before, the value before, a line, an error",
    )
    nonnegative: bool | None = Field(
        None, description="whether forecasts are never below 0; as what is learned from is not"
    )
    test: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="last steps of a series, for the test; the horizon",
    )
    valid: int | None = Field(
        None, ge=1, le=1_000_000_000, description="steps before those, for validation; the horizon"
    )
    stride: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="steps between the windows that are scored; the horizon",
    )
    judge: Literal["mase", "smape", "rmse", "mae", "mse", "crps"] = Field(
        "mase", description="the metric that is compared with the baselines'"
    )


class ForecastOptions(Options):
    """The recurrent network that forecasts, and how what it sees is scaled."""

    cell: str = Field("lstm", description=CELL)
    cell_options: Values = Field({}, description=CELL_OPTIONS)
    hidden_size: int = Field(128, ge=1, le=65_536, description="units of each layer")
    num_layers: int = Field(1, ge=1, le=256, description="layers of the cell")
    context: int | None = Field(
        None, ge=1, le=1_000_000, description="observations that are seen, in steps; by the data"
    )
    segment: int | None = Field(
        None, ge=1, le=100_000, description="observations read in one step of the cell; a season"
    )
    decoder: Literal["direct", "segments", "recursive"] = Field(
        "direct",
        description="all horizons from the last state, all segments at once, or one by one",
    )
    head: Literal["quantiles", "student_t", "mean"] = Field(
        "quantiles",
        description="what is learned of the next observations; of the mean, by squared errors, "
        "intervals come from calibrate alone",
    )
    residual: Literal["auto", "season", "last", "none"] = Field(
        "auto", description="what the network corrects: the last season, the last value, nothing"
    )
    scale: Literal["window", "series", "none"] = Field(
        "window",
        description="deviation that values are divided by: what is seen, or all history; by none "
        "they are seen as they are, and nothing is subtracted",
    )
    errors: Literal["season", "series", "none"] = Field(
        "season",
        description="what losses are told in: a window's change over a season, as in MASE, or the "
        "series' deviation, as where squares of scaled values are judged; or as they are",
    )
    embed: bool = Field(
        True,
        description="whether a layer reads each segment before the cell does, and which of it was "
        "observed; else the cell reads the values themselves",
    )
    linear: bool = Field(
        True, description="whether the network corrects a linear map of what is seen as well"
    )
    logarithm: bool = Field(False, description="whether logarithms of the values are forecast")
    calendar: bool = Field(
        False,
        description="whether hour, weekday, ... of stamps are seen; a stream must then tell them",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="probability of dropping a unit's output")
    members: int = Field(1, ge=1, le=100, description="networks of other seeds that are averaged")
    calibrate: bool = Field(
        True, description="whether intervals are corrected on the validation windows"
    )
