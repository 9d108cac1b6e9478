"""The mean as what is forecast."""

from __future__ import annotations

import torch
from torch import nn

from recurra.nn.head.mean import MeanHead

LEVELS = (0.1, 0.5, 0.9)


def test_it_is_a_linear_layer_learned_by_squares() -> None:
    head = MeanHead(4, 3, LEVELS)
    nn.init.uniform_(head.linear.weight, -1.0, 1.0)
    hidden, targets = torch.randn(5, 4), torch.randn(5, 3)
    mean = head(hidden)
    torch.testing.assert_close(mean[..., 0], hidden @ head.linear.weight.T)
    torch.testing.assert_close(
        head.loss(mean, targets).mean(), nn.functional.mse_loss(mean[..., 0], targets)
    )
    assert torch.equal(head.quantiles(mean), torch.cat([mean] * 3, dim=-1))


def test_a_fresh_one_says_nothing_is_to_be_corrected() -> None:
    assert not MeanHead(4, 2, LEVELS)(torch.randn(3, 4)).any()
