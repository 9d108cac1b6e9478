"""Packed recurrences and softmaxes, beside the modules that they are packed from."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.nn import prepacked as module
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.head import AdaptiveHead
from recurra.nn.head.softmax import SoftmaxHead
from recurra.nn.prepacked import PackedSoftmax, Precision, prepack
from recurra.nn.state import flatten, map_tensors
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.weight_drop import WeightDrop

INPUTS = 5
both = pytest.mark.parametrize("precision", ["float32", "int8"])

NESTS: dict[str, Callable[[], Recurrence]] = {
    "lstm": lambda: LSTMCell(INPUTS, 7),
    "lstm of 64": lambda: LSTMCell(INPUTS, 64),
    "gru": lambda: GRUCell(INPUTS, 7),
    "gru resetting before": lambda: GRUCell(INPUTS, 7, reset_after=False),
    "one unit": lambda: Stack([LSTMCell(INPUTS, 1), GRUCell(1, 1)]),
    "residual": lambda: Residual(GRUCell(INPUTS, INPUTS)),
    "residuals in one another": lambda: Residual(
        Stack(
            [
                Residual(LSTMCell(INPUTS, INPUTS)),
                LSTMCell(INPUTS, 33),
                Residual(Dropout(GRUCell(33, 33))),
                GRUCell(33, INPUTS, reset_after=False),
            ]
        )
    ),
    "dropped": lambda: WeightDrop(Dropout(LSTMCell(INPUTS, 6), input=0.5, state=0.5), 0.5),
    "stack in a stack": lambda: Stack(
        [Stack([LSTMCell(INPUTS, 9), GRUCell(9, 4)]), Dropout(Stack([LSTMCell(4, 70)]))]
    ),
}


def made(name: str) -> Recurrence:
    torch.manual_seed(3)
    return NESTS[name]().eval()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# A recurrence


@pytest.mark.parametrize("name", NESTS)
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_float32_steps_are_those_of_the_recurrence(name: str, rows: int) -> None:
    cell = made(name)
    fast = prepack(cell)
    state, packed = cell.initial_state(rows), fast.initial_state(rows)
    for x in draw(12, rows, INPUTS):
        with torch.no_grad():
            y, state = cell(x, state)
        found, packed = fast(x, packed)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-6)
        for part, tensor in flatten(packed).items():
            torch.testing.assert_close(tensor, flatten(state)[part], rtol=0, atol=1e-6)
    assert type(packed) is type(state)


def rounded(cell: Recurrence) -> Recurrence:
    """Return the recurrence with its weights as int8 has them, written once more in torch."""
    with torch.no_grad():
        for weight in cell.parameters():
            if weight.dim() == 2:
                scale = weight.abs().amax(1, keepdim=True) / 127
                weight.copy_((weight / scale).round() * scale)
    return cell


@pytest.mark.parametrize("name", NESTS)
def test_int8_steps_are_those_of_rounded_weights(name: str) -> None:
    cell = made(name)
    fast, expected = prepack(cell, "int8"), rounded(made(name))
    state, packed = expected.initial_state(3), fast.initial_state(3)
    for x in draw(12, 3, INPUTS):
        with torch.no_grad():
            y, state = expected(x, state)
        found, packed = fast(x, packed)
        torch.testing.assert_close(found, y, rtol=0, atol=2e-4)


@both
@pytest.mark.parametrize("name", ["residuals in one another", "stack in a stack"])
def test_a_row_is_the_same_to_the_bit_beside_any_others(name: str, precision: Precision) -> None:
    fast = prepack(made(name), precision)
    x, state = draw(33, INPUTS), map_tensors(torch.randn_like, fast.initial_state(33))
    together, after = fast(x, state)
    for n in (0, 7, 32):
        alone, own = fast(x[n : n + 1], map_tensors(lambda t, n=n: t[n : n + 1], state))
        assert torch.equal(alone[0], together[n])
        for part, tensor in flatten(own).items():
            assert torch.equal(tensor[0], flatten(after)[part][n])


def test_a_step_changes_nothing_it_was_given() -> None:
    fast = prepack(made("lstm"))
    x, state = draw(2, INPUTS), map_tensors(torch.randn_like, fast.initial_state(2))
    given = [x.clone(), *(tensor.clone() for tensor in state)]
    first, _ = fast(x, state)
    assert all(torch.equal(a, b) for a, b in zip([x, *state], given))
    assert torch.equal(fast(x, state)[0], first)


def test_what_is_learned_later_it_does_not_know() -> None:
    cell = made("lstm")
    fast = prepack(cell)
    before, _ = fast(draw(1, INPUTS), fast.initial_state())
    nn.init.zeros_(cell.weight_ih)  # type: ignore[arg-type]
    assert torch.equal(fast(draw(1, INPUTS), fast.initial_state())[0], before)


def test_it_keeps_nothing_of_its_source() -> None:
    cell = made("stack in a stack")
    fast, state = prepack(cell), cell.initial_state(4)
    cell.double()
    assert str(fast.initial_state(4)) == str(state)
    fast(draw(4, INPUTS), fast.initial_state(4))
    for rows in (-1, "4"):
        with pytest.raises(ShapeError, match="batch_size is a whole number of rows, got"):
            fast.initial_state(rows)  # type: ignore[arg-type]
    weights = [weakref.ref(parameter) for parameter in cell.parameters()]
    del cell
    gc.collect()
    assert not any(weight() is not None for weight in weights)


def test_inputs_may_ask_for_gradients_and_lie_scattered() -> None:
    fast = prepack(made("gru"))
    x = draw(2, 2 * INPUTS)[:, ::2].requires_grad_()
    state = map_tensors(lambda tensor: tensor.requires_grad_(), fast.initial_state(2))
    y, _ = fast(x, state)
    assert not y.requires_grad
    assert torch.equal(y, fast(x.detach().contiguous(), fast.initial_state(2))[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads: int) -> None:
    fast, before = prepack(made("stack in a stack")), torch.get_num_threads()
    expected, _ = fast(draw(40, INPUTS), fast.initial_state(40))
    torch.set_num_threads(threads)
    try:
        found, _ = fast(draw(40, INPUTS), fast.initial_state(40))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, expected)


class Twisted(LSTMCell):
    def forward(self, x: Tensor, state: Any) -> Any:
        return super().forward(-x, state)


REFUSED: dict[str, tuple[Callable[[], Recurrence], str]] = {
    "rnn": (lambda: Stack([RNNCell(INPUTS, 4)]), "RNNCell cannot be packed, only LSTMCell"),
    "subclass": (lambda: Dropout(Twisted(INPUTS, 4)), "Twisted cannot be packed"),
    "bidirectional": (
        lambda: Bidirectional(LSTMCell(INPUTS, 4), LSTMCell(INPUTS, 4)),
        "Bidirectional",
    ),
    "double": (
        lambda: LSTMCell(INPUTS, 4).double(),
        "torch.float64 on cpu, expected torch.float32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_pack_it_names(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(ConfigError, match=said) as caught:
        prepack(make())
    assert "\n" not in str(caught.value)


def test_hooks_weights_that_are_not_finite_and_other_precisions_are_refused() -> None:
    cell = LSTMCell(INPUTS, 4)
    with pytest.raises(ConfigError, match="float32 or int8, got 'int4'"):
        prepack(cell, "int4")  # type: ignore[arg-type]
    cell.register_forward_hook(lambda *given: None)
    with pytest.raises(ConfigError, match="LSTMCell has hooks"):
        prepack(Stack([cell]))
    broken = GRUCell(INPUTS, 4)
    nn.init.constant_(broken.bias_hh, float("nan"))
    with pytest.raises(ConfigError, match="GRUCell has weights that are not finite"):
        prepack(broken, "int8")


def test_without_numba_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "missing", lambda: "numba cannot be imported")
    with pytest.raises(ConfigError, match="prepacked: numba cannot be imported"):
        prepack(LSTMCell(INPUTS, 4))


def test_wrong_shapes_are_refused() -> None:
    fast = prepack(made("lstm"))
    with pytest.raises(ShapeError, match=r"x of shape \(batch, 5\), got \(2, 4\)"):
        fast(draw(2, 4), fast.initial_state(2))
    with pytest.raises(ShapeError, match=r"float32 tensor x of shape \(batch, 5\), got ndarray"):
        fast(np.zeros((2, 5)), fast.initial_state(2))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="a state is a tensor or a tuple of states, got NoneType"):
        fast(torch.zeros(2, 5), None)
    with pytest.raises(ConfigError, match=r"prepack takes .*, got LSTM of torch.nn: recurra.from_"):
        prepack(nn.LSTM(3, 5))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="float64"):
        fast(draw(2, INPUTS).double(), fast.initial_state(2))
    with pytest.raises(ShapeError, match="a packed step of 3 rows"):
        fast(draw(3, INPUTS), fast.initial_state(2))


def test_what_compiled_code_would_read_beside_its_arrays_is_refused() -> None:
    fast, words = prepack(made("lstm")), draw(9, INPUTS).numpy()
    S = fast.state_size
    for ids in ([[9]], [[-1]], [[3, 9], [0, 1]], [[3, -1], [0, 1]]):
        with pytest.raises(DataError, match=r"ids lie in 0 ... 8, got -?\d to -?\d"):
            fast.read(words, np.array(ids), np.zeros((len(ids), S), np.float32))
    one = np.zeros((1, 1), np.int64)
    for embedding in (words[:, :-1], words[0], words.astype(np.float64)):
        with pytest.raises(
            ShapeError, match=r"packed weights read float32 embeddings \(V, 5\), got"
        ):
            fast.read(embedding, one, np.zeros((1, S), np.float32))
    for units in (np.zeros((1, S - 1)), np.zeros((2, S)), np.zeros(S), np.zeros((1, S))):
        with pytest.raises(ShapeError, match=r"a state of shape .* for 1 rows, expected \(1, 14\)"):
            fast.read(words, one, units.astype(np.float32) if units.shape != (1, S) else units)
    with pytest.raises(ShapeError, match="lies in one piece"):
        fast.read(words, np.zeros((2, 1), np.int64), np.zeros((S, 2), np.float32).T)


# The softmax


def head(size: int, hidden: int = 6) -> SoftmaxHead:
    made = SoftmaxHead(hidden, size)
    with torch.no_grad():
        made.weight.copy_(2 * draw(size, hidden))
        made.bias.copy_(draw(size, seed=2))
    return made


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000])
@pytest.mark.parametrize("count", [1, 3, 37])
def test_log_probs_are_those_of_the_head(size: int, count: int) -> None:
    softmax, hidden = head(size), draw(count, 6, seed=4)
    logits = hidden.double() @ softmax.weight.detach().double().T + softmax.bias.detach()
    expected = logits.log_softmax(1)
    fast = PackedSoftmax(softmax)
    found = torch.from_numpy(fast.log_probs(hidden.numpy()))
    torch.testing.assert_close(found.double(), expected, rtol=3e-7, atol=4e-6)
    torch.testing.assert_close(found, softmax.log_probs(hidden).detach(), rtol=1e-6, atol=4e-6)
    words = torch.randint(size, (count,), generator=torch.Generator().manual_seed(1))
    own = fast.log_probs_of(hidden.numpy(), words.numpy())
    assert own.dtype == np.float64
    wanted = expected.gather(1, words[:, None])[:, 0].numpy()
    np.testing.assert_allclose(own, wanted, rtol=3e-7, atol=4e-6)


@both
@pytest.mark.parametrize("k", [1, 5, 200, 1000])
def test_the_likeliest_are_those_of_all(precision: Precision, k: int) -> None:
    softmax, hidden = head(200), draw(20, 6, seed=4).numpy()
    fast = PackedSoftmax(softmax, precision)
    found, all_of_them = fast.top(hidden, k), torch.from_numpy(fast.log_probs(hidden))
    expected = all_of_them.sort(dim=1, descending=True, stable=True)
    assert torch.equal(found.ids, expected.indices[:, :k])
    torch.testing.assert_close(found.log_probs, expected.values[:, :k], rtol=0, atol=2e-6)


@both
def test_of_equals_the_first_comes_first(precision: Precision) -> None:
    softmax = head(150)
    nn.init.zeros_(softmax.weight)
    with torch.no_grad():
        softmax.bias.copy_(torch.zeros(150))
        softmax.bias[[140, 70]] = 1.0
    found = PackedSoftmax(softmax, precision).top(draw(1, 6).numpy(), 5)
    assert found.ids.tolist() == [[70, 140, 0, 1, 2]]


def test_probabilities_sum_to_one_where_one_word_has_nearly_all() -> None:
    softmax = head(3000)
    with torch.no_grad():
        softmax.bias.fill_(-17.0)
        softmax.bias[9] = 17.0
    found = PackedSoftmax(softmax).log_probs(np.zeros((1, 6), np.float32))
    expected = torch.log_softmax(softmax.bias.detach().double(), 0).numpy()
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)
    extreme = SoftmaxHead(6, 70)
    with torch.no_grad():
        extreme.bias[3] = 4000.0
    found = PackedSoftmax(extreme).log_probs(np.zeros((1, 6), np.float32))
    assert found[0, 3] == 0
    assert found[0, 0] == -4000


def test_what_is_not_finite_gives_no_number() -> None:
    hidden = np.full((1, 6), np.nan, np.float32)
    fast = PackedSoftmax(head(100))
    assert np.isnan(fast.log_probs(hidden)).all()
    assert fast.top(hidden, 3).log_probs.isnan().all()


@both
def test_words_that_there_are_not_are_refused(precision: Precision) -> None:
    fast, hidden = PackedSoftmax(head(100), precision), np.ones((2, 6), np.float32)
    for word in (100, 127, 10**6, 10**12, -1, -5):
        for ids in ([1, word], [word, 1]):
            with pytest.raises(DataError, match=r"ids lie in 0 ... 99, got -?\d+ to \d+"):
                fast.log_probs_of(hidden, np.array(ids))
    for words in ([1], [1, 2, 3], [[1], [2]]):
        with pytest.raises(ShapeError, match="a word for each of 2 vectors, got"):
            fast.log_probs_of(hidden, np.array(words))
    assert fast.log_probs_of(hidden[:0], np.zeros(0, np.int64)).shape == (0,)


def test_another_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="AdaptiveHead cannot be packed, only a plain softmax"):
        PackedSoftmax(AdaptiveHead(8, 20, [5]))


def test_vectors_may_lie_anywhere_but_must_fit() -> None:
    packed = PackedSoftmax(SoftmaxHead(4, 100))
    wide = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    part = wide[:, ::2]
    np.testing.assert_array_equal(packed.log_probs(part), packed.log_probs(part.copy()))
    with pytest.raises(ValueError, match=r"takes \(N, 4\), got \(3, 8\)"):
        packed.top(wide, 3)


def test_it_says_what_it_is() -> None:
    assert repr(prepack(LSTMCell(3, 5), "int8")) == "Prepacked(3 -> 5): single steps in int8"
