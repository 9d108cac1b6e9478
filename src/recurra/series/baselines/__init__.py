"""Forecasts without a network: one rule a file, each found by name in BASELINES."""

from __future__ import annotations

from recurra.table import Table

__all__ = ["BASELINES"]

BASELINES = Table(
    "baseline",
    {
        "naive": "recurra.series.baselines.naive:Naive",
        "seasonal_naive": "recurra.series.baselines.naive:SeasonalNaive",
        "drift": "recurra.series.baselines.drift:Drift",
        "growth": "recurra.series.baselines.naive:Growth",
        "ar": "recurra.series.baselines.autoregression:Autoregression",
        "ar2": "recurra.series.baselines.autoregression:SecondOrder",
        "theta": "recurra.series.baselines.smoothing:Theta",
        "ses": "recurra.series.baselines.smoothing:ExponentialSmoothing",
    },
    base="recurra.series.baselines.base:Baseline",
)
"""Name -> baseline class; `BASELINES["mypkg.rules:Mine"]` imports anyone's own."""
