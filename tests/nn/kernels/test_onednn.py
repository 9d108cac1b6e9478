"""oneDNN's LSTM beside a loop; how cells use it is for test_vendor.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra.nn.kernels import onednn
from recurra.nn.kernels.onednn import has_onednn_lstm, onednn_lstm

pytestmark = pytest.mark.skipif(
    not has_onednn_lstm(torch.device("cpu"), torch.float32), reason="oneDNN is not here"
)
B, T, I, H = 3, 5, 4, 6  # noqa: E741


def given() -> list[Tensor]:
    shapes = ((B, T, I), (B, H), (B, H), (4 * H, I), (4 * H, H), (4 * H,), (4 * H,))
    return [torch.randn(shape).requires_grad_() for shape in shapes]


def plain(x: Tensor, h: Tensor, c: Tensor, *w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    ys = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w[0].T + w[2] + h @ w[1].T + w[3]).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        ys.append(h)
    return torch.stack(ys, dim=1), h, c


def derivatives(run: object, leaves: list[Tensor], orders: int) -> list[Tensor]:
    found = list(run(*leaves))  # type: ignore[operator]
    for _ in range(orders):
        latest = found[-len(leaves) :]
        loss = sum((d * torch.arange(d.numel()).sin().view_as(d)).sum() for d in latest)
        found += torch.autograd.grad(loss, leaves, create_graph=True)
    return found


def test_it_and_two_derivatives_are_those_of_a_loop() -> None:
    leaves = given()
    got = derivatives(lambda x, h, c, *w: onednn_lstm(x, h, c, w), leaves, 2)
    torch.testing.assert_close(got, derivatives(plain, leaves, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_gradient_of_each_result(which: int) -> None:
    leaves = given()
    options = {"allow_unused": True, "materialize_grads": True}
    runs = [
        run(*leaves)[which].sum() for run in (lambda x, h, c, *w: onednn_lstm(x, h, c, w), plain)
    ]
    got, expected = (torch.autograd.grad(loss, leaves, **options) for loss in runs)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_without_gradients_nothing_is_kept() -> None:
    x, h, c, *w = given()
    with torch.no_grad():
        *ends, kept = onednn._run((x.transpose(0, 1), h, c, *w), False)
        assert kept is None
        torch.testing.assert_close(onednn_lstm(x, h, c, w)[0], ends[0].transpose(0, 1))


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("copied", [False, True])
def test_the_operator_that_a_graph_has_gives_the_same(
    watched: bool, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = onednn._compiled_back
    if copied:  # what holds the storage of all that oneDNN keeps
        copies = lambda given, made, d: back(given, [each.clone() for each in made], d)  # noqa: E731
        monkeypatch.setattr(onednn, "_compiled_back", copies)
    x, h, c, *w = leaves = [leaf.requires_grad_(watched) for leaf in given()]
    y, h_end, c_end, *_ = onednn._compiled(x.transpose(0, 1), h, c, *w, watched)
    expected = onednn_lstm(x, h, c, w)
    torch.testing.assert_close((y.transpose(0, 1), h_end, c_end), tuple(expected))
    if watched:
        got, wanted = (
            torch.autograd.grad(out.sum(), leaves, allow_unused=True, materialize_grads=True)
            for out in (y, expected[0])
        )
        torch.testing.assert_close(got, wanted)
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    arguments = (x.transpose(0, 1).detach().requires_grad_(watched), h, c, *w, watched)
    torch.library.opcheck(onednn._compiled, arguments, test_utils=kinds)


def test_it_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "IS_HERE", False)
    assert not has_onednn_lstm(torch.device("cpu"), torch.float32)
