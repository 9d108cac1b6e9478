"""What the gradient loop is handed: order, weights, members, validation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from recurra.labels.learner import SequenceLearner
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions
from recurra.learning.event import Validated
from recurra.learning.loop import learn
from recurra.learning.options import TrainOptions
from recurra.randomness import generator

DRAWS = np.random.default_rng(4)
SEQUENCES = [DRAWS.normal(size=(length, 2)) for length in (3, 5, 1, 4, 4, 2, 6, 3, 5, 1)]
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


def make_network(outputs: int = 3, seed: int = 1, steps: int | None = None, **changes: Any) -> Any:
    options = LabelNetworkOptions(**{"hidden_size": 5, **changes})
    return SequenceNetwork(options, 2, outputs, generator(seed, "init"), steps).double()


def make(batch_size: int = 4, **changes: Any) -> SequenceLearner:
    values = {
        "network": make_network(),
        "sequences": SEQUENCES,
        "targets": LABELS,
        "weights": None,
        "options": TrainOptions(batch_size=batch_size),
        "seed": 3,
    }
    return SequenceLearner(**{**values, **changes})


def fit(learner: SequenceLearner, **options: Any) -> list[Any]:
    options = {"optimizer": "adam", "learning_rate": 0.05, **options}
    return list(learn(learner, TrainOptions(**options), 3, checkpoints=None))


def rows_of(learner: SequenceLearner, epoch: int) -> list[int]:
    """Which examples the batches of an epoch hold, told by their first numbers."""
    first = [sequence[0, 0] for sequence in SEQUENCES]
    return [
        first.index(value)
        for step in range(learner.steps_per_epoch)
        for value in learner.batch(epoch, step)[0][:, 0, 0].tolist()
    ]


# Order


def test_an_epoch_has_every_example_once_in_an_order_of_its_own():
    learner = make()
    assert learner.steps_per_epoch == 3
    orders = [rows_of(learner, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_a_pure_function_of_its_place():
    forwards, learner = make(), make()
    places = [(epoch, step) for epoch in range(2) for step in range(3)]
    expected = {place: forwards.batch(*place) for place in places}
    for place in reversed(places):
        for one, other in zip(learner.batch(*place), expected[place], strict=True):
            assert torch.equal(one, other)
    assert rows_of(make(seed=4), 0) != rows_of(make(seed=3), 0)


def test_a_full_batch_keeps_the_order_of_the_data():
    learner = make(batch_size=10)
    assert rows_of(learner, 0) == rows_of(learner, 5) == list(range(10))


# Loss


def test_the_loss_is_the_mean_log_loss():
    learner = make(batch_size=10)
    learner.network.standardize(SEQUENCES)
    loss, carry, items = learner.loss(learner.batch(0, 0), None, torch.Generator())
    assert (carry, items, loss.dtype) == (None, 10, torch.float64)
    probabilities = torch.softmax(learner.network.predict(SEQUENCES), dim=1).numpy()
    assert float(loss.detach()) == pytest.approx(log_loss(LABELS, probabilities))


def test_the_squared_error_is_a_mean_over_outputs():
    targets = DRAWS.normal(size=(10, 3))
    weights = np.arange(10.0)
    learner = make(batch_size=10, targets=targets, weights=weights, loss="squared_error")
    loss, _, _ = learner.loss(learner.batch(0, 0), None, torch.Generator())
    errors = (learner.network.predict(SEQUENCES).numpy() - targets) ** 2
    assert float(loss.detach()) == pytest.approx(np.average(errors.mean(axis=1), weights=weights))


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_a_weight_counts_as_often_as_the_example_were_there(pooling):
    counts = np.array([1, 3, 1, 2, 1, 1, 2, 0, 1, 1])
    kept = counts > 0
    there = [sequence for sequence, keep in zip(SEQUENCES, kept) if keep]
    repeated = [s for s, count in zip(SEQUENCES, counts) for _ in range(count)]
    weighted = make(
        batch_size=20,
        network=make_network(pooling=pooling),
        sequences=there,
        targets=LABELS[kept],
        weights=counts[kept] * 0.37,
    )
    plain = make(
        batch_size=20,
        network=make_network(pooling=pooling),
        sequences=repeated,
        targets=np.repeat(LABELS, counts),
    )
    weighted.network.standardize(there, counts[kept])
    plain.network.standardize(repeated)
    losses = [[e.loss for e in fit(each, steps=20)[1:-1]] for each in (weighted, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    ours, theirs = (each.network.predict(SEQUENCES) for each in (weighted, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_members_learn_as_if_alone():
    together = make(network=make_network(members=2))
    alone = [make(network=make_network()) for _ in range(2)]
    for learner, member in zip(alone, together.network.members):
        learner.network.members[0].load_state_dict(member.state_dict())
    options = {"optimizer": "sgd", "learning_rate": 0.5, "steps": 12}
    joint = [e.loss for e in fit(together, **options)[1:-1]]
    single = [[e.loss for e in fit(learner, **options)[1:-1]] for learner in alone]
    np.testing.assert_allclose(joint, np.mean(single, axis=0), rtol=1e-9)
    for learner, member in zip(alone, together.network.members):
        for ours, theirs in zip(member.parameters(), learner.network.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_softmax_regression_finds_what_scikit_learn_finds():
    x = DRAWS.normal(size=(200, 1, 2))
    labels = (x[:, 0] @ [1.0, -0.5] + DRAWS.normal(size=200) > 0).astype(int)
    learner = make(
        batch_size=200,
        network=make_network(outputs=2, kind="softmax", standardize=False, steps=1),
        sequences=list(x),
        targets=labels,
    )
    fit(learner, steps=400, learning_rate=0.1, schedule="cosine")
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(x[:, 0], labels)
    weight, bias = (tensor.detach().numpy() for tensor in learner.network.parameters())
    np.testing.assert_allclose(weight[1] - weight[0], reference.coef_[0], atol=1e-3)
    np.testing.assert_allclose(bias[1] - bias[0], reference.intercept_[0], atol=1e-3)


def test_a_sequence_is_told_by_its_first_step_alone():
    """What only a memory can do: the last steps are the same for both classes."""
    draws = np.random.default_rng(1)
    labels = draws.integers(0, 2, 60)
    sequences = [
        np.concatenate([[[2.0 * label - 1]], draws.normal(0, 0.1, (draws.integers(3, 9), 1))])
        for label in labels
    ]
    options = LabelNetworkOptions(hidden_size=8, bidirectional=False, pooling="last")
    network = SequenceNetwork(options, 1, 2, generator(1, "init"))
    learner = SequenceLearner(network, sequences, labels, None, TrainOptions(batch_size=20), seed=1)
    fit(learner, epochs=25)
    assert (network.predict(sequences).argmax(dim=1).numpy() == labels).mean() == 1


# Validation, fingerprint


def test_validation_is_weighted_and_draws_no_masks():
    weights = np.array([1.0, 2.0, 0.5])
    valid = (SEQUENCES[:3], np.array([0, 1, 1]), weights)
    learner = make(network=make_network(dropout=0.5, noise=1.0), valid=valid)
    (validated,) = [e for e in fit(learner, steps=3) if isinstance(e, Validated)]
    probabilities = torch.softmax(learner.network.predict(SEQUENCES[:3]), dim=1).numpy()
    right = probabilities.argmax(axis=1) == valid[1]
    expected = log_loss(valid[1], probabilities, sample_weight=weights, labels=[0, 1, 2])
    assert validated.metrics == {
        "loss": pytest.approx(expected),
        "log_loss": pytest.approx(expected),
        "accuracy": pytest.approx(np.average(right, weights=weights)),
        "examples": 3,
    }


def test_validation_of_numbers():
    targets = DRAWS.normal(size=(10, 1))
    learner = make(
        network=make_network(outputs=1),
        targets=targets,
        loss="squared_error",
        valid=(SEQUENCES, targets, None),
    )
    mse = float(np.mean((learner.network.predict(SEQUENCES).numpy() - targets) ** 2))
    assert learner.validate() == {
        "loss": pytest.approx(mse),
        "examples": 10,
        "rmse": pytest.approx(math.sqrt(mse)),
    }


def test_without_a_validation_split_there_is_no_validation():
    learner = make()
    assert learner.validate() is None
    assert not any(isinstance(event, Validated) for event in fit(learner, steps=3))


def test_the_fingerprint_tells_which_part_changed():
    base = make(valid=(SEQUENCES, LABELS, None)).fingerprint
    assert set(base) == {"examples", "validation examples"}
    other = make(valid=(SEQUENCES, LABELS[::-1], None)).fingerprint
    assert [part for part in base if base[part] != other[part]] == ["validation examples"]
    assert make().fingerprint["examples"] == base["examples"]
    for changes in ({"weights": np.ones(10)}, {"targets": LABELS[::-1]}):
        assert make(**changes).fingerprint["examples"] != base["examples"]


def test_arrays_may_be_read_only_or_reversed():
    frozen = LABELS.copy()
    frozen.setflags(write=False)
    assert make(targets=frozen).targets.tolist() == LABELS.tolist()
    assert make(targets=LABELS[::-1]).targets.tolist() == LABELS[::-1].tolist()
