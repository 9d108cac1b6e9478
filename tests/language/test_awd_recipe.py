"""The preset `ptb-awd` against an independent transcription of the paper's recipe."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.language.entry import LanguageRun
from recurra.language.network import LanguageNetwork
from recurra.language.task import LanguageTask
from recurra.learning.config import with_settings
from recurra.learning.event import Averaged, Stepped, Validated
from recurra.learning.loop import learn
from recurra.nn.kernels.dropout import dropout_mask
from recurra.randomness import generator
from recurra.run.presets import preset

# A module beside the tests is on no path.
_spec = importlib.util.spec_from_file_location(
    "awd_transcription", Path(__file__).with_name("awd_transcription.py")
)
paper = sys.modules["awd_transcription"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(paper)

CPU = torch.device("cpu")
STEPS = 20


def small_copy(*settings: str) -> LanguageRun:
    """The preset with other sizes and another text, its recipe as it is."""
    config = preset("ptb-awd", data="grammar")
    assert isinstance(config, LanguageRun)
    return with_settings(
        config,
        [
            "seed=5",
            "data.vocabulary_size=30",
            "network.embedding_size=6",
            "network.layer_sizes=8/8/6",
            "network.precision=float32",
            f"train.steps={STEPS}",
            *settings,
        ],
    )


def transcribed(network: LanguageNetwork) -> paper.AwdLstm:
    weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    layers = []
    for n in range(3):
        (prefix,) = {
            name.removesuffix("weight_hh")
            for name in weights
            if name.startswith(f"recurrence.cells.{n}.") and name.endswith("weight_hh")
        }
        assert not weights[prefix + "bias_hh"].any()
        layers.append(
            paper.Layer(*(weights[prefix + p] for p in ("weight_ih", "weight_hh", "bias_ih")))
        )
    model = paper.AwdLstm(weights["embedding"], layers, weights["head.bias"])
    for parameter in model.parameters():
        parameter.requires_grad_()
    return model


def draw(stream: torch.Generator, V: int, B: int, E: int, widths: list[int]) -> paper.Masks:
    """Draw a chunk's masks in the order that LanguageNetwork promises."""

    def mask(p: float, *shape: int) -> Tensor:
        drawn = dropout_mask(shape, p, stream, torch.float64)
        assert set(drawn.unique().tolist()) <= {0.0, 1 / (1 - p)}
        return drawn

    return paper.Masks(
        words=mask(0.1, V, 1)[:, 0],
        recurrent=[mask(0.5, 4 * H, H) for H in widths],
        embedded=mask(0.4, B, 1, E)[:, 0],
        outputs=[mask(p, B, 1, H)[:, 0] for p, H in zip((0.25, 0.25, 0.4), widths, strict=True)],
    )


def by_the_paper(task: LanguageTask, B: int, T: int) -> tuple[list[paper.Step], paper.AwdLstm]:
    model = transcribed(task.learner.network)
    V, E = model.embedding.shape
    ids = torch.from_numpy(task.dataset.ids("train").astype(np.int64))
    length = len(ids) // B
    rows = ids[: B * length].view(B, length)
    steps: list[paper.Step] = []
    epoch = 0
    while True:
        chance = generator(5, "chunks", epoch)
        count = -(-(length - 1) // 5)
        uniform = torch.rand(count, generator=chance, dtype=torch.float64).tolist()
        normal = torch.randn(count, generator=chance, dtype=torch.float64).tolist()
        model.state = model.zeros(B)
        start = 0
        for k, chunk in enumerate(paper.chunk_lengths(length - 1, T, uniform, normal)):
            if len(steps) == STEPS:
                return steps, model
            masks = draw(generator(5, "dropout", epoch, k), V, B, E, [8, 8, 6])
            end = start + chunk
            steps.append(
                paper.update(model, rows[:, start:end], rows[:, start + 1 : end + 1], masks, T)
            )
            start = end
        epoch += 1


@pytest.mark.parametrize(("T", "B"), [(70, 200), (8, 1500)])
def test_twenty_steps_of_a_small_copy_are_the_papers(T: int, B: int) -> None:
    """In float64, over more than one epoch; 8 steps a chunk bring in the least length of 5."""
    config = small_copy(f"data.chunk_length={T}", f"train.batch_size={B}", "train.keep=last")
    task = LanguageTask(config, CPU)
    task.learner.model.double()
    expected, model = by_the_paper(task, B, T)
    events = list(learn(task.learner, task.config.train, config.seed, None))
    found = [event for event in events if isinstance(event, Stepped)]
    assert 2 < task.learner.steps_per_epoch < STEPS
    assert len({step.length for step in expected}) > 3
    for ours, theirs in (("loss", "loss"), ("learning_rate", "rate"), ("gradient_norm", "norm")):
        np.testing.assert_allclose(
            [getattr(step, ours) for step in found],
            [getattr(step, theirs) for step in expected],
            rtol=1e-9,
            err_msg=ours,
        )
    items = [step.items for step in found]
    assert items == [B * step.length for step in expected]
    assert found[-1].loss < found[0].loss
    after = transcribed(task.learner.network)
    for mine, other in zip(after.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)


def test_the_preset_has_the_papers_constants_and_its_24_million_weights() -> None:
    config = preset("ptb-awd")
    with torch.device("meta"):
        network = LanguageNetwork(config.network, 10_000, None)
    # as the authors' program prints it, with the second bias of each layer
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_221_600
    train = config.train
    assert (train.optimizer, train.momentum, train.schedule) == ("sgd", 0.0, "constant")
    assert (train.learning_rate, train.clip_norm, train.weight_decay) == (30.0, 0.25, 1.2e-6)
    assert (train.batch_size, train.epochs, train.validate_epochs) == (20, 500.0, 1.0)
    assert (train.average, train.average_patience, train.average_steps) == ("asgd", 5, 1)
    assert (config.data.corpus, config.data.chunk_length) == ("ptb", 70)


def test_the_mixture_has_its_papers_sizes() -> None:
    config = preset("ptb-mos")
    with torch.device("meta"):
        network = LanguageNetwork(config.network, 10_000, None)
    expected = 10_000 * 280 + 10_000  # embedding and softmax, tied
    for below, width in ((280, 960), (960, 960), (960, 620)):
        expected += 4 * width * (below + width + 2)
    expected += 620 * 15 * 280 + 15 * 280 + 620 * 15  # contexts, and their weights
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert round(expected / 1e6) == 22
    awd, mos = preset("ptb-awd"), config
    assert {
        name: (value, getattr(mos.train, name))
        for name, value in awd.train
        if value != getattr(mos.train, name)
    } == {"epochs": (500.0, 1000.0), "batch_size": (20, 12), "learning_rate": (30.0, 20.0)}


def test_averaging_sets_in_where_validation_is_worse_than_all_but_the_last() -> None:
    """The whole recipe, but for a shorter memory of one validation; the rule from its events."""
    config = small_copy(
        "train.batch_size=1500",
        "train.steps=60",
        "train.validations=15",
        "train.average_patience=1",
        "data.chunk_length=8",
    )
    task = LanguageTask(config, CPU)
    events = list(learn(task.learner, task.config.train, config.seed, None))
    validated = [e for e in events if isinstance(e, Validated)]
    (averaged,) = [e for e in events if isinstance(e, Averaged)]
    losses = [e.metrics["nats_per_token"] for e in validated]
    at = [e.step for e in validated].index(averaged.step)
    worse = [n > 1 and losses[n] > min(losses[: n - 1]) for n in range(len(losses))]
    assert worse.index(True) == at
