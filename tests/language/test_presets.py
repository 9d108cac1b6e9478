"""The presets of text: the recipes they quote, and what they choose by themselves."""

from __future__ import annotations

import pytest
import torch

from recurra.language.entry import NgramRun
from recurra.learning.optimization import clip_gradients, learning_rate
from recurra.run.presets import preset

# The published recipes: init, learning rate, clip, T, hidden, flat epochs, epochs, keep, decay,
# for a loss that is summed over T.
RECIPES = {
    "ptb-seed": (0.05, 1, 5, 35, 200, None, 2, 0.5, None),
    "ptb-small": (0.1, 1, 5, 20, 200, 4, 13, 1.0, 0.5),
    "ptb-medium": (0.05, 1, 5, 35, 650, 6, 39, 0.5, 0.8),
    "ptb-large": (0.04, 1, 10, 35, 1500, 14, 55, 0.35, 1 / 1.15),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_tutorial_s_recipes_are_quoted_with_a_mean_loss(name):
    scale, rate, clip, length, hidden, flat, epochs, keep, decay = RECIPES[name]
    config = preset(name)
    data, network, train = config.data, config.network, config.train
    assert (data.corpus, data.chunk_length, train.batch_size) == ("ptb", length, 20)
    assert (network.hidden_size, network.num_layers, network.init_scale) == (hidden, 2, scale)
    assert network.dropout == pytest.approx(1 - keep)
    assert not network.tied
    assert (train.epochs, train.optimizer, train.momentum) == (epochs, "sgd", 0)
    assert train.learning_rate == pytest.approx(rate * length)
    assert train.clip_norm == pytest.approx(clip / length)
    if flat is None:
        assert train.schedule == "constant"
        assert (network.forget_bias, network.zero_bias) == (1.0, True)
    else:
        assert (train.schedule, train.flat_epochs) == ("tutorial", flat)
        assert train.decay == pytest.approx(decay)
        assert (network.forget_bias, network.zero_bias) == (0.0, False)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_converted_update_is_the_summed_loss_s_own(scale):
    """`lr min(1, c / |g|) g` for the sum is the same step as the preset's for the mean."""
    train, length = preset("ptb-small").train, 20
    summed = scale * torch.randn(50, generator=torch.Generator().manual_seed(1))
    wanted = 1.0 * min(1.0, 5.0 / float(summed.norm())) * summed
    weight = torch.nn.Parameter(torch.zeros(50))
    weight.grad = summed / length
    clip_gradients([weight], train.clip_norm)
    assert torch.allclose(train.learning_rate * weight.grad, wanted, rtol=1e-5)


def test_the_small_recipe_halves_after_four_epochs():
    train = preset("ptb-small").train
    rates = [learning_rate(train, epoch * 10, 130, epoch) for epoch in range(13)]
    assert rates[:5] == [20, 20, 20, 20, 10]
    assert rates[-1] == 20 / 2**9


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_n_grams_of_every_order(order):
    config = preset(f"kn{order}")
    assert isinstance(config, NgramRun) and config.ngram.order == order
    assert config.data.corpus == "ptb"


def test_a_larger_text_is_seen_fewer_times_by_a_wider_network(tmp_path):
    runs = []
    for size in (20_000, 300_000, 5_000_000, 200_000_000):
        with (tmp_path / "text.txt").open("wb") as file:
            file.truncate(size)
        runs.append(preset("words", data=tmp_path / "text.txt"))
    epochs = [run.train.epochs for run in runs]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] > 10 > epochs[-1] >= 1
    widths = [run.network.hidden_size for run in runs]
    assert widths == sorted(widths) and widths[0] < widths[-1]
    rates = [run.network.dropout for run in runs]
    assert rates == sorted(rates, reverse=True)
    assert runs[0].train.batch_size < runs[-1].train.batch_size == 20


def test_less_time_means_fewer_passes(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"x" * 2_000_000)
    short, long = (
        preset("characters", data=tmp_path, minutes=minutes).train.epochs for minutes in (1, 10)
    )
    assert short < long
