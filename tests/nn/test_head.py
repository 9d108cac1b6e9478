from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, ShapeError
from recurra.nn import head as head_module
from recurra.nn.head import QuantileHead, SoftmaxHead, StudentTHead, pinball


def test_log_probs_are_the_softmax_of_the_linear_layer() -> None:
    head = SoftmaxHead(4, 7)
    nn.init.normal_(head.bias)
    hidden = torch.randn(2, 5, 4)
    expected = (hidden @ head.weight.T + head.bias).softmax(dim=-1).log()
    log_probs = head.log_probs(hidden)
    torch.testing.assert_close(log_probs, expected)
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(2, 5))


def test_the_loss_is_the_mean_surprise_of_the_targets() -> None:
    head = SoftmaxHead(4, 7)
    hidden, targets = torch.randn(2, 5, 4), torch.randint(7, (2, 5))
    expected = -head.log_probs(hidden).gather(2, targets.unsqueeze(2)).mean()
    torch.testing.assert_close(head.loss(hidden, targets), expected)
    uniform = SoftmaxHead(4, 7)
    nn.init.zeros_(uniform.weight)
    assert uniform.loss(hidden, targets).item() == pytest.approx(1.9459101, abs=2e-3)  # ln 7


def test_gradients_are_those_of_finite_differences() -> None:
    head = SoftmaxHead(3, 5).double()
    hidden = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(5, (2, 4))
    leaves = (hidden, head.weight, head.bias)
    assert torch.autograd.gradcheck(lambda hidden, *_: head.loss(hidden, targets), leaves)
    assert torch.autograd.gradcheck(lambda hidden, *_: head.log_probs(hidden), leaves)


def test_a_shared_weight_gets_both_gradients() -> None:
    embedding = nn.Embedding(7, 4).double()
    head = SoftmaxHead(4, 7, weight=embedding.weight).double()
    assert head.weight is embedding.weight
    tokens, targets = torch.randint(7, (6,)), torch.randint(7, (6,))
    head.loss(embedding(tokens), targets).backward()
    got = embedding.weight.grad
    (expected,) = torch.autograd.grad(
        F.cross_entropy(F.linear(embedding(tokens), head.weight, head.bias), targets),
        embedding.weight,
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("autocast", "given", "expected"),
    [
        (True, torch.float32, torch.bfloat16),
        (True, torch.float64, torch.float64),
        (False, torch.float32, torch.float32),
    ],
)
def test_autocast_alone_narrows_and_float32_alone_is_narrowed(
    autocast: bool, given: torch.dtype, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[torch.dtype] = []

    def spy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: Any) -> Tensor:
        used.append(dtype)
        return hidden.sum()

    monkeypatch.setattr(head_module, "linear_cross_entropy", spy)
    head = SoftmaxHead(4, 7).to(given)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        head.loss(torch.randn(2, 4, dtype=given), torch.zeros(2).long())
    assert used == [expected]


def test_a_fresh_head_is_uniform_and_unbiased() -> None:
    head = SoftmaxHead(100, 300)
    assert not head.bias.any()
    assert 0.099 < head.weight.abs().max() <= 0.1
    assert head.weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"got a weight of shape \(7, 5\), expected \(7, 4\)"):
        SoftmaxHead(4, 7, weight=nn.Parameter(torch.zeros(7, 5)))
    head = SoftmaxHead(4, 7)
    for shape in ((3, 2), (6,), (2, 4)):
        with pytest.raises(ShapeError, match="expected one target for each"):
            head.loss(torch.zeros(2, 3, 4), torch.zeros(shape).long())


# Quantiles

LEVELS = (0.025, 0.1, 0.3, 0.5, 0.6, 0.9)


def drawn(head: QuantileHead | StudentTHead, size: float = 1.0) -> Any:
    for parameter in head.parameters():
        nn.init.uniform_(parameter, -size, size)
    return head


def test_the_quantile_loss_is_its_two_slopes() -> None:
    found = pinball(torch.tensor([[1.0, 4.0]]), torch.tensor([3.0]), torch.tensor([0.2, 0.9]))
    assert found[0].tolist() == pytest.approx([0.2 * 2, 0.1 * 1])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_the_quantile_loss_is_least_at_the_quantile(level: float) -> None:
    sample = torch.randn(5001).double()
    places = torch.linspace(-2, 2, 401).double()
    losses = pinball(places.expand(5001, 401), sample, torch.tensor(level)).mean(0)
    least = float(places[losses.argmin()])
    assert least == pytest.approx(float(sample.quantile(level)), abs=0.011)


def test_quantiles_are_a_middle_and_distances_outward() -> None:
    head = drawn(QuantileHead(4, 3, LEVELS))
    hidden = torch.randn(2, 5, 4)
    raw = (hidden @ head.linear.weight.T + head.linear.bias).view(2, 5, 3, 6)
    found = head(hidden)
    assert found.shape == (2, 5, 3, 6)
    steps = torch.log1p(raw.exp())
    torch.testing.assert_close(found[..., 3], raw[..., 3])
    torch.testing.assert_close(found[..., 2], raw[..., 3] - steps[..., 2])
    torch.testing.assert_close(found[..., 0], raw[..., 3] - steps[..., :3].sum(-1))
    torch.testing.assert_close(found[..., 5], raw[..., 3] + steps[..., 4:].sum(-1))
    assert head.quantiles(found) is found
    assert head.middle == 3


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_quantiles_never_cross_whatever_the_weights(seed: int, size: float) -> None:
    torch.manual_seed(seed)
    found = drawn(QuantileHead(4, 2, LEVELS), size)(10 * torch.randn(3, 4))
    assert bool((found.diff(dim=-1) >= 0).all())


def test_the_quantile_heads_loss_is_the_mean_over_its_levels() -> None:
    head = drawn(QuantileHead(4, 3, LEVELS))
    targets = torch.randn(2, 3)
    told = head(torch.randn(2, 4)).detach()
    found = head.loss(told, targets)
    for b in range(2):
        for n in range(3):
            errors = [float(targets[b, n] - q) for q in told[b, n]]
            each = [max(a * e, (a - 1) * e) for a, e in zip(LEVELS, errors)]
            assert float(found[b, n]) == pytest.approx(np.mean(each), rel=1e-5)


def test_a_fresh_quantile_head_says_the_same_of_everything() -> None:
    found = QuantileHead(4, 2, LEVELS)(torch.randn(3, 4))
    expected = torch.tensor([-0.3, -0.2, -0.1, 0, 0.1, 0.2]).expand(3, 2, 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("levels", [(0.1, 0.9), (0.5, 0.1), (0.1, 0.5, 0.5)])
def test_levels_that_do_not_increase_about_a_median_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"levels increase and hold 0\.5, got"):
        QuantileHead(4, 2, levels)


# Student's t


def test_students_t_has_its_quantiles_and_its_surprise() -> None:
    head = drawn(StudentTHead(4, 3, LEVELS)).double()
    told = head(torch.randn(5, 4).double())
    assert told.shape == (5, 3, 3)
    location, scale, freedom = told.detach().numpy().transpose(2, 0, 1)
    assert (scale > 0).all()
    assert (freedom > 2).all(), "so that it has a deviation"
    expected = np.stack([stats.t.ppf(q, freedom, location, scale) for q in LEVELS], -1)
    np.testing.assert_allclose(head.quantiles(told), expected, rtol=1e-9)
    targets = torch.randn(5, 3).double()
    surprise = -stats.t.logpdf(targets.numpy(), freedom, location, scale)
    np.testing.assert_allclose(head.loss(told, targets).detach(), surprise, rtol=1e-9)


def test_students_t_is_made_of_a_linear_layer() -> None:
    head = drawn(StudentTHead(4, 2, LEVELS))
    hidden = torch.randn(3, 4)
    raw = (hidden @ head.linear.weight.T + head.linear.bias).view(3, 2, 3)
    found = head(hidden)
    torch.testing.assert_close(found[..., 0], raw[..., 0])
    torch.testing.assert_close(found[..., 1], torch.log1p(raw[..., 1].exp()) + 1e-4)
    torch.testing.assert_close(found[..., 2], 2 + torch.log1p(raw[..., 2].exp()))


def test_a_fresh_students_t_says_the_same_of_everything() -> None:
    location, scale, freedom = StudentTHead(4, 2, LEVELS)(torch.randn(3, 4)).unbind(-1)
    assert not location.any()
    assert scale.flatten().tolist() == pytest.approx([0.3] * 6, abs=1e-3)
    assert freedom.flatten().tolist() == pytest.approx([6.0] * 6, abs=0.02)


@pytest.mark.parametrize("head", [QuantileHead(3, 2, LEVELS), StudentTHead(3, 2, LEVELS)])
def test_gradients_of_forecasting_heads_are_those_of_finite_differences(head: Any) -> None:
    drawn(head).double()
    hidden = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(2, 2).double()
    leaves = (hidden, *head.parameters())
    assert torch.autograd.gradcheck(lambda hidden, *_: head.loss(head(hidden), targets), leaves)
