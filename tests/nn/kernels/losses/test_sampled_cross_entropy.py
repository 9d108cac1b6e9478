import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recurra.errors import ConfigError, DataError
from recurra.nn.kernels.losses.sampled_cross_entropy import sampled_classes, sampled_cross_entropy

N, H, V = 12, 5, 40


@pytest.fixture
def given():
    draw = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    return normal(N, H), normal(V, H), normal(V), torch.randint(0, V, (N,), generator=draw)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_with_every_class_it_is_the_whole_softmax_forward_and_backward(given):
    hidden, weight, bias, targets = given
    classes = sampled_classes(targets, V, 3, V, seeded())
    ours = sampled_cross_entropy(hidden, weight, bias, targets, classes, torch.float64)
    theirs = F.cross_entropy(F.linear(hidden, weight, bias), targets)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for mine, whole in zip(
        torch.autograd.grad(ours, [hidden, weight, bias]),
        torch.autograd.grad(theirs, [hidden, weight, bias]),
    ):
        torch.testing.assert_close(mine, whole, rtol=1e-5, atol=1e-7)


def test_it_is_its_equation(given):
    hidden, weight, bias, targets = given
    chosen, shift = sampled_classes(targets, V, 4, 6, seeded())
    ours = sampled_cross_entropy(hidden, weight, bias, targets, (chosen, shift), torch.float64)
    h, W, b = (tensor.detach().numpy() for tensor in (hidden, weight, bias))
    certain = sorted({0, 1, 2, 3, *targets.tolist()})
    drawn = [c for c in chosen.tolist() if c not in certain]
    z = h @ W.T + b
    Z = np.exp(z[:, certain]).sum(1) + (V - len(certain)) / 6 * np.exp(z[:, drawn]).sum(1)
    nats = np.log(Z) - z[np.arange(N), targets.numpy()]
    assert len(drawn) == 6
    assert float(ours.detach()) == pytest.approx(nats.mean(), rel=1e-6)


def test_the_sum_that_is_estimated_has_the_whole_one_as_its_mean(given):
    hidden, weight, bias, targets = (tensor.detach() for tensor in given)
    z = F.linear(hidden, weight, bias)
    draw = seeded()
    sums = []
    for _ in range(4000):
        chosen, shift = sampled_classes(targets, V, 5, 4, draw)
        sums.append((z[:, chosen] + shift).exp().sum(1))
    each = torch.stack(sums)
    error = (each.mean(0) - z.exp().sum(1)).abs()
    assert (error < 4 * each.std(0) / len(sums) ** 0.5).all()


def test_only_classes_that_take_part_learn(given):
    hidden, weight, bias, targets = given
    chosen, shift = sampled_classes(targets, V, 4, 6, seeded())
    loss = sampled_cross_entropy(hidden, weight, bias, targets, (chosen, shift), torch.float64)
    loss.backward()
    learned = weight.grad.abs().sum(1) > 0
    assert learned.nonzero().flatten().tolist() == sorted(chosen.tolist())


def test_a_class_takes_part_once_and_the_certain_ones_always_do(given):
    targets = given[3]
    for seed in range(20):
        chosen, shift = sampled_classes(targets, V, 4, 9, seeded(seed))
        assert len(set(chosen.tolist())) == len(chosen)
        certain = {0, 1, 2, 3, *targets.tolist()}
        assert certain == set(chosen[shift == 0].tolist())
        assert int((shift > 0).sum()) == 9


def test_the_same_generator_draws_the_same_classes(given):
    targets = given[3]
    first, second = (sampled_classes(targets, V, 4, 9, seeded(7))[0] for _ in range(2))
    assert first.tolist() == second.tolist()
    assert sampled_classes(targets, V, 4, 9, seeded(8))[0].tolist() != first.tolist()


@pytest.mark.parametrize("target", [-1, V])
def test_a_target_that_is_no_class_is_refused(target):
    with pytest.raises(DataError, match="targets are classes 0 to 39"):
        sampled_classes(torch.tensor([3, target]), V, 3, 4, seeded())


def test_nothing_to_sample_is_refused(given):
    with pytest.raises(ConfigError, match="at least one class, got 0"):
        sampled_classes(given[3], V, 4, 0, seeded())


def test_targets_that_no_class_was_drawn_for_are_refused(given):
    hidden, weight, bias, targets = given
    classes = torch.tensor([0, 1, 2]), torch.zeros(3)
    targets = targets.index_fill(0, torch.tensor([1]), 7)
    with pytest.raises(DataError, match="targets are classes 0 to 2, got -1 to"):
        sampled_cross_entropy(hidden, weight, bias, targets, classes)
