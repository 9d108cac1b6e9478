"""The language network: where its dropout is, how it starts, what tying means, whom it equals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, RunError, ShapeError
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.head import AdaptiveHead, MixtureOfSoftmaxesHead
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.state import State, flatten, map_tensors
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual

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


def test_cells_that_need_a_start_of_their_own_have_it() -> None:
    normalised = make(cell="layer_norm_lstm").recurrence.inner(0).inner()
    assert (normalised.gain_ih == 1).all()
    assert (normalised.bias_ih[H : 2 * H] == 1).all()
    assert not normalised.bias_hh.requires_grad
    ring = make(cell="lru").recurrence.inner(0).inner()
    radius = torch.exp(-torch.exp(ring.nu_log))
    assert ((radius > ring.least_radius) & (radius < ring.most_radius)).all()
    own = make(cell="ind_rnn", seed=3).recurrence.inner(0).inner()
    assert (own.weight_hh >= 0).all()
    assert float(own.weight_hh.detach().max()) > 0.1
    again = make(cell="ind_rnn", seed=3).recurrence.inner(0).inner()
    assert torch.equal(own.weight_hh, again.weight_hh)


def test_relatives_of_the_lstm_have_its_biases() -> None:
    for name in ("peephole_lstm", "coupled_lstm"):
        layer = make(cell=name, forget_bias=2.0).recurrence.inner(0).inner()
        assert not layer.bias_hh.requires_grad
        assert sorted(set(layer.bias_ih.tolist())) == [0, 2]


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


def test_each_place_has_its_own_probability() -> None:
    """Input, hidden and output dropout: each of its own, `dropout` where none is named."""
    network = make(
        dropout=0.1,
        input_dropout=0.2,
        hidden_dropout=0.5,
        output_dropout=0.7,
        num_layers=3,
        variational=True,
    )
    text, drawn = ids(), torch.Generator().manual_seed(9)
    found, _ = network.double().train()(
        text, network.initial_state(B), torch.Generator().manual_seed(9)
    )
    x = F.embedding(text, network.embedding) * dropout_mask((B, 1, H), 0.2, drawn, torch.float64)
    for layer, p in enumerate((0.5, 0.5, 0.7)):
        x, _ = unroll(cell(network, layer), x)
        x = x * dropout_mask((B, 1, H), p, drawn, torch.float64)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)
    fallback = make(dropout=0.1, output_dropout=0.0)
    assert [fallback.recurrence.inner(n).input for n in range(2)] == [0.1, 0.0]
    assert [fallback.recurrence.inner(n).output for n in range(2)] == [0.1, 0.0]
    assert fallback.output_dropout == 0.0


# Words and weights dropped


def test_a_dropped_word_is_dropped_wherever_it_stands_in_the_chunk() -> None:
    """Embedding dropout against its transcription: a mask of V rows, one a chunk."""
    network = make(embedding_dropout=0.4, init_scale=0.8).double().train()
    text = ids(length=30)
    found, _ = network(text, network.initial_state(B), torch.Generator().manual_seed(9))
    rows = dropout_mask((V, 1), 0.4, torch.Generator().manual_seed(9), torch.float64)
    assert 0 < int((rows == 0).sum()) < V
    silenced = make(init_scale=0.8).double().eval()
    with torch.no_grad():
        silenced.embedding *= rows
        expected, _ = silenced(text, silenced.initial_state(B))
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-12)


def test_dropped_words_keep_their_softmax_and_get_no_gradient_from_below() -> None:
    network = make(embedding_dropout=0.4, init_scale=0.8).train()
    text = torch.arange(V).unsqueeze(0)
    hidden, _ = network(text, network.initial_state(), torch.Generator().manual_seed(9))
    network.head.loss(hidden, text).backward()
    rows = dropout_mask((V, 1), 0.4, torch.Generator().manual_seed(9)).flatten()
    grad = network.embedding.grad
    assert grad is not None
    assert torch.equal(grad.abs().sum(1) == 0, rows == 0)
    tied = make(embedding_dropout=0.4, init_scale=0.8, tied=True).train()
    hidden, _ = tied(text, tied.initial_state(), torch.Generator().manual_seed(9))
    tied.head.loss(hidden, text).backward()
    assert tied.embedding.grad is not None
    assert bool((tied.embedding.grad.abs().sum(1) > 0).all())


def test_the_share_of_words_that_is_dropped() -> None:
    settings = NetworkOptions(hidden_size=1, num_layers=1, embedding_dropout=0.1)
    network = LanguageNetwork(settings, 20_000, torch.Generator().manual_seed(1)).train()
    nn.init.ones_(network.embedding)
    text = torch.arange(20_000).unsqueeze(0)
    hidden, _ = network(text, network.initial_state(), torch.Generator().manual_seed(2))
    (grad,) = torch.autograd.grad(hidden.sum(), network.embedding)
    assert float((grad == 0).double().mean()) == pytest.approx(0.1, abs=0.007)


def test_sparse_gradients_know_dropped_words() -> None:
    settings = NetworkOptions(hidden_size=H, precision="float32", embedding_dropout=0.4)
    grads = []
    for sparse in (False, True):
        network = LanguageNetwork(settings, V, torch.Generator().manual_seed(1), sparse).train()
        state, stream = network.initial_state(B), torch.Generator().manual_seed(3)
        network.loss(ids(), ids(1), state, stream)[0].backward()
        assert network.embedding.grad is not None
        grads.append(network.embedding.grad.to_dense())
    torch.testing.assert_close(grads[0], grads[1])


def test_recurrent_weights_are_dropped_once_a_chunk() -> None:
    network = make(weight_dropout=0.5, init_scale=0.8).double().train()
    found, state = network(ids(), network.initial_state(B), torch.Generator().manual_seed(9))
    twin, drawn = make(init_scale=0.8).double().eval(), torch.Generator().manual_seed(9)
    with torch.no_grad():
        for layer in range(2):
            cell(twin, layer).weight_hh *= dropout_mask((4 * H, H), 0.5, drawn, torch.float64)
    expected, expected_state = twin(ids(), twin.initial_state(B))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for part, tensor in flatten(expected_state).items():
        torch.testing.assert_close(flatten(state)[part], tensor, rtol=0, atol=1e-12)


def test_no_regularisation_changes_the_names_or_what_is_evaluated() -> None:
    plain = make()
    network = make(
        weight_dropout=0.5,
        embedding_dropout=0.2,
        dropout=0.3,
        activation_penalty=2.0,
        temporal_penalty=1.0,
    )
    assert list(network.state_dict()) == list(plain.state_dict())
    network.load_state_dict(plain.state_dict())
    state = plain.initial_state(B)
    one = plain.eval().loss(ids(), ids(1), state)[0]
    assert torch.equal(network.eval().loss(ids(), ids(1), state)[0], one)


# Penalties


@pytest.mark.parametrize("length", [1, 5])
def test_penalties_are_of_what_was_dropped_and_of_what_was_not(length: int) -> None:
    settings = {"dropout": 0.4, "variational": True, "init_scale": 0.8}
    network = make(**settings, activation_penalty=2.0, temporal_penalty=3.0).double().train()
    plain = make(**settings).double().train()
    text, targets = ids(length=length), ids(1, length)
    state = network.initial_state(B)

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(9)

    with torch.no_grad():
        nats, penalty, *_ = network.loss_parts(text, targets, state, seeded())
        loss, _ = network.loss(text, targets, state, seeded())
        quiet, _ = plain.loss(text, targets, state, seeded())
        raw, hidden, _ = plain.outputs(text, state, seeded())
    expected = 2.0 * float((hidden**2).sum()) / hidden.numel()
    steps = [float(((raw[:, t + 1] - raw[:, t]) ** 2).mean()) for t in range(length - 1)]
    expected += 3.0 * float(np.mean(steps)) if steps else 0.0
    assert float(penalty) == pytest.approx(expected, rel=1e-12)
    assert float(loss) == pytest.approx(float(nats) + expected, rel=1e-12)
    assert float(nats) == pytest.approx(float(quiet), rel=1e-12)
    assert float(network.eval().loss_parts(text, targets, state).penalty) == 0
    assert (raw != 0).all()
    assert (hidden == 0).any()


# Widths


@pytest.mark.parametrize("tied", [False, True])
def test_layers_may_have_different_widths(tied: bool) -> None:
    network = make(layer_sizes="9/7/4", embedding_size=4, tied=tied).eval()
    hidden, state = network(ids(), network.initial_state(B))
    assert hidden.shape == (B, T, 4)
    assert [part.h.shape[1] for part in state] == [9, 7, 4]
    assert network.embedding.shape == (V, 4)
    layers = 4 * (9 * (4 + 9 + 2) + 7 * (9 + 7 + 2) + 4 * (7 + 4 + 2))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == V * 4 * (1 if tied else 2) + V + layers


def test_the_published_awd_lstm_has_its_parameters() -> None:
    """24 million by the paper; 24,221,600 as its program counts them, with both biases."""
    options = NetworkOptions(layer_sizes="1150/1150/400", embedding_size=400, tied=True)
    with torch.device("meta"):
        network = LanguageNetwork(options, 10_000, None)
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_221_600


def test_sizes_that_are_not_named_follow_from_the_others() -> None:
    assert NetworkOptions().widths == (200, 200)
    assert NetworkOptions(embedding_size=7).widths == (200, 200)
    assert NetworkOptions(embedding_size=7, tied=True, num_layers=3).widths == (200, 200, 7)
    assert NetworkOptions(layer_sizes="9/4", tied=True).embedding_width == 4
    assert NetworkOptions(layer_sizes="9/4").embedding_width == 200
    mixture = NetworkOptions(embedding_size=7, tied=True, softmax="mixture")
    assert (mixture.widths, mixture.embedding_width) == ((200, 200), 7)
    hidden, _ = make(embedding_size=3, num_layers=1).eval()(ids())
    assert hidden.shape == (B, T, H)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer_sizes": "9/4", "embedding_size": 5}, "the last of network.layer_sizes is 4, "),
        ({"softmax": "mixture", "latent_size": 5}, "network.latent_size is 5, network.embedding_"),
        ({"softmax": "adaptive"}, "network.softmax=adaptive has no matrix"),
    ],
)
def test_tied_weights_are_of_one_size(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"{said}.*network.tied"):
        make(tied=True, **options)
    make(tied=False, **options)


@pytest.mark.parametrize("sizes", ["", "0", "5/", "a", "5//5", "5/0", "100000"])
def test_layer_sizes_are_numbers_with_slashes(sizes: str) -> None:
    with pytest.raises(ValidationError, match="layer_sizes"):
        NetworkOptions(layer_sizes=sizes)


def test_residual_layers_add_their_input_where_they_can() -> None:
    network = make(layer_sizes="6/6/4/4", embedding_size=6, residual=True, init_scale=0.8)
    network = network.double().eval()
    found, _ = network(ids(), network.initial_state(B))
    x = F.embedding(ids(), network.embedding)
    for layer, adds in enumerate((False, True, False, True)):
        inner = network.recurrence.inner(layer).inner()
        assert isinstance(inner, Residual) is adds
        y, _ = unroll(inner.inner() if adds else inner, x)
        x = x + y if adds else y
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)


# Start by width


def test_layers_may_start_by_their_widths() -> None:
    settings = NetworkOptions(
        layer_sizes="400/100",
        embedding_size=50,
        init="width",
        zero_bias=False,
        forget_bias=0.0,
        softmax="mixture",
        experts=4,
    )
    network = LanguageNetwork(settings, 500, torch.Generator().manual_seed(1))
    bounds = {
        "embedding": 0.1,
        "head.weight": 0.1,
        "head.bias": 0.0,
        "head.latent.weight": 0.1,
        "head.latent.bias": 0.0,
        "head.prior.weight": 0.1,
    }
    for layer, bound in enumerate((0.05, 0.1)):
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            bounds[f"recurrence.cells.{layer}.cells.0.{name}"] = bound
        bounds[f"recurrence.cells.{layer}.cells.0.bias_hh"] = 0.0
    for name, tensor in network.state_dict().items():
        assert float(tensor.abs().max()) == pytest.approx(bounds.pop(name), rel=0.03)
    assert not bounds


# Other softmaxes


@pytest.mark.parametrize("tied", [False, True])
def test_a_mixture_of_softmaxes_is_a_language_network(tied: bool) -> None:
    network = make(
        tied=tied,
        softmax="mixture",
        experts=3,
        layer_sizes="9/7",
        embedding_size=5,
        latent_dropout=0.3,
        variational=True,
        output_dropout=0.2,
        init_scale=0.8,
    ).double()
    assert isinstance(network.head, MixtureOfSoftmaxesHead)
    assert (network.head.weight is network.embedding) is tied
    assert network.head.latent.weight.shape == (3 * 5, 7)
    state = network.initial_state(B)
    stream = torch.Generator().manual_seed(9)
    loss, _ = network.train().loss(ids(), ids(1), state, stream)
    stream = torch.Generator().manual_seed(9)
    hidden, _ = network(ids(), state, stream)
    torch.testing.assert_close(loss, network.head.loss(hidden, ids(1), stream))
    hidden, _ = network.eval()(ids(), state)
    nats = -network.head.log_probs(hidden).gather(2, ids(1).unsqueeze(2)).mean()
    torch.testing.assert_close(network.loss(ids(), ids(1), state)[0], nats)


def test_an_adaptive_softmax_is_a_language_network() -> None:
    network = make(softmax="adaptive", cutoffs="3/8", init_scale=0.8).double()
    assert isinstance(network.head, AdaptiveHead)
    assert network.head.softmax.cutoffs == [3, 8, V]
    state = network.initial_state(B)
    hidden, _ = network.eval()(ids(), state)
    nats = -network.head.log_probs(hidden).gather(2, ids(1).unsqueeze(2)).mean()
    torch.testing.assert_close(network.train().loss(ids(), ids(1), state)[0], nats)
    with pytest.raises(ConfigError, match="cutoffs increase between 1 and 12 for 13 classes"):
        make(softmax="adaptive", cutoffs="3/13")
    default = make(softmax="adaptive").head
    assert isinstance(default, AdaptiveHead)
    assert default.softmax.cutoffs == [1, 6, V]


@pytest.mark.parametrize("softmax", ["full", "mixture", "adaptive"])
def test_every_softmax_learns(softmax: str) -> None:
    network = make(softmax=softmax, experts=2, num_layers=1, init_scale=0.5).train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=3.0)
    text = torch.arange(12).unsqueeze(0)
    for _ in range(40):
        loss, _ = network.loss(text[:, :-1], text[:, 1:], network.initial_state())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.detach()) < 1.5 < math.log(11)  # what words without a context cost


# Everything at once


def test_the_whole_of_it_is_its_transcription() -> None:
    """The AWD-LSTM's loss with every mask drawn in the documented order, by torch's nn.LSTM."""
    options = {
        "tied": True,
        "layer_sizes": "9/7/4",
        "embedding_size": 4,
        "input_dropout": 0.4,
        "hidden_dropout": 0.25,
        "output_dropout": 0.3,
        "embedding_dropout": 0.1,
        "weight_dropout": 0.5,
        "variational": True,
        "activation_penalty": 2.0,
        "temporal_penalty": 1.0,
    }
    network = make(**options, init_scale=0.8).double().train()
    state = network.initial_state(B)
    loss, _ = network.loss(ids(), ids(1), state, torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad(
        loss, [p for p in network.parameters() if p.requires_grad], retain_graph=True
    )

    drawn = torch.Generator().manual_seed(9)

    def mask(*shape: int, p: float) -> Tensor:
        return dropout_mask(shape, p, drawn, torch.float64)

    words = network.embedding * mask(V, 1, p=0.1)
    sizes = [4, 9, 7, 4]
    weights = [cell(network, n).weight_hh * mask(4 * H, H, p=0.5)
               for n, H in enumerate(sizes[1:])]  # fmt: skip
    x = words[ids()] * mask(B, 1, 4, p=0.4)
    for n, (size, above, p) in enumerate(zip(sizes, sizes[1:], (0.25, 0.25, 0.3))):
        own, zeros = cell(network, n), torch.zeros(1, B, above, dtype=torch.float64)
        twin = nn.LSTM(size, above, batch_first=True).double()
        given = {"weight_ih_l0": own.weight_ih, "weight_hh_l0": weights[n]}
        given |= {"bias_ih_l0": own.bias_ih, "bias_hh_l0": own.bias_hh}
        raw, _ = torch.func.functional_call(twin, given, (x, (zeros, zeros)))
        x = raw * mask(B, 1, above, p=p)
    nats = F.cross_entropy(
        F.linear(x, network.embedding, network.head.bias).flatten(0, 1), ids(1).flatten()
    )
    expected = nats + 2 * (x**2).mean() + ((raw[:, 1:] - raw[:, :-1]) ** 2).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    by_hand = torch.autograd.grad(expected, [p for p in network.parameters() if p.requires_grad])
    torch.testing.assert_close(gradients, by_hand, rtol=1e-9, atol=1e-12)


def test_a_network_saved_before_these_options_still_loads() -> None:
    before = {
        "cell": "lstm",
        "hidden_size": H,
        "num_layers": 2,
        "tied": False,
        "dropout": 0.5,
        "variational": False,
        "init_scale": 0.1,
        "zero_bias": True,
        "forget_bias": 1.0,
        "precision": "float32",
    }
    options = NetworkOptions.model_validate(before)
    network = LanguageNetwork(options, V, torch.Generator().manual_seed(1))
    layer = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    assert list(network.state_dict()) == [
        "embedding",
        *(f"recurrence.cells.0.cells.0.{name}" for name in layer),
        *(f"recurrence.cells.1.cells.0.{name}" for name in layer),
        "head.weight",
        "head.bias",
    ]


def test_lengths_end_rows_early() -> None:
    network = make(init_scale=0.8).double().eval()
    lengths = torch.tensor([5, 2, 0])
    hidden, state = network(ids(), lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, end = network(ids()[row : row + 1, :length])
        torch.testing.assert_close(hidden[row, :length], alone[0])
        assert not hidden[row, length:].any()
        for part, tensor in flatten(end).items():
            torch.testing.assert_close(flatten(state)[part][row], tensor[0])


# Loss, gradients and states


def test_the_loss_is_the_mean_surprise_of_the_targets() -> None:
    network = make(init_scale=0.8).double().train()
    loss, state = network.loss(ids(), ids(1), network.initial_state(B))
    hidden, expected = network(ids(), network.initial_state(B))
    nats = -network.head.log_probs(hidden).gather(2, ids(1).unsqueeze(2))
    torch.testing.assert_close(loss, nats.mean())
    for part, tensor in flatten(expected).items():
        torch.testing.assert_close(flatten(state)[part], tensor)


@pytest.mark.parametrize("softmax", ["full", "mixture", "adaptive"])
def test_narrow_products_change_the_loss_and_the_gradients_by_little(softmax: str) -> None:
    options = {"dropout": 0.3, "init_scale": 0.5, "softmax": softmax, "experts": 2}
    exact = make(**options).train()
    settings = NetworkOptions(hidden_size=H, precision="bfloat16", **options)
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
            # Experts that are nearly alike leave little of the gradient of their priors.
            assert (one.grad - other.grad).norm() < 0.03 * one.grad.norm() + 1e-4


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
