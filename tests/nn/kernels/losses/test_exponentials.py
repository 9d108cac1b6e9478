from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from recurra.nn.kernels.compiler import compiled
from recurra.nn.kernels.losses import linear_cross_entropy as head
from recurra.nn.kernels.losses.exponentials import exponentials, exponentials_plain
from recurra.nn.kernels.losses.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_plain,
)


def logits(N: int, V: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    return (torch.randn(N, V) * scale).bfloat16(), torch.randint(V, (N,))


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 70), st.floats(0, 40), st.integers(0, 9))
def test_it_is_its_reference_up_to_rounding(N: int, V: int, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    z, targets = logits(N, V, scale)
    expected = exponentials_plain(z, targets)
    got = exponentials(z, targets)
    assert got[0].data_ptr() == z.data_ptr()
    # At the target two near numbers are subtracted.
    near = (got[0].float() - expected[0].float()).abs()
    allowed = 2**-7 * expected[0].float().abs() + 1e-30
    allowed[range(N), targets] += 1e-5 * expected[1]
    assert (near <= allowed).all()
    torch.testing.assert_close(got[1], expected[1], rtol=2**-7, atol=0)
    torch.testing.assert_close(got[2], expected[2], rtol=1e-5, atol=1e-6)
    at = targets.unsqueeze(1)
    assert torch.equal(got[1].sign(), torch.ones(N))
    assert ((got[0].gather(1, at) / got[1].unsqueeze(1)) <= 0).all()


def test_the_reference_is_torchs_cross_entropy_and_its_gradient() -> None:
    z, targets = torch.randn(7, 30).requires_grad_(), torch.randint(30, (7,))
    nats = F.cross_entropy(z, targets, reduction="none")
    (slope,) = torch.autograd.grad(nats.sum(), z)
    e, s, found = exponentials_plain(z.detach(), targets)
    torch.testing.assert_close(found, nats.detach())
    torch.testing.assert_close(e / s.unsqueeze(1), slope)


def test_rows_of_extremes() -> None:
    """A power that underflows, equal logits, one class, infinities, and a NaN."""
    z = torch.tensor([[3e38, -3e38], [5, 5], [-torch.inf, 0], [torch.nan, 1]]).bfloat16()
    e, s, nats = exponentials(z, torch.tensor([0, 1, 1, 1]))
    assert e[:3].tolist()[1:] == [[1, -1], [pytest.approx(0, abs=1e-37), 0]]
    assert s.tolist()[:3] == [1, 2, 1]
    assert nats.tolist()[:3] == [0, pytest.approx(0.693147), 0]
    assert e[3].isnan().any()
    assert s[3].isnan()
    assert nats[3].isnan()
    e, s, nats = exponentials(torch.zeros(1, 1).bfloat16(), torch.tensor([0]))
    assert (e.item(), s.item(), nats.item()) == (0, 1, 0)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    z, targets = logits(64, 50)
    one = exponentials(z.clone(), targets)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for mine, other in zip(exponentials(z.clone(), targets), one, strict=True):
        assert torch.equal(mine, other)


def problem() -> list[torch.Tensor]:
    torch.manual_seed(3)
    hidden, weight, bias = (torch.randn(shape) * 0.3 for shape in ((90, 40), (500, 40), 500))
    return [tensor.requires_grad_() for tensor in (hidden, weight, bias)]


@pytest.mark.parametrize("rows", [90, 40], ids=["one chunk", "three chunks"])
def test_a_loss_through_it_has_the_gradients_of_torchs(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearer to those in float32 than by the way without it, whose probabilities are rounded."""
    leaves, targets = problem(), torch.randint(500, (90,))
    monkeypatch.setattr(head, "CHUNK", rows * 500)
    exact = linear_cross_entropy_plain(*leaves, targets)
    expected = torch.autograd.grad(exact, leaves)
    away = {}
    for worth in (0, 2**40):
        monkeypatch.setattr(head, "WORTH", worth)
        loss = linear_cross_entropy(*leaves, targets, torch.bfloat16)
        assert loss.item() == pytest.approx(exact.item(), rel=1e-3)
        got = torch.autograd.grad(-2 * loss, leaves)
        pairs = zip(got, expected, strict=True)
        away[worth] = [((a / -2 - b).norm() / b.norm()).item() for a, b in pairs]
    assert all(part < 0.006 for part in away[0])
    assert away[0] < [1.1 * part for part in away[2**40]]


def test_torch_compile_takes_it_whole() -> None:
    leaves, targets = problem(), torch.randint(500, (90,))

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        return exponentials((hidden @ leaves[1].t()).bfloat16().detach(), targets)[2].mean()

    whole = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert whole(leaves[0]) == loss(leaves[0])


@pytest.mark.parametrize("amx", [False, True])
def test_columns_that_fill_up_change_nothing(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves, targets = problem(), torch.randint(500, (90,))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(head, "WORTH", 0)
    assert head._factors(*leaves, torch.bfloat16)[0].shape[1] == (64 if amx else 42)
    loss = linear_cross_entropy(*leaves, targets, torch.bfloat16)
    exact = linear_cross_entropy_plain(*leaves, targets)
    pairs = zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(exact, leaves), strict=True)
    assert all((got - expected).norm() < 0.006 * expected.norm() for got, expected in pairs)


def test_where_nothing_can_be_compiled_torch_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves, targets = problem(), torch.randint(500, (90,))
    monkeypatch.setattr(head, "WORTH", 0)
    monkeypatch.setattr(head, "missing", lambda: "no numba")
    monkeypatch.setattr(head, "exponentials", None)
    assert compiled.missing() is None
    loss = linear_cross_entropy(*leaves, targets, torch.bfloat16)
    expected = linear_cross_entropy_plain(*leaves, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=3e-3)
