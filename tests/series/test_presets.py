"""The tutorial's sine, against its program transcribed in torch's own modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recurra.learning.config import with_settings
from recurra.run.presets import preset
from recurra.series.presets import sine, sine_2017, sine_steps
from recurra.series.task import SeriesTask

CPU = torch.device("cpu")


class Program(nn.Module):
    """Two LSTM layers and a linear one, learned by TensorFlow's Adagrad, whose sums begin at .1."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(10, 30, 2, batch_first=True), nn.Linear(30, 1)
        for name, parameter in self.named_parameters():
            kind, layer = name.removeprefix("lstm.").partition("_l")[::2]
            found = f"recurrence.cells.{layer}.cells.0.{kind}" if layer else f"head.{name}"
            parameter.data = weights[f"members.0.{found}"].clone()
        self.sums = [torch.full_like(p, 0.1) for p in self.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x.unsqueeze(1))  # one step of ten features
        told: Tensor = self.linear(y[:, -1])[:, 0]
        return told

    def step(self, x: Tensor, y: Tensor) -> None:
        loss = ((self(x) - y) ** 2).mean()
        gradients = torch.autograd.grad(loss, list(self.parameters()))
        with torch.no_grad():
            for parameter, total, gradient in zip(self.parameters(), self.sums, gradients):
                total += gradient**2
                parameter -= 0.1 * gradient / total.sqrt()


def test_sine_2017_is_the_program_s_model_loss_and_optimizer(tmp_path: Path) -> None:
    config = with_settings(sine_2017(), ["train.steps=120", "train.validations=1"])
    task = SeriesTask(config, CPU)
    program = Program(task.network.state_dict())
    sine = torch.from_numpy(task.dataset.panel.series[0].values[:, 0]).float()
    for step in range(120):
        origins = task.learner.origins[task.learner.order.rows(0, step)]
        seen = torch.stack([sine[o - 10 : o] for o in origins.tolist()])
        program.step(seen, sine[origins])
    list(task.fit(tmp_path / "checkpoints", lambda: False))
    told = task._forecast("test", task._test)[:, 0, 5]
    with torch.no_grad():
        expected = program(sine.unfold(0, 10, 1)[-991:-1])
    np.testing.assert_allclose(told, expected.numpy(), atol=2e-4)
    measured = task.measure("test")
    assert measured is not None and 0.01 < measured["rmse"] < 0.3  # a mean of 0 would be 0.7 off


def test_the_sines_differ_as_they_say() -> None:
    kept, steps, plain = sine_2017(), sine_steps(), sine()
    assert kept.data == plain.data == steps.data
    assert (kept.network.segment, plain.network.segment, steps.network.segment) == (10, 10, 1)
    assert (kept.network.head, plain.network.head) == ("mean", "quantiles")
    assert kept.train.steps == 3000 and kept.train.batch_size == plain.train.batch_size == 32
    assert preset("sine-2017") == kept
