"""The tutorial's sine by hand: ten points in, the next one out, by squared errors and Adagrad."""

import sys

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

import recurra as rc

SEEN, UNITS, ROWS = 10, 30, 32


def windows(start, stop, count):
    x = torch.from_numpy(np.sin(np.linspace(start, stop, count, dtype=np.float32)))
    return x.unfold(0, SEEN, 1)[:-1], x[SEEN:]


def main(plot="sine.png", steps=3000, as_steps=False):
    # The tutorial means ten steps of one feature; its shapes make them one step of ten.
    shape = (-1, SEEN, 1) if as_steps else (-1, 1, SEEN)
    torch.manual_seed(1)
    layers = rc.Stack([rc.LSTMCell(shape[2], UNITS), rc.LSTMCell(UNITS, UNITS)])
    head = nn.Linear(UNITS, 1)

    def forecast(x):
        y, _ = rc.unroll(layers, x.reshape(shape))
        return head(y[:, -1])[:, 0]

    parameters = [*layers.parameters(), *head.parameters()]
    # TensorFlow's Adagrad begins its sums of squares at 0.1, torch's at 0.
    adagrad = torch.optim.Adagrad(parameters, lr=0.1, initial_accumulator_value=0.1)
    x, y = windows(0, 100, 10_000)
    for _ in range(steps):
        rows = torch.randint(len(x), (ROWS,))
        loss = (forecast(x[rows]) - y[rows]).square().mean()
        adagrad.zero_grad()
        loss.backward()
        adagrad.step()

    x, y = windows(100, 110, 1_000)
    with torch.no_grad():
        said = forecast(x)
    rmse = (said - y).square().mean().sqrt().item()  # the tutorial prints it as the mean square
    print(f"RMSE {rmse:.4f}, mean square error {rmse**2:.2g}")
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(y, color="black", label="sine")
    axes.plot(said, color="tab:orange", linestyle="--", label="predicted")
    axes.set_xlabel("step of the test")
    axes.legend()
    figure.savefig(plot)
    return rmse


if __name__ == "__main__":
    main(*sys.argv[1:2])
