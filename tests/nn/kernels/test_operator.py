"""What all operators over sequences refuse."""

from __future__ import annotations

import timeit
from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.kernels.loops.gru import gru_sequence
from recurra.nn.kernels.loops.layer_norm_gru import layer_norm_gru_sequence
from recurra.nn.kernels.loops.lstm import LSTMParts, lstm_family_sequence
from recurra.nn.kernels.operator import (
    Shapes,
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)
from recurra.nn.kernels.products.linear import sequence_linear


def test_lengths_become_whole_numbers_of_steps() -> None:
    for lengths in (torch.tensor([0, 4, 2]), torch.tensor([0, 4, 2], dtype=torch.int32)):
        found = steps_of_rows((3, 4, 5), lengths)
        np.testing.assert_array_equal(found, [0, 4, 2])
        assert found.dtype == np.int64
    np.testing.assert_array_equal(steps_of_rows((2, 3), None), [3, 3])
    assert steps_of_rows((0, 3), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("lengths", [[5, 1], [1, -1], [1], [[1, 1]]])
def test_lengths_out_of_the_sequences_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ShapeError, match=r"lengths are 2 integers in 0 \.\.\. 4"):
        steps_of_rows((2, 4), torch.tensor(lengths))


@torch.library.custom_op("recurra_test::powers", mutates_args=())
def powers(
    bases: list[torch.Tensor], exponents: list[float], scale: torch.Tensor | None, unused: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the powers, scaled, and what the way back reads."""
    factor = torch.ones(()).double() if scale is None else scale.clone()
    return factor * sum(b**e for b, e in zip(bases, exponents)), factor


calls: list[str] = []


def powers_back(d: Any, given: Any, made: Any) -> Any:
    calls.append("back")
    bases, exponents, scale, unused = given
    _, factor = made
    assert unused == 7 and isinstance(exponents, list)
    of_scale = None if scale is None else (d[0] * sum(b**e for b, e in zip(bases, exponents))).sum()
    pairs = zip(bases, exponents)
    return [d[0] * factor * e * b ** (e - 1) for b, e in pairs], None, of_scale, None


def powers_plain(bases: Any, exponents: Any, scale: Any, unused: int) -> Any:
    calls.append("plain")
    return (sum(b**e for b, e in zip(bases, exponents)) * (1 if scale is None else scale),)


register_gradient(powers, powers_back, powers_plain, ends=0)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_gradient_is_the_operators_own_and_one_of_a_gradient_is_torch_s(scaled: bool) -> None:
    calls.clear()
    a, b = (
        torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([2.0, 3.0], [5.0, 1])
    )
    scale = torch.tensor(0.5).double().requires_grad_() if scaled else None
    leaves = [a, scale] if scale is not None else [a]
    loss = powers([a, b.detach()], [3.0, 2.0], scale, 7)[0].sum()
    expected = (0.5 if scaled else 1) * 3 * a.detach() ** 2
    once = torch.autograd.grad(loss, leaves, retain_graph=True)
    assert torch.equal(once[0], expected) and calls == ["back"]
    further = torch.autograd.grad(loss, leaves, create_graph=True)
    torch.testing.assert_close(further, once)
    assert calls == ["back", "plain"]
    second = torch.autograd.grad(further[0].sum(), leaves, create_graph=True)
    torch.testing.assert_close(second[0], expected * 2 / a.detach())
    if scaled:
        torch.testing.assert_close(second[1], (3 * a.detach() ** 2).sum())
    (third,) = torch.autograd.grad(second[0].sum(), [a])
    torch.testing.assert_close(third, expected * 2 / a.detach() ** 2)


def test_a_leaf_that_is_made_of_another_has_the_part_that_is_its_own() -> None:
    a = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    loss = powers([a, a * a], [3.0, 2.0], None, 7)[0].sum()  # a^3 + a^4
    (first,) = torch.autograd.grad(loss, [a], create_graph=True)
    (second,) = torch.autograd.grad(first, [a])
    assert first.item() == 3 * 4 + 4 * 8 and second.item() == 6 * 2 + 12 * 4


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 0, 2])], ids=["all", "ragged"])
def test_steps_in_torch_end_where_their_rows_do(lengths: torch.Tensor | None) -> None:
    start = torch.tensor([0.0, 10.0, 20.0]).unsqueeze(1), torch.zeros(3, 2, 1)
    firsts, (last, other) = steps_in_torch(
        lambda t, state: (state[0] + t + 1, state[1] - 1), 3, start, lengths
    )
    steps = [3, 3, 3] if lengths is None else lengths.tolist()
    done = [[sum(range(1, min(t + 1, n) + 1)) for n in steps] for t in range(3)]
    np.testing.assert_array_equal(firsts[:, :, 0], np.add(done, [0, 10, 20]))
    assert torch.equal(last, firsts[-1]) and other[:, 0, 0].tolist() == [-n for n in steps]


GRU = Shapes(x="B T I", h="B H", weight="3H I", part="3 H")


def test_tensors_that_fit_each_other_pass() -> None:
    for B, T, I, H in ((2, 3, 4, 5), (0, 0, 0, 0), (1, 1, 1, 1)):  # noqa: E741
        given = torch.ones(B, T, I), torch.ones(B, H), torch.ones(3 * H, I)
        GRU.check(*given, torch.ones(3, H))
        GRU.check(*given, None)


@pytest.mark.parametrize(
    ("at", "wrong", "said"),
    [
        (0, torch.ones(3, 4), r"x is \(B, T, I\) of torch.float32, got \(3, 4\) of torch.float32"),
        (1, torch.ones(3, 5), r"h is \(B, H\) of .* where B = 2, T = 3, I = 4, got \(3, 5\)"),
        (2, torch.ones(15, 5), r"weight is \(3H, I\) .* I = 4, H = 5, got \(15, 5\)"),
        (2, torch.ones(15, 4, 1), r"weight is \(3H, I\) .*, got \(15, 4, 1\)"),
        (2, torch.ones(15, 4).double(), r"weight is .* of torch.float32 .* of torch.float64"),
        (3, torch.ones(2, 5), r"part is \(3, H\) .*, got \(2, 5\)"),
    ],
    ids=["dimensions", "rows", "inputs", "more dimensions", "dtype", "number"],
)
def test_the_first_that_does_not_fit_is_named(at: int, wrong: torch.Tensor, said: str) -> None:
    given = [torch.ones(2, 3, 4), torch.ones(2, 5), torch.ones(15, 4), torch.ones(3, 5)]
    given[at] = wrong
    with pytest.raises(ShapeError, match=said):
        GRU.check(*given)


def cut(tensor: torch.Tensor) -> torch.Tensor:
    """The same without its last number in the last dimension."""
    return tensor[..., :-1]


@pytest.mark.parametrize(
    ("run", "shapes"),
    [
        (lambda x, h, *w: gru_sequence(x, h, w), [(6, 4), (6, 2), (6,), (6,)]),
        (
            lambda x, h, *w: layer_norm_gru_sequence(x, h, w, 1e-5),
            [(6, 4), (6, 2), (6,), (6,), (6,), (6,)],
        ),
        (lambda x, h, *w: sequence_linear(x, *w), [(5, 4), (5,)]),
        (
            lambda x, h, c, *w: lstm_family_sequence(
                x, h, c, w[:3], LSTMParts(*w[3:6], keep_h=w[6], keep_c=w[7], begin=2)
            ),
            [(2, 2), (8, 4), (8, 2), (8,), (3, 2), (2, 8), (2, 2), (2, 5, 2), (2, 5, 2)],
        ),
    ],
    ids=["gru", "layer_norm_gru", "linear", "lstm"],
)
def test_what_loops_would_read_past_is_refused(run: Any, shapes: list[tuple[int, ...]]) -> None:
    given = [torch.ones(2, 3, 4), torch.ones(2, 2), *map(torch.ones, shapes)]
    run(*given)
    for at in range(2, len(given)):
        for wrong in (cut(given[at]), given[at].double()):
            with pytest.raises(ShapeError, match=r"of torch.float32 where .*, got \("):
                run(*given[:at], wrong, *given[at + 1 :])
    if len(given) > 9:  # masks that end before the steps do
        with pytest.raises(ShapeError, match="keep_c is"):
            run(*given[:-1], given[-1][:, 1:])


def test_a_check_takes_microseconds() -> None:
    given = torch.ones(2, 3, 4), torch.ones(2, 5), torch.ones(15, 4), torch.ones(3, 5)
    assert min(timeit.repeat(lambda: GRU.check(*given), number=500, repeat=5)) / 500 < 20e-6


def test_a_gradient_that_is_written_to_is_a_copy_in_c_order() -> None:
    given = torch.arange(6.0).view(2, 3).t()
    made = writable(given, torch.ones(3, 2))
    assert made.stride() == (2, 1) and torch.equal(made, given)
    made += 1
    assert given[0, 0] == 0
    none = writable(None, given)
    assert none.stride() == (2, 1) and not none.any()
