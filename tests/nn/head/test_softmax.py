from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ShapeError
from recurra.nn.head import softmax as head_module
from recurra.nn.head.softmax import SoftmaxHead


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


@pytest.mark.parametrize("chunk", [1, 3 * 7, 2**23])
def test_targets_are_scored_by_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recurra.nn.kernels.losses.target_log_probs.CHUNK", chunk)
    head = SoftmaxHead(4, 7).double()
    nn.init.normal_(head.bias)
    hidden, targets = torch.randn(10, 4, dtype=torch.float64), torch.randint(7, (10,))
    expected = head.log_probs(hidden)[torch.arange(10), targets]
    torch.testing.assert_close(head.log_probs_of(hidden, targets), expected, rtol=0, atol=1e-12)
    assert head.log_probs_of(hidden[:0], targets[:0]).shape == (0,)
