"""The kernels beside loops written out here; how cells use them is for test_contract.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.nn.kernels.vendor import gru_sequence, lstm_sequence, rnn_sequence

LENGTHS = torch.tensor([5, 0, 2])
KINDS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def weights(gates: int, dtype: torch.dtype) -> list[Tensor]:
    shapes = ((gates * 4, 3), (gates * 4, 4), (gates * 4,), (gates * 4,))
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(3, 5, 3, dtype=dtype),
        torch.randn(3, 4, dtype=dtype),
        torch.randn(3, 4, dtype=dtype),
    )


def step(kind: str, x: Tensor, h: Tensor, c: Tensor, w: list[Tensor]) -> tuple[Tensor, Tensor]:
    into, from_h = x @ w[0].T + w[2], h @ w[1].T + w[3]
    if kind == "lstm":
        i, f, g, o = (into + from_h).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
    if kind == "gru":
        (x_r, x_z, x_n), (h_r, h_z, h_n) = into.chunk(3, dim=1), from_h.chunk(3, dim=1)
        n = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
        z = (x_z + h_z).sigmoid()
        return n + z * (h - n), c
    return (into + from_h).tanh() if kind == "tanh" else (into + from_h).relu(), c


def loop(
    kind: str, x: Tensor, h: Tensor, c: Tensor, w: list[Tensor], lengths: Tensor | None
) -> list[Tensor]:
    ys, ends = [], []
    for row in range(len(x)):
        h_row, c_row = h[row : row + 1], c[row : row + 1]
        y = torch.zeros(1, 5, 4, dtype=x.dtype)
        for t in range(5 if lengths is None else int(lengths[row])):
            h_row, c_row = step(kind, x[row : row + 1, t], h_row, c_row, w)
            y = y.index_copy(1, torch.tensor([t]), h_row.unsqueeze(1))
        ys.append(y)
        ends.append((h_row, c_row))
    return [torch.cat(ys), *map(torch.cat, zip(*ends, strict=True))]


def kernel(
    kind: str, x: Tensor, h: Tensor, c: Tensor, w: list[Tensor], lengths: Tensor | None
) -> list[Tensor]:
    if kind == "lstm":
        y, *ends = lstm_sequence(x, h, c, w, lengths)
    elif kind == "gru":
        y, *ends = *gru_sequence(x, h, w, lengths), c
    else:
        y, *ends = *rnn_sequence(x, h, w, kind, lengths), c
    if lengths is not None:
        y = y.masked_fill((torch.arange(5) >= lengths.unsqueeze(1)).unsqueeze(2), 0)
    return [y, *ends]


@KINDS
@pytest.mark.parametrize("lengths", [None, LENGTHS, LENGTHS.int()], ids=["all", "int64", "int32"])
@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("tanh", 1), ("relu", 1)])
def test_forward_and_backward(
    kind: str, gates: int, lengths: Tensor | None, dtype: torch.dtype
) -> None:
    x, h, c = (tensor.requires_grad_() for tensor in inputs(dtype))
    w = weights(gates, dtype)
    got, expected = kernel(kind, x, h, c, w, lengths), loop(kind, x, h, c, w, lengths)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(got, expected, **close)

    def gradients(results: list[Tensor]) -> list[Tensor]:
        loss = sum((r * torch.arange(r.numel()).sin().view_as(r)).sum() for r in results)
        return list(torch.autograd.grad(loss, [x, h, c, *w]))

    torch.testing.assert_close(gradients(got), gradients(expected), **close)


@KINDS
def test_padding_leaves_c_as_it_is_to_the_last_bit(dtype: torch.dtype) -> None:
    x, h, c = inputs(dtype)
    w = weights(4, dtype)
    _, h_end, c_end = lstm_sequence(x * 50, h, c * 100, w, torch.tensor([0, 0, 0]))
    assert torch.equal(c_end, c * 100) and torch.equal(h_end, h)


@KINDS
def test_what_the_padding_holds_does_not_matter(dtype: torch.dtype) -> None:
    x, h, c = inputs(dtype)
    other = x.masked_fill((torch.arange(5) >= LENGTHS.unsqueeze(1)).unsqueeze(2), 99.0)
    for kind, gates in (("lstm", 4), ("gru", 3), ("tanh", 1), ("relu", 1)):
        w = weights(gates, dtype)
        results = [kernel(kind, each, h, c, w, LENGTHS) for each in (x, other)]
        torch.testing.assert_close(*results)


@KINDS
def test_rectified_units_do_not_run_away_in_the_padding(dtype: torch.dtype) -> None:
    w = [torch.full(shape, 2.0, dtype=dtype).requires_grad_() for shape in ((4, 3), (4, 4))]
    w += [torch.zeros(4, dtype=dtype).requires_grad_() for _ in range(2)]
    x = torch.ones(2, 1000, 3, dtype=dtype)
    y, h = rnn_sequence(x, torch.ones(2, 4, dtype=dtype), w, "relu", torch.tensor([1, 3]))
    # 3 inputs of 2 and 4 units of 2 each: 14, then 6 + 8 h.
    assert (h[0] == 14).all() and (h[1] == 6 + 8 * (6 + 8 * 14)).all()
    assert y.isfinite().all()
    (h.sum() + 0 * y.sum()).backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in w)


@pytest.mark.parametrize("gradients", [True, False])
def test_vendors_are_told_whether_a_backward_may_come(
    gradients: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        original = getattr(torch, name)

        def spy(*arguments: Any, original: Any = original) -> Any:
            told.append(arguments[6])
            return original(*arguments)

        monkeypatch.setattr(torch, name, spy)
    x, h, c = inputs(torch.float64)
    with torch.set_grad_enabled(gradients):
        for kind, gates in (("lstm", 4), ("gru", 3), ("tanh", 1), ("relu", 1)):
            kernel(kind, x, h, c, weights(gates, torch.float64), None)
    assert told == [gradients] * 4


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_inputs_that_autocast_has_narrowed_meet_weights_that_it_has_not(lengths):
    x, h, c = inputs(torch.float32)
    runs = {
        "lstm": lambda x, h, c: lstm_sequence(x, h, c, weights(4, torch.float32), lengths),
        "gru": lambda x, h, c: gru_sequence(x, h, weights(3, torch.float32), lengths),
        "rnn": lambda x, h, c: rnn_sequence(x, h, weights(1, torch.float32), "relu", lengths),
    }
    for name, run in runs.items():
        torch.manual_seed(1)
        expected = run(x, h, c)[0]
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            y, *_ = run(*(tensor.bfloat16() for tensor in (x, h, c)))
        assert y.dtype == torch.bfloat16, name
        real = slice(None) if lengths is None else torch.arange(5) < LENGTHS.unsqueeze(1)
        torch.testing.assert_close(y.float()[real], expected[real], rtol=5e-2, atol=5e-2)
