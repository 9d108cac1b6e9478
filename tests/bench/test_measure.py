"""What a network costs."""

from __future__ import annotations

import pytest
import torch

from recurra.bench.measure import costs, kept_bytes, kernel_name
from recurra.bench.network import TaskNetwork
from recurra.bench.tasks.adding import Adding
from recurra.bench.tasks.base import Batch
from recurra.learning.options import TrainOptions


def test_costs_are_of_all_networks():
    task = Adding()
    networks = {cell: TaskNetwork(cell, task, (4, 4), seed=1) for cell in ("lstm", "rnn")}
    threads = torch.get_num_threads()
    before = {name: each.state_dict()["head.weight"].clone() for name, each in networks.items()}
    training = TrainOptions(optimizer="adam", clip_norm=1)
    found = costs(networks, task, task.batch(1, 0, 0), rounds=2, training=training)
    assert torch.get_num_threads() == threads
    assert list(found) == ["lstm", "rnn"]
    for name, each in found.items():
        assert 0 < each.step_seconds < each.seconds_alone < 60 and 0 < each.seconds < 60
        assert 0 < each.least_alone <= each.seconds_alone
        assert torch.equal(networks[name].head.weight, before[name])  # nothing was learned
        assert each.kernel == kernel_name(networks[name], task.batch(1, 0, 0))
        assert each.kept_bytes == kept_bytes(networks[name], task, task.batch(1, 0, 0))
    assert "LSTM" in found["lstm"].kernel


class Product(torch.nn.Module):
    """A network whose only kept tensor beside the parameters is one of 5 x 7 numbers, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(7))

    def forward(self, x):
        y = (x * self.weight).exp()  # keeps x, weight and its result
        return (y * y).sum().view(1, 1, 1), ()


def test_what_is_kept_counts_once_and_parameters_and_batch_do_not():
    batch = Batch(torch.ones(5, 7), torch.ones(1))
    least = 5 * 7 * 4
    assert kept_bytes(Product(), Adding(), batch) == pytest.approx(least, abs=8)


def test_memory_grows_with_the_rows():
    task = Adding()
    network = TaskNetwork("rnn", task, (16, 16), seed=1)
    x, target = task.batch(1, 0, 0)
    few, many = (kept_bytes(network, task, Batch(x[:n], target[:n])) for n in (4, 16))
    assert many == pytest.approx(4 * few, rel=0.05)
