"""Learn days that differ at weekends, then follow one of the series hour by hour."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import recurra as rc
from recurra.run.session import Reported


def main(out: Path) -> float:
    draws = np.random.default_rng(1)
    hours = np.arange(600)
    swing = np.where(hours // 24 % 7 < 5, 3.0, 1.0)
    day = 10 + swing * np.sin(2 * np.pi * hours / 24)
    series = [level * (day + draws.normal(0, 0.3, 600)) for level in np.geomspace(1, 50, 6)]
    config = rc.with_settings(
        rc.preset("series"),
        ["data.horizon=24", "data.season=24", "network.hidden_size=16", "network.members=2",
         "train.steps=1000"],
    )  # fmt: skip
    for event in rc.train(config, data=series, out=out):
        if isinstance(event, Reported):
            print(event.report["verdict"])

    forecaster = rc.Forecaster.from_pretrained(out)
    state = forecaster.initial_state()
    for value in series[-1].tolist():
        ahead, state = forecaster.step(value, state)  # constant time, constant memory
    low, high = ahead.interval(80)
    for hour in range(3):
        told = f"{ahead.median[hour]:.0f}, most likely {low[hour]:.0f} to {high[hour]:.0f}"
        print(f"in {hour + 1} h: {told}")

    whole = forecaster.predict(history=[series[-1]])
    return float(np.abs(whole.median[0] - ahead.median.numpy()).max())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(f"stream and whole history differ by {main(Path(folder) / 'run'):.1g}")
