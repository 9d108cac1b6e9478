"""Time fitting and forecasting beside the LSTMs of neuralforecast and darts: same data and width.

All learn the training part of M4 Hourly (414 series, 48 hours ahead, 336 seen) by the same number
of Adam steps of the same number of windows with 128 units in one layer, and forecast all series.
Ours and neuralforecast's give quantiles of all hours at once, darts' RNNModel goes hour by hour.
Each peer lives in an environment of its own, made on first use; each contestant is a process of
its own, and its fit is timed without imports and reading.

    python benchmarks/forecast.py [--steps 100] [--rounds 2] [--peers .venv-peers]
        [--out benchmarks/results/forecast.json]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

HORIZON, SEEN, WIDTH, BATCH, RATE = 48, 336, 128, 256, 0.002
PACKAGES = {"neuralforecast": "neuralforecast", "darts": "u8darts"}
PINNED = ("torch==2.13.0", "pytorch-lightning<2.6")


def histories() -> list[np.ndarray]:
    """Return the training parts of the 414 series."""
    folder = Path(os.environ["RECURRA_DATA"]) / "m4"
    with gzip.open(folder / "Hourly-train.csv.gz", "rt") as file:
        rows = list(csv.reader(file))[1:]
    return [np.array([float(cell) for cell in row[1:] if cell]) for row in rows]


def ours(steps: int) -> dict[str, float]:
    """Fit and forecast with recurra, and follow one series as a stream."""
    import torch

    from recurra.learning.loop import learn
    from recurra.learning.options import TrainOptions
    from recurra.machine import keep_freed_memory
    from recurra.series.entry import SeriesRun
    from recurra.series.options import ForecastOptions, SeriesOptions
    from recurra.series.task import SeriesTask
    from recurra.series.use.forecaster import Forecaster

    keep_freed_memory()
    data = histories()
    config = SeriesRun(
        preset="benchmark",
        data=SeriesOptions(horizon=HORIZON, season=24),
        network=ForecastOptions(hidden_size=WIDTH, context=SEEN),
        train=TrainOptions(
            steps=steps, batch_size=BATCH, optimizer="adam", learning_rate=RATE, clip_norm=1.0
        ),
    )
    begun = time.perf_counter()
    task = SeriesTask(config, torch.device("cpu"), data)
    for _ in learn(task.learner, task.config.train, 1, None):
        pass
    fitted = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        task.model.save_pretrained(Path(folder) / "model")
        forecaster = Forecaster.from_pretrained(folder)
    ready = time.perf_counter()
    forecaster.predict()
    first = time.perf_counter() - ready
    again = time.perf_counter()
    forecaster.predict()
    predicted = time.perf_counter() - again
    one = time.perf_counter()
    forecaster.predict(history=data[0])
    return {
        "fit_seconds": fitted - begun,
        "first_predict_seconds": first,
        "predict_seconds": predicted,
        "predict_one_new_series_seconds": time.perf_counter() - one,
        "step_milliseconds": stream(forecaster, data[0]),
    }


def stream(forecaster: object, values: np.ndarray) -> float:
    """Return the median milliseconds of a step over one series, one thread."""
    import torch

    torch.set_num_threads(1)
    state = forecaster.initial_state()
    times = []
    for value in values.tolist():
        begun = time.perf_counter()
        _, state = forecaster.step(value, state)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[SEEN:]) * 1e3


def neuralforecast(steps: int) -> dict[str, float]:
    """Fit and forecast with neuralforecast."""
    import logging

    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    data = histories()
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"H{n}" for n in range(len(data))], [len(d) for d in data]),
            "ds": np.concatenate([np.arange(len(d)) for d in data]),
            "y": np.concatenate(data),
        }
    )
    model = LSTM(
        h=HORIZON,
        input_size=SEEN,
        encoder_hidden_size=WIDTH,
        encoder_n_layers=1,
        recurrent=False,
        loss=MQLoss(level=[20, 40, 60, 80, 95]),
        max_steps=steps,
        learning_rate=RATE,
        windows_batch_size=BATCH,
        scaler_type="robust",
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
    )
    begun = time.perf_counter()
    forecast = NeuralForecast(models=[model], freq=1)
    forecast.fit(df=frame)
    fitted = time.perf_counter()
    forecast.predict()
    first = time.perf_counter() - fitted
    again = time.perf_counter()
    forecast.predict()
    predicted = time.perf_counter() - again
    new = frame[frame.unique_id == "H0"]
    one = time.perf_counter()
    forecast.predict(df=new)
    return {
        "fit_seconds": fitted - begun,
        "first_predict_seconds": first,
        "predict_seconds": predicted,
        "predict_one_new_series_seconds": time.perf_counter() - one,
    }


def darts(steps: int) -> dict[str, float]:
    """Fit and forecast with darts."""
    import logging

    from darts import TimeSeries
    from darts.models import RNNModel

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    series = [TimeSeries.from_values(values.astype(np.float32)) for values in histories()]
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    model = RNNModel(
        input_chunk_length=SEEN,
        training_length=SEEN + HORIZON,
        model="LSTM",
        hidden_dim=WIDTH,
        n_rnn_layers=1,
        batch_size=BATCH,
        n_epochs=steps,
        optimizer_kwargs={"lr": RATE},
        pl_trainer_kwargs={**quiet, "max_steps": steps, "enable_model_summary": False},
    )
    begun = time.perf_counter()
    model.fit(series)
    fitted = time.perf_counter()
    model.predict(HORIZON, series)
    first = time.perf_counter() - fitted
    again = time.perf_counter()
    model.predict(HORIZON, series)
    predicted = time.perf_counter() - again
    one = time.perf_counter()
    model.predict(HORIZON, series[0])
    return {
        "fit_seconds": fitted - begun,
        "first_predict_seconds": first,
        "predict_seconds": predicted,
        "predict_one_new_series_seconds": time.perf_counter() - one,
    }


CONTESTANTS = {"ours": ours, "neuralforecast": neuralforecast, "darts": darts}


def environment(folder: Path, package: str) -> Path:
    """Return a peer's Python, installed there first where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PINNED[0]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PINNED[1], package], check=True)
    return python


def measured(python: Path | str, contestant: str, steps: int) -> dict[str, float]:
    """Return what a process of its own measures."""
    command = [str(python), __file__, "--contestant", contestant, "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def versions(python: Path | str) -> list[str]:
    """Return what a peer's environment has of it."""
    command = [str(python), "-m", "pip", "freeze"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wanted = ("neuralforecast", "u8darts", "pytorch-lightning", "torch")
    return [one for one in listed.splitlines() if one.split("==")[0] in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--out", default="benchmarks/results/forecast.json")
    parser.add_argument("--contestant", choices=CONTESTANTS)
    arguments = parser.parse_args()
    if arguments.contestant:
        print(json.dumps(CONTESTANTS[arguments.contestant](arguments.steps)))
        return
    from record import machine, spread, write

    pythons: dict[str, Path | str] = {"ours": sys.executable}
    for name, package in PACKAGES.items():
        pythons[name] = environment(arguments.peers / name, package)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    for _ in range(arguments.rounds):
        for name, python in pythons.items():
            rounds[name].append(measured(python, name, arguments.steps))
    result: dict[str, object] = {"machine": machine(), "steps": arguments.steps}
    for name, each in rounds.items():
        rows = {key: spread([one[key] for one in each]) for key in each[0]}
        faster = {
            key: spread([theirs[key] / mine[key] for theirs, mine in zip(each, rounds["ours"])])
            for key in each[0]
        }
        known = {} if name == "ours" else {"versions": versions(pythons[name])}
        result[name] = {**known, "times": rows, "we_are_times_faster": faster}
        for key, row in rows.items():
            print(f"{name:15} {key:32} {row['median']:9.4f} {faster[key]['median']:7.1f} x")
    write(arguments.out, result)


if __name__ == "__main__":
    main()
