from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, RunError
from recurra.estimators.training import Examples, Memory, seed_of, train
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions
from recurra.learning.checkpoint import Checkpoints
from recurra.learning.options import TrainOptions
from recurra.randomness import generator

OPTIONS = TrainOptions(steps=10, optimizer="adam", learning_rate=0.05, batch_size=4)


def network(kind="recurrent", seed=1):
    options = LabelNetworkOptions(kind=kind, cell="gru", hidden_size=3)
    return SequenceNetwork(options, 2, 2, generator(seed, "init"), steps=3).double()


def examples(count=8):
    rng = np.random.default_rng(0)
    sequences = list(rng.normal(size=(count, 3, 2)))
    return Examples(sequences, np.arange(count) % 2, np.ones(count))


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_with_a_memory_ten_steps_twice_are_twenty():
    data = examples(4)
    in_parts, at_once, memory = network(), network(), Memory()
    for _ in range(2):
        course = train(in_parts, data, OPTIONS, 1, "cross_entropy", None, memory)
        assert course.steps == len(course.losses) == 10
    twenty = OPTIONS.model_copy(update={"steps": 20})
    train(at_once, data, twenty, 1, "cross_entropy")
    assert torch.equal(weights(in_parts), weights(at_once))


def test_without_a_memory_the_optimizer_begins_again():
    data = examples(4)
    in_parts, at_once = network(), network()
    for _ in range(2):
        train(in_parts, data, OPTIONS, 1, "cross_entropy")
    train(at_once, data, OPTIONS.model_copy(update={"steps": 20}), 1, "cross_entropy")
    assert not torch.equal(weights(in_parts), weights(at_once))


def test_a_memory_holds_no_data():
    memory = Memory()
    train(network(), examples(), OPTIONS, 1, "cross_entropy", None, memory)
    assert memory.learner is None and memory.newest(0) == (None, [])
    assert {name.split(".")[1] for name in memory.optimizer} == {"exp_avg", "exp_avg_sq", "step"}


def test_it_ends_where_nothing_is_left_to_learn(tmp_path):
    parted = Examples(
        [np.full((3, 2), float(n % 2)) for n in range(8)], np.arange(8) % 2, np.ones(8)
    )
    options = OPTIONS.model_copy(update={"steps": 600, "learning_rate": 1.0})
    course = train(network("softmax"), parted, options, 1, "cross_entropy")
    assert 10 < course.steps < 600 and course.losses[-1] < 1e-3
    places = Checkpoints(tmp_path / "kept")
    saved = train(network("softmax"), parted, options, 1, "cross_entropy", None, places)
    assert saved.steps == 600


def test_one_still_batch_is_not_the_end():
    """Half of the data have nothing to teach; the other half is in another batch."""
    sequences = [np.zeros((3, 2))] * 4 + list(np.random.default_rng(0).normal(size=(4, 3, 2)))
    data = Examples(sequences, np.array([0, 1] * 4), np.ones(8))
    options = OPTIONS.model_copy(update={"steps": 200, "learning_rate": 1e-6})
    assert train(network("softmax"), data, options, 1, "cross_entropy").steps == 200


def test_what_the_loop_warns_of_is_a_warning():
    data = examples(4)
    huge = [sequence * 1e200 for sequence in data.sequences]
    options = OPTIONS.model_copy(update={"learning_rate": 1e200})
    with pytest.warns(UserWarning, match="not finite|update skipped"):
        with pytest.raises(RunError, match="3 steps in a row were not finite"):
            train(
                network("softmax"),
                Examples(huge, np.ones((4, 2)), np.ones(4)),
                options,
                1,
                "squared_error",
            )


def test_seeds():
    assert seed_of(5) == seed_of(np.int64(5)) == 5
    assert seed_of(None) != seed_of(None)
    state = np.random.RandomState(0)
    assert seed_of(state) != seed_of(state)
    assert seed_of(np.random.default_rng(1)) == seed_of(np.random.default_rng(1))
    for wrong in (True, 1.5, "luck", np.random):
        with pytest.raises(ConfigError, match="random_state: expected an integer"):
            seed_of(wrong)
