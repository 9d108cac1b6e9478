"""Time fitting and forecasting beside neuralforecast's LSTM: same series, width, window and steps.

Both learn the training part of M4 Hourly (414 series, 48 hours ahead, 336 seen) by the same number
of Adam steps of the same number of windows with 128 units in one layer, and forecast all series by
quantiles. The peer lives in an environment of its own, made on first use; each contestant is a
process of its own, and its fit is timed without imports and reading.

    python benchmarks/forecast.py [--steps 300] [--rounds 3] [--peer .venv-peer]
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
PEER = ("torch==2.13.0", "pytorch-lightning<2.6", "neuralforecast")


def histories() -> list[np.ndarray]:
    """Return the training parts of the 414 series."""
    folder = Path(os.environ["RECURRA_DATA"]) / "m4"
    with gzip.open(folder / "Hourly-train.csv.gz", "rt") as file:
        rows = list(csv.reader(file))[1:]
    return [np.array([float(cell) for cell in row[1:] if cell]) for row in rows]


def ours(steps: int) -> dict[str, float]:
    """Fit and forecast with recurra, and follow one series as a stream."""
    import torch

    from recurra.machine import keep_freed_memory
    from recurra.run.config import SeriesRun
    from recurra.series.forecaster import Forecaster
    from recurra.series.options import ForecastOptions, SeriesOptions
    from recurra.series.task import SeriesTask
    from recurra.train.loop import learn
    from recurra.train.optimization import TrainOptions

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
    return {
        "fit_seconds": fitted - begun,
        "first_predict_seconds": first,
        "predict_seconds": predicted,
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


def peer(steps: int) -> dict[str, float]:
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
    return {
        "fit_seconds": fitted - begun,
        "first_predict_seconds": first,
        "predict_seconds": time.perf_counter() - again,
    }


def environment(folder: Path) -> Path:
    """Return the peer's Python, installed there first where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEER[0]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEER[1:]], check=True)
    return python


def measured(python: Path | str, contestant: str, steps: int) -> dict[str, float]:
    """Return what a process of its own measures."""
    command = [str(python), __file__, "--contestant", contestant, "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path, default=Path(".venv-peer"))
    parser.add_argument("--out", default="benchmarks/results/forecast.json")
    parser.add_argument("--contestant", choices=("ours", "peer"))
    arguments = parser.parse_args()
    if arguments.contestant:
        print(json.dumps((ours if arguments.contestant == "ours" else peer)(arguments.steps)))
        return
    from record import machine, spread, write

    pythons = {"ours": sys.executable, "peer": environment(arguments.peer)}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    for _ in range(arguments.rounds):
        for name, python in pythons.items():
            rounds[name].append(measured(python, name, arguments.steps))
    rows = {
        name: {key: spread([one[key] for one in each]) for key in each[0]}
        for name, each in rounds.items()
    }
    faster = {
        key: spread([p[key] / o[key] for p, o in zip(rounds["peer"], rounds["ours"])])
        for key in rounds["peer"][0]
    }
    listed = subprocess.run(
        [str(pythons["peer"]), "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    versions = [
        one for one in listed if one.split("==")[0] in ("neuralforecast", "pytorch-lightning")
    ]
    print(
        f"fit      {rows['ours']['fit_seconds']['median']:8.2f} s  peer "
        f"{rows['peer']['fit_seconds']['median']:8.2f} s  {faster['fit_seconds']['median']:.1f} x"
    )
    print(
        f"predict  {rows['ours']['predict_seconds']['median']:8.4f} s  peer "
        f"{rows['peer']['predict_seconds']['median']:8.4f} s  "
        f"{faster['predict_seconds']['median']:.1f} x"
    )
    print(f"step     {rows['ours']['step_milliseconds']['median']:8.3f} ms")
    result = {"machine": machine(), "peer": versions, "steps": arguments.steps}
    write(arguments.out, {**result, "rows": rows, "times_faster": faster})


if __name__ == "__main__":
    main()
