from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from recurra.errors import DataError, ShapeError
from recurra.nn.kernels.losses import linear_cross_entropy as module
from recurra.nn.kernels.losses.linear_cross_entropy import (
    check_targets,
    linear_cross_entropy,
    linear_cross_entropy_plain,
    mixture_cross_entropy,
    mixture_cross_entropy_plain,
)


def problem(
    N: int, V: int, H: int, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden, weight, bias = (
        (torch.randn(shape, dtype=dtype) * scale).requires_grad_() for shape in ((N, H), (V, H), V)
    )
    return hidden, weight, bias, torch.randint(V, (N,))


def gradients(loss: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("upstream", [1.0, -0.37])
def test_loss_and_gradients_by_chunks(
    rows: int, upstream: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    *leaves, targets = problem(20, 11, 5)
    monkeypatch.setattr(module, "CHUNK", rows * 11)
    loss = linear_cross_entropy(*leaves, targets, torch.float64)
    expected = F.cross_entropy(leaves[0] @ leaves[1].T + leaves[2], targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        gradients(loss * upstream, *leaves), gradients(expected * upstream, *leaves)
    )


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 70), st.integers(1, 200))
def test_any_shape_and_chunk(N: int, V: int, H: int, chunk: int) -> None:
    *leaves, targets = problem(N, V, H)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        loss = linear_cross_entropy(*leaves, targets, torch.float64)
        with torch.no_grad():
            quiet = linear_cross_entropy(*leaves, targets, torch.float64)
    expected = linear_cross_entropy_plain(*leaves, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(quiet, expected.detach())
    torch.testing.assert_close(gradients(loss, *leaves), gradients(expected, *leaves))


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3 * 7)
    *leaves, targets = problem(8, 7, 4)

    def loss(*leaves: Tensor) -> Tensor:
        return linear_cross_entropy(*leaves, targets, torch.float64)

    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("chunk", [2**23, 16 * 10_000])
def test_float32_is_as_exact_as_torch(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    *leaves, targets = problem(50, 10_000, 50, torch.float32, 0.3)
    loss = linear_cross_entropy(*leaves, targets)
    expected = linear_cross_entropy_plain(*leaves, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        gradients(loss, *leaves), gradients(expected, *leaves), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("chunk", [2**23, 100 * 1000])
def test_bfloat16_keeps_to_its_tolerance(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    *leaves, targets = problem(400, 1000, 100, torch.float32, 0.3)
    loss = linear_cross_entropy(*leaves, targets, torch.bfloat16)
    expected = linear_cross_entropy_plain(*leaves, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=3e-3)
    for got, exact in zip(gradients(loss, *leaves), gradients(expected, *leaves), strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).norm() < 0.01 * exact.norm()


def test_a_large_bias_survives_bfloat16() -> None:
    hidden = torch.ones(4, 1, requires_grad=True)
    weight = torch.full((31, 1), -10.0)
    bias = 10 + torch.linspace(-0.03, 0.03, 31)  # all of them 10 when rounded to bfloat16
    targets = torch.full((4,), 30)
    loss = linear_cross_entropy(hidden, weight, bias, targets, torch.bfloat16)
    expected = linear_cross_entropy_plain(hidden, weight, bias, targets)
    assert loss.item() == pytest.approx(expected.item(), abs=0.005)
    assert abs(math.log(31) - expected.item()) > 0.025


def test_one_tensor_in_two_places_gets_both_gradients() -> None:
    _, weight, bias, targets = problem(6, 6, 4)
    loss = linear_cross_entropy(weight.sin(), weight, bias, targets, torch.float64)
    expected = linear_cross_entropy_plain(weight.sin(), weight, bias, targets)
    torch.testing.assert_close(gradients(loss, weight), gradients(expected, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_probability_that_underflows_has_its_nats_still(dtype: torch.dtype) -> None:
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, bias, torch.tensor([1]), dtype)
    assert loss.item() == 2000
    d_hidden, d_weight, d_bias = gradients(loss, hidden, weight, bias)
    assert d_hidden.tolist() == [[2.0]]
    assert d_weight.tolist() == [[1000.0], [-1000.0]]
    assert d_bias.tolist() == [1.0, -1.0]


def test_a_nan_is_not_hidden() -> None:
    hidden, weight, bias, targets = problem(4, 5, 3)
    broken = hidden.detach().clone().requires_grad_()
    broken.data[1, 1] = torch.nan
    loss = linear_cross_entropy(broken, weight, bias, targets, torch.float64)
    assert loss.isnan()
    assert gradients(loss, weight)[0].isnan().any()


def test_without_gradients_none_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    *leaves, targets = problem(4, 5, 3)
    monkeypatch.setattr(torch, "softmax", None)  # what the gradient begins with
    with torch.no_grad():
        linear_cross_entropy(*leaves, targets, torch.float64)
    frozen = [leaf.detach() for leaf in leaves]
    assert not linear_cross_entropy(*frozen, targets, torch.float64).requires_grad


def test_some_leaves_may_be_frozen() -> None:
    hidden, weight, bias, targets = problem(4, 5, 3)
    loss = linear_cross_entropy(hidden, weight.detach(), bias.detach(), targets, torch.float64)
    expected = linear_cross_entropy_plain(hidden, weight, bias, targets)
    torch.testing.assert_close(gradients(loss, hidden), gradients(expected, hidden))


def test_the_graph_serves_once_unless_it_is_kept() -> None:
    _, weight, bias, targets = problem(4, 5, 3)
    hidden = torch.randn(4, 3, dtype=torch.float64)
    loss = linear_cross_entropy(hidden, weight, bias, targets, torch.float64)
    for times in (1, 2, 3):
        loss.backward(retain_graph=times < 3)
        expected = gradients(linear_cross_entropy_plain(hidden, weight, bias, targets), weight)[0]
        torch.testing.assert_close(weight.grad, times * expected)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_a_second_derivative_is_refused() -> None:
    *leaves, targets = problem(4, 5, 3)
    loss = linear_cross_entropy(*leaves, targets, torch.float64)
    (first,) = torch.autograd.grad(loss**2, leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_losses_taken_together_do_not_disturb_each_other() -> None:
    problems = [problem(9, 50, 6), problem(20, 70, 5), problem(4, 10, 3)]
    losses = [linear_cross_entropy(*each, torch.float64) for each in problems]
    for loss, (*leaves, targets) in zip(losses, problems, strict=True):
        expected = linear_cross_entropy_plain(*leaves, targets)
        torch.testing.assert_close(gradients(loss, *leaves), gradients(expected, *leaves))


def test_targets_that_do_not_fit_are_refused() -> None:
    hidden, weight, bias, _ = problem(4, 5, 3)
    for shape in ((5,), (3,), (4, 1)):
        with pytest.raises(ShapeError, match="4 hidden vectors, targets of shape"):
            linear_cross_entropy(hidden, weight, bias, torch.zeros(shape).long())
    with pytest.raises(ShapeError, match="expected one target for each, and at least one"):
        linear_cross_entropy(hidden[:0], weight, bias, torch.zeros(0).long())
    for wrong in (5, -1, -100):
        # In the flat view of the logits it would be another row's class.
        with pytest.raises(DataError, match="targets are classes 0 to 4, got"):
            linear_cross_entropy(hidden, weight, bias, torch.tensor([0, wrong, 1, 2]))


def allocations(function: Callable[..., Tensor], learning: bool, *dtype: Any) -> tuple[int, int]:
    """Bytes of the largest buffer, and of all at once, for 100,000 words and 256 targets."""
    *leaves, targets = problem(256, 100_000, 30, torch.float32, 0.1)
    return held(lambda: function(*leaves, targets, *dtype), learning)


def held(function: Callable[[], Tensor], learning: bool) -> tuple[int, int]:
    """Bytes of the largest buffer of a loss, and of all at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        with torch.set_grad_enabled(learning):
            loss = function()
        if learning:
            loss.backward()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = torch.tensor([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())])
    return int(sizes.max()), int(sizes.cumsum(0).max())


@pytest.mark.parametrize("learning", [True, False], ids=["learning", "evaluating"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_buffer_is_larger_than_a_chunk(dtype: torch.dtype, learning: bool) -> None:
    largest, at_once = allocations(linear_cross_entropy, learning, dtype)
    chunk = module.CHUNK * dtype.itemsize
    weight = 100_000 * 32 * 4
    assert largest <= max(chunk, weight)
    # A chunk becomes another; the weight, its gradient, and the part of one chunk.
    assert at_once < 2 * chunk + 4 * weight


def test_the_plain_form_holds_all_logits() -> None:
    largest, at_once = allocations(linear_cross_entropy_plain, True)
    assert largest == 256 * 100_000 * 4  # so the count above does count
    assert at_once > 2 * largest


# Mixtures of softmaxes


def mixture(
    N: int, K: int, V: int, H: int, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> tuple[Tensor, ...]:
    latent, weight, bias, targets = problem(N * K, V, H, dtype, scale)
    leaf = latent.detach().view(N, K, H).requires_grad_()
    log_priors = torch.randn(N, K, dtype=dtype).log_softmax(1).requires_grad_()
    return log_priors, leaf, weight, bias, targets[:N]


@given(
    st.integers(1, 9), st.integers(1, 5), st.integers(1, 9), st.integers(1, 40), st.integers(1, 200)
)
def test_a_mixture_of_any_shape_and_chunk(N: int, K: int, V: int, H: int, chunk: int) -> None:
    *leaves, targets = mixture(N, K, V, H)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        loss = mixture_cross_entropy(*leaves, targets, torch.float64)
        with torch.no_grad():
            quiet = mixture_cross_entropy(*leaves, targets, torch.float64)
    expected = mixture_cross_entropy_plain(*leaves, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(quiet, expected.detach())
    torch.testing.assert_close(
        gradients(-0.37 * loss, *leaves), gradients(-0.37 * expected, *leaves)
    )


def test_a_mixtures_gradients_are_those_of_finite_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2 * 3 * 7)
    *leaves, targets = mixture(5, 3, 7, 4)

    def loss(*leaves: Tensor) -> Tensor:
        return mixture_cross_entropy(*leaves, targets, torch.float64)

    assert torch.autograd.gradcheck(loss, leaves)


def test_a_mixture_of_one_is_a_softmax() -> None:
    _, latent, weight, bias, targets = mixture(6, 1, 7, 4)
    found = mixture_cross_entropy(
        torch.zeros(6, 1, dtype=torch.float64), latent, weight, bias, targets, torch.float64
    )
    expected = linear_cross_entropy(latent[:, 0], weight, bias, targets, torch.float64)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("chunk", [2**23, 100 * 1000])
def test_a_mixture_in_bfloat16_keeps_to_its_tolerance(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    *leaves, targets = mixture(100, 3, 1000, 100, torch.float32, 0.3)
    loss = mixture_cross_entropy(*leaves, targets, torch.bfloat16)
    expected = mixture_cross_entropy_plain(*leaves, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=3e-3)
    for got, exact in zip(gradients(loss, *leaves), gradients(expected, *leaves), strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).norm() < 0.015 * exact.norm()


def test_where_every_softmax_of_a_mixture_underflows_there_are_nats_still() -> None:
    latent = torch.full((1, 2, 1), 1000.0, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    log_priors = torch.tensor([[0.25, 0.75]]).log()
    loss = mixture_cross_entropy(log_priors, latent, weight, torch.zeros(2), torch.tensor([1]))
    assert loss.item() == 2000
    d_latent, d_weight = gradients(loss, latent, weight)
    torch.testing.assert_close(d_latent.flatten(), torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(d_weight.flatten(), torch.tensor([1000.0, -1000.0]))


def test_float16_has_the_nats_of_what_it_cannot_hold() -> None:
    hidden, weight = torch.tensor([[24.0]]), torch.tensor([[1.0], [0.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.zeros(2), torch.tensor([1]), torch.float16)
    assert loss.item() == 24


def test_the_dtype_that_is_asked_for_is_taken_under_autocast_too() -> None:
    *leaves, targets = problem(20, 11, 5, torch.float32)
    expected = linear_cross_entropy(*leaves, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear_cross_entropy(*leaves, targets), expected)


@pytest.mark.parametrize("learning", [True, False], ids=["learning", "evaluating"])
@pytest.mark.parametrize("faulty", ["hidden", "weight", "bias"])
def test_a_layer_that_does_not_fit_is_refused(faulty: str, learning: bool) -> None:
    given = {"hidden": torch.zeros(4, 3), "weight": torch.zeros(5, 3), "bias": torch.zeros(5)}
    given[faulty] = given[faulty][..., :1].requires_grad_(learning)
    targets = torch.tensor([0, 4, 1, 2])
    with pytest.raises(ShapeError, match=r"linear_cross_entropy: hidden of \d units, weight of"):
        linear_cross_entropy(*given.values(), targets)
    latent = given.pop("hidden").unsqueeze(1)
    with pytest.raises(ShapeError, match=r"mixture_cross_entropy: hidden of \d units, weight of"):
        mixture_cross_entropy(torch.zeros(4, 1), latent, *given.values(), targets)


def test_a_mixtures_targets_that_do_not_fit_are_refused() -> None:
    *leaves, targets = mixture(4, 2, 5, 3)
    with pytest.raises(ShapeError, match="mixture_cross_entropy: 4 hidden vectors, targets of"):
        mixture_cross_entropy(*leaves, targets[:3])
    with pytest.raises(DataError, match="mixture_cross_entropy: targets are classes 0 to 4, got"):
        mixture_cross_entropy(*leaves, torch.tensor([0, 5, 1, 2]))
    check_targets("mine", torch.tensor([0, 4]), 2, 5)


@pytest.mark.parametrize("learning", [True, False], ids=["learning", "evaluating"])
def test_no_buffer_of_a_mixture_is_larger_than_a_chunk(learning: bool) -> None:
    """Of 64 targets, 4 softmaxes and 100,000 words the logits are 102 MB, a chunk is 32."""
    *leaves, targets = mixture(64, 4, 100_000, 30, torch.float32, 0.1)
    largest, at_once = held(lambda: mixture_cross_entropy(*leaves, targets), learning)
    chunk, weight = module.CHUNK * 4, 100_000 * 32 * 4
    assert largest <= chunk
    assert at_once < 2 * chunk + 5 * weight
    plain, _ = held(lambda: mixture_cross_entropy_plain(*leaves, targets), learning)
    assert plain >= 64 * 4 * 100_000 * 4, "the measurement sees what it is for"
