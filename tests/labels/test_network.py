"""The network over whole sequences, against torch's own modules and against itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.errors import ConfigError, ShapeError
from recurra.labels import network as module
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions

LENGTHS = torch.tensor([5, 2, 7, 1])


def make(
    input_size: int = 3,
    output_size: int = 4,
    seed: int = 1,
    steps: int | None = None,
    **changes: Any,
) -> SequenceNetwork:
    options = LabelNetworkOptions(**{"hidden_size": 6, **changes})
    stream = torch.Generator().manual_seed(seed)
    return SequenceNetwork(options, input_size, output_size, stream, steps).double().eval()


def sequences(*lengths: int, features: int = 3) -> list[np.ndarray]:
    draws = np.random.default_rng(sum(lengths))
    return [draws.normal(2, 3, (length, features)) for length in lengths]


def batch() -> Tensor:
    return torch.randn(4, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


# Against torch's own modules


def reference(network: SequenceNetwork, x: Tensor, lengths: Tensor) -> Tensor:
    """The same network on packed sequences, pooled row by row."""
    options = network.options
    (member,) = network.members
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[options.cell]
    y = (x - network.mean) / network.scale
    for layer in member.recurrence.cells:
        inner = layer.cells[0]
        directions = inner.cells if options.bidirectional else [inner]
        twin = kind(y.shape[2], 6, batch_first=True, bidirectional=options.bidirectional).double()
        for direction, suffix in zip(directions, ("", "_reverse")):
            for name, weight in direction.named_parameters():
                getattr(twin, f"{name}_l0{suffix}").data = weight.data
        packed = pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(twin(packed)[0], batch_first=True)
    rows = []
    for row, length in zip(y, lengths.tolist()):
        steps = row[:length]
        if options.pooling == "mean":
            rows.append(steps.mean(dim=0))
        elif options.pooling == "last":
            ends = [steps[-1, :6], steps[0, 6:]] if options.bidirectional else [steps[-1]]
            rows.append(torch.cat(ends))
        else:
            keys = torch.tanh(F.linear(steps, member.attention.weight, member.attention.bias))
            rows.append(torch.softmax(keys @ member.query, dim=0) @ steps)
    return F.linear(torch.stack(rows), member.head.weight, member.head.bias)


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("cell", "layers"), [("lstm", 2), ("gru", 1), ("rnn", 1)])
def test_packed_sequences_give_the_same(cell, layers, bidirectional, pooling):
    network = make(cell=cell, num_layers=layers, bidirectional=bidirectional, pooling=pooling)
    if pooling == "attention":
        nn.init.normal_(network.members[0].query, generator=torch.Generator().manual_seed(5))
    network.standardize(sequences(40))
    x = batch()
    expected = reference(network, x, LENGTHS)
    torch.testing.assert_close(network(x, LENGTHS), expected, rtol=0, atol=1e-9)
    assert expected.std() > 1e-3


def test_a_fresh_attention_is_the_mean():
    attention, mean = make(pooling="attention"), make(pooling="mean")
    mean.members[0].load_state_dict(attention.members[0].state_dict(), strict=False)
    torch.testing.assert_close(attention(batch(), LENGTHS), mean(batch(), LENGTHS))


# What padding holds, and who stands beside whom, is no matter


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_what_padding_holds_reaches_neither_output_nor_gradient(pooling):
    network = make(pooling=pooling, num_layers=2).train()
    outputs, gradients = [], []
    for filling in (0.0, 1e30, float("nan")):
        x = batch()
        x[torch.arange(7) >= LENGTHS.unsqueeze(1)] = filling
        network.zero_grad()
        y = network(x, LENGTHS, torch.Generator())
        y.square().sum().backward()
        outputs.append(y.detach())
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for other, gradient in zip(outputs[1:], gradients[1:]):
        assert torch.equal(other, outputs[0])
        assert all(map(torch.equal, gradient, gradients[0]))
    assert len(gradients[0]) > 16


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([1, 2, 256]))
def test_a_prediction_knows_nothing_of_its_neighbours(lengths, rows):
    network = make(pooling="attention", members=2)
    data = sequences(*lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", rows)
        together = network.predict(data)
    alone = torch.cat([network.predict([sequence]) for sequence in data])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_no_sequences_have_no_predictions():
    assert make().predict([]).shape == (0, 4)


def test_predicting_leaves_the_mode_as_it_was():
    network = make(dropout=0.5, noise=1.0).train()
    data = sequences(3, 4)
    assert torch.equal(network.predict(data), network.predict(data))
    assert network.training
    assert not network.eval().training


# Scaling


@pytest.mark.parametrize("weighted", [False, True])
def test_inputs_are_scaled_as_scikit_learn_does(weighted):
    network = make()
    data = sequences(4, 9, 2)
    weights = np.array([0.5, 2.0, 0.0]) if weighted else None
    network.standardize(data, weights)
    each = None if weights is None else np.repeat(weights, [4, 9, 2])
    scaler = StandardScaler().fit(np.concatenate(data), sample_weight=each)
    np.testing.assert_allclose(network.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(network.scale, scaler.scale_, rtol=1e-12)


def test_scaling_is_part_of_the_weights_and_undoes_units():
    one, other = make(), make()
    data = sequences(4, 9)
    inches = [sequence * [1.0, 39.37, 1e6] + [0, 5, -7] for sequence in data]
    one.standardize(data)
    other.standardize(inches)
    torch.testing.assert_close(one.predict(data), other.predict(inches))
    assert {"mean", "scale"} <= set(one.state_dict())


def test_a_constant_feature_is_only_shifted():
    network = make()
    network.standardize([np.array([[0.1, 0.0, 3.0]] * 7 + [[0.1, 0.0, 5.0]])])
    assert network.scale[:2].tolist() == [1, 1]
    assert network.mean[0] == pytest.approx(0.1)


def test_scaling_can_be_left_out():
    network = make(standardize=False)
    network.standardize(sequences(9))
    assert network.mean.tolist() == [0, 0, 0]
    assert network.scale.tolist() == [1, 1, 1]


# Members, dropout, noise


def test_members_differ_and_their_probabilities_have_a_geometric_mean():
    network = make(members=3)
    outputs = network.outputs(batch(), LENGTHS)
    assert outputs.shape == (3, 4, 4)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2
    product = torch.softmax(outputs, dim=2).log().mean(dim=0).exp()
    expected = product / product.sum(dim=1, keepdim=True)
    torch.testing.assert_close(torch.softmax(network(batch(), LENGTHS), dim=1), expected)


def test_a_unit_is_dropped_for_all_the_steps():
    network = make(dropout=0.5).train()
    x = torch.ones(1, 400, 3, dtype=torch.float64)  # long enough to settle
    member = network.members[0]
    seen: list[Tensor] = []
    member.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    network(x, generator=torch.Generator().manual_seed(1))
    network.eval()(x)
    dropped, whole = seen[0][0], seen[1][0]
    kept = dropped != 0
    assert 0 < kept.sum() < 12
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def test_noise_is_measured_in_the_inputs_deviation():
    network = make(noise=0.5, standardize=True).train()
    network.standardize([np.random.default_rng(0).normal(0, 100, (500, 3))])
    stream = torch.Generator().manual_seed(1)
    x = torch.zeros(50, 20, 3, dtype=torch.float64)
    noisy = network._noisy(x, stream)
    assert noisy.std() == pytest.approx(0.5, rel=0.05)
    assert torch.equal(network.eval()._noisy(x, None), x)
    with pytest.raises(ConfigError, match="drawn from a generator"):
        network.train()(x)


# Making one


def test_the_weights_follow_from_the_generator_alone():
    before = torch.get_rng_state()
    changes = {"pooling": "attention", "members": 2, "num_layers": 2}
    first, again, other = make(**changes), make(**changes), make(**changes, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        if "weight" in name:
            assert not torch.equal(weight, other.state_dict()[name])


def test_softmax_regression_is_a_linear_layer_that_starts_at_zero():
    network = make(kind="softmax", steps=7)
    assert network(batch()).abs().max() == 0
    member = network.members[0]
    nn.init.normal_(member.weight, generator=torch.Generator().manual_seed(1))
    expected = batch().reshape(4, 21) @ member.weight.T + member.bias
    torch.testing.assert_close(network(batch()), expected)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4 * 22


def test_softmax_regression_needs_one_length():
    with pytest.raises(ConfigError, match="takes sequences of one length"):
        make(kind="softmax")
    network = make(kind="softmax", steps=7)
    with pytest.raises(ShapeError, match="learned sequences of 7 steps"):
        network.predict(sequences(7, 3))
    with pytest.raises(ShapeError, match="learned sequences of 7 steps, all of one length; got up"):
        network.predict(sequences(8, 8))


def test_shapes_and_names_are_checked():
    with pytest.raises(ConfigError, match=r"network\.noise is not set"):
        make(noise=None)
    with pytest.raises(ShapeError, match=r"expected sequences of shape \(batch, steps, 3\)"):
        make()(torch.zeros(2, 5, 4, dtype=torch.float64))
    with pytest.raises(ConfigError, match=r"no cell is named 'lsmt'\. Did you mean 'lstm'"):
        make(cell="lsmt")


def test_anyones_cell_serves():
    named = make(cell="recurra.nn.cells.gru:GRUCell")
    assert torch.equal(named(batch(), LENGTHS), make(cell="gru")(batch(), LENGTHS))
