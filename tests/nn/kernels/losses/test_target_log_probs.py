from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import DataError, ShapeError
from recurra.nn.kernels.losses import target_log_probs as module
from recurra.nn.kernels.losses.target_log_probs import target_log_probs, target_log_probs_plain


@pytest.fixture(autouse=True)
def any_size_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH", 0)


def numbers(N: int, H: int, V: int, scale: float = 1.0) -> tuple[Tensor, ...]:
    hidden, weight, bias = (torch.randn(shape) * scale for shape in ((N, H), (V, H), (V,)))
    return hidden, weight, bias, torch.randint(V, (N,))


@settings(max_examples=60)
@given(st.integers(1, 210), st.integers(1, 40), st.integers(1, 600), st.floats(0.1, 4))
def test_it_is_its_reference_up_to_rounding(N: int, H: int, V: int, scale: float) -> None:
    given = numbers(N, H, V, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WORTH", 0)
        got = target_log_probs(*given)
    exact = target_log_probs_plain(*(each.double() for each in given[:3]), given[3])
    torch.testing.assert_close(got.double(), exact, rtol=1e-6, atol=2e-6 * (1 + H * scale**2))


def test_a_row_s_number_depends_on_no_other_row() -> None:
    hidden, weight, bias, targets = numbers(203, 33, 555)
    whole = target_log_probs(hidden, weight, bias, targets)
    for rows in (slice(0, 1), slice(7, 108), slice(200, 203)):
        assert torch.equal(target_log_probs(hidden[rows], weight, bias, targets[rows]), whole[rows])


@pytest.mark.parametrize("threads", [2, 3])
def test_the_numbers_do_not_depend_on_threads(threads: int) -> None:
    given, before = numbers(300, 16, 300), torch.get_num_threads()
    alone = target_log_probs(*given)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(target_log_probs(*given), alone)
    finally:
        torch.set_num_threads(before)


def test_where_the_inputs_lie_does_not_matter() -> None:
    hidden, weight, bias, targets = numbers(20, 12, 70)
    expected = target_log_probs(hidden, weight, bias, targets)
    turned = hidden.T.contiguous().T, weight.T.contiguous().T, bias.repeat(2).view(2, -1)[1]
    assert torch.equal(target_log_probs(*turned, targets), expected)


def test_rows_of_extremes() -> None:
    """A largest logit among the last, sums that underflow, infinities, and a NaN."""
    weight = torch.arange(600.0).unsqueeze(1)
    bias = torch.zeros(600)
    hidden = torch.tensor([[1.0], [100.0], [0.0], [-torch.inf], [torch.nan]])
    got = target_log_probs(hidden, weight, bias, torch.tensor([599, 0, 3, 1, 1]))
    assert got.tolist()[:3] == pytest.approx([-0.458675, -59900, -6.396930], rel=1e-5)
    assert got[3:].isnan().all()
    bias[:599] = -torch.inf
    certain = target_log_probs(hidden[:3], weight, bias, torch.tensor([599, 599, 0]))
    assert certain.tolist() == [0, 0, -torch.inf]


@pytest.mark.parametrize("word", [0, 5, 255, 256, 599])
def test_a_nan_of_any_class_is_in_every_sum(word: int) -> None:
    hidden, weight, bias, targets = numbers(3, 4, 600)
    for broken in (weight, bias):
        kept = broken[word].clone()
        broken[word] = torch.nan
        assert target_log_probs(hidden, weight, bias, targets).isnan().all()
        broken[word] = kept


def test_with_gradients_in_float64_and_under_autocast_torch_does_it() -> None:
    hidden, weight, bias, targets = numbers(5, 4, 30)
    hidden.requires_grad_()
    expected = target_log_probs_plain(hidden, weight, bias, targets)
    got = target_log_probs(hidden, weight, bias, targets)
    for wanted, found in zip(*(torch.autograd.grad(r.sum(), hidden) for r in (expected, got))):
        assert torch.equal(found, wanted)
    double = hidden.detach().double(), weight.double(), bias.double(), targets
    assert torch.equal(target_log_probs(*double), target_log_probs_plain(*double))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        narrow = target_log_probs(hidden, weight, bias, targets)
        assert torch.equal(narrow, target_log_probs_plain(hidden, weight, bias, targets))


def test_faults() -> None:
    hidden, weight, bias, targets = numbers(5, 4, 30)
    with pytest.raises(DataError, match=r"targets are classes 0 to 29, got -1 to"):
        target_log_probs(hidden, weight, bias, targets.index_fill(0, torch.tensor(2), -1))
    with pytest.raises(ShapeError, match="5 hidden vectors, targets of shape"):
        target_log_probs(hidden, weight, bias, targets[:2])
    with pytest.raises(ShapeError, match=r"weight is \(V, H\) of torch.float32 where N = 5, H = 4"):
        target_log_probs(hidden, weight[:, :3], bias, targets)
    assert target_log_probs(hidden[:0], weight, bias, targets[:0]).shape == (0,)


def test_the_operator_is_well_formed() -> None:
    torch.library.opcheck(torch.ops.recurra.target_log_probs.default, numbers(3, 4, 40))
