from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.nn.head import adaptive as head_module
from recurra.nn.head.adaptive import AdaptiveHead

H, V = 8, 20


def make(*cutoffs: int) -> AdaptiveHead:
    return AdaptiveHead(H, V, cutoffs or (4, 11)).double()


def log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = z - z.max()
    result: NDArray[np.float64] = shifted - math.log(np.exp(shifted).sum())
    return result


def by_hand(head: AdaptiveHead, h: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `(V,)`: frequent classes by the first softmax, others by their cluster's share."""
    w = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    first = log_softmax(w["softmax.head.weight"] @ h + w["softmax.head.bias"])
    words = list(first[:4])
    for cluster in range(2):
        at = f"softmax.tail.{cluster}."
        within = log_softmax(w[at + "1.weight"] @ (w[at + "0.weight"] @ h))
        words.extend(first[4 + cluster] + within)
    return np.array(words)


def test_it_is_the_equations_of_the_paper() -> None:
    head, hidden = make(), torch.randn(3, 5, H, dtype=torch.float64)
    found = head.log_probs(hidden).detach()
    assert found.shape == (3, 5, V)
    for row, h in zip(found.view(-1, V), hidden.view(-1, H)):
        np.testing.assert_allclose(row, by_hand(head, h.numpy()), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 5, dtype=torch.float64))


def test_the_loss_and_its_gradients_are_those_of_all_probabilities() -> None:
    head, hidden = make(), torch.randn(6, 5, H, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(V, (6, 5))
    loss = head.loss(hidden, targets)
    expected = -head.log_probs(hidden).gather(2, targets.unsqueeze(2)).mean()
    torch.testing.assert_close(loss, expected)
    leaves = (hidden, *head.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves)
    )


def test_gradients_are_those_of_finite_differences() -> None:
    head, hidden = make(), torch.randn(5, H, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 3, 4, 11, 19])
    leaves = (hidden, *head.parameters())
    assert torch.autograd.gradcheck(
        lambda hidden, *_: head.loss(hidden, targets), leaves, fast_mode=True
    )


@pytest.mark.parametrize("chunk", [1, 3 * V, 2**23])
def test_targets_are_scored_by_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "CHUNK", chunk)
    head, hidden = make(), torch.randn(10, H, dtype=torch.float64)
    targets = torch.randint(V, (10,))
    expected = head.log_probs(hidden)[torch.arange(10), targets]
    torch.testing.assert_close(head.log_probs_of(hidden, targets), expected, rtol=0, atol=1e-12)
    assert head.log_probs_of(hidden[:0], targets[:0]).shape == (0,)


@pytest.mark.parametrize(("size", "cutoffs"), [(2, [1]), (3, [1]), (40, [4, 20]), (41, [4, 20])])
def test_by_default_it_cuts_at_a_tenth_and_at_a_half(size: int, cutoffs: list[int]) -> None:
    head = AdaptiveHead(H, size)
    assert head.softmax.cutoffs == [*cutoffs, size]
    assert head.log_probs(torch.zeros(1, H)).shape == (1, size)


def test_rarer_clusters_have_fewer_units_but_always_one() -> None:
    widths = [tail[0].out_features for tail in AdaptiveHead(64, 100, (10, 50)).softmax.tail]
    assert widths == [16, 4]
    for hidden_size in (1, 2, 3, 9):
        for cutoffs in ((1,), (1, 2), (1, 2, 3, 4)):
            tails = AdaptiveHead(hidden_size, 10, cutoffs).softmax.tail
            assert min(tail[0].out_features for tail in tails) >= 1


def test_of_a_large_vocabulary_only_the_targets_clusters_are_learned() -> None:
    head, hidden = make(), torch.randn(3, H, dtype=torch.float64)
    head.loss(hidden, torch.tensor([0, 5, 2])).backward()
    grads = {name: parameter.grad for name, parameter in head.named_parameters()}
    assert [n for n, grad in grads.items() if grad is None or not grad.any()] == [
        "softmax.tail.1.0.weight",
        "softmax.tail.1.1.weight",
    ]


def test_autocast_does_not_narrow_it() -> None:
    head, hidden = make().float(), torch.randn(6, H)
    targets = torch.tensor([0, 3, 4, 10, 11, 19])
    exact = head.loss(hidden, targets)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = head.loss(hidden, targets)
        of_narrow = head.loss(hidden.bfloat16(), targets)
    assert torch.equal(narrow, exact)
    assert float(of_narrow.detach()) == pytest.approx(float(exact.detach()), rel=0.01)


@pytest.mark.parametrize("cutoffs", [(0, 4), (4, 4), (9, 4), (4, 20), ()])
def test_cutoffs_increase_within_the_classes(cutoffs: tuple[int, ...]) -> None:
    said = f"increase between 1 and 19 for 20 classes, got {re.escape(str(cutoffs))}"
    with pytest.raises(ConfigError, match=said):
        AdaptiveHead(H, V, cutoffs)


def test_targets_that_do_not_fit_are_refused() -> None:
    head = make()
    hidden = torch.zeros(2, 3, H, dtype=torch.float64)
    with pytest.raises(ShapeError, match="expected one target for each"):
        head.loss(hidden, torch.zeros(3, 2).long())
    with pytest.raises(DataError, match="targets are classes 0 to 19, got 0 to 20"):
        head.loss(hidden, torch.tensor([[0, 1, 20], [1, 2, 3]]))
