from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurra.errors import ConfigError, RunError, ShapeError
from recurra.nn.head import mixture_of_softmaxes as head_module
from recurra.nn.head.mixture_of_softmaxes import MixtureOfSoftmaxesHead
from recurra.nn.kernels.dropout import dropout_mask

H, V, K, L = 4, 7, 3, 5


def make(**options: Any) -> MixtureOfSoftmaxesHead:
    head = MixtureOfSoftmaxesHead(H, V, K, L, **options).double()
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    return head


def softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(z - z.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def by_hand(head: MixtureOfSoftmaxesHead, h: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `(V,)`: the probabilities by the equation of Yang et al. 2018, section 2.4."""
    w = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    pi = softmax(w["prior.weight"] @ h)
    units = np.tanh(w["latent.weight"] @ h + w["latent.bias"]).reshape(K, L)
    return np.sum([pi[k] * softmax(w["weight"] @ units[k] + w["bias"]) for k in range(K)], axis=0)


def test_it_is_the_equation_of_the_paper() -> None:
    head, hidden = make(), torch.randn(2, 3, H, dtype=torch.float64)
    found = head.log_probs(hidden).detach().exp()
    assert found.shape == (2, 3, V)
    for row, h in zip(found.view(-1, V), hidden.view(-1, H)):
        np.testing.assert_allclose(row, by_hand(head, h.numpy()), rtol=1e-12)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 3, dtype=torch.float64))


def test_the_loss_and_its_gradients_are_those_of_all_probabilities() -> None:
    head, hidden = make(), torch.randn(2, 6, H, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(V, (2, 6))
    loss = head.loss(hidden, targets)
    expected = -head.log_probs(hidden).gather(2, targets.unsqueeze(2)).mean()
    torch.testing.assert_close(loss, expected)
    leaves = (hidden, *head.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves)
    )


def test_gradients_are_those_of_finite_differences() -> None:
    head, hidden = make(), torch.randn(3, H, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(V, (3,))
    leaves = (hidden, *head.parameters())
    assert torch.autograd.gradcheck(
        lambda hidden, *_: head.loss(hidden, targets), leaves, fast_mode=True
    )


def test_one_expert_is_a_softmax_of_its_latent_units() -> None:
    head = MixtureOfSoftmaxesHead(H, V, 1).double()
    hidden = torch.randn(3, H, dtype=torch.float64)
    units = torch.tanh(head.latent(hidden))
    expected = torch.log_softmax(units @ head.weight.T + head.bias, dim=1)
    torch.testing.assert_close(head.log_probs(hidden), expected)


def test_its_log_probabilities_have_a_higher_rank_than_a_softmax_allows() -> None:
    """A softmax's logarithms have rank L + 1 at most: the bottleneck that the paper breaks."""
    hidden = 3 * torch.randn(200, H, dtype=torch.float64)
    head = MixtureOfSoftmaxesHead(H, 40, K, 2).double()
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    single = torch.log_softmax(torch.tanh(hidden[:, :2]) @ head.weight.T, dim=1)
    assert torch.linalg.matrix_rank(single, rtol=1e-9) == 3
    assert torch.linalg.matrix_rank(head.log_probs(hidden).detach(), rtol=1e-9) > 20


@pytest.mark.parametrize("chunk", [1, 2 * K * V, 2**23])
def test_targets_are_scored_by_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "CHUNK", chunk)
    head, hidden = make(), torch.randn(10, H, dtype=torch.float64)
    targets = torch.randint(V, (10,))
    expected = head.log_probs(hidden)[torch.arange(10), targets]
    torch.testing.assert_close(head.log_probs_of(hidden, targets), expected, rtol=0, atol=1e-12)
    assert head.log_probs_of(hidden[:0], targets[:0]).shape == (0,)


@pytest.mark.parametrize("variational", [False, True])
def test_its_dropout_is_of_the_latent_units_and_of_the_loss_alone(variational: bool) -> None:
    head = make(dropout=0.4, variational=variational)
    hidden, targets = torch.randn(2, 6, H, dtype=torch.float64), torch.randint(V, (2, 6))
    found = head.loss(hidden, targets, torch.Generator().manual_seed(3))

    steps = 1 if variational else 6
    generator = torch.Generator().manual_seed(3)
    mask = dropout_mask((2, steps, K, L), 0.4, generator, torch.float64)
    units = torch.tanh(head.latent(hidden)).view(2, 6, K, L) * mask
    each = torch.softmax(units @ head.weight.T + head.bias, dim=-1)
    p = (torch.softmax(head.prior(hidden), dim=-1).unsqueeze(-1) * each).sum(2)
    torch.testing.assert_close(found, -p.gather(2, targets.unsqueeze(2)).log().mean())

    with pytest.raises(RunError, match="draws its masks from a generator"):
        head.loss(hidden, targets)
    quiet = head.eval().loss(hidden, targets)
    log_probs = head.train().log_probs(hidden)
    torch.testing.assert_close(-log_probs.gather(2, targets.unsqueeze(2)).mean(), quiet)


def test_a_shared_weight_gets_both_gradients() -> None:
    embedding = nn.Embedding(V, L).double()
    head = MixtureOfSoftmaxesHead(L, V, K, L, embedding.weight).double()
    assert head.weight is embedding.weight
    tokens, targets = torch.randint(V, (6,)), torch.randint(V, (6,))
    head.loss(embedding(tokens), targets).backward()
    log_probs = head.log_probs(embedding(tokens))
    (expected,) = torch.autograd.grad(-log_probs[torch.arange(6), targets].mean(), embedding.weight)
    torch.testing.assert_close(embedding.weight.grad, expected)


def test_bfloat16_changes_the_loss_and_the_gradients_by_little() -> None:
    head = make().float()
    hidden, targets = torch.randn(50, H), torch.randint(V, (50,))
    results: list[list[Tensor]] = []
    for narrow in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            loss = head.loss(hidden, targets)
        results.append([loss, *torch.autograd.grad(loss, list(head.parameters()))])
    for exact, rounded in zip(*results):
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)
        assert (exact - rounded).norm() < 0.02 * exact.norm()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"got a weight of shape \(7, 4\), expected \(7, 5\)"):
        make(weight=nn.Parameter(torch.zeros(V, H)))
    with pytest.raises(ConfigError, match=r"a probability in \[0, 1\).* got dropout 1\.0"):
        make(dropout=1.0)
    with pytest.raises(ConfigError, match=r"at least 1 expert, got dropout 0\.0 and 0 experts"):
        MixtureOfSoftmaxesHead(H, V, 0)
    with pytest.raises(ShapeError, match="expected one target for each"):
        make().loss(torch.zeros(2, 3, H, dtype=torch.float64), torch.zeros(3, 2).long())
