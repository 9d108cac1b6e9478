"""The table from TensorFlow 1: each row against its equations, transcribed from its sources.

B rows, T steps, I inputs, H units, V classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch.nn import functional as F

import recurra as rc

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng(3)
B, T, I, H = 3, 6, 4, 5  # noqa: E741
X = RNG.normal(size=(B, T, I))
LENGTHS = [6, 2, 0]
KERNEL, BIAS = RNG.normal(size=(I + H, 4 * H)), RNG.normal(size=4 * H)
ABOVE = RNG.normal(size=(H + H, 4 * H)), RNG.normal(size=4 * H)

Pair = tuple[np.ndarray, np.ndarray]


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def basic_lstm_cell(x: np.ndarray, state: Pair, weights: Any, forget_bias: float = 1.0) -> Pair:
    """BasicLSTMCell.call: the state is (c, h), and the new h is the output."""
    c, h = state
    kernel, bias = weights
    i, j, f, o = np.split(np.concatenate([x, h], axis=1) @ kernel + bias, 4, axis=1)
    c = c * logistic(f + forget_bias) + logistic(i) * np.tanh(j)
    return c, np.tanh(c) * logistic(o)


def zero_state() -> Pair:
    return np.zeros((B, H)), np.zeros((B, H))


def dynamic_rnn(x: np.ndarray, lengths: list[int], weights: Any = (KERNEL, BIAS)) -> Any:
    """Past a row's length its output is zero, and its state is copied through."""
    state, outputs = zero_state(), []
    for t in range(x.shape[1]):
        there = (t < np.array(lengths))[:, None]
        fresh = basic_lstm_cell(x[:, t], state, weights)
        state = tuple(np.where(there, new, old) for new, old in zip(fresh, state))
        outputs.append(np.where(there, fresh[1], 0))
    return np.stack(outputs, axis=1), state


def reverse_sequence(x: np.ndarray, lengths: list[int]) -> np.ndarray:
    turned = x.copy()
    for row, length in enumerate(lengths):
        turned[row, :length] = x[row, :length][::-1]
    return turned


def ours(weights: Any = (KERNEL, BIAS)) -> Any:
    return rc.from_tensorflow([*weights], "lstm")


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("forget_bias", [0.0, 1.0])
def test_basic_lstm_cell_and_forget_bias(forget_bias: float) -> None:
    cell = rc.from_tensorflow([KERNEL, BIAS], "lstm", forget_bias=forget_bias)
    assert type(cell) is rc.LSTMCell
    c, h = RNG.normal(size=(2, B, H))
    y, state = cell(torch.from_numpy(X[:, 0]), (torch.from_numpy(h), torch.from_numpy(c)))
    c, h = basic_lstm_cell(X[:, 0], (c, h), (KERNEL, BIAS), forget_bias)
    close(y, h)
    close(state.c, c)


def test_a_fresh_cell_s_forget_bias_is_added_where_it_is_learned() -> None:
    cells = []
    for bias in (0.0, 1.0):
        torch.manual_seed(1)
        cells.append(rc.LSTMCell(I, H, forget_bias=bias))
    added = (cells[1].bias_ih + cells[1].bias_hh - cells[0].bias_ih - cells[0].bias_hh).chunk(4)
    assert [round(part.mean().item(), 5) for part in added] == [0, 1, 0, 0]


def test_zero_state() -> None:
    state = rc.LSTMCell(I, H).initial_state(B)
    assert state._fields == ("h", "c")
    for found, expected in zip(state, zero_state()):
        close(found, expected)


def test_dynamic_rnn() -> None:
    y, state = rc.unroll(ours(), torch.from_numpy(X), lengths=LENGTHS)
    outputs, (c, h) = dynamic_rnn(X, LENGTHS)
    close(y, outputs)
    close(state.h, h)
    close(state.c, c)


def test_bidirectional_dynamic_rnn() -> None:
    other = RNG.normal(size=KERNEL.shape), RNG.normal(size=BIAS.shape)
    both = rc.Bidirectional(ours(), ours(other))
    y, state = rc.unroll(both, torch.from_numpy(X), lengths=LENGTHS)
    fw, _ = dynamic_rnn(X, LENGTHS)
    bw, (c, _) = dynamic_rnn(reverse_sequence(X, LENGTHS), LENGTHS, other)
    close(y, np.concatenate([fw, reverse_sequence(bw, LENGTHS)], axis=2))
    close(state.backward.c, c)


def test_multi_rnn_cell() -> None:
    y, state = rc.unroll(rc.Stack([ours(), ours(ABOVE)]), torch.from_numpy(X))
    below, _ = dynamic_rnn(X, [T] * B)
    outputs, (c, _) = dynamic_rnn(below, [T] * B, ABOVE)
    close(y, outputs)
    close(state[1].c, c)
    cell = rc.LSTMCell(H, H)
    with pytest.raises(rc.errors.ConfigError, match="stands in two places"):
        rc.Stack([cell] * 2)


def kept(masked: torch.Tensor, whole: torch.Tensor, keep: float) -> None:
    """tf.nn.dropout: x / keep times a mask that is 1 with probability keep."""
    mask = masked.abs() > 1e-6
    torch.testing.assert_close(masked, whole / keep * mask)
    deviation = (keep * (1 - keep) / mask.numel()) ** 0.5
    assert abs(mask.double().mean() - keep) < 4 * deviation


def test_dropout_wrapper_keeps_what_ours_does_not_drop() -> None:
    x, masks = torch.ones(200, 30, I), torch.Generator().manual_seed(1)
    cell = rc.LSTMCell(I, 20)
    whole, end = rc.unroll(cell, x)
    y, state = rc.unroll(rc.Dropout(cell, output=0.5), x, generator=masks)
    kept(y, whole, 0.5)
    torch.testing.assert_close(state, end)  # what goes on to the next step is never masked
    assert torch.equal(rc.unroll(rc.Dropout(cell, output=0.5).eval(), x)[0], whole)

    summed = rc.RNNCell(1, 1, nonlinearity="relu")  # one that hands its input on as it is
    for weight, value in zip(summed.parameters(), (1.0, 0.0, 0.0, 0.0)):
        torch.nn.init.constant_(weight, value)
    ones = torch.ones(200, 30, 1)
    kept(rc.unroll(rc.Dropout(summed, input=0.1), ones, generator=masks)[0], ones, 0.9)
    torch.manual_seed(1)
    kept(F.dropout(ones, 0.1), ones, 0.9)


def test_state_keep_prob_masks_h_alone() -> None:
    cell = rc.LSTMCell(1, 400).double()
    torch.nn.init.zeros_(cell.weight_hh)  # so that a masked h shows in nothing but itself
    one, h = torch.ones(1, 1).double(), torch.ones(1, 400).double()
    state = rc.LSTMState(h, h)
    dropped, masks = rc.Dropout(cell, state=0.1), torch.Generator().manual_seed(1)
    _, expected = cell(one, state)
    _, after = dropped(one, state, masks)
    torch.testing.assert_close(after, expected)
    torch.nn.init.eye_(cell.weight_hh[:400].detach())  # now the input gate reads h, unit by unit
    gates = cell.gates(one, state)
    _, after = dropped(one, state, masks)
    i = (after.c - gates["f"] * state.c) / gates["g"]
    drive = torch.logit(i) - (torch.logit(gates["i"]) - state.h)
    kept(drive, state.h, 0.9)


def sequence_loss_by_example(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of one list entry with weights 1: nats, divided by a total weight of 1 + 1e-12."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_probs[np.arange(len(targets)), targets] / (1 + 1e-12)


def test_sequence_loss_by_example() -> None:
    logits, targets = RNG.normal(size=(B * T, 7)), RNG.integers(7, size=B * T)
    expected = sequence_loss_by_example(logits, targets)
    given = torch.from_numpy(logits), torch.from_numpy(targets)
    close(F.cross_entropy(*given, reduction="none"), expected)
    cost = expected.sum() / B  # as the tutorial has it
    close(T * F.cross_entropy(*given), np.array(cost))
    head = rc.preset("ptb-seed").train
    assert head.learning_rate == 35 * 1.0 and head.clip_norm == 5 / 35


def clip_by_global_norm(gradients: list[np.ndarray], most: float) -> list[np.ndarray]:
    norm = np.sqrt(sum(float(np.sum(each**2)) for each in gradients))
    return [each * most * min(1 / norm, 1 / most) for each in gradients]


@pytest.mark.parametrize("most", [0.5, 5.0, 500.0])
def test_clip_by_global_norm(most: float) -> None:
    gradients = [RNG.normal(size=shape) for shape in ((4, 3), (7,), (2, 2))]
    parameters = [torch.nn.Parameter(torch.zeros(each.shape).double()) for each in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = torch.from_numpy(gradient.copy())
    torch.nn.utils.clip_grad_norm_(parameters, most)
    for parameter, expected in zip(parameters, clip_by_global_norm(gradients, most)):
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-6)


def ptb_producer(ids: np.ndarray, batch_size: int, num_steps: int) -> list[Pair]:
    batch_len = len(ids) // batch_size
    data = ids[: batch_size * batch_len].reshape(batch_size, batch_len)
    slices = [
        slice(i * num_steps, (i + 1) * num_steps) for i in range((batch_len - 1) // num_steps)
    ]
    return [(data[:, :-1][:, each], data[:, 1:][:, each]) for each in slices]


def test_ptb_producer() -> None:
    ids = RNG.integers(50, size=1023)
    batches, expected = rc.StreamBatches(ids, 4, 5), ptb_producer(ids, 4, 5)
    assert len(batches) == len(expected) == 50
    for k, (x, y) in enumerate(expected):
        assert batches.batch(k)[0].tolist() == x.tolist()
        assert batches.batch(k)[1].tolist() == y.tolist()


def test_ptb_raw_data_and_the_batches_that_the_tutorial_prints(data_root: Path) -> None:
    ids = rc.TextDataset.open("ptb").ids("train")
    assert len(ids) == 929_589 and int((ids == 2).sum()) == 42_068  # of them ends of sentences
    batches = rc.StreamBatches(ids, 4, 5)
    assert len(batches) == 46_479
    assert batches.batch(2)[0].tolist() == [
        [9984, 9986, 9987, 9988, 9989],
        [895, 1, 5574, 4, 618],
        [8, 713, 0, 264, 820],
        [507, 74, 2619, 0, 1],
    ]
    assert batches.batch(2)[1][3].tolist() == [74, 2619, 0, 1, 8]


def test_gradient_descent_by_a_sum_and_by_a_mean() -> None:
    found = []
    for rate, total in ((1.0, True), (float(T), False)):
        weight = torch.nn.Parameter(torch.ones(I, dtype=torch.double))
        errors = (torch.from_numpy(X) @ weight).square()
        (errors.sum() / B if total else errors.mean()).backward()
        torch.optim.SGD([weight], lr=rate / 100).step()
        found.append(weight.detach())
    torch.testing.assert_close(*found)


def test_estimator_on_the_tutorial_s_split() -> None:
    X, y = load_iris(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    model = rc.SoftmaxClassifier(steps=800, random_state=0).fit(x_train, y_train)
    assert model.score(x_test, y_test) >= 29 / 30


def test_model_dir_counts_steps_from_the_very_start(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)

    def fitted(steps: int, folder: str) -> Any:
        model = rc.SoftmaxClassifier(steps, random_state=0, model_dir=tmp_path / folder)
        return model.fit(X, y)

    whole = fitted(40, "whole")
    assert [fitted(steps, "cut").n_iter_ for steps in (15, 40, 40)] == [15, 40, 40]
    assert np.array_equal(fitted(40, "cut").coef_, whole.coef_)


TESTED = {
    "BasicLSTMCell": test_basic_lstm_cell_and_forget_bias,
    "forget_bias": test_a_fresh_cell_s_forget_bias_is_added_where_it_is_learned,
    "zero_state": test_zero_state,
    "dynamic_rnn": test_dynamic_rnn,
    "bidirectional_dynamic_rnn": test_bidirectional_dynamic_rnn,
    "MultiRNNCell": test_multi_rnn_cell,
    "DropoutWrapper": test_dropout_wrapper_keeps_what_ours_does_not_drop,
    "state_keep_prob": test_state_keep_prob_masks_h_alone,
    "tf.nn.dropout": test_dropout_wrapper_keeps_what_ours_does_not_drop,
    "sequence_loss_by_example": test_sequence_loss_by_example,
    "clip_by_global_norm": test_clip_by_global_norm,
    "reader.ptb_raw_data": test_ptb_raw_data_and_the_batches_that_the_tutorial_prints,
    "reader.ptb_producer": test_ptb_producer,
    "GradientDescentOptimizer": test_gradient_descent_by_a_sum_and_by_a_mean,
    "Estimator": test_estimator_on_the_tutorial_s_split,
    "model_dir": test_model_dir_counts_steps_from_the_very_start,
}


def test_every_row_of_the_table_has_its_test() -> None:
    page = (ROOT / "docs" / "guide" / "tensorflow.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)", page, re.M)
    assert rows == list(TESTED)
