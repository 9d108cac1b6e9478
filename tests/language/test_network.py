"""The language network: where its dropout is, how it starts, what tying means, whom it equals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, RunError, ShapeError
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.wrappers.dropout import Dropout

V, H, B, T = 13, 6, 3, 5


def make(seed: int = 1, **options: Any) -> LanguageNetwork:
    settings = NetworkOptions(hidden_size=H, precision="float32", **options)
    return LanguageNetwork(settings, V, torch.Generator().manual_seed(seed))


def ids(seed: int = 0, length: int = T) -> Tensor:
    return torch.randint(V, (B, length), generator=torch.Generator().manual_seed(seed))


def cell(network: LanguageNetwork, layer: int) -> LSTMCell:
    dropout = network.recurrence.inner(layer)
    assert isinstance(dropout, Dropout)
    found = dropout.inner()
    assert isinstance(found, LSTMCell)
    return found


# Against transcriptions


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-x))
    return result


def by_hand(network: LanguageNetwork, words: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `(N, V)`: the log-probabilities after each word of one text, in plain numpy."""
    w = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    h, c = np.zeros((2, H)), np.zeros((2, H))
    rows = []
    for word in words:
        x = w["embedding"][word]
        for n in range(2):
            at = f"recurrence.cells.{n}.cells.0."
            gates = w[at + "weight_ih"] @ x + w[at + "bias_ih"]
            gates = gates + w[at + "weight_hh"] @ h[n] + w[at + "bias_hh"]
            i, f, g, o = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H :]
            c[n] = sigmoid(f) * c[n] + sigmoid(i) * np.tanh(g)
            h[n] = sigmoid(o) * np.tanh(c[n])
            x = h[n]
        logits = w["head.weight"] @ x + w["head.bias"]
        rows.append(logits - logits.max() - math.log(np.exp(logits - logits.max()).sum()))
    return np.stack(rows)


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_the_lstm_language_model_written_in_numpy(tied: bool) -> None:
    network = make(tied=tied, init_scale=1.0, zero_bias=False).double().eval()
    text = ids(length=20)[:1]
    with torch.no_grad():
        hidden, _ = network(text, network.initial_state())
        found = network.head.log_probs(hidden[0]).numpy()
    np.testing.assert_allclose(found, by_hand(network, text[0].numpy()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_a_whole_chunk_is_one_step_after_the_other(name: str) -> None:
    network = make(cell=name, init_scale=0.8).double().eval()
    text, state = ids(), network.initial_state(B)
    whole, end = network(text, state)
    outputs = []
    for t in range(T):
        hidden, state = network(text[:, t : t + 1], state)
        outputs.append(hidden)
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=0, atol=1e-12)
    for part, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(state)[part], tensor, rtol=0, atol=1e-12)


# How it starts


@pytest.mark.parametrize("scale", [0.04, 0.1])
def test_weights_start_uniform_between_the_scales(scale: float) -> None:
    network = LanguageNetwork(
        NetworkOptions(hidden_size=64, init_scale=scale), 500, torch.Generator().manual_seed(1)
    )
    for name, weight in network.state_dict().items():
        if "bias" not in name:
            assert weight.abs().max() <= scale
            assert float(weight.min()) == pytest.approx(-scale, rel=0.01)
            assert float(weight.max()) == pytest.approx(scale, rel=0.01)
            assert float(weight.std()) == pytest.approx(scale / math.sqrt(3), rel=0.03)
            assert abs(float(weight.mean())) < 5 * scale / math.sqrt(weight.numel())


def test_biases_start_at_zero_but_for_the_forget_gate() -> None:
    for forget in (1.0, 0.0, 2.5):
        network = make(forget_bias=forget)
        for layer in range(2):
            expected = torch.zeros(4 * H)
            expected[H : 2 * H] = forget
            assert torch.equal(cell(network, layer).bias_ih, expected)
        assert (network.head.bias != 0).any()  # the softmax's starts as all weights do


def test_biases_may_start_at_random_as_in_the_tutorial() -> None:
    network = make(zero_bias=False, forget_bias=0.0, init_scale=0.05)
    plain = make(zero_bias=False, forget_bias=1.0, init_scale=0.05)
    for layer in range(2):
        one, other = cell(network, layer), cell(plain, layer)
        for bias in (one.bias_ih, network.head.bias):
            assert 0 < float(bias.detach().abs().max()) <= 0.05
        expected = torch.zeros(4 * H)
        expected[H : 2 * H] = 1
        torch.testing.assert_close(other.bias_ih - one.bias_ih, expected)
        assert torch.equal(one.weight_ih, other.weight_ih)


@pytest.mark.parametrize("zero", [False, True])
def test_of_the_two_biases_of_torch_one_is_held_at_zero(zero: bool) -> None:
    network = make(zero_bias=zero).train()
    loss, _ = network.loss(ids(), ids(1), network.initial_state(B))
    loss.backward()
    for layer in range(2):
        held = cell(network, layer).bias_hh
        assert (held == 0).all()
        assert held.grad is None
        assert not held.requires_grad
        assert cell(network, layer).bias_ih.grad is not None


def test_the_start_is_a_function_of_the_generator_alone() -> None:
    torch.manual_seed(1)
    one = make(seed=3)
    torch.manual_seed(2)
    same, other = make(seed=3), make(seed=4)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
    assert not torch.equal(one.embedding, other.embedding)
    assert torch.equal(one.embedding, make(seed=3, dropout=0.5).embedding)


@pytest.mark.parametrize(("layers", "cells"), [(1, "lstm"), (3, "gru"), (2, "rnn")])
def test_width_depth_and_cell_are_as_asked(layers: int, cells: str) -> None:
    network = make(cell=cells, num_layers=layers)
    hidden, state = network.eval()(ids(), network.initial_state(B))
    assert hidden.shape == (B, T, H)
    assert len(state) == layers
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[cells]
    count = V * H + layers * (2 * gates * H * H + 2 * gates * H) + V * H + V
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_the_tutorials_small_model_has_its_parameters() -> None:
    with torch.device("meta"):
        network = LanguageNetwork(NetworkOptions(hidden_size=200), 10_000, None)
    learned = (p.numel() for p in network.parameters() if p.requires_grad)
    assert sum(learned) == 2 * 10_000 * 200 + 10_000 + 2 * (4 * 200 * 400 + 4 * 200) == 4_651_600


def test_an_unknown_cell_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"no cell is named 'lsmt'\. Did you mean 'lstm'\?"):
        make(cell="lsmt")


# Tied weights


def test_tied_weights_are_one_tensor() -> None:
    network = make(tied=True)
    assert network.head.weight is network.embedding
    names = [name for name, _ in network.named_parameters()]
    assert "head.weight" not in names
    loss = network.head.loss(network.eval()(ids(), network.initial_state(B))[0], ids(1))
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=0.5).step()
    assert network.head.weight is network.embedding
    assert make().head.weight is not make().embedding


def test_the_gradient_of_tied_weights_is_that_of_both_places_together() -> None:
    tied, apart = make(tied=True).double().eval(), make(tied=False).double().eval()
    apart.load_state_dict(tied.state_dict())
    for network in (tied, apart):
        hidden, _ = network(ids(), network.initial_state(B))
        network.head.loss(hidden, ids(1)).backward()
    assert apart.embedding.grad is not None
    assert apart.head.weight.grad is not None
    together = apart.embedding.grad + apart.head.weight.grad
    torch.testing.assert_close(tied.embedding.grad, together)


# Dropout


def masked(
    network: LanguageNetwork, text: Tensor, p: float, generator: torch.Generator, shared: bool
) -> Tensor:
    """Return the hidden vectors with masks drawn in the order embedding, layer 1, layer 2."""
    steps = 1 if shared else text.shape[1]
    x = F.embedding(text, network.embedding)
    x = x * dropout_mask((len(text), steps, H), p, generator, x.dtype)
    for layer in range(2):
        own = cell(network, layer)
        twin = nn.LSTM(H, H, batch_first=True).to(x.dtype)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        twin.load_state_dict({f"{name}_l0": getattr(own, name) for name in names})
        x = twin(x)[0] * dropout_mask((len(text), steps, H), p, generator, x.dtype)
    return x


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("p", [0.1, 0.65])
def test_dropout_is_on_the_embedding_and_on_every_layers_output(
    p: float, variational: bool
) -> None:
    network = make(dropout=p, variational=variational, init_scale=0.8).double().train()
    hidden, _ = network(ids(), network.initial_state(B), torch.Generator().manual_seed(9))
    expected = masked(network, ids(), p, torch.Generator().manual_seed(9), variational)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)


def test_the_state_that_is_carried_is_not_dropped() -> None:
    network = make(dropout=0.9, zero_bias=False).train()
    hidden, state = network(ids(), network.initial_state(B), torch.Generator().manual_seed(9))
    assert (hidden == 0).float().mean() > 0.5
    assert all((tensor != 0).all() for tensor in flatten(state).values())


def test_masks_come_from_the_generator_alone_and_anew_with_every_chunk() -> None:
    network = make(dropout=0.5, variational=True).train()

    def outputs(generator: torch.Generator) -> Tensor:
        hidden: Tensor = network(ids(), network.initial_state(B), generator)[0]
        return hidden

    torch.manual_seed(1)
    stream = torch.Generator().manual_seed(5)
    first, second = outputs(stream), outputs(stream)
    torch.manual_seed(2)
    assert torch.equal(outputs(torch.Generator().manual_seed(5)), first)
    assert not torch.equal(first, second)
    for row in range(B):  # one mask serves the whole chunk
        assert torch.equal(first[row] == 0, (first[row, :1] == 0).expand(T, H))


def test_without_dropout_or_in_evaluation_no_generator_is_needed() -> None:
    network = make(dropout=0.5, init_scale=0.8).eval()
    one, _ = network(ids(), network.initial_state(B))
    same, _ = network(ids(), network.initial_state(B), torch.Generator().manual_seed(1))
    assert torch.equal(one, same)
    make(dropout=0.0).train()(ids(), network.initial_state(B))
    with pytest.raises(RunError, match="draws its masks from a generator"):
        network.train()(ids(), network.initial_state(B))


# Loss, gradients and states


def test_the_loss_is_the_mean_surprise_of_the_targets() -> None:
    network = make(init_scale=0.8).double().train()
    loss, state = network.loss(ids(), ids(1), network.initial_state(B))
    hidden, expected = network(ids(), network.initial_state(B))
    nats = -network.head.log_probs(hidden).gather(2, ids(1).unsqueeze(2))
    torch.testing.assert_close(loss, nats.mean())
    for part, tensor in flatten(expected).items():
        torch.testing.assert_close(flatten(state)[part], tensor)


def test_narrow_products_change_the_loss_and_the_gradients_by_little() -> None:
    exact = make(dropout=0.3, init_scale=0.5).train()
    settings = NetworkOptions(hidden_size=H, precision="bfloat16", dropout=0.3, init_scale=0.5)
    narrow = LanguageNetwork(settings, V, torch.Generator().manual_seed(1)).train()
    losses = []
    for network in (exact, narrow):
        stream = torch.Generator().manual_seed(9)
        loss, state = network.loss(ids(), ids(1), network.initial_state(B), stream)
        loss.backward()
        losses.append(float(loss.detach()))
        for tensor in (*flatten(state).values(), *network.state_dict().values()):
            assert tensor.dtype == torch.float32
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    for one, other in zip(exact.parameters(), narrow.parameters(), strict=True):
        if one.grad is not None and other.grad is not None:
            assert other.grad.dtype == torch.float32
            assert (one.grad - other.grad).norm() < 0.03 * one.grad.norm()


def test_sparse_gradients_of_the_embedding_are_the_dense_ones() -> None:
    settings = NetworkOptions(hidden_size=H, precision="float32", dropout=0.3)
    networks = [
        LanguageNetwork(settings, V, torch.Generator().manual_seed(1), sparse).train()
        for sparse in (False, True)
    ]
    for network in networks:
        stream = torch.Generator().manual_seed(3)
        hidden, _ = network(ids(), network.initial_state(B), stream)
        network.head.loss(hidden, ids(1)).backward()
    dense, sparse = (network.embedding.grad for network in networks)
    assert dense is not None
    assert sparse is not None
    assert sparse.is_sparse
    torch.testing.assert_close(sparse.to_dense(), dense)
    tied = LanguageNetwork(settings.model_copy(update={"tied": True}), V, None, sparse=True)
    assert not tied.sparse


def test_a_state_of_another_batch_is_refused() -> None:
    network = make().eval()
    with pytest.raises(ShapeError, match="expected"):
        network(ids(), network.initial_state(B + 1))


def test_the_state_is_explicit() -> None:
    network = make(init_scale=0.8).eval()

    def run(text: Tensor, state: State) -> tuple[Tensor, State]:
        result: tuple[Tensor, State] = network(text, state)
        return result

    start = network.initial_state(B)
    first, middle = run(ids(), start)
    again, _ = run(ids(), network.initial_state(B))
    assert torch.equal(first, again)
    assert all((tensor == 0).all() for tensor in flatten(start).values())
    kept = map_tensors(Tensor.clone, middle)
    run(ids(1), middle)
    for part, tensor in flatten(kept).items():
        assert torch.equal(flatten(middle)[part], tensor)
